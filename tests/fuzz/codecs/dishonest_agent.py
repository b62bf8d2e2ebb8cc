"""What a reflector is told in cells by an agent that holds a ticket and keeps no rule, from several addresses."""

from collections.abc import Iterable

from relay.core import ManualClock, SeededEntropy
from relay.media_reflector import LineClient, Reflector, ReflectorKeys, Ticket
from relay.media_reflector.control import Operation
from relay.media_reflector.descriptor import ReflectorReference, verify_descriptor
from relay.media_reflector.forwarding.face import SLOTS, pack_address
from relay.media_reflector.forwarding.twin import PlainForwarding
from relay.media_reflector.link import CellSender
from relay.media_reflector.ticket_messages import parse_answer, ticket_request
from relay.rtp import BODY_SIZE, CELL_SIZE
from tests.fuzz.codec import Codec, same

_WALL = 1_800_000_000.0
_ONION = "a" * 56
_CODE = b"join code of 16 "
_CAPACITY = 4
_MOST_STEPS = 40
_PLACES = [pack_address(f"192.0.2.{number}", 4000) for number in range(1, 4)]
_KEYS = ReflectorKeys.generate(SeededEntropy("fuzz"))
_SIGNED = _KEYS.signed_descriptor(_ONION, [("192.0.2.9", 7210)], _WALL, capacity=10)
_DESCRIPTOR = verify_descriptor(_SIGNED, ReflectorReference(_ONION, _KEYS.public_identity), _WALL)


class _World:
    """A reflector on the plain data plane, and two open lines of dishonest agents."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._slot = 0
        self._entropy = SeededEntropy("fuzz")
        self._plane = PlainForwarding(ManualClock())
        self._office = _KEYS.office(_CAPACITY, self._entropy, self._plane)
        self._reflector = Reflector(
            _KEYS.static_key, self._office, self._plane, self._entropy, capacity=_CAPACITY
        )
        self._senders = [sender for number in range(2) for sender in self._opened(number)]

    def _opened(self, number: int) -> tuple[CellSender, CellSender]:
        """What makes cells of one line, under its present keys and under those that follow."""
        request, secret = ticket_request(_DESCRIPTOR, self._entropy)
        answer = parse_answer(self._office.answer(request, lambda: _SIGNED, self.now))
        line = LineClient(_DESCRIPTOR, Ticket.fresh(secret, self.now + answer.seconds), self._entropy)
        for _ in range(3):
            self.deliver(line.next_cell(self.now), number)
            for cell, place in self.tick():
                if place == _PLACES[number]:
                    line.receive(cell, self.now)
        if not line.opened or line._epochs is None:
            raise AssertionError("the line did not open")
        following = line._epochs._chain.following.up
        return line._epochs.sender, CellSender(following.ssrc, self._entropy, following)

    def say(self, which: int, kind: int, body: bytes, place: int) -> None:
        sender = self._senders[which % 4]
        assert sender.keys is not None
        self.deliver(sender.keys.protect(sender._header(), bytes((kind,)) + body), place)

    def deliver(self, cell: bytes, place: int) -> None:
        self._plane.receive([(cell, _PLACES[place % len(_PLACES)])], self.now)
        self._reflector.handle(self._plane.upcalls(), self.now)

    def tick(self) -> list[tuple[bytes, bytes]]:
        """20 ms: what leaves, and for which place."""
        leaving = [sent for slot in range(SLOTS) for sent in self._plane.slot(self._slot + slot, self.now)]
        self._slot += SLOTS
        self.now += 0.02
        self._reflector.watch(self.now)
        self._reflector.handle(self._plane.upcalls(), self.now)
        return leaving

    @property
    def lines(self) -> int:
        return len(self._reflector._lines)


def _cells(data: bytes) -> None:
    """Each step has 4 bytes (keys and place, link type, operation, how long a field follows) and a field."""
    world = _World()
    for _ in range(_MOST_STEPS):
        if not data:
            break
        step, data = data[:4].ljust(4, b"\0"), data[4:]
        size = min(step[3] % 84, len(data))
        body, data = (step[2:3] + data[:size]).ljust(BODY_SIZE, b"\0"), data[size:]
        if step[0] >= 0xF0:
            world.now += step[1] / 4
        elif step[0] >= 0xE0:
            world.deliver(
                (bytes((0x80, 111)) + step[1:3] + data).ljust(CELL_SIZE, b"\0")[:CELL_SIZE], step[0]
            )
        else:
            world.say(step[0], step[1] % 4, body, step[0] >> 2)
        same({len(cell) for cell, _ in world.tick()} <= {CELL_SIZE}, True)
        if world.lines > 2:
            raise AssertionError("a line without a ticket")


def _steps() -> Iterable[bytes]:
    def step(which: int, kind: int, body: bytes) -> bytes:
        return bytes((which, kind, body[0], len(body) - 1)) + body[1:]

    join = bytes((Operation.JOIN,)) + _CODE
    yield (
        step(0, 2, join)
        + step(6, 2, join)
        + step(0, 1, b"voice")
        + step(0, 2, bytes((Operation.LEAVE,)) + _CODE)
    )
    yield step(0, 2, bytes((Operation.ROAM,))) + step(9, 2, bytes((Operation.ROAM,))) + step(9, 1, b"voice")
    yield step(0, 2, bytes((Operation.REKEY,)) + bytes(31) + b"\x09") + step(1, 0, b"\0") + b"\xf0\xff\0\0"
    yield step(0, 2, bytes((Operation.JOIN_VIA,)) + _CODE + bytes(32)) + step(0, 2, bytes((Operation.CLOSE,)))


CODECS = (Codec("agent-cells", _cells, _steps, longest=1000),)
