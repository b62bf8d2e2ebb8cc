"""This agent's prekeys: the current one, which its records carry, and the one before it, until no record names it."""

from contextlib import suppress

from relay.agent.kept import PREKEY_FILES, Damaged, Kept, NotKept
from relay.core import Entropy, PeerError, get_logger
from relay.forward_publish import Prekey

PREKEY_LIFE = 86400.0
"""Seconds for which a prekey is published."""
PREKEY_KEPT = 4 * 86400.0
"""Seconds after which it is deleted: then nobody, with whatever keys, opens a ring that was sealed to it."""

_log = get_logger("prekeys")


class PrekeyRing:
    """Reads, makes, ages and deletes prekeys in the state directory.  Times are Unix seconds."""

    def __init__(self, state: Kept, entropy: Entropy) -> None:
        self._state = state
        self._entropy = entropy
        self._unkept = False
        self._keys = [key for key in (self._read(name) for name in PREKEY_FILES) if key is not None]

    def current(self, now: float) -> Prekey:
        """The prekey to publish; a new one where the last is a day old."""
        if not self._keys or now - self._keys[0].created >= PREKEY_LIFE or self._keys[0].created > now + 3600:
            self._keys.insert(0, Prekey.generate(self._entropy, now))
            self._save(now)
        return self._keys[0]

    def usable(self, now: float) -> list[Prekey]:
        """All that a ring may be sealed to, newest first."""
        self.expire(now)
        return list(self._keys)

    def expire(self, now: float) -> None:
        """Delete what is too old; and keep what could not be kept before."""
        if self._unkept or any(now - key.created > PREKEY_KEPT for key in self._keys):
            self._save(now)

    def _read(self, name: str) -> Prekey | None:
        """One that is damaged is destroyed, not put aside: what can be mended of it would outlive its four days.

        So is one that is damaged while this runs, when the next day's keys are written."""
        try:
            content = self._state.read(name)
            return None if content is None else Prekey.from_bytes(content)
        except (Damaged, PeerError):
            _log.warning("a damaged prekey is destroyed; contacts learn a new one with the next record")
            with suppress(NotKept):
                self._state.remove(name)
            return None

    def _save(self, now: float) -> None:
        self._keys = [key for key in self._keys if now - key.created <= PREKEY_KEPT][: len(PREKEY_FILES)]
        self._unkept = True
        try:
            # The oldest first: a crash in between leaves a key twice, never not at all.
            for name, key in reversed(list(zip(PREKEY_FILES, self._keys, strict=False))):
                self._state.write(name, key.to_bytes())
            for name in PREKEY_FILES[len(self._keys) :]:
                self._state.remove(name)
            self._unkept = False
        except NotKept:
            # New ones serve this run all the same.  There is always room to delete.
            with suppress(NotKept):
                self._remove_expired(now)

    def _remove_expired(self, now: float) -> None:
        for name in PREKEY_FILES:
            key = self._read(name)
            if key is not None and now - key.created > PREKEY_KEPT:
                self._state.remove(name)
