"""The data plane in plain Python: the fallback where no native one can be built, and the oracle of the native one."""

import math
import socket
import struct
import threading
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag

from relay.core import Clock, MisuseError
from relay.media_reflector.forwarding import face
from relay.media_reflector.forwarding.face import (
    Address,
    ControlReceived,
    Datagram,
    DownKeys,
    Elsewhere,
    Expired,
    Stranger,
    Upcall,
    UpKeys,
)
from relay.media_reflector.forwarding.twin_gate import Origin, TicketGate
from relay.media_reflector.forwarding.twin_limit import Crowd, Limit
from relay.media_reflector.forwarding.twin_line import FIRST_BYTES, DownEpoch, Line, UpEpoch
from relay.media_reflector.forwarding.twin_worker import Worker
from relay.rtp.cell import BODY_SIZE, CELL_SIZE, TICK, LinkType

_read_header = struct.Struct("!HH4xI").unpack_from

_CHAFF = bytes((LinkType.CHAFF,)) + bytes(BODY_SIZE)
"""Link type and body of a cell with nothing in it: what it looks like is the link encryption's business."""
_CONTROL_TYPE = bytes((LinkType.CONTROL,))
# An attribute of an enumeration costs a tenth of a cell.
_END_TO_END, _CONTROL = int(LinkType.END_TO_END), int(LinkType.CONTROL)


class PlainForwarding:
    """One data plane (`Forwarding`).  All of its lines and sockets are served by one thread."""

    name = "plain"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._lines: dict[int, Line] = {}
        self._last_number = 0
        self._epochs: dict[int, UpEpoch] = {}
        """By SSRC: the current and following epochs of all lines."""
        self._slots: list[list[Line]] = [[] for _ in range(face.SLOTS)]
        self._singles: list[list[Datagram]] = [[] for _ in range(face.SLOTS)]
        self._gate = TicketGate()
        self._strangers_heard: dict[Origin, Limit[bytes]] = {
            Origin.PERMITTED: Limit(face.PERMITTED_PER_TICK),
            Origin.OWN: Limit(face.OWN_PER_TICK),
            Origin.LEFT: Limit(face.LEFT_PER_TICK),
        }
        self._opening_heard: Limit[int] = Limit(face.OPENING_PER_TICK)
        self._open_heard: Limit[int] = Limit(face.OPEN_PER_TICK)
        self._addresses_heard: Crowd[Address] = Crowd(face.LINES_PER_ADDRESS)
        """Of open lines, by the address that each has proved: one that a datagram only claims could be another's."""
        self._upcalls: list[Upcall] = []
        self._counters = dict.fromkeys(face.COUNTERS, 0)
        self._worker: Worker | None = None

    # Lines.

    def add_line(self, slot: int, up: UpKeys, now: float) -> int | None:
        with self._lock:
            if up.ssrc in self._epochs:
                return None
            line = Line(self._last_number + 1, slot % face.SLOTS, up, now)
            self._last_number = line.number
            self._lines[line.number] = line
            self._slots[line.slot].append(line)
            self._epochs[up.ssrc] = line.current
            return line.number

    def prepare(self, line: int, up: UpKeys | None) -> bool:
        with self._lock:
            found = self._lines.get(line)
            if found is None:
                return False
            before = found.following
            # The SSRC of the epoch that goes may come again.
            if up is not None and self._epochs.get(up.ssrc, before) is not before:
                return False
            found.following = None if up is None else UpEpoch(up, found)
            if before is not None:
                del self._epochs[before.ssrc]
            if found.following is not None:
                self._epochs[found.following.ssrc] = found.following
            return True

    def settle(self, line: int, down: DownKeys | None, address: Address, *, advance: bool) -> bool:
        if len(address) != face.ADDRESS_SIZE:
            raise MisuseError("an address of a data plane has 18 bytes")
        with self._lock:
            found = self._lines.get(line)
            if found is None or (advance and found.following is None):
                return False
            if down is not None:
                found.down = DownEpoch(down)
            if advance:
                assert found.following is not None
                del self._epochs[found.current.ssrc]
                found.current, found.following = found.following, None
            found.address = address
            return True

    def cross(self, one: int, other: int) -> bool:
        with self._lock:
            first, second = self._lines.get(one), self._lines.get(other)
            if first is None or second is None or first is second:
                return False
            first.uncross()
            second.uncross()
            first.other, second.other = second, first
            return True

    def uncross(self, line: int) -> bool:
        with self._lock:
            found = self._lines.get(line)
            if found is not None:
                found.uncross()
            return found is not None

    def control(self, line: int, body: bytes) -> bool:
        if len(body) != BODY_SIZE:
            raise MisuseError("a control body has 131 bytes")
        with self._lock:
            found = self._lines.get(line)
            if found is None:
                return False
            if len(found.control) >= face.MAX_CONTROL:
                self._counters["control_full"] += 1
                return False
            found.control.append(_CONTROL_TYPE + body)
            return True

    def remove(self, line: int) -> bool:
        with self._lock:
            found = self._lines.pop(line, None)
            if found is None:
                return False
            found.uncross()
            for epoch in (found.current, found.following):
                if epoch is not None:
                    del self._epochs[epoch.ssrc]
            served = self._slots[found.slot]
            last = served.pop()
            if last is not found:
                served[served.index(found)] = last
            return True

    @property
    def lines(self) -> int:
        return len(self._lines)

    # Strangers.

    def send(self, slot: int, datagram: bytes, address: Address) -> bool:
        if len(datagram) != CELL_SIZE or len(address) != face.ADDRESS_SIZE:
            raise MisuseError("a single datagram has 160 bytes, its address 18")
        with self._lock:
            waiting = self._singles[slot % face.SLOTS]
            if len(waiting) >= face.MAX_SINGLE:
                self._counters["singles_full"] += 1
                return False
            waiting.append((datagram, address))
            return True

    def permit(self, ticket_id: bytes) -> None:
        with self._lock:
            self._gate.permit(ticket_id)

    def forbid(self, ticket_id: bytes) -> None:
        with self._lock:
            self._gate.forbid(ticket_id)

    def check_keys(self, own: Sequence[bytes], left: Sequence[bytes]) -> None:
        with self._lock:
            self._gate.check_keys(own, left)

    # What comes out.

    def upcalls(self) -> list[Upcall]:
        with self._lock:
            waiting, self._upcalls = self._upcalls, []
            return waiting

    def counters(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counters)

    # Cells.

    def receive(self, datagrams: Sequence[Datagram], now: float) -> None:
        with self._lock:
            counters, epochs, tick = self._counters, self._epochs, math.floor(now / TICK)
            authentic = 0
            for datagram, source in datagrams:
                if len(datagram) != CELL_SIZE:
                    counters["wrong_size"] += 1
                    continue
                first_bytes, sequence_number, ssrc = _read_header(datagram)
                if first_bytes != FIRST_BYTES:
                    counters["not_a_cell"] += 1
                    continue
                epoch = epochs.get(ssrc)
                if epoch is None or epoch.line.address is None:
                    if self._is_stranger(datagram, source, tick):
                        continue
                    if epoch is None:
                        counters["unknown_ssrc"] += 1
                        continue
                try:
                    payload = epoch.open(sequence_number, datagram)
                except InvalidTag:
                    counters["not_authentic"] += 1
                    continue
                if payload is None:
                    counters["replayed"] += 1
                    continue
                authentic += 1
                line = epoch.line
                line.heard = now
                link_type = payload[0]
                if link_type == _END_TO_END:
                    other = line.other
                    if other is None:
                        counters["not_crossed"] += 1
                    else:
                        queue = other.queue
                        if len(queue) == face.MAX_QUEUED:
                            del queue[0]
                            counters["queue_full"] += 1
                        queue.append(payload)
                elif link_type > _CONTROL:
                    counters["unknown_type"] += 1
                    continue
                if epoch is not line.current or source != line.address:
                    elsewhere = Elsewhere(line.number, epoch is line.following, payload, source)
                    self._hand_up_of(line, elsewhere, tick)
                elif link_type == _CONTROL:
                    self._hand_up_of(line, ControlReceived(line.number, payload[1:]), tick)
            counters["datagrams_received"] += len(datagrams)
            counters["cells_received"] += authentic

    def slot(self, number: int, now: float) -> list[Datagram]:
        with self._lock:
            leaving: list[Datagram] = []
            counters = self._counters
            bodies = chaff = 0
            for line in self._slots[number % face.SLOTS]:
                down, address = line.down, line.address
                if down is None or address is None:
                    continue
                if line.expired or now - line.heard >= face.LINE_EXPIRY:
                    self._expire(line)
                    continue
                if line.control:
                    payload = line.control.pop(0)
                    counters["control_sent"] += 1
                elif line.queue:
                    payload = line.queue.pop(0)
                    bodies += 1
                    if line.queue:
                        self._trim(line)
                else:
                    payload = _CHAFF
                    chaff += 1
                leaving.append((down.seal(payload), address))
            counters["bodies_sent"] += bodies
            counters["chaff_sent"] += chaff
            counters["cells_sent"] += len(leaving)
            singles = self._singles[number % face.SLOTS]
            if singles:
                counters["singles_sent"] += len(singles)
                leaving += singles
                singles.clear()
            return leaving

    def _is_stranger(self, datagram: bytes, source: Address, tick: int) -> bool:
        """Whether the datagram carries a ticket's number that we know; if so, it is dealt with."""
        ticket_id = datagram[face.TICKET_ID_AT : face.TICKET_ID_AT + face.TICKET_ID_SIZE]
        origin = self._gate.origin(ticket_id)
        if origin is None:
            return False
        heard = self._strangers_heard[origin]
        if not heard.allows(ticket_id, tick):
            self._counters["stranger_limited"] += 1
            return True
        self._counters["strangers_received"] += 1
        if self._hand_up(Stranger(datagram, source)):
            heard.heard(ticket_id)
        return True

    def _hand_up_of(self, line: Line, upcall: Upcall, tick: int) -> None:
        """What a line causes upwards."""
        address = line.address
        heard = self._opening_heard if address is None else self._open_heard
        if not heard.allows(line.number, tick) or not (
            address is None or self._addresses_heard.allows(address, tick)
        ):
            self._counters["line_limited"] += 1
        elif self._hand_up(upcall):
            heard.heard(line.number)
            if address is not None:
                self._addresses_heard.heard(address)

    def _expire(self, line: Line) -> None:
        if not line.expired:
            line.expired = True
            self._counters["lines_expired"] += 1
        # Nobody else would ever tell that the line is gone: it is worth another try in the next tick.
        if not line.reported and len(self._upcalls) < face.MAX_UPCALLS:
            line.reported = self._hand_up(Expired(line.number))

    def _trim(self, line: Line) -> None:
        """After a burst the queue would stay long for ever, as many come as leave: give up one body.

        On its way to being empty a queue passes here with one body left, so that chaff finds the count at zero.
        """
        line.standing = line.standing + 1 if len(line.queue) >= face.MAX_STANDING else 0
        if line.standing == face.STANDING_TICKS:
            line.standing = 0
            del line.queue[0]
            self._counters["queue_trimmed"] += 1

    def _hand_up(self, upcall: Upcall) -> bool:
        if len(self._upcalls) >= face.MAX_UPCALLS:
            self._counters["upcalls_full"] += 1
            return False
        self._upcalls.append(upcall)
        if self._worker is not None:
            self._worker.wake()
        return True

    # Sockets.

    def start(self, sockets: Sequence[Sequence[socket.socket]]) -> int:
        if self._worker is not None:
            raise MisuseError("this data plane runs already")
        self._worker = Worker(self, self._clock, [one for worker in sockets for one in worker])
        return self._worker.start()

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def count(self, name: str, amount: int) -> None:
        """Count what only the sockets know."""
        with self._lock:
            self._counters[name] += amount

    def skip(self, first: int, count: int) -> None:
        """Count the departures of lines in `count` slots that are let go by, from slot `first` on."""
        with self._lock:
            for number in range(first, first + min(count, face.SLOTS)):
                times = len(range(number, first + count, face.SLOTS))
                self._counters["departures_missed"] += times * sum(
                    line.down is not None and line.address is not None and not line.expired
                    for line in self._slots[number % face.SLOTS]
                )
