"""Phones that speak only G.711 or G.722: real baresip, real tor, a reflector; heard both ways, keys included.

How well it sounds is for `make quality`; here it is heard at all, both ways.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from relay.lab.audio import compare
from relay.lab.softphones import G722, OPUS, PCMU
from tests.integration.world import ALICE, BOB, LATE, Person, World, open_world, start_phone

pytestmark = [
    pytest.mark.call,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]

TALK_SECONDS = 7.0
HEARD = 0.6
"""Correlation of ear and mouth in the telephone's band."""
KEYS = "19#"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(private_network: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    codecs = {ALICE: (PCMU,), BOB: (G722,)}
    async with open_world(private_network, tmp_path_factory.mktemp("codecs"), codecs=codecs) as opened:
        yield opened


def hears(ear: Person, mouth: Person, since: float) -> float:
    heard, spoken = ear.phone.heard(since), mouth.phone.spoken(since)
    assert heard is not None
    assert spoken is not None
    found = compare(spoken, heard)
    assert found is not None
    print(f"{mouth.name} to {ear.name}: {found.delay_ms} ms, correlation {found.correlation}")
    assert found.compared_seconds > TALK_SECONDS / 4
    return found.correlation


async def keys_of(person: Person, count: int) -> str:
    """The keys that this person's phone says were pressed at the other end."""
    keys = ""
    while len(keys) < count:
        keys += (await person.phone.wait_for("CALL_DTMF_START", timeout=10)).detail
    return keys


async def talk(world: World) -> None:
    """A call: both are heard, then each presses keys that the other's phone is told."""
    given_up = world.given_up
    dialled = await world.connect()
    await asyncio.sleep(TALK_SECONDS)
    for ear, mouth in ((world.alice, world.bob), (world.bob, world.alice)):
        assert hears(ear, mouth, dialled) > HEARD
    for presser, other in ((world.alice, world.bob), (world.bob, world.alice)):
        await presser.phone.press(KEYS)
        assert await keys_of(other, len(KEYS)) == KEYS
    await world.alice.phone.hang_up()
    for person in world.people.values():
        ended = await person.told.wait_for("call-ended", timeout=10, after=dialled)
        assert int(str(ended.fields["lost_cells"])) <= world.given_up - given_up + 2 <= LATE
    await world.quiet()


async def test_g711_and_g722(world: World) -> None:
    await talk(world)
    assert world.alice.told.seen("transcoding")[-1].fields["codec"] == "G.711 (mu law)"
    assert world.bob.told.seen("transcoding")[-1].fields["codec"] == "G.722"


async def test_g711_and_opus(world: World) -> None:
    bob = world.bob
    await bob.phone.close()
    before = world.clock.monotonic()
    bob.phone = await start_phone(world, bob.agent._settings, bob.told, (OPUS,))
    await talk(world)
    assert not bob.told.seen("transcoding", after=before), "what is Opus passes as it is"
