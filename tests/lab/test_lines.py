"""A capture is sorted into lines by agent address, both directions, on the monotonic clock."""

import pytest

from relay.lab.captures import Address, Datagram
from relay.lab.lines import lines_seen

ALICE: Address = ("127.0.10.1", 40001)
BOB: Address = ("127.0.10.2", 40002)
REFLECTOR: Address = ("127.0.20.1", 7210)
WALL_MINUS_MONOTONIC = 1_800_000_000.25


def seen(at: float, source: Address, destination: Address, size: int = 160) -> Datagram:
    return Datagram(round((WALL_MINUS_MONOTONIC + at) * 1e9), source, destination, bytes(size))


def test_lines_are_told_apart() -> None:
    capture = [
        seen(5.02, REFLECTOR, ALICE),
        seen(5.00, ALICE, REFLECTOR),
        seen(5.01, BOB, REFLECTOR, 161),
        seen(5.03, ALICE, REFLECTOR),
        seen(5.04, ("127.0.0.1", 1), ("127.0.0.1", 2)),
    ]
    alice, bob = lines_seen(capture, [REFLECTOR], WALL_MINUS_MONOTONIC)
    assert (alice.agent, bob.agent) == (ALICE, BOB)
    assert list(alice.up.times) == pytest.approx([5.00, 5.03], abs=1e-6)
    assert list(alice.down.times) == pytest.approx([5.02], abs=1e-6)
    assert (alice.start, alice.stop) == pytest.approx((5.00, 5.03), abs=1e-6)
    assert alice.sizes == [160, 160, 160]
    assert (list(bob.up.sizes), list(bob.down.sizes)) == ([161], [])
    assert [one.at_ns for one in alice.datagrams] == sorted(one.at_ns for one in alice.datagrams)


def test_nothing_seen_is_no_line() -> None:
    assert lines_seen([], [REFLECTOR], 0) == []
