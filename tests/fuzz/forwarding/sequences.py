"""The language of the fuzzer's inputs: any bytes are a sequence of calls to a data plane.

`target.rs` reads it for the native core under the sanitizers, and this module for whatever is a `Forwarding`, so that
what the fuzzer found can be replayed through the library as it ships and through the twin.  Cells are sealed here under
known keys: no fuzzer guesses a tag, and what stands behind authentication is half of the code.

An input is one byte of setting, then operations: one byte that says which, then the bytes it takes; what is missing at
the end is zero.  Each operation's own comment names its bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.media_reflector.forwarding.face import (
    CHECK_SIZE,
    FATES,
    MAX_CHECK_KEYS,
    SLOT_SECONDS,
    SLOTS,
    TICKET_ID_AT,
    TICKET_ID_SIZE,
    Address,
    Datagram,
    DownKeys,
    Forwarding,
    Upcall,
    UpKeys,
    pack_address,
)
from relay.rtp.cell import BODY_SIZE, CELL_SIZE, RTP_HEADER_SIZE

MAX_OPERATIONS = 200
MAX_LINES = 32
KEYS = 16
"""Epochs' keys that operations can name; more lines than that share SSRCs, which `add_line` refuses."""
BATCH = 64
MANY = 0xFC
"""Bytes from here on ask for very much: few, for the fuzzer's time goes into it."""
FIRST_SLOT = 1000

SOURCES: tuple[Address, ...] = (
    pack_address("127.0.0.1", 40001),
    pack_address("127.0.0.2", 40002),
    pack_address("127.0.0.3", 40003),
    pack_address("::1", 40004),
)

Output = str | int | bool | Upcall | Datagram | None
"""What a call gave back."""


def up_keys(index: int) -> UpKeys:
    """The keys of epoch `index` (0..15), from agent to reflector."""
    return UpKeys(0x10000000 + index, bytes([index + 0x01]) * 16, bytes([index + 0x21]) * 12)


def down_keys(count: int, sequence_number: int, rollover_counter: int) -> DownKeys:
    """Fresh keys from reflector to agent: the caller of a data plane never gives the same ones twice.

    Sixteen steps before its end the timestamp wraps.
    """
    seed = (count & 0xFFFF).to_bytes(2)
    start = 2**32 - 16 * 960
    return DownKeys(0x20000000 + count, seed * 8, seed * 6, sequence_number, start, rollover_counter)


def check_key(index: int) -> bytes:
    return bytes([index + 0x41]) * 16


def sealed_cell(index: int, sequence_number: int, rollover_counter: int, kind: int, fill: int) -> bytes:
    """A cell as an agent sends it under `up_keys(index)`."""
    keys = up_keys(index)
    header = bytes([0x80, 111]) + sequence_number.to_bytes(2) + bytes(4) + keys.ssrc.to_bytes(4)
    counter = keys.ssrc << 48 | rollover_counter << 16 | sequence_number
    nonce = (int.from_bytes(keys.salt) ^ counter).to_bytes(12)
    return header + AESGCM(keys.key).encrypt(nonce, bytes([kind]) + bytes([fill]) * BODY_SIZE, header)


def ticket_id(number: int, how: int) -> bytes:
    """Numbers of two kinds: one that may be permitted, and one that checks (or just not) under a check key."""
    if how & 3 == 0:
        return bytes([number]) * TICKET_ID_SIZE
    nonce = bytes([number]) * (TICKET_ID_SIZE - CHECK_SIZE)
    check = AESGCM(check_key(how >> 2 & 15)).encrypt(nonce + bytes(4), b"", None)[:CHECK_SIZE]
    if how & 3 == 2:
        check = check[:-1] + bytes([check[-1] ^ 1])
    return nonce + check


def repetitions(count: int) -> int:
    """Few as a rule; sometimes enough to fill the ring of upcalls or to pass a limit."""
    return 100 + 64 * (count & 3) if count >= MANY else 1 + (count & 3)


@dataclass(slots=True)
class _Stream:
    """Cells of one epoch, one after the other."""

    source: Address
    index: int
    packet: int
    kind: int
    fill: int

    def next_cell(self) -> bytes:
        packet = self.packet & 0xFFFFFFFF
        self.packet += 1
        return sealed_cell(self.index, packet & 0xFFFF, packet >> 16, self.kind, self.fill)


@dataclass(slots=True)
class Run:
    """One input on its way through one data plane."""

    forwarding: Forwarding
    data: bytes
    at: int = 0
    number: int = FIRST_SLOT
    lines: list[int] = field(default_factory=list)
    downs: int = 0
    waiting: list[Datagram] = field(default_factory=list)
    datagrams: int = 0
    stream: _Stream | None = None

    def play(self) -> Iterator[Output]:
        """Every result of every call, in order."""
        if self._byte() & 1:
            yield from self._set_up()
        for _ in range(MAX_OPERATIONS):
            if self.at >= len(self.data):
                break
            yield from self._operation(self._byte() & 15)
        self._deliver()
        for _ in range(SLOTS):
            yield from self._slot()
        yield from self.forwarding.upcalls()

    def unaccounted(self) -> int:
        """Datagrams received that have no fate, or more than one: zero."""
        counted = self.forwarding.counters()
        assert counted["datagrams_received"] == self.datagrams
        return self.datagrams - sum(counted[fate] for fate in FATES)

    @property
    def now(self) -> float:
        return self.number * SLOT_SECONDS

    def _byte(self) -> int:
        value = self.data[self.at] if self.at < len(self.data) else 0
        self.at += 1
        return value

    def _line(self) -> int:
        """A line that was added, or a number that is none."""
        index = self._byte()
        return self.lines[index % len(self.lines)] if self.lines and index < 0xF0 else index

    def _set_up(self) -> Iterator[Output]:
        """Four lines with an address each, two of them crossed, so that an input can begin with the daily work."""
        for index in range(4):
            yield self._add(index)
            yield self._settle(self.lines[index], index, 2, 0xFFF0, 0)
            yield self.forwarding.prepare(self.lines[index], up_keys(index + 4))
        yield self.forwarding.cross(self.lines[0], self.lines[1])
        self.forwarding.permit(ticket_id(0, 0))
        self.forwarding.check_keys([check_key(0)], [check_key(1)])

    def _operation(self, operation: int) -> Iterator[Output]:
        if operation > 4:
            self._deliver()
        match operation:
            case 0 | 1 | 2 | 3 | 4:
                self._datagrams(operation)
            case 5:  # slot, keys
                slot = self._byte() % SLOTS
                yield self._add(self._byte() % KEYS, slot)
            case 6:  # line, keys or none
                line, index = self._line(), self._byte()
                yield self.forwarding.prepare(line, None if index >= 0xF0 else up_keys(index % KEYS))
            case 7:  # line, address, flags, sequence number (2), rollover counter
                line, source, flags = self._line(), self._byte(), self._byte()
                sequence_number = self._byte() << 8 | self._byte()
                yield self._settle(line, source, flags, sequence_number, self._byte())
            case 8:  # line, line
                yield self.forwarding.cross(self._line(), self._line())
            case 9:  # line
                yield self.forwarding.uncross(self._line())
            case 10:  # line, count, what fills it
                line, count, fill = self._line(), self._byte(), self._byte()
                for _ in range(1 + count % 10):
                    yield self.forwarding.control(line, bytes([fill]) * BODY_SIZE)
            case 11:  # line
                yield self.forwarding.remove(self._line())
            case 12:  # slot, count, what fills it, address
                slot, count = self._byte() % SLOTS, self._byte()
                single = b"\0" + bytes([self._byte()]) * (CELL_SIZE - 1)
                address = SOURCES[self._byte() & 3]
                for _ in range(repetitions(count)):
                    yield self.forwarding.send(slot, single, address)
            case 13:  # what, number
                self._gate(self._byte() % 3, self._byte())
            case 14:  # count
                count = self._byte()
                if count >= MANY:
                    yield from self._steady(30 + 30 * (count & 3))
                else:
                    for _ in range(1 + count % 48):
                        yield from self._slot()
            case _:  # how far, in fifths of a second
                self.number += self._byte() * 200
                yield from self.forwarding.upcalls()
                yield self.forwarding.lines

    def _datagrams(self, operation: int) -> None:
        if operation == 2:  # address, size, then up to 32 bytes; zeros follow
            source, size = SOURCES[self._byte() & 3], self._byte()
            self._arrive(bytes(self._byte() for _ in range(min(size, 32))).ljust(size, b"\0"), source)
        elif operation == 3:  # address, keys or none, what fills it
            source, header = SOURCES[self._byte() & 3], self._bare_header()
            self._arrive(header + bytes([self._byte()]) * (CELL_SIZE - RTP_HEADER_SIZE), source)
        elif operation == 4:  # address, keys or none, number, how, count
            source, header = SOURCES[self._byte() & 3], self._bare_header()
            number, how, count = self._byte(), self._byte(), self._byte()
            for more in range(repetitions(count)):
                message = header + ticket_id(number + more & 0xFF, how)
                assert len(header) == TICKET_ID_AT
                self._arrive(message.ljust(CELL_SIZE, bytes([number])), source)
        else:
            self._cells(operation == 1)

    def _cells(self, damaged: bool) -> None:
        """Address, keys, sequence number (2), rollover counter, type, what fills it, count; then position and bits of
        the damage."""
        source, index = SOURCES[self._byte() & 3], self._byte() % KEYS
        sequence_number, rollover_counter = self._byte() << 8 | self._byte(), self._byte()
        kind, fill, count = self._byte(), self._byte(), self._byte()
        position, bits = (self._byte() % CELL_SIZE, self._byte()) if damaged else (0, 0)
        self.stream = _Stream(source, index, rollover_counter << 16 | sequence_number, kind, fill)
        for _ in range(repetitions(count)):
            cell = bytearray(self.stream.next_cell())
            cell[position] ^= bits
            self._arrive(bytes(cell), source)

    def _steady(self, ticks: int) -> Iterator[Output]:
        """Let the last sealed stream go on, a cell in each tick."""
        for _ in range(ticks):
            if self.stream is not None:
                self._arrive(self.stream.next_cell(), self.stream.source)
                self._deliver()
            for _ in range(SLOTS):
                yield from self._slot()

    def _bare_header(self) -> bytes:
        index = self._byte()
        ssrc = up_keys(index % KEYS).ssrc if index < 0x80 else 0x30000000 + index
        return bytes([0x80, 111]) + bytes(6) + ssrc.to_bytes(4)

    def _arrive(self, datagram: bytes, source: Address) -> None:
        self.waiting.append((datagram, source))
        if len(self.waiting) == BATCH:
            self._deliver()

    def _deliver(self) -> None:
        self.datagrams += len(self.waiting)
        self.forwarding.receive(self.waiting, self.now)
        self.waiting = []

    def _add(self, index: int, slot: int | None = None) -> int | None:
        if len(self.lines) == MAX_LINES:
            return None
        line = self.forwarding.add_line(index % SLOTS if slot is None else slot, up_keys(index), self.now)
        if line is not None:
            self.lines.append(line)
        return line

    def _settle(
        self, line: int, source: int, flags: int, sequence_number: int, rollover_counter: int
    ) -> bool:
        down = None
        if flags & 2:
            down = down_keys(self.downs, sequence_number, rollover_counter)
            self.downs += 1
        return self.forwarding.settle(line, down, SOURCES[source & 3], advance=bool(flags & 1))

    def _gate(self, what: int, number: int) -> None:
        if what == 0:
            self.forwarding.permit(ticket_id(number, 0))
        elif what == 1:
            self.forwarding.forbid(ticket_id(number, 0))
        else:
            keys = [check_key(index) for index in range(number % (MAX_CHECK_KEYS + 1))]
            self.forwarding.check_keys(keys[: number & 3], keys[number & 3 :])

    def _slot(self) -> Iterator[Output]:
        yield from self.forwarding.slot(self.number, self.now)
        self.number += 1
