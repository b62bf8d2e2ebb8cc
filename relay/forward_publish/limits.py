"""What one contact point takes at most, and what it counts."""

import msgspec

from relay.forward_publish.entries import EntryKind
from relay.forward_publish.work import BASE_BITS

OFFICE_COUNTS = (
    "entries stored",
    "entries replayed",
    "entries older",
    "entries forged",
    "entries expired",
    "entries future-dated",
    "entries oversized",
    "entries truncated",
    "entries non-canonical",
    "entries malformed",
    "entries of a wrong kind",
    "entries without work",
    "entries over capacity",
    "entries over the connection",
    "store failures",
    "buckets answered",
    "digests answered",
    "summaries answered",
    "wishes answered",
    "peers answered",
    "requests over the connection",
    "requests malformed",
)


class ContactPointLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[limits]`: what one contact point holds at most."""

    connections: int = 8192
    """SIP connections, flows among them."""
    record_connections: int = 128
    tokens_per_flow: int = 8
    queue: int = 32
    """Messages waiting for one flow; more are dropped."""
    messages_per_second: float = 10.0
    """Requests that one connection may send in the long run."""
    burst: int = 60
    records: int = 1_000_000
    """Contact records; about 5 GiB."""
    listings: int = 200_000
    descriptors: int = 10_000
    puts_per_connection: int = 4
    """Entries that one connection may leave; each further one costs another circuit, and its proof of work."""
    fetches_per_connection: int = 256
    """Further requests that one connection may make, of 256 KiB each."""
    work_bits: int = BASE_BITS
    """Zero bits of the proof of work while there is room; a fuller store asks for up to 9 more, a full one takes
    nothing that is new."""

    def entries(self, kind: EntryKind) -> int:
        """How many entries of a kind are kept."""
        return {
            EntryKind.RECORD: self.records,
            EntryKind.LISTING: self.listings,
            EntryKind.DESCRIPTOR: self.descriptors,
        }[kind]
