"""Reading entries of any kind: records and listings here, descriptors by whoever knows what they are."""

from collections.abc import Mapping

from relay.core import PeerError
from relay.forward_publish.entries import EntryKind, Parser, ReadEntry
from relay.forward_publish.listing import StoredListing
from relay.forward_publish.periods import PEER_SKEW
from relay.forward_publish.records import StoredRecord


class EntryParsers:
    """One parser for each kind that is taken; a program that runs contact points adds that of descriptors."""

    __slots__ = ("_parsers",)

    def __init__(self, others: Mapping[EntryKind, Parser] | None = None) -> None:
        self._parsers: dict[EntryKind, Parser] = {
            EntryKind.RECORD: StoredRecord.parse,
            EntryKind.LISTING: StoredListing.parse,
            **(others or {}),
        }

    @property
    def kinds(self) -> tuple[EntryKind, ...]:
        """The kinds that can be read."""
        return tuple(self._parsers)

    def parse(self, kind: int, body: bytes) -> ReadEntry:
        """Read a slot, form alone.

        Raises `PeerError`: "wrong kind", "oversized", "truncated", "non-canonical", "malformed", or what the parser of
        descriptors says.
        """
        try:
            parser = self._parsers[EntryKind(kind)]
        except (KeyError, ValueError):
            raise PeerError("wrong kind") from None
        size = EntryKind(kind).slot_size
        if len(body) != size:
            raise PeerError("oversized" if len(body) > size else "truncated")
        return parser(body)

    def verify(self, kind: int, body: bytes, now: float) -> ReadEntry:
        """An entry that another contact point handed on: form, signature and time, at Unix time `now`.

        Raises `PeerError` as `parse`, and "forged", "expired", "future-dated".  Its owner's clock may be ahead by
        twice of what is tolerated of an owner, or two honest contact points would call each other liars.
        """
        entry = self.parse(kind, body)
        entry.verify()
        entry.check_time(now, ahead=PEER_SKEW)
        return entry
