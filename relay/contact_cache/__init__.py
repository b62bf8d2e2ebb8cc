"""What a contact point keeps of records, and how it finds them again.

DESIGN.md section 5: one contact point keeps them in SQLite; the same tables serve in PostgreSQL. Must never
learn whose a record is: rows hold what the sealed record shows on its outside, and no address or time of
arrival.
"""

from relay.contact_cache.storage import SqlRecordStore

__all__ = ["SqlRecordStore"]
