"""Remembering which sealed messages came already, while their time stamps would let them in."""

import hashlib
from collections import OrderedDict

from relay.core import PeerError

TIME_WINDOW = 1800.0
"""Seconds by which the two clocks may differ."""

MOST_PER_PEER = 256
MOST_PEERS = 4096


class ReplayCache:
    """Bounded for each peer, so that one contact can exhaust only its own share.

    It lives in memory: after a restart, what was sealed within the last half hour is taken once more.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, OrderedDict[bytes, float]] = OrderedDict()

    def check(self, peer_public_key: bytes, body: bytes, sent_at: float, now: float) -> None:
        """Take note of an authentic message.

        Raises `PeerError` ("outside the time window", "replayed", "too many").

        `sent_at` and `now` are Unix time in seconds.
        """
        if abs(now - sent_at) > TIME_WINDOW:
            raise PeerError("outside the time window")
        seen = self._seen.setdefault(peer_public_key, OrderedDict())
        self._seen.move_to_end(peer_public_key)
        while len(self._seen) > MOST_PEERS:
            self._seen.popitem(last=False)
        for digest in [digest for digest, until in seen.items() if until < now]:
            del seen[digest]
        digest = hashlib.sha256(body).digest()
        if digest in seen:
            raise PeerError("replayed")
        if len(seen) >= MOST_PER_PEER:
            raise PeerError("too many")
        seen[digest] = sent_at + TIME_WINDOW

    def __len__(self) -> int:
        return sum(len(seen) for seen in self._seen.values())
