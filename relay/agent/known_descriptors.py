"""What contact points say of accepted reflectors, as far as the reflectors signed it; kept across restarts.

A contact point is believed nothing.  Its descriptors count where the owner accepts that very reference, the identity in
it signed it, it is in time, and it is later than the one before.  So it can keep news back, and that is all; and none
makes anybody accepted.
"""

from collections.abc import Iterable, Sequence

import msgspec

from relay.agent.accepted import Accepted
from relay.agent.kept import Kept, read_or_pass_over
from relay.core import BayonneError, PeerError
from relay.media_reflector import Descriptor, ReflectorReference, verify_descriptor
from relay.media_reflector.descriptor_entry import DescriptorEntry

FILE = "descriptors.known"


class _Kept(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """When the last whole pull ended, Unix time, how many answers it took, and the signed descriptors."""

    at: float
    pages: int
    signed: tuple[bytes, ...]


class KnownDescriptors:
    """The latest descriptor of each accepted reflector, as contact points had it."""

    def __init__(self, state: Kept) -> None:
        self._state = state
        self._latest: dict[bytes, tuple[Descriptor, bytes]] = {}
        kept = _read(read_or_pass_over(state, FILE))
        self.pulled_at, self.pages = kept.at, kept.pages
        self._unread = kept.signed

    def review(self, accepted: Accepted, wall: float) -> None:
        """Forget who is not accepted any more, and what is out of date."""
        # From the disk at the first time; the file says no more than a contact point would, and is believed no more.
        entries, self._unread = list(_entries(self._unread)), ()
        self.take(authentic(entries, accepted, wall))
        gone = [
            identity
            for identity, (descriptor, _) in self._latest.items()
            if descriptor.reference not in accepted.places(identity) or descriptor.valid_until <= wall
        ]
        for identity in gone:
            del self._latest[identity]

    def take(self, entries: Iterable[DescriptorEntry]) -> list[Descriptor]:
        """Remember what is news of `authentic` entries, and give that."""
        news = []
        for entry in entries:
            descriptor, known = entry.descriptor, self._latest.get(entry.key)
            if known is None or descriptor.valid_from > known[0].valid_from:
                self._latest[entry.key] = descriptor, entry.signed
                news.append(descriptor)
        return news

    def of(self, places: Sequence[ReflectorReference], wall: float) -> Descriptor | None:
        """The descriptor of a reflector that is accepted at `places`."""
        known = self._latest.get(places[0].identity) if places else None
        if known is None or known[0].reference not in places or known[0].valid_until <= wall:
            return None
        return known[0]

    def kept(self, at: float, pages: int) -> bytes:
        """What to `keep`, after a whole pull that ended at Unix time `at`."""
        self.pulled_at, self.pages = at, pages
        return msgspec.msgpack.encode(_Kept(at, pages, tuple(signed for _, signed in self._latest.values())))

    def keep(self, content: bytes) -> None:
        """Write it to the state directory; takes as long as the disk does."""
        self._state.write(FILE, content)


def candidates(entries: Iterable[DescriptorEntry], accepted: Accepted) -> list[DescriptorEntry]:
    """Those that say that they are of accepted reflectors, at a place where these are accepted."""
    return [entry for entry in entries if entry.descriptor.reference in accepted.places(entry.key)]


def authentic(entries: Iterable[DescriptorEntry], accepted: Accepted, wall: float) -> list[DescriptorEntry]:
    """Of `candidates`, those that their reflectors signed and that are in time; a signature each."""
    good = []
    for entry in candidates(entries, accepted):
        try:
            verify_descriptor(entry.signed, entry.descriptor.reference, wall)
        except PeerError:
            continue
        good.append(entry)
    return good


def _read(content: bytes | None) -> _Kept:
    """One that is damaged saves no pull, and that is all."""
    try:
        return _Kept(0.0, 0, ()) if content is None else msgspec.msgpack.decode(content, type=_Kept)
    except msgspec.DecodeError:
        return _Kept(0.0, 0, ())


def _entries(signed: Iterable[bytes]) -> Iterable[DescriptorEntry]:
    for data in signed:
        try:
            yield DescriptorEntry.of(data)
        except BayonneError:
            continue
