"""How an exchange speaks: effects in order, packets around messages, what is said again and what is said once."""

from relay.core import Entropy
from relay.zrtp.effects import Alarm, AlarmKind, Effect, Send
from relay.zrtp.packet import PacketWriter
from relay.zrtp.retransmission import Retransmission
from relay.zrtp.settings import Schedule

MOST_ANSWERS = 256
"""Answers to what anybody can send again and again: acknowledgements, errors, repetitions."""


class Outbox:
    """Everything that goes out.  `now` is the time at which it does."""

    def __init__(self, ssrc: int, schedule: Schedule, entropy: Entropy) -> None:
        self.ssrc = ssrc
        self.now = 0.0
        self.again = Retransmission()
        """The one message that waits for an answer, other than Hello."""
        self._schedule = schedule
        self._writer = PacketWriter(ssrc, entropy)
        self._answers_left = MOST_ANSWERS
        self._rung: set[AlarmKind] = set()
        self._effects: list[Effect] = []

    def add(self, effect: Effect) -> None:
        """After all that was added before."""
        self._effects.append(effect)

    def send(self, message: bytes) -> None:
        """Once, now."""
        self.add(Send(self._writer.wrap(message)))

    def ask(self, message: bytes) -> None:
        """Now, and again until it is answered; whatever was asked before is not asked any more."""
        self.again.start(message, self._schedule, self.now)
        self.send(message)

    def answer(self, message: bytes) -> None:
        """Once for each message that asks for it, within reason."""
        if self._answers_left > 0:
            self._answers_left -= 1
            self.send(message)

    def alarm(self, kind: AlarmKind) -> None:
        """Once each: whoever can set one off must not be able to flood a user with it."""
        if kind not in self._rung:
            self._rung.add(kind)
            self.add(Alarm(kind))

    def drain(self) -> list[Effect]:
        """All effects since the last time."""
        effects, self._effects = self._effects, []
        return effects
