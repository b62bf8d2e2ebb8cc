"""Calls between phones with ZRTP and without: real linphonec and baresip, tor, a reflector; who shows which SAS."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from relay.agent import PlainFiles
from relay.agent.credentials import own_softphone
from relay.core import SystemEntropy
from relay.lab.audio import compare, read_wav
from tests.integration.linphone import Linphone, LinphoneAccount, hears
from tests.integration.world import ALICE, BOB, Person, World, free_port, open_world

pytestmark = [
    pytest.mark.call,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]

TALK_SECONDS = 6.0
HEARD = 0.6
"""Correlation of ear and mouth in the telephone's band."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(private_network: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with open_world(private_network, tmp_path_factory.mktemp("zrtp")) as opened:
        yield opened


async def linphone_of(world: World, person: Person) -> Linphone:
    """In the place of this person's baresip, which says the same."""
    await person.phone.close()
    settings = person.agent._settings
    account = own_softphone(PlainFiles(settings.directory), person.name, SystemEntropy())
    number = len(list(world.directory.glob(f"{person.name}-linphone-*")))
    directory = world.directory / f"{person.name}-linphone-{number}"
    directory.mkdir()
    sip_port, rtp_port = (free_port(socket.SOCK_DGRAM) for _ in range(2))
    registered = LinphoneAccount(account.user, account.password, settings.sip_listen, sip_port, rtp_port)
    phone = Linphone(registered, person.phone.microphone, directory, world.clock)
    before = world.clock.monotonic()
    await phone.start()
    await person.told.wait_for("registered", timeout=20, after=before)
    return phone


async def secured(person: Person, since: float, *, elsewhere: bool = False) -> dict[str, object]:
    """What this person's agent says of the call that began then; `elsewhere`: the other one's end was another before,
    which nobody compared yet, and is an alarm for that."""
    told = await person.told.wait_for("secured", timeout=30, after=since)
    alarms = [alarm.fields["kind"] for alarm in person.told.seen("voice-alarm", after=since)]
    assert alarms == (["other_ends"] if elsewhere else [])
    return told.fields


async def with_linphone(world: World, since: float) -> tuple[dict[str, object], dict[str, object]]:
    """Alice has linphone by now, and had none in the first test."""
    return await secured(world.alice, since), await secured(world.bob, since, elsewhere=True)


async def over(world: World, since: float) -> None:
    for person in world.people.values():
        await person.told.wait_for("call-ended", timeout=20, after=since)
    await world.quiet()


def heard_of(ear: Person, mouth: Person, since: float) -> float:
    """Between two baresips."""
    heard, spoken = ear.phone.heard(since), mouth.phone.spoken(since)
    assert heard is not None
    assert spoken is not None
    found = compare(spoken, heard)
    assert found is not None
    return found.correlation


async def test_two_phones_without_zrtp(world: World) -> None:
    """Agent to agent."""
    dialled = await world.connect()
    alice, bob = [await secured(person, dialled) for person in (world.alice, world.bob)]
    assert (alice["mode"], alice["own_end"], bob["own_end"]) == ("agents", "agent", "agent")
    assert (alice["sas"], alice["words"]) == (bob["sas"], bob["words"])
    assert alice["signalled"] is bob["signalled"] is True
    assert alice["continuity"] == "first"
    await asyncio.sleep(TALK_SECONDS)
    assert heard_of(world.alice, world.bob, dialled) > HEARD
    assert heard_of(world.bob, world.alice, dialled) > HEARD
    await world.alice.phone.hang_up()
    await over(world, dialled)


async def test_linphone_and_a_phone_without_zrtp(world: World) -> None:
    """What linphonec shows is what the other side's agent tells, whoever called."""
    phone = await linphone_of(world, world.alice)
    try:
        dialled = world.clock.monotonic()
        phone.dial(BOB)
        await world.bob.phone.wait_for("CALL_INCOMING", timeout=30)
        await world.bob.phone.accept()
        shown = await phone.wait_sas(1, timeout=40)
        alice, bob = await with_linphone(world, dialled)
        assert bob["sas"] == shown
        assert (bob["mode"], bob["own_end"], bob["peer_end"]) == ("phone-agent", "agent", "phone")
        assert (alice["mode"], alice["own_end"], alice["sas"]) == ("phone-agent", "phone", None)
        await asyncio.sleep(TALK_SECONDS)
        phone.hang_up()
        await over(world, dialled)
        assert hears(read_wav(phone.recording), world.bob.phone.microphone) > HEARD
        ear = world.bob.phone.heard(dialled)
        assert ear is not None
        assert hears(ear, phone.microphone) > HEARD

        dialled = world.clock.monotonic()
        await world.bob.phone.dial(ALICE)
        shown = await phone.wait_sas(2, timeout=40)
        alice, bob = await with_linphone(world, dialled)
        assert bob["sas"] == shown
        assert (bob["own_end"], alice["own_end"]) == ("agent", "phone")
        assert bob["continuity"] == "continued", (
            "the agent and the phone know each other from the call before"
        )
        await world.bob.phone.hang_up()
        await over(world, dialled)
    finally:
        await phone.close()


async def test_two_linphones(world: World) -> None:
    """Both show the same, and no agent knows what."""
    phones = [await linphone_of(world, person) for person in (world.alice, world.bob)]
    try:
        dialled = world.clock.monotonic()
        phones[0].dial(BOB)
        alice, bob = [await secured(person, dialled, elsewhere=True) for person in (world.alice, world.bob)]
        assert await phones[0].wait_sas(1, timeout=5) == await phones[1].wait_sas(1, timeout=5)
        for told in (alice, bob):
            assert (told["mode"], told["sas"], told["words"]) == ("phones", None, None)
        await asyncio.sleep(TALK_SECONDS)
        phones[1].hang_up()
        await over(world, dialled)
        for ear, mouth in (phones, reversed(phones)):
            assert hears(read_wav(ear.recording), mouth.microphone) > HEARD
    finally:
        for phone in phones:
            await phone.close()
