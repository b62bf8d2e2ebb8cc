"""The tables as they are now; `relay.contact_cache.migrations` holds how they came to be."""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, SmallInteger, Table

metadata = MetaData()

entries = Table(
    "entries",
    metadata,
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("key", LargeBinary(32), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("body_hash", LargeBinary(8), nullable=False),
    Column("digest", LargeBinary(16), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("entries_expires", "expires"),
    # All that synchronisation and the counts at opening ask for, so that neither reads a body.
    Index("entries_summaries", "kind", "key", "revision", "body_hash", "digest"),
    # Rows lie in the order of their keys.  SQLite would number them as they come otherwise, and so tell
    # which entries were brought one after the other.
    sqlite_with_rowid=False,
)
"""What the outside of an entry shows, and nothing of who brought it or when.

`body_hash` (`entry.short_hash`) and `digest` (`digests.entry_digest`) follow from the others.
"""

brought = Table(
    "brought",
    metadata,
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("peer", LargeBinary(16), primary_key=True),
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    Column("entries", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""How many entries each learned peer brought that expire by that day (`relay.contact_cache.brought`)."""
