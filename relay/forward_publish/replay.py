"""Remembering which sealed messages came already, while their time stamps would let them in."""

import hashlib
from collections import OrderedDict

import msgspec

from relay.core import PeerError
from relay.wire import decode, encode

TIME_WINDOW = 1800.0
"""Seconds by which the two clocks may differ."""

MOST_PER_PEER = 256
MOST_PEERS = 4096


MOST_KEPT = 16_384
_ROUND = 600
"""Seconds to which it is kept until when something is remembered: a file need not say when what came."""


class _Kept(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    version: int
    seen: tuple[tuple[bytes, int], ...]


class ReplayCache:
    """Bounded for each peer, so that one contact can exhaust only its own share.

    It lives in memory, and `to_bytes` hands it on to the next run; after a crash, what came since that was last kept is
    taken once more.  `changed` says whether anything came.
    """

    def __init__(self) -> None:
        self.changed = False
        self._seen: OrderedDict[bytes, OrderedDict[bytes, float]] = OrderedDict()
        self._before: dict[bytes, int] = {}

    @classmethod
    def from_bytes(cls, data: bytes | None, now: float) -> "ReplayCache":
        """What the last run kept, if that can be read.  `now` is Unix time."""
        cache = cls()
        try:
            kept = decode(data or b"", _Kept, limit=64 * MOST_KEPT)
        except PeerError:
            return cache
        if kept.version == 1:
            cache._before = {digest: until for digest, until in kept.seen if until >= now}
        return cache

    def to_bytes(self, now: float) -> bytes:
        """Hashes of all that has to be refused still, in an order that says nothing: no peer, ring and dummy alike."""
        seen = {digest: until for digest, until in self._before.items() if until >= now}
        for digests in self._seen.values():
            seen |= {
                digest: -int(-until // _ROUND) * _ROUND for digest, until in digests.items() if until >= now
            }
        self.changed = False
        latest = sorted(seen.items(), key=lambda one: -one[1])[:MOST_KEPT]
        return encode(_Kept(1, tuple(sorted(latest))))

    def check(self, peer_public_key: bytes, tag: bytes, sent_at: float, now: float) -> None:
        """Take note of an authentic message.

        Raises `PeerError` ("outside the time window", "replayed", "too many").

        `tag` is the MAC inside the seal: whoever stole a prekey can seal the same content anew, which is another body,
        but under the same MAC.  `sent_at` and `now` are Unix time in seconds.
        """
        if abs(now - sent_at) > TIME_WINDOW:
            raise PeerError("outside the time window")
        seen = self._seen.setdefault(peer_public_key, OrderedDict())
        self._seen.move_to_end(peer_public_key)
        while len(self._seen) > MOST_PEERS:
            self._seen.popitem(last=False)
        for digest in [digest for digest, until in seen.items() if until < now]:
            del seen[digest]
        digest = hashlib.sha256(tag).digest()
        if digest in seen or digest in self._before:
            raise PeerError("replayed")
        if len(seen) >= MOST_PER_PEER:
            raise PeerError("too many")
        seen[digest] = sent_at + TIME_WINDOW
        self.changed = True

    def __len__(self) -> int:
        return sum(len(seen) for seen in self._seen.values())
