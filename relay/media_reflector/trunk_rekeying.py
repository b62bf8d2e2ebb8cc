"""Rekeying of a trunk's slots, at the end that opened it: each slot for itself, about every hour, as agents do.

The far end serves REKEY as on any line.  What is said on a slot holds up a call on it by a tick, so a slot is rekeyed
while it is free, and one that never is, late.
"""

import copy
import heapq
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from relay.core import Entropy
from relay.media_reflector.control import PUBLIC_SIZE, Control, Operation
from relay.media_reflector.forwarding.face import Forwarding
from relay.media_reflector.line import Line
from relay.media_reflector.link import CellSender

SOONEST, LATEST = 2700.0, 4500.0
"""Seconds between two rekeyings of a slot, drawn at random."""
PATIENCE = 3600.0
"""Seconds that a slot's rekeying waits for the end of a call on it."""
LOOK_AGAIN = 30.0
ASK_EVERY = 1.0
BEGUN_AT_ONCE = 4
"""Key exchanges in one call of `watch`."""


@dataclass(slots=True)
class _Asked:
    """REKEY was said.  The same half is said until it is answered: the far end may have mixed it in already."""

    private: X25519PrivateKey
    control: Control
    due: float


class Rekeying:
    """All slots of one trunk, by when they are due."""

    def __init__(self, forwarding: Forwarding, entropy: Entropy) -> None:
        self._forwarding = forwarding
        self._entropy = entropy
        self._due: list[tuple[float, int, float, Line]] = []
        """(when to look, line number, not later than, slot)"""
        self._asked: dict[Line, _Asked] = {}
        self._gone_ahead: set[Line] = set()
        """Slots on which our cells are under the following epoch, and the far end's not yet."""

    def schedule(self, slot: Line, now: float) -> None:
        """Rekey it in about an hour."""
        due = now + self._entropy.uniform(SOONEST, LATEST)
        heapq.heappush(self._due, (due, slot.number, due + PATIENCE, slot))

    def watch(
        self, now: float, is_free: Callable[[Line], bool], say: Callable[[Line, Control], object]
    ) -> None:
        """Begin what is due, ask again where no answer came."""
        for _ in range(BEGUN_AT_ONCE):
            if not self._due or now < self._due[0][0]:
                break
            _, number, latest, slot = heapq.heappop(self._due)
            if is_free(slot) or now >= latest:
                self._begin(slot, now)
            else:
                heapq.heappush(self._due, (now + LOOK_AGAIN, number, latest, slot))
        for slot, asked in self._asked.items():
            if now >= asked.due:
                asked.due = now + ASK_EVERY
                say(slot, asked.control)

    def _begin(self, slot: Line, now: float) -> None:
        private = X25519PrivateKey.from_private_bytes(self._entropy.token(PUBLIC_SIZE))
        public = private.public_key().public_bytes_raw()
        self._asked[slot] = _Asked(private, Control(Operation.REKEY, public), now)

    def answered(self, slot: Line, public: bytes, now: float) -> bool:
        """REKEYED: mix in what both halves make, and send under the following epoch from now on.  False, and nothing
        changes, when it was not asked for, or `public` is no good."""
        asked = self._asked.get(slot)
        if asked is None:
            return False
        chain = copy.copy(slot.chain)
        try:
            chain.stir(asked.private.exchange(X25519PublicKey.from_public_bytes(public)))
        except ValueError:
            return False
        del self._asked[slot]
        slot.chain = chain
        if not self._forwarding.prepare(slot.number, slot.incoming(chain.following)):
            # The SSRC that follows is taken here; both ends mix in once more, then it is another.
            self._begin(slot, now)
            return True
        keys = slot.outgoing(chain.following)
        sender = CellSender(keys.ssrc, self._entropy)
        assert slot.address is not None
        self._forwarding.settle(slot.number, sender.continued(keys), slot.address, advance=False)
        self._gone_ahead.add(slot)
        self.schedule(slot, now)
        return True

    def arrived(self, slot: Line) -> bool:
        """The far end follows; False when it goes ahead of us."""
        if slot not in self._gone_ahead:
            return False
        self._gone_ahead.discard(slot)
        return True
