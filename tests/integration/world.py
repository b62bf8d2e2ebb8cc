"""A small world in one process for the scenarios: real tor, real UDP, real baresip; the roles run inside the test.

Being inside lets a test tap the contact point's streams, read every role's log and database, and kill what it likes.
"""

import asyncio
import contextlib
import io
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import msgspec

from relay.agent import Agent, AgentSettings, ChaffSettings, ContactBook, PlainFiles
from relay.agent.contact_file import Introducing
from relay.agent.credentials import own_identity, own_softphone
from relay.agent.daemon import Daemon
from relay.agent.invitations import make_invitation
from relay.agent.settings import VaultSettings
from relay.core import Clock, SystemClock, SystemEntropy
from relay.identity import InvitationKind
from relay.lab.audio import write_wav
from relay.lab.softphones import OPUS, Account, Softphone
from relay.lab.speech import Voice, build_speech, sounds_directory
from relay.node.contact_point import ContactPointNode
from relay.node.contact_point_settings import ContactPointSettings
from relay.node.reflector import ReflectorNode
from relay.node.reflector_settings import ReflectorSettings, TrunkSettings
from relay.tor import TorClient, TorSettings

ALICE, BOB = PEOPLE = ("alice-in-the-tower", "bob-at-the-harbour")
"""Long enough never to turn up by chance in what is encrypted, which the knowledge tests search."""

LINE_ADDRESSES = {ALICE: "127.0.10.1", BOB: "127.0.10.2"}
START_DELAY = 1.0
STAGGERED_TEARDOWN = 4.0


@dataclass(slots=True)
class Told:
    """One event of an agent."""

    name: str
    at: float
    fields: dict[str, object]


class Teller:
    """Collects what one agent tells its owner, and lets a test wait for it."""

    def __init__(self, clock: Clock) -> None:
        self.events: list[Told] = []
        self._clock = clock
        self._changed = asyncio.Event()

    def __call__(self, event: str, /, **fields: str | int | float | bool | None) -> None:
        self.events.append(Told(event, self._clock.monotonic(), dict(fields)))
        self._changed.set()

    async def wait_for(self, name: str, *, timeout: float, after: float = 0.0, **fields: object) -> Told:
        """The first event `name` with `fields` later than `after`."""
        async with asyncio.timeout(timeout):
            while True:
                for told in self.events:
                    if told.name == name and told.at > after and fields.items() <= told.fields.items():
                        return told
                self._changed.clear()
                await self._changed.wait()

    def seen(self, name: str, *, after: float = 0.0) -> list[Told]:
        return [told for told in self.events if told.name == name and told.at > after]


@dataclass(slots=True)
class Person:
    """One agent with its softphone."""

    name: str
    daemon: Daemon
    told: Teller
    task: "asyncio.Task[None]"
    phone: Softphone

    @property
    def busy(self) -> bool:
        return self.daemon.agent is not None and self.daemon.agent.busy

    @property
    def agent(self) -> Agent:
        assert self.daemon.agent is not None
        return self.daemon.agent


@dataclass(slots=True)
class Reflector:
    """`settings` is what is in its file; `node.reload()` reads it again."""

    settings: ReflectorSettings
    node: ReflectorNode
    task: "asyncio.Task[None]"
    stop: asyncio.Event
    reference: str
    address: tuple[str, int]

    @property
    def trunk_is_up(self) -> bool:
        (end,) = self.settings.trunk_references
        return self.node.trunks.is_up(end[0].identity)


LATE = 10
"""Cells of a short call that may wait too long: all of a world shares one process, which may be late for some."""


@dataclass(slots=True)
class World:
    """Build with `open_world`."""

    directory: Path
    clock: Clock
    taps: dict[str, bytearray] = field(default_factory=dict)
    reflector_reports: list[str] = field(default_factory=list)
    log: io.StringIO = field(default_factory=io.StringIO)
    contact_point: ContactPointNode | None = None
    reflectors: list[Reflector] = field(default_factory=list)
    people: dict[str, Person] = field(default_factory=dict)

    @property
    def alice(self) -> Person:
        return self.people[ALICE]

    @property
    def bob(self) -> Person:
        return self.people[BOB]

    @property
    def messages_sent(self) -> int:
        """Sealed messages that agents handed to the contact point so far; flows come and go beside them."""
        return self.taps["sip in"].count(b"MESSAGE sip:")

    @property
    def given_up(self) -> int:
        """Cells that lines and trunks of the reflectors let go: of those that wait in one queue the oldest."""
        counts = [one.node.reflector.counts() for one in self.reflectors]
        return sum(count[name] for count in counts for name in ("queue_trimmed", "queue_full"))

    def book(self, name: str) -> ContactBook:
        """The contacts on disk of one person."""
        book = ContactBook(PlainFiles(self.directory / name))
        book.refresh()
        return book

    async def quiet(self, *, timeout: float = 12.0) -> None:
        """Wait until no call and no line is left, and forget old phone reports."""
        async with asyncio.timeout(timeout):
            while any(person.busy for person in self.people.values()):  # noqa: ASYNC110 - no event to wait for
                await asyncio.sleep(0.1)
        for person in self.people.values():
            while not person.phone.reports.empty():
                person.phone.reports.get_nowait()

    async def hush(self) -> None:
        """Hang up whatever a test that failed has left, so that the next one fails of its own accord or not at all."""
        if any(person.busy for person in self.people.values()):
            for person in self.people.values():
                await person.phone.hang_up()
        await self.quiet(timeout=25.0)

    async def connect(self) -> float:
        """Alice dials bob, bob answers, both hear voice; the moment of dialling."""
        dialled = self.clock.monotonic()
        await self.alice.phone.dial(BOB)
        await self.bob.phone.wait_for("CALL_INCOMING", timeout=30)
        await self.bob.phone.accept()
        for person in self.people.values():
            await person.told.wait_for("voice", timeout=20, after=dialled, direction="received")
        return dialled


@contextlib.asynccontextmanager
async def open_world(  # type: ignore[no-untyped-def]
    network: Path,
    directory: Path,
    *,
    trunk_slots: int = 0,
    references: tuple[str, ...] = (),
    change: Callable[[AgentSettings], AgentSettings] = lambda settings: settings,
    introduced: bool = True,
    codecs: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
):
    """Everything up, both contacts ready, both softphones registered; everything down afterwards.

    With `trunk_slots` the two reflectors keep a trunk, and each of the two people accepts one of them alone.  With
    `references` the reflectors are those, which run elsewhere, and none is started.  `change` is made to the
    settings of both agents; unless they are `introduced`, the two do not know each other.  `codecs` are those of each
    person's phone, where not Opus alone.
    """
    world = World(directory, SystemClock())
    async with contextlib.AsyncExitStack() as stack:
        await _contact_point(world, network, stack)
        if not references:
            await asyncio.gather(*(start_reflector(world, network, stack, number) for number in (1, 2)))
        world.reflectors.sort(key=lambda one: one.settings.state_directory)
        if trunk_slots:
            await _join_by_trunk(world, trunk_slots)
        accepted = references or tuple(reflector.reference for reflector in world.reflectors)
        settings = {
            name: change(
                _settings(world, network, name, accepted[number : number + 1] if trunk_slots else accepted)
            )
            for number, name in enumerate(PEOPLE)
        }
        if introduced:
            _introduce(world, settings)
        await asyncio.gather(
            *(_person(world, settings[name], stack, codecs.get(name, (OPUS,))) for name in PEOPLE)
        )
        for name, other in zip(PEOPLE, reversed(PEOPLE), strict=True) if introduced else ():
            await world.people[name].told.wait_for("contact-ready", timeout=90, contact=other)
        yield world


async def _contact_point(world: World, network: Path, stack: contextlib.AsyncExitStack) -> None:
    directory = world.directory / "contact-point"
    settings = ContactPointSettings(state_directory=str(directory), tor=_tor(network))
    tor = await TorClient.launch(settings.tor, directory, world.clock)
    stack.push_async_callback(tor.close)

    def tap(stream: str, data: bytes) -> None:
        world.taps.setdefault(stream, bytearray()).extend(data)

    node = ContactPointNode(settings, tor, world.clock, SystemEntropy(), tap)
    stack.push_async_callback(node.close)
    await node.start()
    world.contact_point = node


async def _join_by_trunk(world: World, slots: int) -> None:
    """Both operators write each other's reference into their configuration, as trunk and backup, and send SIGHUP."""
    first, second = world.reflectors
    for one, other in ((first, second), (second, first)):
        ends = (TrunkSettings(other.reference, slots),)
        one.settings = msgspec.structs.replace(
            one.settings, trunks=ends, backup=other.reference, peers=(other.reference,)
        )
        one.node.reload()
    async with asyncio.timeout(60):
        while not all(one.trunk_is_up for one in world.reflectors):  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0.1)


async def start_reflector(
    world: World,
    network: Path,
    stack: contextlib.AsyncExitStack,
    number: int,
    settings: ReflectorSettings | None = None,
) -> None:
    """A new reflector, or an earlier one again, with its `settings`."""
    address = ("127.0.0.1", free_port(socket.SOCK_DGRAM))
    settings = settings or ReflectorSettings(
        state_directory=str(world.directory / f"reflector-{number}"),
        udp_listen=f"{address[0]}:{address[1]}",
        tor=_tor(network),
    )
    stop = asyncio.Event()
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def report(event: object) -> None:
        assert isinstance(event, dict)
        if event["event"] == "ready":
            if not ready.done():
                ready.set_result(str(event["reference"]))
        else:
            world.reflector_reports.append(str(event))

    def read_again() -> ReflectorSettings:
        return started[0].settings

    started: list[Reflector] = []
    node = ReflectorNode(settings, world.clock, SystemEntropy(), report, read_again=read_again)
    task = asyncio.create_task(node.run(stop))

    async def end() -> None:
        stop.set()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)
    reference = await asyncio.wait_for(ready, 90)
    started.append(Reflector(settings, node, task, stop, reference, settings.listens[0]))
    world.reflectors += started


def _settings(world: World, network: Path, name: str, reflectors: tuple[str, ...]) -> AgentSettings:
    assert world.contact_point is not None
    return AgentSettings(
        state_directory=str(world.directory / name),
        name=name,
        sip_listen=f"127.0.0.1:{free_port(socket.SOCK_STREAM)}",
        line_address=LINE_ADDRESSES[name],
        contact_points=(world.contact_point.onion,),
        reflectors=reflectors,
        tor=_tor(network),
        vault=VaultSettings(sealed=False),
        chaff=ChaffSettings(start_delay=START_DELAY, staggered_teardown=STAGGERED_TEARDOWN),
    )


def _introduce(world: World, settings: dict[str, AgentSettings]) -> None:
    """Alice's invitation is in bob's hands; the two agents do the rest."""
    entropy = SystemEntropy()
    alice, bob = (PlainFiles(settings[name].directory) for name in PEOPLE)
    points, wall = settings[ALICE].contact_points, world.clock.wall()
    key = own_identity(alice, entropy).public_key
    invitation, _ = make_invitation(
        ContactBook(alice), BOB, InvitationKind.ONCE, key, points, 86400, wall=wall, entropy=entropy
    )
    introducing = Introducing(invitation.record_secret, 0)
    ContactBook(bob).add(ALICE, key, introducing, points, entropy)


async def _person(
    world: World, settings: AgentSettings, stack: contextlib.AsyncExitStack, codecs: tuple[str, ...]
) -> None:
    name = settings.name
    told = Teller(world.clock)
    daemon = Daemon(settings, world.clock, SystemEntropy(), told)
    task = asyncio.create_task(daemon.run())

    async def end() -> None:
        daemon.stop()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)
    ready = asyncio.create_task(told.wait_for("ready", timeout=90))
    await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        ready.cancel()
        task.result()
    await ready
    phone = await start_phone(world, settings, told, codecs)
    world.people[name] = Person(name, daemon, told, task, phone)

    async def hang_up_for_good() -> None:
        await world.people[name].phone.close()

    stack.push_async_callback(hang_up_for_good)


async def start_phone(
    world: World, settings: AgentSettings, told: Teller, codecs: tuple[str, ...]
) -> Softphone:
    """A softphone that is registered at this person's agent; any earlier one has to be closed."""
    name = settings.name
    account = own_softphone(PlainFiles(settings.directory), name, SystemEntropy())
    directory = world.directory / f"{name}-phone-{len(list(world.directory.glob(f'{name}-phone-*')))}"
    directory.mkdir()
    microphone = directory / "microphone.wav"
    voice: Voice = "english" if name == ALICE else "french"
    speech = build_speech(voice, 40.0, sounds_directory(os.environ))
    write_wav(microphone, speech.sound)
    phone = Softphone(
        Account(account.user, account.password, settings.sip_listen, codecs=codecs),
        microphone,
        directory,
        world.clock,
        os.environ,
    )
    before = world.clock.monotonic()
    try:
        await phone.start()
        await told.wait_for("registered", timeout=20, after=before)
    except BaseException:
        await phone.close()
        raise
    return phone


def _tor(network: Path) -> TorSettings:
    return TorSettings(network_directory=str(network))


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
