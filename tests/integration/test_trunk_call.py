"""A call whose two ends share no reflector: real tor, real UDP, real baresip, two reflectors with a trunk.

How well it sounds is for `make quality`; here it is heard at all.  A native data plane's own memory cannot be searched;
that of the plain one is, in tests/media_reflector/test_trunk_slots.py.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from relay.agent.at_hand import AtHand
from relay.agent.reflectors import reflector_id
from relay.lab.audio import compare
from relay.media_reflector import LineClient, ReflectorReference
from relay.media_reflector.forwarding.face import STANDING_TICKS, pack_address
from relay.rtp.cell import TICK
from tests.integration.test_failover import KEY_SECONDS, cut
from tests.integration.world import ALICE, BOB, LINE_ADDRESSES, Person, World, open_world, start_reflector
from tests.knowledge.needles import memory_of

pytestmark = [
    pytest.mark.call,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(420),
]

SLOTS = 4
TALK_SECONDS = 8.0
WITHIN = 7.0
"""Seconds from the death to the other end's voice: the trunk is given up after three, and the line may move after
four and a half."""
HEARD = 0.5
"""Correlation of ear and mouth; speech of somebody else's has none that `compare` would find."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(private_network: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with open_world(private_network, tmp_path_factory.mktemp("trunk"), trunk_slots=SLOTS) as opened:
        yield opened


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _hushed(world: World) -> AsyncIterator[None]:
    yield
    await world.hush()


def _crossed(world: World) -> list[int]:
    return [one.node.reflector.occupancy.crossed for one in world.reflectors]


def _hears(ear: Person, mouth: Person) -> float:
    heard, spoken = ear.phone.heard(), mouth.phone.spoken()
    assert heard is not None
    assert spoken is not None
    found = compare(spoken, heard)
    assert found is not None
    print(f"mouth to ear over the trunk: {found.delay_ms} ms, correlation {found.correlation}")
    assert found.compared_seconds > TALK_SECONDS / 3
    return found.correlation


def _accepts(reference: ReflectorReference, _: AtHand) -> ReflectorReference:
    return reference


async def _accept_backups(world: World) -> None:
    """Each reflector takes over from the other, and it is as if each owner's list named the other one too, without its
    being a guard."""
    for more in ("peers", "backup"):
        # Who is to take a key has to know first from whom: else the next try is seconds later.
        for one, other in zip(world.reflectors, reversed(world.reflectors), strict=True):
            value = other.reference if more == "backup" else (other.reference,)
            one.settings = msgspec.structs.replace(one.settings, **{more: value})
            one.node.reload()
    await asyncio.sleep(KEY_SECONDS)
    for person, own, other in zip(
        (world.alice, world.bob), world.reflectors, reversed(world.reflectors), strict=True
    ):
        pool, reference = person.agent._pool, ReflectorReference.parse(other.reference)
        setattr(pool, "_accepted_backup", functools.partial(_accepts, reference))  # noqa: B010 - a method
        name = reflector_id(ReflectorReference.parse(own.reference).identity)
        pool.distrust(name)
        async with asyncio.timeout(60):
            while pool.backup(name) is None or not pool.ready():  # noqa: ASYNC110 - no event to wait for
                await asyncio.sleep(0.2)


def _client(person: Person) -> LineClient:
    keeper = person.agent._calls._runners[-1].line._keeper
    assert keeper is not None
    return keeper._held[keeper._core.present].line.client


async def test_a_call_without_a_common_reflector_is_heard_both_ways(world: World) -> None:
    before = world.given_up
    dialled = await world.connect()
    assert [one.node.reflector.occupancy.lines for one in world.reflectors] == [1, 1], "each at their own"
    assert _crossed(world) == [1, 1]
    await asyncio.sleep(TALK_SECONDS)
    assert _hears(world.bob, world.alice) > HEARD
    assert _hears(world.alice, world.bob) > HEARD
    lost = 0
    for person in (world.alice, world.bob):
        keyed = person.agent._calls._runners[-1].voice.keyed
        assert keyed is not None
        lost += keyed.lost
    # Where two cells stay in a queue the older one goes, once in so many ticks: voice would be late for good.  Each
    # direction has two queues, and one that fills as the lines meet, or as the machine stands still, loses one more.
    dropped, seconds = world.given_up - before, world.clock.monotonic() - dialled
    assert dropped <= 2 * 2 * (seconds / (STANDING_TICKS * TICK) + 1)
    assert lost <= dropped + 2, "no other cell is lost"
    near, far = (
        memory_of(one.node.reflector, one.node.trunks, one.node._office, one.node._forwarding)
        for one in world.reflectors
    )
    alices, bobs = (pack_address(LINE_ADDRESSES[name], 0)[12:16] for name in (ALICE, BOB))
    assert alices in near, "the search finds what is there"
    assert bobs in far
    assert bobs not in near
    assert alices not in far
    assert LINE_ADDRESSES[BOB].encode() not in near
    await world.alice.phone.hang_up()
    lost = 0
    for person in (world.alice, world.bob):
        ended = await person.told.wait_for("call-ended", timeout=10, after=dialled)
        assert ended.fields["reason"] in ("hung up here", "hung up by the other side")
        assert isinstance(ended.fields["lost_cells"], int)
        lost += ended.fields["lost_cells"]
    assert lost <= world.given_up - before + 2
    await world.quiet()
    await asyncio.sleep(1.0)
    assert _crossed(world) == [0, 0], "the slot is free again"
    assert all(one.trunk_is_up for one in world.reflectors)


async def test_when_a_reflector_dies_its_line_comes_to_the_other_one_and_the_call_goes_on(
    world: World, private_network: Path
) -> None:
    """And the trunk comes back with it."""
    alices, bobs = world.reflectors
    await _accept_backups(world)
    dialled = await world.connect()
    async with asyncio.timeout(60):
        while _client(world.bob).backup is None:  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0.1)
    await asyncio.sleep(TALK_SECONDS)
    killed = world.clock.monotonic()
    bobs.task.cancel()
    await asyncio.gather(bobs.task, return_exceptions=True)
    for person in (world.alice, world.bob):
        again = await person.told.wait_for("heard-again", timeout=10, after=killed)
        print(f"heard again {again.at - killed:.1f} s after the far reflector died")
        assert again.at - killed < WITHIN
    assert not alices.trunk_is_up
    assert alices.node.reflector.occupancy.lines == 2, "bob's line is at alice's reflector now"
    back = world.clock.monotonic() + 0.3
    await asyncio.sleep(TALK_SECONDS)
    now = world.clock.monotonic()
    for ear, mouth in ((world.bob, world.alice), (world.alice, world.bob)):
        spoken, heard = mouth.phone.spoken(dialled), ear.phone.heard(dialled)
        assert spoken is not None
        assert heard is not None
        found = compare(cut(spoken, back, now), heard)
        assert found is not None, "nothing was heard afterwards"
        print(f"after: correlation {found.correlation} over {found.compared_seconds} s, {found.delay_ms} ms")
        assert found.correlation > HEARD
    await world.alice.phone.hang_up()
    for person in (world.alice, world.bob):
        ended = await person.told.wait_for("call-ended", timeout=10, after=dialled)
        assert ended.fields["reason"] in ("hung up here", "hung up by the other side")
    await world.quiet()
    async with contextlib.AsyncExitStack() as stack:
        world.reflectors.remove(bobs)
        await start_reflector(world, private_network, stack, 2, bobs.settings)
        # Its neighbour has tried in vain meanwhile, and tries less and less often.
        async with asyncio.timeout(240):
            while not all(one.trunk_is_up for one in world.reflectors):  # noqa: ASYNC110 - no event to wait for
                await asyncio.sleep(0.1)
        print(f"the trunk was back {world.clock.monotonic() - killed:.1f} s after its far end died")
        (anew,) = [one for one in world.reflectors if one is not alices]
        assert anew.reference == bobs.reference
