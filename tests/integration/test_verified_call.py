"""Two agents, two softphones, real tor, a reflector and two people's GnuPG: words compared, keys signed, once for two
calls."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from relay.agent import AgentSettings
from relay.agent.control import ask
from relay.agent.openpgp import OpenPgpSettings
from relay.agent.verification_desk import COMPARED, WORDS
from tests.agent.keyring import Keyring
from tests.integration.world import ALICE, BOB, PEOPLE, Person, World, open_world

pytestmark = [
    pytest.mark.call,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]

OTHER = {ALICE: BOB, BOB: ALICE}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(private_network: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    rings = {name: Keyring.make(tmp_path_factory.mktemp("g")) for name in PEOPLE}
    keys = {name: rings[name].new_key(name) for name in PEOPLE}
    for name in PEOPLE:
        rings[name].learn(rings[OTHER[name]], keys[OTHER[name]])

    def change(settings: AgentSettings) -> AgentSettings:
        signing = OpenPgpSettings(str(rings[settings.name].home))
        return msgspec.structs.replace(settings, openpgp=signing)

    try:
        async with open_world(private_network, tmp_path_factory.mktemp("verified"), change=change) as opened:
            for name in PEOPLE:
                book, theirs = opened.book(name), keys[OTHER[name]]
                book.set_openpgp(keys[name])
                book.judge(book.named(OTHER[name]), lambda trust, theirs=theirs: trust.with_pgp(theirs))
            await asyncio.sleep(2.0)  # until both agents noticed
            yield opened
    finally:
        for ring in rings.values():
            ring.end()


async def call(world: World) -> tuple[float, list[dict[str, object]]]:
    """A call; when it began, and what both were told of its keys."""
    dialled = await world.connect()
    told = [await one.told.wait_for("secured", timeout=20, after=dialled) for one in world.people.values()]
    return dialled, [one.fields for one in told]


async def hang_up(world: World) -> None:
    await world.alice.phone.hang_up()
    await world.quiet()


async def words(world: World, person: Person) -> dict[str, str]:
    """As 'bayonne contact verify' asks for them."""
    return await ask(world.directory / person.name, WORDS, {"name": OTHER[person.name]}, print)


async def test_words_are_compared_and_keys_signed_and_the_next_call_goes_on_from_there(world: World) -> None:
    dialled, told = await call(world)
    assert [one["mode"] for one in told] == ["agents", "agents"]
    assert told[0]["words"] == told[1]["words"]
    assert [(one["verified"], one["continuity"]) for one in told] == [(False, "first")] * 2
    for person in world.people.values():
        shown = await words(world, person)
        assert (shown["words"], shown["characters"]) == (told[0]["words"], told[0]["sas"])
        said = {"name": OTHER[person.name], "characters": shown["characters"], "same": "yes"}
        assert (await ask(world.directory / person.name, COMPARED, said, print))["verified"] == "yes"
    for person in world.people.values():
        await person.told.wait_for("openpgp-good", timeout=30, after=dialled, contact=OTHER[person.name])
    await hang_up(world)
    dialled, again = await call(world)
    assert [(one["verified"], one["continuity"]) for one in again] == [(True, "continued")] * 2
    assert again[0]["words"] == again[1]["words"] != told[0]["words"]
    for person in world.people.values():
        await person.told.wait_for("voice-verified", timeout=5, after=dialled, contact=OTHER[person.name])
        await person.told.wait_for("openpgp-good", timeout=30, after=dialled)
        assert not person.told.seen("voice-alarm")
    await hang_up(world)
