"""When an agent's line goes on to its following epoch: after a move, behind a translator that moved, by rekeying."""

from relay.core import Counters, Entropy
from relay.media_reflector.client_epochs import AgentEpochs, Era
from relay.media_reflector.control import Control, Operation

REKEY_SOONEST = 45 * 60.0
REKEY_LATEST = 75 * 60.0
"""Seconds under one epoch, drawn at random, before a rekeying."""
REKEY_EVERY = 10
"""Ticks between two REKEY cells, until it is answered."""
PROVE_EVERY = 3
"""Ticks between two cells that say a challenge back: bodies leave in between."""
QUIET = 0.1
"""Seconds without the line's own cells after which a challenge that we did not ask for is answered: our address changed
behind some translator.  While cells come, somebody else copied ours, and wants to be taken for us."""
OVERTAKEN = 1.0
"""Seconds for which cells of an epoch that was left may still come in."""


class Moves:
    """Decides for one open line; `epochs` carries it out."""

    def __init__(self, epochs: AgentEpochs, entropy: Entropy, counters: Counters, now: float) -> None:
        self._epochs = epochs
        self._entropy = entropy
        self._counters = counters
        self._moved = False
        """Whether we are somewhere else, on purpose, and the reflector has not followed yet."""
        self._roam_due = False
        self._proof: Control | None = None
        self._ticks_to_prove = 0
        self._ticks_to_rekey = 0
        self._arrived_at = now
        self._rekey_at = now + entropy.uniform(REKEY_SOONEST, REKEY_LATEST)

    def move(self) -> None:
        """The cells leave from another address from now on."""
        self._counters.count("moves")
        self._moved = self._roam_due = True
        self._proof = None
        self._go_ahead()

    def next_control(self, now: float, silence: float) -> Control | None:
        """What is due in this tick; `silence` is for how long none of the line's cells came."""
        epochs = self._epochs
        if self._roam_due:
            self._roam_due = False
            return Control(Operation.ROAM)
        if self._proof is not None:
            due = self._ticks_to_prove == 0
            self._ticks_to_prove = (self._ticks_to_prove + 1) % PROVE_EVERY
            return self._proof if due else None
        if epochs.ahead:
            return None
        if now - self._arrived_at >= OVERTAKEN:
            epochs.forget_before()
        # Not on a path that may be dead: a half that got there and an answer that did not would part us for good.
        if now < self._rekey_at or silence >= QUIET:
            return None
        due = self._ticks_to_rekey == 0
        self._ticks_to_rekey = (self._ticks_to_rekey + 1) % REKEY_EVERY
        return Control(Operation.REKEY, epochs.rekey()) if due else None

    def challenged(self, era: Era, challenge: bytes, silence: float) -> None:
        """A challenge came in a cell of `era`."""
        if not self._moved and silence < QUIET:
            self._counters.count("unasked_challenge")
            return
        if era is Era.FOLLOWING_CHALLENGE:
            self._epochs.arrive()
        self._go_ahead()
        if self._proof is None or self._proof.field != challenge:
            self._proof = Control(Operation.PROVE, challenge)
            self._ticks_to_prove = 0

    def rekeyed(self, public: bytes) -> bool:
        """REKEYED.  False when it was not asked for."""
        return self._epochs.rekeyed(public)

    def arrived(self, now: float) -> None:
        """The reflector's first cell under the following epoch: it has followed."""
        self._epochs.arrive()
        self._moved = self._roam_due = False
        self._proof = None
        self._arrived_at = now
        self._rekey_at = now + self._entropy.uniform(REKEY_SOONEST, REKEY_LATEST)
        self._ticks_to_rekey = 0

    def _go_ahead(self) -> None:
        self._epochs.forget_rekey()
        self._epochs.go_ahead()
