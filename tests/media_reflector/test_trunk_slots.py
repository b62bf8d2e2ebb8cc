"""What a trunk shows, how much it delays, what each of its ends can know; on virtual time, to the millisecond."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise, zip_longest

import pytest

from relay.core import ManualClock, SeededEntropy
from relay.media_reflector import handouts
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.forwarding.face import SLOTS, Datagram, Forwarding, Upcall
from relay.media_reflector.forwarding.twin import PlainForwarding
from relay.media_reflector.line import Line
from relay.rtp.cell import BODY_SIZE
from tests.knowledge.needles import memory_of
from tests.media_reflector.two_reflectors import CODE, Agent, Pair, Site

TICK_MS = 20
TRUNK_NETWORK = bytes((10, 9))
"""Where the two reflectors' addresses are."""


def _body(mark: bytes) -> bytes:
    return mark.ljust(BODY_SIZE, b".")


# What it shows.


def _departures(pair: Pair, since: float) -> dict[tuple[str, int], list[int]]:
    """The milliseconds at which cells left, by site and SSRC."""
    found: dict[tuple[str, int], list[int]] = defaultdict(list)
    for at, site, ssrc in pair.wire:
        if at > since:
            found[site.name, ssrc].append(round(at * 1000))
    return found


def _irregular(pair: Pair, since: float, until: float) -> list[str]:
    """Every slot that did not let exactly one cell leave in each tick, always at one place in it."""
    faults = []
    departures = _departures(pair, since)
    for (name, ssrc), moments in departures.items():
        if {b - a for a, b in pairwise(moments)} != {TICK_MS}:
            faults.append(f"{name}: {ssrc} was not regular")
        if not round((until - since) * 1000) - 2 * TICK_MS <= moments[-1] - moments[0] + TICK_MS:
            faults.append(f"{name}: {ssrc} began late or ended early")
    for site in pair.sites:
        if sum(name == site.name for name, _ in departures) != site.slots + 1:
            faults.append(f"{site.name}: not every slot was there")
    return faults


def _watched(pair: Pair) -> list[str]:
    """A trunk from free slots over calls that are made, talk, are silent, hang up: what an observer of it sees."""
    pair.open()
    start = pair.now
    pair.run(1.0)
    alice, bob = pair.crossed_pair()
    alice.speak = lambda: _body(b"speech")
    pair.run(1.0)
    alice.speak = None
    bob.silent = True
    pair.run(1.0)
    carol, dave = pair.call(b"another code: 16", 5)
    pair.run(1.0)
    assert carol.line.crossed
    assert dave.line.crossed
    alice.line.close()
    pair.run(1.0)
    return _irregular(pair, start, pair.now)


@pytest.mark.parametrize("delay", [0.0, 0.013])
def test_one_cell_leaves_each_tick_on_every_slot_free_or_taken_in_silence_and_speech(
    make_plane: Callable[[], Forwarding], delay: float
) -> None:
    assert _watched(Pair(delay=delay, make=make_plane)) == []


class Leaky(PlainForwarding):
    """A data plane that lets nothing leave on a trunk's slot where nothing waits."""

    def __init__(self) -> None:
        super().__init__(ManualClock())

    def slot(self, number: int, now: float) -> list[Datagram]:
        full = [
            bool(line.queue or line.control) or line.address[12:14] != TRUNK_NETWORK
            for line in self._slots[number % SLOTS]
            if line.address is not None
        ]
        leaving = super().slot(number, now)
        return [cell for cell, leaves in zip_longest(leaving, full, fillvalue=True) if leaves]  # type: ignore[misc]


def test_a_trunk_that_lets_only_taken_slots_emit_is_caught() -> None:
    """The control of the test above."""
    pair = Pair()
    pair.open()
    alice, _ = pair.crossed_pair()
    alice.speak = lambda: _body(b"speech")
    start = pair.now
    pair.run(1.0)
    assert _irregular(pair, start, pair.now) == []
    leaky = Pair(make=Leaky)
    faults = _watched(leaky)
    assert len(faults) > 4


def test_slots_are_spread_over_the_tick() -> None:
    pair = Pair(slots=(39, 39))
    pair.open()
    start = pair.now
    pair.run(0.2)
    for site in pair.sites:
        places = [
            moments[0] % TICK_MS
            for (name, _), moments in _departures(pair, start).items()
            if name == site.name
        ]
        assert sorted(places) == sorted([*range(20)] * 2)


# How much it delays.


def _delays(agent: Agent, since: float) -> set[int]:
    """Milliseconds from the agent's cell to the other one's, of the bodies that came since then."""
    found = set()
    for at, body in agent.bodies:
        if at > since and body.startswith(b"at "):
            found.add(round((at - float(body.rstrip(b".")[3:])) * 1000))
    return found


def _steady(pair: Pair, alice: Agent, bob: Agent) -> int:
    """The delay of a call when it has been on for a while: one number, because nothing here jitters."""
    pair.run(1.0)
    assert alice.line.crossed
    assert bob.line.crossed
    alice.speak = lambda: _body(b"at %.3f" % pair.now)
    pair.run(0.3)
    start = pair.now
    pair.run(0.4)
    (delay,) = _delays(bob, start)
    return delay


def _hop(seed: int, delay: float, *, trunk: bool) -> int:
    chance = SeededEntropy(f"slots {seed}")
    pair = Pair(slots=(8, 8), seed=seed, delay=delay)
    pair.open()
    alice = pair.agent("alice", pair.one, slot=chance.below(20), code=CODE, via=trunk)
    bob = pair.agent("bob", pair.two if trunk else pair.one, slot=chance.below(20), code=CODE)
    return _steady(pair, alice, bob)


@pytest.mark.parametrize("path", [0, 7, 30])
def test_a_trunk_adds_at_most_one_tick_and_the_path(monkeypatch: pytest.MonkeyPatch, path: int) -> None:
    """A reflector keeps a body for at most a tick until the other line's slot; the trunk is one more such wait.

    Tickets that lines are handed hold up whatever they carry, over a trunk or not; here there are none.
    """
    monkeypatch.setattr(handouts, "FIRST", (1e6, 2e6))
    single = [_hop(seed, 0.0, trunk=False) for seed in range(60)]
    double = [_hop(seed, path / 1000, trunk=True) for seed in range(60)]
    assert max(single) <= 2 * TICK_MS, "one wait, and the body that waited while CROSSED was said"
    assert max(double) <= 2 * TICK_MS + TICK_MS + path
    added = statistics.mean(double) - statistics.mean(single)
    assert added == pytest.approx(TICK_MS / 2 + path, abs=4.0)
    # To be read with pytest -s.
    print(
        f"path {path} ms: single hop {_spread(single)}, trunk {_spread(double)}, added {added:.1f} ms on average"
    )


def _spread(delays: list[int]) -> str:
    return f"{min(delays)}..{max(delays)} ms, mean {statistics.mean(delays):.1f}"


def test_what_is_said_on_a_slot_during_a_call_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above, and why nothing is: one control cell is a tick, for the rest of the call."""
    monkeypatch.setattr(handouts, "FIRST", (1e6, 2e6))
    pair = Pair()
    pair.open()
    alice, bob = pair.call()
    before = _steady(pair, alice, bob)
    (slot,) = _taken(pair.one)
    pair.one.forwarding.control(slot.number, Control(Operation.ALIVE).to_body(pair.entropy))
    assert _steady(pair, alice, bob) == before + TICK_MS


def _taken(site: Site) -> list[Line]:
    """The slots of its trunk that carry a call."""
    lines = site.reflector._lines.values()
    return [line for line in lines if line.trunk and not site.reflector.is_free(line)]


# What each end can know.


class Remembered(PlainForwarding):
    """A data plane that remembers everything that came in and everything that it handed up."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.everything: list[Upcall | Datagram] = []

    def receive(self, datagrams: Iterable[Datagram], now: float) -> None:
        arrived = list(datagrams)
        self.everything += arrived
        super().receive(arrived, now)

    def upcalls(self) -> list[Upcall]:
        found = super().upcalls()
        self.everything += found
        return found


def test_each_reflector_knows_one_address_and_the_trunk() -> None:
    pair = Pair(make=Remembered)
    pair.open()
    alice, bob = pair.crossed_pair()
    alice.speak = lambda: _body(b"from alice")
    bob.speak = lambda: _body(b"from bob")
    pair.run(2.0)
    near, far = _held_by(pair.one), _held_by(pair.two)
    for mine, agent, stranger in ((near, alice, bob), (far, bob, alice)):
        assert agent.address in mine, "the search would find it"
        assert stranger.address[12:16] not in mine
    assert pair.two.address in near
    assert pair.one.address in far
    (ssrc,) = {cell[8:12] for cell in _cells_of(pair.one, alice)[-50:]}
    assert ssrc in near
    assert ssrc not in far, "nor which line it is, there"


def _held_by(site: Site) -> bytes:
    return memory_of(site.reflector, site.trunks, site.office, site.forwarding)


def _cells_of(site: Site, agent: Agent) -> list[bytes]:
    heard = site.forwarding.everything  # type: ignore[attr-defined]
    return [one[0] for one in heard if isinstance(one, tuple) and one[1] == agent.address]


def test_bits_on_the_trunk_are_not_those_of_the_lines() -> None:
    pair = Pair(make=Remembered)
    pair.open()
    alice, _ = pair.crossed_pair()
    alice.speak = lambda: _body(b"the same again and again")
    pair.run(1.0)
    lines = {cell[12:] for cell in _cells_of(pair.one, alice)}
    heard = pair.two.forwarding.everything  # type: ignore[attr-defined]
    trunk = {one[0][12:] for one in heard if isinstance(one, tuple) and one[1] == pair.one.address}
    assert len(lines) > 90
    assert len(trunk) > 400
    assert not lines & trunk


def test_the_far_end_cannot_tell_one_callers_slot_from_the_next() -> None:
    """Which slot a call gets is drawn anew for each."""
    taken = set()
    pair = Pair(slots=(8, 8))
    pair.open()
    for number in range(12):
        code = b"call number %04d" % number
        alice, bob = pair.call(code, number)
        pair.run(1.0)
        assert alice.line.crossed
        (slot,) = _taken(pair.one)
        taken.add(slot.number)
        alice.line.close()
        bob.line.close()
        pair.run(0.5)
    assert 3 <= len(taken) <= 8
