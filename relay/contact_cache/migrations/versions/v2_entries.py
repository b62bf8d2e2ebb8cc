"""One table for records, listings and descriptors.

Records of the first release go: they lie under keys by which nobody asks any more, and lived a day at most.
"""

import sqlalchemy as sa
from alembic import op

revision = "v2"
down_revision = "v1"


def upgrade() -> None:
    op.drop_table("contact_records")
    op.create_table(
        "entries",
        sa.Column("kind", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("key", sa.LargeBinary(32), primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("body_hash", sa.LargeBinary(8), nullable=False),
        sa.Column("digest", sa.LargeBinary(16), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("entries_expires", "entries", ["expires"])
    op.create_index("entries_summaries", "entries", ["kind", "key", "revision", "body_hash", "digest"])
    if op.get_bind().dialect.name == "postgresql":
        # A body is random to a database: nothing to compress, and a row of 2 kB fits a page of 8, where the
        # ordinary target would move each body to a second table and read it from there.
        op.execute("ALTER TABLE entries SET (toast_tuple_target = 8160)")
        op.execute("ALTER TABLE entries ALTER COLUMN body SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_table("entries")
    op.create_table(
        "contact_records",
        sa.Column("key", sa.LargeBinary(32), primary_key=True),
        sa.Column("period", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary(64), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("contact_records_expires", "contact_records", ["expires"])
