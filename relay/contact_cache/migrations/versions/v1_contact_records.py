"""Contact records alone, as the first release made them without migrations."""

import sqlalchemy as sa
from alembic import op

revision = "v1"
down_revision = None


def upgrade() -> None:
    # A database of the first release holds the table and no note of a step.
    op.create_table(
        "contact_records",
        sa.Column("key", sa.LargeBinary(32), primary_key=True),
        sa.Column("period", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary(64), nullable=False),
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    op.create_index("contact_records_expires", "contact_records", ["expires"], if_not_exists=True)


def downgrade() -> None:
    op.drop_table("contact_records")
