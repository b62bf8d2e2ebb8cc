"""The tables.  Made with `create_all`; migrations come with the first change to them."""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, Table

metadata = MetaData()

contact_records = Table(
    "contact_records",
    metadata,
    Column("key", LargeBinary(32), primary_key=True),
    Column("period", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("signature", LargeBinary(64), nullable=False),
    Index("contact_records_expires", "expires"),
    # Rows lie in the order of their keys.  SQLite would number them as they come otherwise, and so tell
    # which records were brought one after the other.
    sqlite_with_rowid=False,
)
"""What the outside of a sealed record shows, and nothing of who brought it or when."""
