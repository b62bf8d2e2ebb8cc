"""Everything that can be done to a data plane, done to both: what agents, strangers, attackers and the control plane
do, around the places where counters wrap and queues fill."""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from relay.media_reflector.forwarding import face
from relay.media_reflector.forwarding.face import Datagram, Forwarding, UpKeys
from relay.rtp.cell import CELL_SIZE, TICK, LinkType
from tests.media_reflector.forwarding.planes import (
    address,
    body,
    checked,
    down_keys,
    first_message,
    make_forwarding,
    seal,
    ticket,
    up_keys,
)

NEAR_WRAPS = st.one_of(st.integers(0, 3), st.integers(0xFFF0, 0xFFFF), st.integers(0x7FF0, 0x8010))
STEPS = st.one_of(
    st.just(1), st.just(1), st.integers(-130, 130), st.integers(0x7FF0, 0x8010), st.just(-0x8000), st.just(0)
)
TYPES = st.sampled_from([LinkType.END_TO_END, LinkType.END_TO_END, LinkType.CHAFF, LinkType.CONTROL, 3, 255])
SLOTS = st.integers(0, 2)
SSRCS = st.one_of(st.integers(1, 3), st.integers(1, 8))
"""Few, so that they are taken now and then."""
PORTS = st.integers(1, 4)
PICK = st.integers(0, 1000)
TICKETS = st.integers(0, 100)
CHECK_KEYS = (bytes(range(16)), bytes(16))
KEY_LISTS = st.lists(st.sampled_from(CHECK_KEYS), max_size=3)


@dataclass
class Stream:
    """One SSRC as its agent uses it: the keys stand for the epoch, `index` is the latest packet index."""

    keys: UpKeys
    index: int

    def cell(self, step: int, link_type: int, text: str) -> bytes:
        self.index = max(0, self.index + step)
        return seal(self.keys, self.index, link_type, body(text))


class Agreement(RuleBasedStateMachine):
    """Every rule does one thing to both data planes."""

    def __init__(self) -> None:
        super().__init__()
        self.planes: list[Forwarding] = []
        self.now = 1000.0
        self.numbers: list[int] = []
        """Every line there ever was; those that are gone are asked for too."""
        self.streams = {ssrc: Stream(up_keys(ssrc), 0) for ssrc in range(1, 9)}
        self.sent: list[Datagram] = [(bytes(CELL_SIZE), address(1))]
        self.said = 0

    @initialize(start=NEAR_WRAPS)
    def begin(self, start: int) -> None:
        self.planes = [make_forwarding(name) for name in ("plain", "native")]
        for stream in self.streams.values():
            stream.index = start
        # Something to begin with: two lines that are crossed, the first with a following epoch.
        for ssrc in (1, 2):
            self.add_line(ssrc, 0)
            self.settle(0, ssrc, start, ssrc, 0xFFFFFFFF, False)
        self.both("cross", *self.numbers)
        self.both("prepare", self.numbers[0], up_keys(3))

    def both(self, method: str, *arguments: Any, **options: Any) -> Any:
        plain, native = (getattr(plane, method)(*arguments, **options) for plane in self.planes)
        assert plain == native
        return plain

    def pick(self, at: int) -> int:
        """One of the latest lines, most of which are still there."""
        return self.numbers[-1 - at % min(8, len(self.numbers))]

    def anew(self, ssrc: int) -> None:
        """A receiver who hears this stream for the first time takes its rollover counter for zero."""
        self.streams[ssrc].index &= 0xFFFF

    def arrive(self, datagram: bytes, port: int) -> None:
        self.sent.append((datagram, address(port)))
        self.both("receive", [self.sent[-1]], self.now)

    # What the control plane does.

    @rule(ssrc=SSRCS, slot=SLOTS)
    def add_line(self, ssrc: int, slot: int) -> None:
        number = self.both("add_line", slot, up_keys(ssrc), self.now)
        if number is not None:
            self.numbers.append(number)
            self.anew(ssrc)

    @rule(at=PICK, ssrc=st.one_of(st.none(), SSRCS))
    def prepare(self, at: int, ssrc: int | None) -> None:
        if self.both("prepare", self.pick(at), None if ssrc is None else up_keys(ssrc)) and ssrc is not None:
            self.anew(ssrc)

    @rule(
        at=PICK,
        ssrc=st.one_of(st.none(), SSRCS),
        sequence_number=NEAR_WRAPS,
        port=PORTS,
        timestamp=st.sampled_from([0, 0xFFFFFFFF, 0xFFFFFC00]),
        advance=st.booleans(),
    )
    def settle(
        self, at: int, ssrc: int | None, sequence_number: int, port: int, timestamp: int, advance: bool
    ) -> None:
        down = None if ssrc is None else down_keys(ssrc, sequence_number, timestamp, ssrc * ssrc)
        self.both("settle", self.pick(at), down, address(port), advance=advance)

    @rule(one=PICK, other=PICK)
    def cross(self, one: int, other: int) -> None:
        self.both("cross", self.pick(one), self.pick(other))

    @rule(at=PICK)
    def uncross(self, at: int) -> None:
        self.both("uncross", self.pick(at))

    @rule(at=PICK, count=st.integers(1, 5))
    def control(self, at: int, count: int) -> None:
        for number in range(count):
            self.both("control", self.pick(at), body(f"control {number}"))

    @rule(at=PICK)
    def remove(self, at: int) -> None:
        self.both("remove", self.pick(at))

    @rule(slot=SLOTS, port=PORTS, count=st.sampled_from([1, 2, 150]))
    def send(self, slot: int, port: int, count: int) -> None:
        for number in range(count):
            self.both("send", slot, bytes((number,)) * CELL_SIZE, address(port))

    @rule(first=TICKETS, count=st.sampled_from([1, 90]))
    def permit(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            self.both("permit", ticket(number))

    @rule(number=TICKETS, key=st.sampled_from([None, *CHECK_KEYS]))
    def forbid(self, number: int, key: bytes | None) -> None:
        self.both("forbid", ticket(number) if key is None else checked(key, number))

    @rule(number=TICKETS, key=st.sampled_from(CHECK_KEYS))
    def permit_again(self, number: int, key: bytes) -> None:
        self.both("permit", checked(key, number))

    @rule(own=KEY_LISTS, left=KEY_LISTS)
    def check_keys(self, own: list[bytes], left: list[bytes]) -> None:
        self.both("check_keys", own, left)

    # What arrives.

    @rule(ssrc=SSRCS, steps=st.lists(STEPS, min_size=1, max_size=6), link_type=TYPES, port=PORTS)
    def cells(self, ssrc: int, steps: list[int], link_type: int, port: int) -> None:
        for step in steps:
            self.said += 1
            self.arrive(self.streams[ssrc].cell(step, link_type, f"{self.said}"), port)

    @rule(ssrc=st.integers(1, 3), link_type=TYPES, port=st.integers(1, 2))
    def next_cell(self, ssrc: int, link_type: int, port: int) -> None:
        self.cells(ssrc, [1], link_type, port)

    @rule(ssrc=st.integers(1, 3), link_type=TYPES, count=st.sampled_from([10, 40, 300]))
    def many(self, ssrc: int, link_type: int, count: int) -> None:
        """In one batch, as workers take them."""
        stream = self.streams[ssrc]
        batch = [(stream.cell(1, link_type, f"{number}"), address(ssrc)) for number in range(count)]
        self.both("receive", batch, self.now)

    @rule(ssrc=SSRCS, index=NEAR_WRAPS)
    def go_to(self, ssrc: int, index: int) -> None:
        """The agent goes on elsewhere in its sequence, in the rollover where it is."""
        stream = self.streams[ssrc]
        stream.index = (stream.index & ~0xFFFF) + index

    @rule(ssrc=SSRCS, index=NEAR_WRAPS, port=PORTS)
    def out_of_turn(self, ssrc: int, index: int, port: int) -> None:
        """An authentic cell of the first rollover: too far ahead, or from before the start."""
        self.arrive(seal(up_keys(ssrc), index, LinkType.END_TO_END, body("out of turn")), port)

    @rule(back=st.integers(1, 40), port=PORTS)
    def again(self, back: int, port: int) -> None:
        self.arrive(self.sent[-min(back, len(self.sent))][0], port)

    @rule(back=st.integers(1, 5), at=st.integers(0, CELL_SIZE - 1), bit=st.integers(0, 7), port=PORTS)
    def damaged(self, back: int, at: int, bit: int, port: int) -> None:
        datagram = bytearray(self.sent[-min(back, len(self.sent))][0])
        if len(datagram) > at:
            datagram[at] ^= 1 << bit
        self.arrive(bytes(datagram), port)

    @rule(back=st.integers(1, 5), size=st.integers(0, 2 * CELL_SIZE), port=PORTS)
    def of_another_size(self, back: int, size: int, port: int) -> None:
        datagram = (self.sent[-min(back, len(self.sent))][0] * 30)[:size]
        self.both("receive", [(datagram, address(port))], self.now)

    @rule(datagram=st.binary(min_size=CELL_SIZE - 2, max_size=CELL_SIZE - 2), port=PORTS)
    def noise(self, datagram: bytes, port: int) -> None:
        self.arrive(b"\x80\x6f" + datagram, port)

    @rule(ssrc=SSRCS, first=TICKETS, count=st.sampled_from([1, 2, 90]), port=PORTS)
    def first_messages(self, ssrc: int, first: int, count: int, port: int) -> None:
        for number in range(first, first + count):
            self.arrive(first_message(ticket(number), ssrc), port)

    @rule(
        ssrc=SSRCS,
        first=TICKETS,
        count=st.sampled_from([1, 1, 60]),
        key=st.sampled_from([*CHECK_KEYS, bytes(range(1, 17))]),
    )
    def checked_messages(self, ssrc: int, first: int, count: int, key: bytes) -> None:
        for number in range(first, first + count):
            self.arrive(first_message(checked(key, number), ssrc), 1)

    # What leaves.

    @rule(slot=SLOTS, count=st.sampled_from([1, 1, 4]))
    def departures(self, slot: int, count: int) -> None:
        for _ in range(count):
            self.both("slot", slot, self.now)

    @rule(ssrc=st.integers(1, 2), count=st.sampled_from([3, 105]))
    def a_standing_queue(self, ssrc: int, count: int) -> None:
        """As many bodies come as leave, while some wait already."""
        for _ in range(count):
            self.cells(ssrc, [1], LinkType.END_TO_END, ssrc)
            self.both("slot", 0, self.now)

    @rule(ssrc=st.integers(1, 3), ticks=st.sampled_from([3, 70, 150]))
    def control_again_and_again(self, ssrc: int, ticks: int) -> None:
        """More than anybody takes, but never too much in a tick."""
        for _ in range(ticks):
            self.now += TICK
            self.next_cell(ssrc, LinkType.CONTROL, 1)

    @rule(seconds=st.sampled_from([0.0, 0.0001, TICK / 20, TICK, 3 * TICK, 1.0, 29.9, 30.0, 3e4]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def upcalls(self) -> None:
        self.both("upcalls")

    @precondition(lambda self: self.planes)
    @invariant()
    def counted_the_same(self) -> None:
        self.both("counters")
        plain, native = self.planes
        assert plain.lines == native.lines

    def teardown(self) -> None:
        for slot in range(face.SLOTS if self.planes else 0):
            self.both("slot", slot, self.now)
        if self.planes:
            self.both("upcalls")
