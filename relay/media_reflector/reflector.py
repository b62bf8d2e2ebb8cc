"""The reflector's control plane (sans-IO): what a data plane hands up is decided here, and nowhere else.

A data plane (`forwarding`) opens cells, passes bodies on and lets one cell leave for every line in every tick; nothing
that is done here moves a departure.  Every upcall costs a bounded amount of work, whatever the number of lines, and who
is due (hand-outs, expiry) is found by its deadline.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import assert_never

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from relay.core import Counters, Entropy
from relay.media_reflector import crossing, handouts, opening, roaming
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.crossing import Crossings, TrunkSwitch
from relay.media_reflector.forwarding import face
from relay.media_reflector.forwarding.face import (
    ControlReceived,
    Elsewhere,
    Expired,
    Forwarding,
    Stranger,
    Upcall,
)
from relay.media_reflector.handouts import BackupSource, HandOuts
from relay.media_reflector.handshake import ticket_number
from relay.media_reflector.line import Line, Slots
from relay.media_reflector.office import DROPS as OFFICE_DROPS
from relay.media_reflector.office import TicketOffice
from relay.media_reflector.opening import Openings
from relay.media_reflector.roaming import Roaming
from relay.media_reflector.succession import Succession
from relay.rtp.cell import RTP_HEADER_SIZE, LinkType

WATCH_EVERY = 0.1
"""Seconds between two calls of `Reflector.watch`."""
MAX_PENDING = 4 * face.MAX_UPCALLS
"""What lines caused and is not decided yet; agents say again what is dropped then."""
MAX_KNOCKING = face.MAX_UPCALLS
"""First messages of different tickets that wait to be decided."""
_TURNS = 5
"""One turn in so many is a first message's."""

_OWN_DROPS = (
    *opening.DROPS,
    *roaming.DROPS,
    "already_waiting",
    "unknown_control",
    "line_gone",
    "overburdened",
)
DROPS = face.DROPS + _OWN_DROPS + OFFICE_DROPS
"""Every reason for which a datagram, a body or a wish goes no further: the data plane's, our own, and the ticket
office's.  Trunks have more (`trunk.DROPS`)."""

_EVENTS = (
    *opening.EVENTS,
    *roaming.EVENTS,
    *crossing.EVENTS,
    *handouts.EVENTS,
    "lines_closed",
    "lines_succeeded",
)


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Counts only: lines that tick, handshakes under way, pairs that are crossed, tickets out."""

    lines: int
    opening: int
    crossed: int
    tickets: int


class Reflector:
    """All lines of one reflector.  `counters` holds what is decided here, `counts` everything that is counted."""

    def __init__(
        self,
        static: X25519PrivateKey,
        office: TicketOffice,
        forwarding: Forwarding,
        entropy: Entropy,
        *,
        capacity: int = 1000,
        trunks: TrunkSwitch | None = None,
        backup: BackupSource | None = None,
    ) -> None:
        self.counters = Counters((*_OWN_DROPS, *_EVENTS))
        self._office = office
        self._forwarding = forwarding
        self._trunks = trunks
        self._lines: dict[int, Line] = {}
        self._trunk_slots = 0
        self._succession = Succession(office)
        self._openings = Openings(
            static, office, self._succession, forwarding, entropy, self.counters, Slots(), capacity
        )
        self._roaming = Roaming(forwarding, entropy, self.counters)
        self._crossings = Crossings(forwarding, entropy, self.counters, trunks)
        self._hand_outs = HandOuts(office, self._succession, entropy, self.counters, self._crossings.say)
        self._hand_outs.backup = backup
        self._pending: deque[ControlReceived | Elsewhere | Expired] = deque()
        self._knocking: dict[bytes, Stranger] = {}
        """By ticket number, in order of arrival."""

    # What an operator sees and sets.

    @property
    def capacity(self) -> int:
        """Lines that may be open or opening, besides those that come back; fewer than there are now refuses new
        ones."""
        return self._openings.capacity

    @capacity.setter
    def capacity(self, lines: int) -> None:
        self._openings.capacity = lines

    @property
    def backup(self) -> BackupSource | None:
        """Where tickets for the backup reflector come from; None: lines are handed none."""
        return self._hand_outs.backup

    @backup.setter
    def backup(self, source: BackupSource | None) -> None:
        self._hand_outs.backup = source

    @property
    def occupancy(self) -> Occupancy:
        return Occupancy(self._open, len(self._openings), len(self._crossings), len(self._office))

    @property
    def _open(self) -> int:
        return len(self._lines) - self._trunk_slots

    def counts(self) -> Mapping[str, int]:
        """All counts by name: those of the data plane, the ticket office and the trunks too."""
        counted = {
            **self._forwarding.counters(),
            **self.counters.snapshot(),
            **self._office.counters.snapshot(),
        }
        return counted if self._trunks is None else {**counted, **self._trunks.counters.snapshot()}

    def drain(self) -> None:
        """No new lines, tickets or calls from now on; every line is told, over the next seconds.

        What is there is finished: a line that is lost comes back with the ticket it was handed, and goes on with its
        call.
        """
        if not self.draining:
            self._crossings.draining = self._office.draining = self._openings.draining = True
            self._hand_outs.tell_draining(line for line in self._lines.values() if not line.trunk)

    def resume(self) -> None:
        """As before `drain`."""
        self._crossings.draining = self._office.draining = self._openings.draining = False
        self._hand_outs.stop_telling()

    @property
    def draining(self) -> bool:
        return self._crossings.draining

    @property
    def drained(self) -> bool:
        """Whether this reflector drains and no call is on any more, nor being made, nor about to go on after it was
        cut."""
        return self.draining and self._crossings.idle

    # What drives it.

    def watch(self, now: float) -> None:
        """What time alone brings; call it every `WATCH_EVERY` seconds."""
        self._office.expire(now)
        self._openings.expire(now)
        for line in self._succession.due(now):
            self._forget(line)
            self.counters.count("lines_succeeded")
        self._crossings.watch(now)
        if self._trunks is not None:
            self._trunks.watch(now)
        self._roaming.watch()
        self._hand_outs.watch(now, self._is_open)

    def handle(self, upcalls: Iterable[Upcall], now: float, limit: int | None = None) -> bool:
        """Decide what the data plane handed up, at most `limit` of it; True when some still waits for the next call.

        Of what lines say four are decided for one first message, so that a handshake is rather finished than
        another begun; and a ticket whose first message waits already waits once.  Otherwise agents that repeat
        themselves, because nothing was decided yet, would be all that is decided: with more handshakes than can be
        done, next to none would be.
        """
        for upcall in upcalls:
            self._wait(upcall)
        left = -1 if limit is None else limit
        while left and (self._pending or self._knocking):
            left -= 1
            if self._pending and (left % _TURNS or not self._knocking):
                self._decide(self._pending.popleft(), now)
            else:
                self._decide(self._knocking.pop(next(iter(self._knocking))), now)
        return bool(self._pending or self._knocking)

    def _wait(self, upcall: Upcall) -> None:
        """Let it wait for its turn, if there is room."""
        if isinstance(upcall, Stranger):
            number = ticket_number(upcall.datagram[RTP_HEADER_SIZE:])
            if number in self._knocking:
                self.counters.count("already_waiting")
            elif len(self._knocking) >= MAX_KNOCKING:
                self.counters.count("overburdened")
            else:
                self._knocking[number] = upcall
        elif len(self._pending) < MAX_PENDING or isinstance(upcall, Expired):
            self._pending.append(upcall)
        else:
            self.counters.count("overburdened")

    def _decide(self, upcall: Upcall, now: float) -> None:
        if not isinstance(upcall, ControlReceived) and self._is_for_trunks(upcall, now):
            return
        match upcall:
            case Stranger(datagram, source):
                self._openings.knock(datagram, source, self._open, now)
            case ControlReceived(number, body):
                line = self._lines.get(number)
                if line is None:
                    self.counters.count("line_gone")
                else:
                    self._obey(line, Control.from_body(body), now)
            case Elsewhere():
                self._elsewhere(upcall, now)
            case Expired(number):
                if number in self._lines:
                    self._forget(self._lines[number])
            case _:
                assert_never(upcall)

    def _is_for_trunks(self, upcall: Stranger | Elsewhere | Expired, now: float) -> bool:
        if self._trunks is None:
            return False
        if not isinstance(upcall, Stranger):
            line = self._lines.get(upcall.line)
            if upcall.line in self._openings or (line is not None and not line.trunk):
                return False
        return self._trunks.handle(upcall, now)

    def _elsewhere(self, upcall: Elsewhere, now: float) -> None:
        """An authentic cell, but from another place or under another epoch than the line's."""
        payload, source = upcall.payload, upcall.source
        is_control = payload[0] == LinkType.CONTROL
        control = Control.from_body(payload[1:]) if is_control else None
        if upcall.line in self._openings:
            opened = self._openings.prove(upcall.line, control, source, now)
            if opened is not None:
                self._lines[opened.number] = opened
                self._hand_outs.opened(opened, now)
            return
        line = self._lines.get(upcall.line)
        if line is None:
            self.counters.count("line_gone")
            return
        at_home = source == line.address
        if upcall.following and (at_home or self._roaming.proved(line, control, source)):
            self._settle(line, source)
        elif not at_home:
            self._roaming.challenge(line, source, following=upcall.following)
        if is_control:
            # Whatever way it came: only the agent can have said it, and only once.
            self._obey(line, control, now)

    def _settle(self, line: Line, source: face.Address) -> None:
        """Go on to the following epoch.  What the data plane has handed up until now as the following one is the
        current one for us from here on; taken for the next but one, it would tear both ends apart."""
        if not self._roaming.settle(line, source):
            return
        for upcall in self._forwarding.upcalls():
            self._wait(upcall)
        for index, waiting in enumerate(self._pending):
            if isinstance(waiting, Elsewhere) and waiting.line == line.number and waiting.following:
                self._pending[index] = Elsewhere(line.number, False, waiting.payload, waiting.source)

    def _obey(self, line: Line, control: Control | None, now: float) -> None:
        if control is None:
            self.counters.count("unknown_control")
            return
        if line.trunk and self._trunks is not None and self._trunks.obey(line, control, now):
            return
        match control.operation:
            case Operation.JOIN:
                self._crossings.join(line, control.code, now)
            case Operation.JOIN_VIA:
                self._crossings.join_via(line, control.code, control.identity, now)
            case Operation.LEAVE:
                self._crossings.leave_code(line, control.code)
            case Operation.CLOSE:
                self._forget(line)
                self.counters.count("lines_closed")
            case Operation.REKEY:
                answer = self._roaming.rekey(line, control.field, now)
                if answer is not None:
                    self._crossings.say(line, answer)
            case Operation.CROSSED | Operation.REFUSED if self._crossings.answered(line, control, now):
                pass
            case Operation.PROVE | Operation.ROAM:
                pass  # The cell itself has done what it is for.
            case _:
                self.counters.count("unknown_control")

    def _is_open(self, line: Line) -> bool:
        return self._lines.get(line.number) is line

    def _forget(self, line: Line) -> None:
        self._crossings.leave(line)
        self._hand_outs.closed(line)
        del self._lines[line.number]
        self._forwarding.remove(line.number)
        if line.trunk:
            self._trunk_slots -= 1
        else:
            self._openings.freed(line)

    # What trunks do with it.

    def adopt(self, slot: Line) -> None:
        """Take a trunk's slot, which its switch opened in the data plane, among the lines that can be crossed."""
        self._lines[slot.number] = slot
        self._trunk_slots += 1

    def dismiss(self, slot: Line) -> None:
        """The slot is gone; whoever is crossed with it is not any more, and is told."""
        if self._is_open(slot):
            self._crossings.cut(slot)
            self._forget(slot)

    def is_free(self, slot: Line) -> bool:
        """Whether the slot is under no code."""
        return self._crossings.is_free(slot)

    def give_up(self, slot: Line) -> None:
        """The slot stays; whoever is crossed with it, or waits to be, is told that it is not so."""
        self._crossings.cut(slot)
