"""Both data planes are given the same, and must give the same: every byte, upcall, result and count."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import HealthCheck, settings

from relay.rtp.cell import CELL_SIZE, TICK, LinkType
from tests.media_reflector.forwarding.planes import (
    address,
    checked,
    first_message,
    make_forwarding,
    ticket,
    up_keys,
)
from tests.property.agreement import CHECK_KEYS, Agreement, Stream

_LONG = 4000
"""Steps of a test that goes on for long."""


@pytest.fixture(autouse=True, scope="module")
def _native_is_built() -> None:
    make_forwarding("native")


# Seeded, so that a run that fails fails again; another profile or `derandomize=False` finds other ones.
Agreement.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestAgreement = Agreement.TestCase


@pytest.mark.parametrize("seed", range(4))
def test_agreement_for_long(seed: int) -> None:
    """What hypothesis rarely comes to, because it takes many steps: full rings, many wraps, expiry."""
    machine, chance = Agreement(), Random(seed)
    machine.begin(chance.choice([0, 3, 0x7FFA, 0xFFF3]))
    steps = _steps(machine, chance)
    weights = [weight for weight, _ in steps]
    for _, step in chance.choices(steps, weights, k=_LONG):
        step()
        machine.counted_the_same()
    machine.teardown()


@pytest.mark.parametrize("seed", range(3))
def test_agreement_about_who_is_heard(seed: int) -> None:
    """More lines and tickets than are heard in a tick, some of them always loud."""
    machine, chance = Agreement(), Random(seed)
    machine.planes = [make_forwarding(name) for name in ("plain", "native")]
    streams = [Stream(up_keys(ssrc), 0) for ssrc in range(1, 150)]
    for at, stream in enumerate(streams):
        number = machine.both("add_line", 0, stream.keys, machine.now)
        # Some open, some not; many of one address, and others of addresses of their own.
        if at % 3:
            machine.both("settle", number, None, address(1 + at * (at % 2)), advance=False)
    machine.permit(0, 150)
    machine.both("check_keys", CHECK_KEYS[:1], CHECK_KEYS[1:])
    for _ in range(300):
        machine.now += chance.choice([0.005, TICK, TICK, TICK, 20 * TICK])
        loud, rare = chance.choice([10, 60]), chance.choice([0, 5, 60])
        for at in [*range(loud), *chance.choices(range(len(streams)), k=rare)]:
            machine.arrive(streams[at].cell(1, LinkType.CONTROL, ""), 1)
            for number in (ticket(at), *(checked(key, at) for key in CHECK_KEYS)):
                machine.arrive(first_message(number, 200), 1)
        number = checked(chance.choice(CHECK_KEYS), chance.randrange(150))
        machine.both(chance.choice(["permit", "forbid"]), number)
        machine.upcalls()
        machine.counted_the_same()
    assert all(machine.planes[0].counters()[name] for name in ("line_limited", "stranger_limited"))


def _steps(machine: Agreement, chance: Random) -> list[tuple[int, Callable[[], None]]]:
    """Everything that may come next, and how often."""
    below = chance.randrange

    def ssrc() -> int:
        return 1 + below(3 if below(4) else 8)

    def jumps() -> list[int]:
        # Rarely so far that the receiver loses count.
        far = [0x7FFF, 0x8000, 0x8001, -0x8000] if below(30) == 0 else [1, 2, -1, -127, -128, 128, 0x7000]
        return [chance.choice(far) for _ in range(1 + below(4))]

    def some_keys() -> tuple[list[bytes], list[bytes]]:
        keys, at = chance.sample(CHECK_KEYS, below(3)), below(3)
        return keys[:at], keys[at:]

    def kind() -> int:
        return chance.choice([0, 1, 1, 1, 2, 2, 3])

    return [
        (60, lambda: machine.next_cell(1 + below(3), kind(), 1 + below(2))),
        (20, lambda: machine.cells(ssrc(), jumps(), kind(), 1 + below(4))),
        (20, lambda: machine.departures(below(3), 1)),
        (10, lambda: machine.again(1 + below(200), 1 + below(4))),
        (10, lambda: machine.damaged(1 + below(5), below(CELL_SIZE), below(8), 1 + below(4))),
        (6, lambda: machine.pass_time(chance.choice([0.0, 0.0001, 0.001, TICK, TICK]))),
        (6, lambda: machine.first_messages(ssrc(), below(100), 1 + below(3), 1 + below(4))),
        (4, lambda: machine.checked_messages(ssrc(), below(20), 1 + below(3), chance.choice(CHECK_KEYS))),
        (4, lambda: machine.settle(below(99), ssrc(), below(1 << 16), 1 + below(2), 0, not below(3))),
        (4, lambda: machine.settle(below(99), None, 0, 1 + below(2), 0, not below(3))),
        (4, lambda: machine.prepare(below(99), ssrc())),
        (4, lambda: machine.add_line(ssrc(), below(3))),
        (4, lambda: machine.cross(below(99), below(99))),
        (4, lambda: machine.out_of_turn(ssrc(), chance.choice([0, 0x7FFF, 0x8000, 0xFFF0]), 1 + below(2))),
        (4, lambda: machine.control(below(99), 1 + below(5))),
        (2, lambda: machine.many(1 + below(3), kind(), chance.choice([10, 200]))),
        (2, lambda: machine.permit(below(100), 1 + below(20))),
        (2, lambda: machine.of_another_size(1 + below(5), below(2 * CELL_SIZE), 1)),
        (2, lambda: machine.a_standing_queue(1 + below(2), 210)),
        (1, lambda: machine.first_messages(ssrc(), 0, 90, 1)),
        (1, lambda: machine.send(below(3), 1, chance.choice([1, 100, 200]))),
        (1, lambda: machine.control_again_and_again(1 + below(3), 150)),
        (1, lambda: machine.check_keys(*some_keys())),
        (1, lambda: machine.forbid(below(100), None)),
        (2, lambda: machine.forbid(below(20), chance.choice(CHECK_KEYS))),
        (1, lambda: machine.permit_again(below(20), chance.choice(CHECK_KEYS))),
        (1, lambda: machine.uncross(below(99))),
        (1, lambda: machine.remove(below(99))),
        (1, lambda: machine.prepare(below(99), None)),
        (1, lambda: machine.pass_time(chance.choice([1.0, 20.0]))),
        (1, machine.upcalls),
    ]
