"""One call, as decisions: what an agent does when a phone, a contact, a line or the time says something.

No sockets, no cryptography, no message syntax.  Inputs are methods that take `now`; what is to be done is drained with
`outputs()`; `deadline()` says when `tick` wants to run next.  The phases are those of DESIGN.md section 4: ring,
meet, talk, part (find happened long before anyone dials).

    caller   RINGING -----answer 2xx----.
                                        +--> MEETING --crossed--> TALKING --any end--> PARTING --> ENDED
    callee   ALERTING --human answers---'
    every state but PARTING: any failure --> ENDED (never answered) or PARTING (a phone still listens)
"""

from collections.abc import Sequence
from enum import Enum

from relay.agent.commands import (
    AnswerPhone,
    HangUpPhone,
    OpenLine,
    Output,
    Play,
    ProgressPhone,
    RefusePhone,
    ReleaseLine,
    SendAnswer,
    SendInCells,
    SendNote,
    Tell,
    Tone,
    Unkey,
)
from relay.agent.events import Value
from relay.agent.meeting import NOTHING_IN_COMMON

NOWHERE_TO_MEET = 488
"""The status of an answer that says: no guard in common, and no trunk (RFC 3261 section 21.4.26)."""
MEET_SECONDS = 45.0
"""How long after the longest start delay the two lines may take to cross."""
PEER_SILENCE_SECONDS = 8.0
"""A peer whose sealed bodies stop arriving, chaff included, is gone.  Both lines may be moving to another reflector,
which takes up to five seconds."""
UNHEARD_SECONDS = 1.5
"""After so long without them the phone plays the waiting tone: nobody has to listen to a dead line."""
FAREWELL_SECONDS = 1.2
"""How long the hang-up tone is heard before the phone is released."""
BYE_INTERVAL = 0.5
BYE_SECONDS = 2.0
"""A BYE in the cells is repeated this often, this long; then a sealed one goes by way of the contact point."""
SETTLE_SECONDS = 3.0
"""How long the side that was hung up on stays keyed, to answer repeated BYEs."""


class Side(Enum):
    CALLER = "caller"
    CALLEE = "callee"


class Phase(Enum):
    RINGING = "ringing"
    ALERTING = "alerting"
    MEETING = "meeting"
    TALKING = "talking"
    PARTING = "parting"
    ENDED = "ended"


class Call:
    """One side of one call.

    `start_delay` and `stagger` are seconds, drawn beforehand by the policies of `relay.chaff`; `longest_delay` is the
    policy's maximum, which bounds how long the other side may take to appear.
    """

    def __init__(
        self,
        side: Side,
        contact: str,
        *,
        start_delay: float,
        stagger: float,
        longest_delay: float,
        ring_seconds: float,
        now: float,
    ) -> None:
        self.side = side
        self.contact = contact
        self.phase = Phase.RINGING if side is Side.CALLER else Phase.ALERTING
        self.reason = ""
        self.untaken = False
        """Whether it rang here, or should have, and nobody decided about it."""
        self._start_delay = start_delay
        self._stagger = stagger
        self._longest_delay = longest_delay
        self._deadline: float | None = now + ring_seconds
        self._outputs: list[Output] = []
        self._phone_answered = False
        self._line_up = False
        self._line_wanted = False
        self._opens_at = now
        self._heard_at = now
        self._unheard = False
        """Whether the waiting tone is played for a peer that is not heard."""
        self._bye_next: float | None = None
        self._bye_until = 0.0
        self._farewell_at: float | None = None
        self._settle_at: float | None = None
        self._tell("dialled" if side is Side.CALLER else "ring-received", contact=contact)

    # -- draining ------------------------------------------------------------------------------------------------

    def outputs(self) -> Sequence[Output]:
        """What is to be done now, in order; each once."""
        drained, self._outputs = self._outputs, []
        return drained

    def deadline(self) -> float | None:
        """When `tick` wants to run next."""
        limit = PEER_SILENCE_SECONDS if self._unheard else UNHEARD_SECONDS
        silence = self._heard_at + limit if self.phase is Phase.TALKING else None
        moments = (self._deadline, silence, self._bye_next, self._farewell_at, self._settle_at)
        return min((moment for moment in moments if moment is not None), default=None)

    @property
    def ended(self) -> bool:
        return self.phase is Phase.ENDED

    # -- ringing -------------------------------------------------------------------------------------------------

    def ring_sent(self) -> None:
        """The contact point took the ring.  The phone plays its ringing tone; whether the other side rings, only an
        answer can say, and the reason phrase does not pretend otherwise."""
        if self.phase is Phase.RINGING:
            self._out(ProgressPhone(180, "Ring sent"))
            self._tell("ring-sent", contact=self.contact)

    def answered_by_peer(self, status: int, now: float) -> None:
        """The one sealed answer to our ring arrived."""
        if self.phase is not Phase.RINGING:
            return
        if status >= 300:
            # Only these three mean anything to a phone; a contact does not choose what else ours is told.
            told = status if status in (486, 603) else 480
            if status == NOWHERE_TO_MEET:
                why = NOTHING_IN_COMMON.format(contact=self.contact)
                self._fail(told, "no reflector in common", explanation=why)
            else:
                self._fail(told, {486: "busy", 603: "declined"}.get(told, "not taken"))
            return
        self._phone_answered = True
        self._out(AnswerPhone())
        self._meet(now)

    def answered_by_phone(self, now: float) -> None:
        """The human at our phone picked up."""
        if self.phase is not Phase.ALERTING:
            return
        self._phone_answered = True
        self._out(SendAnswer(200))
        self._meet(now)

    def phone_rings(self) -> None:
        """The phone at this end said that it rings."""
        if self.phase is Phase.ALERTING:
            self._tell("ringing", contact=self.contact)

    def refused_by_phone(self, status: int) -> None:
        """Our phone declined the ring, is busy, or is not there."""
        if self.phase is Phase.ALERTING:
            busy, absent = status in (486, 600), status in (404, 408, 480, 503)
            self.untaken = busy or absent
            self._out(SendAnswer(486 if busy else 480 if absent else 603))
            self._end("busy here" if busy else "no phone here" if absent else "declined here")

    # -- meeting and talking -------------------------------------------------------------------------------------

    def line_open(self) -> None:
        if self._line_wanted:
            self._line_up = True
            self._tell("line-open")

    def crossed(self, now: float) -> None:
        """The first body that only the peer can have sealed arrived."""
        self._heard_at = now
        if self.phase is not Phase.MEETING:
            return
        self.phase = Phase.TALKING
        self._deadline = None
        self._out(Play(Tone.NONE, now))
        if self.side is Side.CALLER:
            self._out(SendInCells("ACK"))
        self._tell("crossed")

    def heard(self, now: float) -> bool:
        """Another body of the peer's arrived, voice or chaff.  True when something is to be done about it."""
        self._heard_at = now
        was_unheard, self._unheard = self._unheard, False
        if was_unheard and self.phase is Phase.TALKING:
            self._out(Play(Tone.NONE, now))
            self._tell("heard-again")
            return True
        return False

    # -- ends ----------------------------------------------------------------------------------------------------

    def hung_up_by_phone(self, now: float) -> None:
        """Our human hung up, or gave up waiting."""
        match self.phase:
            case Phase.RINGING:
                self._out(SendNote("CANCEL"))
                self._end("cancelled here")
            case Phase.ALERTING:
                self._out(SendAnswer(480))
                self._end("not taken here")
            case Phase.MEETING:
                self._tell("hang-up", by="us")
                self._out(SendNote("BYE"))
                self._part(now, "hung up here before the lines met", farewell=False)
            case Phase.TALKING:
                self._tell("hang-up", by="us")
                self._bye_until = now + BYE_SECONDS
                self._part(now, "hung up here", farewell=False)
                self._settle_at = None
                self._repeat_bye(now)
            case Phase.PARTING:
                self._farewell_at = None
                self._finish()
            case _:
                pass

    def bye_in_cells(self, now: float) -> None:
        """The peer's BYE arrived in the cells, perhaps again."""
        if self.phase in (Phase.TALKING, Phase.PARTING):
            self._out(SendInCells("200"))
        if self.phase is Phase.TALKING:
            self._tell("hang-up", by="the other side")
            self._part(now, "hung up by the other side", farewell=True)

    def bye_confirmed(self, now: float) -> None:
        """The 200 to our BYE arrived in the cells."""
        if self._bye_next is not None:
            self._bye_next = None
            self._settle_at = now

    def insecure(self, reason: str, now: float) -> None:
        """The voice is not secured, or not any more, and does not go on in the clear; or it cannot be heard, and does
        not go on in silence."""
        if self.phase is Phase.TALKING:
            self._tell("hang-up", by="us")
            self._bye_until = now + BYE_SECONDS
            self._part(now, reason, farewell=True)
            self._settle_at = None
            self._repeat_bye(now)

    def note(self, method: str, now: float) -> None:
        """A sealed CANCEL or BYE arrived by way of the contact point."""
        if method == "CANCEL" and self.phase is Phase.ALERTING:
            self.untaken = True
            self._out(HangUpPhone())
            self._end("cancelled by the caller")
        elif method == "BYE" and self.phase is Phase.RINGING:
            # It overtook the answer that it takes back.
            self._fail(480, "not taken")
        elif method in ("BYE", "CANCEL") and self.phase in (Phase.MEETING, Phase.TALKING):
            self._tell("hang-up", by="the other side")
            self._part(now, "hung up by the other side", farewell=True)

    def line_lost(self, reason: str, now: float) -> None:
        """The line broke, or never opened."""
        self._line_up = False
        self._line_wanted = False
        if self.phase in (Phase.MEETING, Phase.TALKING):
            self._out(SendNote("BYE"))
            self._part(now, reason, farewell=True)
        elif self.phase is Phase.PARTING and self._bye_next is not None:
            self._bye_next = None
            self._settle_at = now

    def not_crossed(self, reason: str, now: float) -> None:
        """The reflector says that the lines will not be crossed, for instance because its trunk is taken, or that they
        are no longer, because the trunk broke.  The line itself is up, and stays up as after any call."""
        if self.phase in (Phase.MEETING, Phase.TALKING):
            self._out(SendNote("BYE"))
            self._part(now, reason, farewell=True)

    def transport_lost(self, reason: str, now: float) -> None:
        """Tor or the contact point is gone.  A call that is not up yet fails here, and nothing goes around it; one
        that is up does not need them any more."""
        if self.phase in (Phase.RINGING, Phase.ALERTING):
            if self.phase is Phase.ALERTING:
                self._out(HangUpPhone())
                self._end(reason)
            else:
                self._fail(503, reason)
        elif self.phase is Phase.MEETING and not self._line_up:
            self._part(now, reason, farewell=True)

    # -- time ----------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Whatever was due at or before `now`."""
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._timed_out(now)
        if self.phase is Phase.TALKING and now >= self._heard_at + PEER_SILENCE_SECONDS:
            self._out(SendNote("BYE"))
            self._part(now, "the other side went silent", farewell=True)
        elif self.phase is Phase.TALKING and not self._unheard and now >= self._heard_at + UNHEARD_SECONDS:
            self._unheard = True
            self._out(Play(Tone.WAITING, now))
            self._tell("silence")
        if self._bye_next is not None and now >= self._bye_next:
            self._repeat_bye(now)
        if self._farewell_at is not None and now >= self._farewell_at:
            self._farewell_at = None
            self._out(HangUpPhone())
        if self._settle_at is not None and now >= self._settle_at:
            self._settle_at = None
            self._out(Unkey())
        self._finish()

    def _timed_out(self, now: float) -> None:
        match self.phase:
            case Phase.RINGING:
                self._out(SendNote("CANCEL"))
                self._fail(480, "no answer")
            case Phase.ALERTING:
                self.untaken = True
                self._out(HangUpPhone())
                self._end("nobody answered here")
            case Phase.MEETING:
                self._out(SendNote("BYE"))
                self._part(now, "the two lines did not meet in time", farewell=True)
            case _:
                pass

    def _meet(self, now: float) -> None:
        self.phase = Phase.MEETING
        self._deadline = now + self._longest_delay + MEET_SECONDS
        self._line_wanted = True
        self._opens_at = now + self._start_delay
        self._tell("answered", delay=round(self._start_delay, 3))
        self._out(Play(Tone.WAITING, now + self._start_delay))
        self._out(OpenLine(self._opens_at))

    def _part(self, now: float, reason: str, *, farewell: bool) -> None:
        self.phase = Phase.PARTING
        self.reason = reason
        self._deadline = None
        if farewell:
            self._farewell_at = now + FAREWELL_SECONDS
            self._out(Play(Tone.FAREWELL, self._farewell_at))
        self._settle_at = now + SETTLE_SECONDS
        if self._line_wanted:
            if now < self._opens_at:
                self._tell("line-unopened")
            else:
                self._tell("line-lingering", stagger=round(self._stagger, 3))
            self._out(ReleaseLine(now + self._stagger))

    def _repeat_bye(self, now: float) -> None:
        if now >= self._bye_until:
            self._bye_next = None
            self._settle_at = now
            self._out(SendNote("BYE"))
        else:
            self._bye_next = now + BYE_INTERVAL
            self._out(SendInCells("BYE"))

    def _finish(self) -> None:
        waiting = (self._bye_next, self._farewell_at, self._settle_at)
        if self.phase is Phase.PARTING and all(moment is None for moment in waiting):
            self._end(self.reason)

    def _fail(self, status: int, reason: str, *, explanation: str = "") -> None:
        """`explanation` is for the owner, where a phone's display has no room for it."""
        self._out(RefusePhone(status, reason.capitalize()))
        self._tell("failed", status=status, reason=explanation or reason)
        self._end(reason)

    def _end(self, reason: str) -> None:
        self.phase = Phase.ENDED
        self.reason = reason
        self._deadline = None
        self._tell("call-ended", reason=reason)

    def _out(self, output: Output) -> None:
        self._outputs.append(output)

    def _tell(self, event: str, /, **fields: Value) -> None:
        self._outputs.append(Tell(event, fields))
