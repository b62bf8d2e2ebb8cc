"""Who we are towards each contact, for as long as this process lives."""

from relay.agent.voice_security import End
from relay.core import Clock, Entropy
from relay.zrtp import MemoryZidCache, ZidCache

ZID_SIZE = 12


class AmnesicZids:
    """A `Zids` that knows nobody: no contact had a ZID before."""

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self._entropy = entropy
        self._cache = MemoryZidCache(clock)
        self._own: dict[str, bytes] = {}
        self._phone = entropy.token(ZID_SIZE)

    @property
    def cache(self) -> ZidCache:
        return self._cache

    def own(self, contact_id: str) -> bytes:
        return self._own.setdefault(contact_id, self._entropy.token(ZID_SIZE))

    def own_phone(self) -> bytes:
        return self._phone

    def peer(self, contact_id: str, end: End) -> bytes:
        return b""
