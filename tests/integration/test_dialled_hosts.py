"""Real phones, baresip and linphonec, that dial a host: set up as docs/callers.md says, they tell the agent alone.

Whoever is asked for that host, or is that host, learns who is called, before the agent does.  The agent is real; what
it sends is kept in memory.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pytest

from relay.agent.dialled import NONE_OF_YOURS
from relay.agent.phone import PhoneEvent, PhoneServer, PhoneSettings, Registered
from relay.core import SystemClock, SystemEntropy
from relay.lab.audio import Sound, write_wav
from relay.lab.softphones import Account, Softphone
from tests.agent.people import Person, open_world
from tests.integration.linphone import Linphone, LinphoneAccount
from tests.integration.nameserver import Nameserver, nameserver
from tests.integration.world import free_port

pytestmark = pytest.mark.timeout(120)

CLOCK = SystemClock()
ELSEWHERE = "127.0.0.9"
"""Another host of this machine, which hears what comes.  To the agent, once it is asked, a name there is a petname."""
ACCOUNT = "al.ice@example.org"
RATE = 16_000
PATIENCE = 40.0

Way = Literal["udp", "tcp"]


class Sink(asyncio.DatagramProtocol):
    """A foreign host: whatever comes over UDP or TCP was told who is called."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        self.port = 0

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data.strip():
            self.heard.set()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard.set()
        writer.close()


class Phone(Protocol):
    """One of the two phones."""

    async def start(self) -> None: ...

    async def call(self, uri: str) -> None: ...

    async def failed(self) -> None:
        """The latest call came to nothing."""

    def resolved(self) -> bool:
        """Whether it asked for a name."""

    async def hang_up(self) -> None: ...

    async def close(self) -> None: ...


class Baresip:
    """Asks one nameserver, which is ours."""

    def __init__(self, account: Account, directory: Path, microphone: Path, names: Nameserver) -> None:
        self._phone = Softphone(account, microphone, directory / "baresip", CLOCK, os.environ)
        self._names = names
        with (directory / "baresip" / "config").open("a") as config:
            config.write("dns_server {}:{}\n".format(*names.address))

    async def start(self) -> None:
        await self._phone.start()

    async def call(self, uri: str) -> None:
        await self._phone.dial(uri)

    async def failed(self) -> None:
        await self._phone.wait_for("CALL_CLOSED", timeout=PATIENCE)

    def resolved(self) -> bool:
        return bool(self._names.asked)

    async def hang_up(self) -> None:
        await self._phone.hang_up()
        await self._phone.wait_for("CALL_CLOSED", timeout=PATIENCE)

    async def close(self) -> None:
        await self._phone.close()


class LinphoneHere:
    """Asks the nameserver of this machine, and writes down that it does."""

    def __init__(self, account: LinphoneAccount, directory: Path, microphone: Path) -> None:
        self._phone = Linphone(account, microphone, directory, CLOCK)
        self._dialled = ""

    async def start(self) -> None:
        await self._phone.start()

    async def call(self, uri: str) -> None:
        self._phone.dial(uri)
        self._dialled = uri

    async def failed(self) -> None:
        await self._phone.wait_for(f" with {self._dialled} error.", timeout=PATIENCE)

    def resolved(self) -> bool:
        return "Resolver is using DNS server" in self._phone.log

    async def hang_up(self) -> None:
        self._phone.hang_up()

    async def close(self) -> None:
        await self._phone.close()


class Bench:
    """Alice's agent and her phone; bob is her contact and, by then, was found as `ACCOUNT`."""

    def __init__(self, alice: Person, bob: Person, sink: Sink, names: Nameserver, directory: Path) -> None:
        self.alice = alice
        self.bob = bob
        self.sink = sink
        self._names = names
        self._directory = directory
        self._registered = asyncio.Event()
        settings = PhoneSettings("alice", "secret", port=free_port(socket.SOCK_STREAM))
        self.server = PhoneServer(settings, CLOCK, SystemEntropy(), self._happened)

    def _happened(self, event: PhoneEvent) -> None:
        if isinstance(event, Registered):
            self._registered.set()
        self.alice.agent._phone_event(event)

    @contextlib.asynccontextmanager
    async def phone(self, kind: str, *, routed: bool = True) -> AsyncIterator[Phone]:
        """One that is registered, or (not `routed`) set up without an outbound proxy."""
        made = self._made(kind, routed)
        try:
            await made.start()
            if routed or kind.startswith("linphone"):
                await asyncio.wait_for(self._registered.wait(), PATIENCE)
            yield made
        finally:
            await made.close()

    def _made(self, kind: str, routed: bool) -> Phone:
        microphone = self._directory / "microphone.wav"
        write_wav(microphone, Sound(np.zeros(10 * RATE), RATE))
        server = f"127.0.0.1:{self.server.port}"
        way: Way = "tcp" if kind.endswith("tcp") else "udp"
        if kind.startswith("baresip"):
            baresip = Account("alice", "secret", server if routed else "", way)
            return Baresip(baresip, self._directory, microphone, self._names)
        ports = (free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM))
        linphone = LinphoneAccount(
            "alice", "secret", server, *ports, encryption="none", routed=routed, transport=way
        )
        return LinphoneHere(linphone, self._directory, microphone)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    loop = asyncio.get_running_loop()
    streams = await asyncio.start_server((sink := Sink()).connected, ELSEWHERE, 0)
    sink.port = streams.sockets[0].getsockname()[1]
    datagrams, _ = await loop.create_datagram_endpoint(lambda: sink, local_addr=(ELSEWHERE, sink.port))
    try:
        async with open_world(tmp_path, clock=CLOCK) as world, nameserver({}) as names:
            world.alice.found_as("bob", ACCOUNT)
            made = Bench(world.alice, world.bob, sink, names, tmp_path)
            await made.server.start()
            yield made
            await made.server.close()
    finally:
        streams.close()
        datagrams.close()


@pytest.mark.parametrize("kind", ["baresip-udp", "baresip-tcp", "linphone-udp", "linphone-tcp"])
async def test_whatever_host_is_dialled_the_agent_alone_is_told(bench: Bench, kind: str) -> None:
    async with bench.phone(kind) as phone:
        for count, uri in enumerate(
            (
                f"sip:{ACCOUNT}",
                f"sip:anybody@{bench.bob.address}.bayonne.alt",
                f"sip:bob@{ELSEWHERE}:{bench.sink.port}",
            ),
            1,
        ):
            await phone.call(uri)
            assert (await bench.alice.wait("ring-sent", count, PATIENCE)).fields["contact"] == "bob"
            await phone.hang_up()
        await phone.call("sip:bob@nowhere.example")
        await phone.failed()
        (told,) = bench.alice.events("failed")
        assert told.fields == {"status": 404, "reason": NONE_OF_YOURS}
        assert not phone.resolved()
    assert not bench.sink.heard.is_set()


@pytest.mark.parametrize("kind", ["baresip-tcp", "linphone-tcp"])
async def test_while_the_agent_is_away_nobody_is_told(bench: Bench, kind: str) -> None:
    async with bench.phone(kind) as phone:
        await bench.server.close()
        await phone.call("sip:bob@nowhere.example")
        await phone.failed()
        assert not phone.resolved()


# What these two look out for is there to be seen.


@pytest.mark.parametrize("kind", ["baresip-udp", "linphone-udp"])
async def test_without_an_outbound_proxy_a_nameserver_is_told(bench: Bench, kind: str) -> None:
    async with bench.phone(kind, routed=False) as phone:
        await phone.call("sip:bob@nowhere.example")
        deadline = CLOCK.monotonic() + PATIENCE
        while not phone.resolved():
            assert CLOCK.monotonic() < deadline
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", ["baresip-udp", "linphone-udp"])
async def test_without_an_outbound_proxy_the_host_is_told(bench: Bench, kind: str) -> None:
    async with bench.phone(kind, routed=False) as phone:
        await phone.call(f"sip:bob@{ELSEWHERE}:{bench.sink.port}")
        await asyncio.wait_for(bench.sink.heard.wait(), PATIENCE)
