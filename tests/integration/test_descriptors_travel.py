"""A reflector's news reach an agent by way of a contact point alone: real tor, and the way to the reflector shut.

And a contact point that lies: what it hands out is what nobody would have taken from its owner, put into its store
behind its back.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from relay.agent import Agent, AgentSettings, PlainFiles, descriptor_pulls, whole_pulls
from relay.agent.descriptor_pulls import DescriptorPulls
from relay.agent.known_descriptors import FILE
from relay.agent.reflectors import reflector_id
from relay.contact_cache.entry import Row
from relay.core import SystemClock, SystemEntropy, TransportUnavailable
from relay.media_reflector import Descriptor, ReflectorKeys, ReflectorReference
from relay.media_reflector.descriptor import SignedDescriptor
from relay.media_reflector.descriptor_entry import DescriptorEntry
from relay.media_reflector.series import DescriptorSeries
from relay.node import descriptor_publisher, descriptor_times
from relay.node.contact_point import ContactPointNode
from relay.node.contact_point_settings import ContactPointSettings
from relay.node.reflector_settings import ReflectorSettings
from relay.tor import TorClient, TorSettings
from relay.wire import decode, encode
from tests.integration.world import Reflector, Teller, World, start_reflector

pytestmark = pytest.mark.timeout(180)

CLOCK, ENTROPY = SystemClock(), SystemEntropy()
SOON = 40.0
"""Seconds in which news should be there: what is waited for here is Tor."""


@dataclass(slots=True)
class Place:
    """An honest contact point, a lying one, a reflector that speaks to the first, an agent that reads at it."""

    honest: ContactPointNode
    liar: ContactPointNode
    reflector: Reflector
    agent: Agent

    @property
    def reference(self) -> ReflectorReference:
        return ReflectorReference.parse(self.reflector.reference)

    @property
    def id(self) -> str:
        return reflector_id(self.reference.identity)

    @property
    def known(self) -> Descriptor:
        """What the agent would use now."""
        found = self.agent._pool._reflectors[self.id].descriptor
        assert found is not None
        return found

    @property
    def keys(self) -> ReflectorKeys:
        return self.reflector.node._keys

    def advertise(self, address: str) -> None:
        """The operator writes another address into the configuration, and sends SIGHUP."""
        self.reflector.settings = msgspec.structs.replace(self.reflector.settings, udp_advertise=address)
        self.reflector.node.reload()

    def shut_the_way(self) -> None:
        """From now on the agent gets through to contact points, and not to the reflector."""
        network, shut = self.agent._network, self.reference.onion
        before = network.open

        async def selective(
            onion: str, port: int, *, isolation: str
        ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            if onion == shut:
                raise TransportUnavailable("the way is shut")
            return await before(onion, port, isolation=isolation)

        network.open = selective  # type: ignore[method-assign]

    async def lie(self, entry: DescriptorEntry) -> None:
        """The liar takes it, whatever it is, and the agent reads everything that the liar has."""
        store = self.liar._store
        assert store is not None
        revision = ((await store.revision(entry.kind, entry.key)) or 0) + 1
        await store.put(Row(entry.kind, entry.key, revision, 2**40, entry.body))
        pulls = DescriptorPulls(self.agent._pool, self.agent._directory, (self.liar.onion,), CLOCK, ENTROPY)
        assert await pulls.pull(self.liar.onion) == 1

    def said(self, keys: ReflectorKeys, onion: str, *, later: int, hours: int = 0) -> DescriptorEntry:
        """What a reflector with `keys` would say: that it drains, somewhere else."""
        told = keys.descriptor(
            onion, [("127.0.0.66", 6666)], CLOCK.wall() - 3600 * hours, capacity=100, draining=True
        )
        return DescriptorEntry.of(DescriptorSeries(keys.sign, told.valid_from + later - 1).signed(told))


def resigned(entry: DescriptorEntry, signature_of: DescriptorEntry) -> DescriptorEntry:
    content = decode(entry.signed, SignedDescriptor, limit=4080).descriptor
    signature = decode(signature_of.signed, SignedDescriptor, limit=4080).signature
    return DescriptorEntry.of(encode(SignedDescriptor(content, signature)))


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours are seconds here."""
    for name, value in (("AFTER_START", (0.0, 0.5)), ("AFTER_CHANGE", (0.0, 0.5)), ("URGENT_GAP", 0.5)):
        monkeypatch.setattr(descriptor_times, name, value)
    monkeypatch.setattr(descriptor_publisher, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(whole_pulls, "SOON", 1.0)
    brisk = replace(descriptor_pulls.PACE, shortest=1.0, pages_a_day=86400)
    monkeypatch.setattr(descriptor_pulls, "PACE", brisk)


@contextlib.asynccontextmanager
async def open_place(network: Path, directory: Path) -> AsyncIterator[Place]:
    tor_settings = TorSettings(network_directory=str(network))
    async with contextlib.AsyncExitStack() as stack:
        points = []
        tor = await TorClient.launch(tor_settings, directory / "point", CLOCK)
        stack.push_async_callback(tor.close)
        for name in ("point", "liar"):
            settings = ContactPointSettings(state_directory=str(directory / name), tor=tor_settings)
            node = ContactPointNode(settings, tor, CLOCK, ENTROPY)
            stack.push_async_callback(node.close)
            points.append(node)
        for node in points:
            # One by one: migrations of two databases cannot run in one process at once.
            await node.start()
        world = World(directory, CLOCK)
        reflector_settings = ReflectorSettings(
            state_directory=str(directory / "reflector"),
            udp_listen=f"127.0.0.1:{free_port()}",
            contact_points=(points[0].onion,),
            tor=tor_settings,
        )
        await start_reflector(world, network, stack, 1, reflector_settings)
        (reflector,) = world.reflectors
        agent_settings = AgentSettings(
            state_directory=str(directory / "agent"),
            sip_listen=f"127.0.0.1:{free_port()}",
            line_address="127.0.10.1",
            contact_points=(points[0].onion,),
            reflectors=(reflector.reference,),
            tor=tor_settings,
        )
        told = Teller(CLOCK)
        agent = Agent(agent_settings, CLOCK, ENTROPY, told)
        agent.build(PlainFiles(directory / "agent"))
        task = asyncio.create_task(agent.run())

        async def end() -> None:
            agent.stop()
            await asyncio.gather(task, return_exceptions=True)

        stack.push_async_callback(end)
        await told.wait_for("ready", timeout=90)
        yield Place(points[0], points[1], reflector, agent)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110 - what is watched tells nobody that it changed
            await asyncio.sleep(0.05)


@pytest.mark.usefixtures("brisk")
async def test_news_travel_by_the_contact_point_alone_and_lies_do_not(
    private_network: Path, tmp_path: Path
) -> None:
    async with open_place(private_network, tmp_path) as place:
        place.shut_the_way()
        before = place.known
        assert before.addresses == (place.reflector.address,)

        place.advertise("127.0.0.7:7777")
        await until(lambda: place.known.addresses == (("127.0.0.7", 7777),))
        assert place.agent._pool.ready() == [place.id], "and its tickets are good as before"
        assert place.agent._pool.take(place.id)[0] == place.known
        news = place.known
        assert news.valid_from > before.valid_from

        stranger = ReflectorKeys.generate(ENTROPY)
        onion = place.reference.onion
        honest_one = place.said(place.keys, onion, later=900)
        for lie in (
            place.said(place.keys, onion, later=900, hours=2),
            resigned(honest_one, place.said(place.keys, onion, later=901)),
            resigned(honest_one, place.said(stranger, onion, later=900)),
            place.said(stranger, onion, later=900),
            place.said(place.keys, place.liar.onion, later=900),
        ):
            await place.lie(lie)
            assert place.known == news
            assert set(place.agent._pool._reflectors) == {place.id}

        place.reflector.node.drain()
        await until(lambda: not place.agent._pool.ready())
        assert place.known.draining
        assert place.known.addresses == news.addresses, "from the honest one"
        assert place.agent._why_not() == "none of your guards takes a line just now"
        await asyncio.wait_for(place.reflector.task, SOON)
        kept = tmp_path / "agent" / FILE
        assert kept.stat().st_mode & 0o777 == 0o600

        # The control: by the very same way, what its reflector signed and dated later would have counted.
        await place.lie(honest_one)
        assert place.known == honest_one.descriptor
