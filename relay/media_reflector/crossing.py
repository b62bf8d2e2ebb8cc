"""Who is crossed with whom: join codes on lines, and on the slots of trunks, into pairs of the data plane."""

from typing import Protocol

from relay.core import Counters, Entropy
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.exchange import Exchange, Outcome
from relay.media_reflector.forwarding.face import Elsewhere, Expired, Forwarding, Stranger
from relay.media_reflector.line import NEVER, Line

SOONEST_AGAIN = 30
LATEST_AGAIN = 120
"""Seconds after which who was refused may try again, drawn at random, so that they do not tell why."""
GOES_ON_WITHIN = 10.0
"""Seconds after its call was cut in which a line may say a new code while the reflector drains: agents do so at once,
or a few times within five seconds."""

QUIET_SECONDS = 0.06
"""A trunk's slot is crossed so long after what was said on it last.  A control cell takes the place of a body, which
then waits for a tick, and with it every later body of that call; so nothing is said on a slot whose call is on."""
CROSSED_EVERY = 1.0
"""Seconds after which CROSSED is said again to the far end of a trunk that asks again: then it was lost."""

EVENTS = ("crossings", "joins_refused", "crossings_cut")


class TrunkSwitch(Protocol):
    """The trunks of a reflector.  Their slots are lines (`trunk`) that the reflector was told of (`adopt`)."""

    @property
    def counters(self) -> Counters:
        """What became of what other reflectors sent."""
        ...

    def take(self, code: bytes, identity: bytes, now: float) -> Line | None:
        """A free slot of the trunk to that reflector, on which JOIN is said until it is answered; None when there is
        none."""
        ...

    def free(self, line: Line, code: bytes) -> None:
        """The slot's crossing under `code` ended here: say LEAVE on it, then it may be taken again."""
        ...

    def handle(self, upcall: Stranger | Elsewhere | Expired, now: float) -> bool:
        """Have the first look at a stranger's message, and at what concerns a slot's address or a line that nobody
        knows.  True when it was the trunks' business."""
        ...

    def obey(self, slot: Line, control: Control, now: float) -> bool:
        """Have the first look at what the far end says on a slot.  True when it was the trunk's business."""
        ...

    def watch(self, now: float) -> None:
        """What time alone brings; called with `Reflector.watch`."""
        ...


class Crossings:
    """The exchange of one reflector and what it says to its lines."""

    def __init__(
        self, forwarding: Forwarding, entropy: Entropy, counters: Counters, trunks: TrunkSwitch | None
    ) -> None:
        self.draining = False
        """New codes are refused.  One that another line waits under already is a call that is being made, and one that
        a line says which came back to its call, or whose call was just cut, is how that goes on."""
        self._forwarding = forwarding
        self._entropy = entropy
        self._counters = counters
        self._trunks = trunks
        self._exchange: Exchange[Line] = Exchange()
        self._soon: dict[Line, float] = {}
        """Slots whose crossing waits until nothing more is to be said on them, and until when; oldest first."""
        self._cut: dict[Line, float] = {}
        """Lines whose call was cut, and until when it may go on under another code; oldest first."""
        self._watched_at = NEVER

    def __len__(self) -> int:
        """How many pairs there are."""
        return self._exchange.crossings

    @property
    def codes(self) -> int:
        """How many lines are under some code."""
        return len(self._exchange)

    @property
    def idle(self) -> bool:
        """Whether no call is on, is being made (for `exchange.WAITING_LIMIT` at most), or may go on."""
        return not (self._exchange or self._cut)

    def say(self, line: Line, control: Control) -> bool:
        """Let `control` leave at the line's slot.  False when too much waits there already (the data plane counts it as
        `control_full`)."""
        return self._forwarding.control(line.number, control.to_body(self._entropy))

    def watch(self, now: float) -> None:
        """What time alone brings; call it every tenth of a second."""
        self._watched_at = now
        self._exchange.expire(now)
        while self._cut:
            line, until = next(iter(self._cut.items()))
            if now < until:
                break
            del self._cut[line]
        while self._soon:
            slot, due = next(iter(self._soon.items()))
            if now < due:
                break
            del self._soon[slot]
            code, other = self._exchange.code_of(slot), self._exchange.other_of(slot)
            if code is not None and other is not None:
                self._forwarding.cross(slot.number, other.number)
                self._say_crossed(other, slot, code, now)

    def is_free(self, line: Line) -> bool:
        """Whether it is under no code."""
        return self._exchange.code_of(line) is None

    def join(self, line: Line, code: bytes, now: float) -> Outcome:
        """JOIN, which is repeated until it is answered."""
        if self._exchange.code_of(line) not in (None, code):
            self.leave(line)
        if self.draining and not (self._exchange.knows(code) or self._goes_on(line)):
            self._refuse(line, code)
            return Outcome.REFUSED
        before = len(self)
        outcome, other = self._exchange.join(line, code, now)
        if outcome is Outcome.REFUSED:
            self._refuse(line, code)
        elif other is not None:
            if len(self) > before:
                self._counters.count("crossings")
                self._cross(line, other, now)
                self._say_crossed(other, line, code, now)
            self._say_crossed(line, other, code, now)
        return outcome

    def _goes_on(self, line: Line) -> bool:
        """Whether its call was cut, or it takes the place of a line that is in a call or was."""
        before = line.predecessor
        return line in self._cut or (before is not None and (before in self._cut or not self.is_free(before)))

    def _cross(self, line: Line, other: Line, now: float) -> None:
        if not (line.trunk or other.trunk):
            self._forwarding.cross(line.number, other.number)
        elif not (line.awaited or other.awaited):
            self._soon[line if line.trunk else other] = now + QUIET_SECONDS

    def join_via(self, line: Line, code: bytes, identity: bytes, now: float) -> None:
        """JOIN_VIA: as JOIN, with a slot of a trunk for the other line."""
        known = self._exchange.code_of(line) == code
        if self.join(line, code, now) is not Outcome.WAITING or known:
            return
        slot = None if self._trunks is None else self._trunks.take(code, identity, now)
        if slot is None:
            self._exchange.leave(line)
            self._refuse(line, code)
            return
        slot.awaited = True
        self.join(slot, code, now)

    def answered(self, slot: Line, control: Control, now: float) -> bool:
        """CROSSED or REFUSED, said by the far end of a trunk.  False when it is not about what the slot is under."""
        code = control.code
        if not slot.trunk or self._exchange.code_of(slot) != code:
            return False
        if control.operation is Operation.CROSSED:
            other = self._exchange.other_of(slot)
            if slot.awaited and other is not None:
                slot.awaited = False
                self._cross(slot, other, now)
        else:
            other = self.leave(slot)
            if other is not None:
                self._counters.count("joins_refused")
                self.say(other, Control.refused(code, control.seconds))
        return True

    def cut(self, slot: Line) -> None:
        """A trunk's slot is of no more use to who is crossed with it, or waits to be; they are told, and may say
        another code, under which the two ends find each other again."""
        code = self._exchange.code_of(slot)
        if code is None:
            return
        other = self.leave(slot)
        if self._trunks is not None:
            self._trunks.free(slot, code)
        if other is not None:
            self._counters.count("crossings_cut")
            self._cut.pop(other, None)
            self._cut[other] = self._watched_at + GOES_ON_WITHIN
            self.say(other, self._refusal(code))

    def leave_code(self, line: Line, code: bytes) -> None:
        """LEAVE."""
        if self._exchange.code_of(line) == code:
            self.leave(line)

    def leave(self, line: Line) -> Line | None:
        """Uncross; gives the line it was crossed with.  Bodies that wait already still leave: a hang-up may be among
        them."""
        code = self._exchange.code_of(line)
        if code is None:
            return None
        other = self._exchange.leave(line)
        self._forwarding.uncross(line.number)
        for gone in (line, other):
            if gone is not None and gone.trunk:
                gone.awaited = False
                gone.told_at = NEVER
                self._soon.pop(gone, None)
        # When it is the slot itself that leaves, its far end said so.
        if other is not None and other.trunk and self._trunks is not None:
            self._trunks.free(other, code)
        return other

    def _say_crossed(self, line: Line, other: Line, code: bytes, now: float) -> None:
        """To a trunk's slot that we took ourselves nothing is said, and to our agent nothing before its far end did."""
        if line.trunk:
            if line.awaited or now - line.told_at < CROSSED_EVERY:
                return
            line.told_at = now
        elif other.awaited or other in self._soon:
            return
        self.say(line, Control(Operation.CROSSED, code))

    def _refuse(self, line: Line, code: bytes) -> None:
        self._counters.count("joins_refused")
        self.say(line, self._refusal(code))

    def _refusal(self, code: bytes) -> Control:
        seconds = SOONEST_AGAIN + self._entropy.below(LATEST_AGAIN - SOONEST_AGAIN + 1)
        return Control.refused(code, seconds)
