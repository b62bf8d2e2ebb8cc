"""A call whose two ends share no reflector: real tor, real UDP, real baresip, two reflectors with a trunk.

How well it sounds is for `make quality`; here it is heard at all.  A native data plane's own memory cannot be searched;
that of the plain one is, in tests/media_reflector/test_trunk_slots.py.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from relay.lab.audio import compare
from relay.media_reflector.forwarding.face import pack_address
from tests.integration.world import ALICE, BOB, LINE_ADDRESSES, Person, World, open_world, start_reflector
from tests.knowledge.needles import memory_of

pytestmark = [
    pytest.mark.integration,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]

SLOTS = 4
TALK_SECONDS = 8.0
HEARD = 0.5
"""Correlation of ear and mouth; speech of somebody else's has none that `compare` would find."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(private_network: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with open_world(private_network, tmp_path_factory.mktemp("trunk"), trunk_slots=SLOTS) as opened:
        yield opened


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


async def test_a_call_without_a_common_reflector_is_heard_both_ways(world: World) -> None:
    dialled = await world.connect()
    assert [one.node.reflector.occupancy.lines for one in world.reflectors] == [1, 1], "each at their own"
    assert _crossed(world) == [1, 1]
    await asyncio.sleep(TALK_SECONDS)
    assert _hears(world.bob, world.alice) > HEARD
    assert _hears(world.alice, world.bob) > HEARD
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
    for person in (world.alice, world.bob):
        ended = await person.told.wait_for("call-ended", timeout=10, after=dialled)
        assert ended.fields["reason"] in ("hung up here", "hung up by the other side")
        lost = ended.fields["lost_cells"]
        assert isinstance(lost, int)
        assert lost <= 2
    await world.quiet()
    await asyncio.sleep(1.0)
    assert _crossed(world) == [0, 0], "the slot is free again"
    assert all(one.trunk_is_up for one in world.reflectors)


async def test_a_far_reflector_that_dies_ends_the_call_with_a_reason_and_the_trunk_comes_back(
    world: World, private_network: Path
) -> None:
    dialled = await world.connect()
    alices, bobs = world.reflectors
    killed = world.clock.monotonic()
    bobs.task.cancel()
    await asyncio.gather(bobs.task, return_exceptions=True)
    ended = await world.alice.told.wait_for("call-ended", timeout=10, after=dialled)
    assert "trunk" in str(ended.fields["reason"])
    assert ended.at - killed < 10.0
    assert not alices.trunk_is_up
    async with contextlib.AsyncExitStack() as stack:
        world.reflectors.remove(bobs)
        await start_reflector(world, private_network, stack, 2, bobs.settings)
        async with asyncio.timeout(60):
            while not all(one.trunk_is_up for one in world.reflectors):  # noqa: ASYNC110 - no event to wait for
                await asyncio.sleep(0.1)
        print(f"the trunk was back {world.clock.monotonic() - killed:.1f} s after its far end died")
        (again,) = [one for one in world.reflectors if one is not alices]
        assert again.reference == bobs.reference
