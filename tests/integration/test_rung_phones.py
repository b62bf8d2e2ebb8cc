"""A real phone with ZRTP that is rung: linphonec, with Opus and without; the agents' own code, no Tor, no reflector.

Until it has answered nobody knows which of the two it is, and it reads one hash of a Hello: see ADR 13.
"""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from relay.agent.phone import Answered, PhoneEvent, PhoneServer, PhoneSettings, Registered
from relay.agent.voice_security import End
from relay.core import SeededEntropy, SystemClock, SystemEntropy
from relay.lab.audio import Sound, write_wav
from relay.sip.sdp import SessionDescription
from tests.agent.amnesic_zids import AmnesicZids
from tests.agent.secured_sides import Side, SocketPhone, cross, keys, meet
from tests.integration.linphone import Linphone, LinphoneAccount
from tests.integration.world import free_port

pytestmark = [pytest.mark.call, pytest.mark.timeout(60)]

CLOCK = SystemClock()
RATE = 16_000
PATIENCE = 20.0


class RungLinphone:
    """A linphonec at a phone server of its own, which takes no call in the clear."""

    def __init__(self, directory: Path, *, opus: bool) -> None:
        self._told: asyncio.Queue[PhoneEvent] = asyncio.Queue()
        microphone = directory / "microphone.wav"
        write_wav(microphone, Sound(0.2 * np.sin(np.arange(60 * RATE) / 5), RATE))
        settings = PhoneSettings("bob", "secret", port=free_port(socket.SOCK_STREAM))
        self.server = PhoneServer(settings, CLOCK, SystemEntropy(), self._told.put_nowait)
        sip_port, rtp_port = (free_port(socket.SOCK_DGRAM) for _ in range(2))
        account = LinphoneAccount(
            "bob", "secret", f"127.0.0.1:{settings.port}", sip_port, rtp_port, mandatory=True, opus=opus
        )
        self.phone = Linphone(account, microphone, directory, CLOCK)

    async def start(self) -> None:
        await self.server.start()
        await self.phone.start()
        await self._event(Registered)

    async def ring(self, offer: SessionDescription) -> SessionDescription:
        self.server.place("alice", "alice", offer)
        answered = await self._event(Answered)
        assert isinstance(answered, Answered)
        return answered.answer

    async def _event(self, kind: type[PhoneEvent]) -> PhoneEvent:
        async with asyncio.timeout(PATIENCE):
            while not isinstance(event := await self._told.get(), kind):
                pass
        return event

    async def close(self) -> None:
        await self.phone.close()
        await self.server.close()


def side(name: str) -> Side:
    zids = AmnesicZids(CLOCK, SeededEntropy(f"zids of {name}"))
    return Side(name, SocketPhone(name, CLOCK, zrtp=False), zids, CLOCK)


async def talk_until(alice: Side, bob: Side, happened: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not happened():
            await cross(alice, bob, 0.1)


@pytest.mark.parametrize("opus", [True, False])
async def test_it_has_zrtp_with_whoever_is_its_other_end(tmp_path: Path, opus: bool) -> None:
    alice, bob = side("alice"), side("bob")
    rung = RungLinphone(tmp_path, opus=opus)
    try:
        await rung.start()
        await meet(alice, bob, ring=rung.ring)
        for one, key in zip((alice, bob), keys("call"), strict=True):
            one.voice.key(key)

        def own_words() -> list[object]:
            return [fields["sas"] for name, fields in bob.events if name == "phone-secured"]

        await talk_until(alice, bob, lambda: bob.secured and (opus or own_words()))
        shown = await rung.phone.wait_sas(1, timeout=5)
        (told,) = bob.secured
        assert told.own_end is (End.PHONE if opus else End.AGENT)
        assert own_words() == ([] if opus else [shown]), (
            "its words are its agent's where that is its other end"
        )
        assert (alice.sas == shown) is opus, "and the contact's end's where it passes through"

        def taken() -> int:
            """How much of what it said under those keys was opened: by alice's agent, or by its own."""
            return len(alice.phone.heard) if opus else bob.voice.leg.stream.counters["from phone"]

        before = taken()
        await talk_until(alice, bob, lambda: taken() > before + 20)
        for one in (alice, bob):
            assert not one.alarms
            assert not one.broken
    finally:
        await rung.close()
        for one in (alice, bob):
            one.close()
