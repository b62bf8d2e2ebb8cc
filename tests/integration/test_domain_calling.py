"""Domain calling on a real Tor network with a real exit and a real web server: everything goes through Tor, names too,
and a resolver that goes around it is caught by the same means."""

import asyncio
import json
import shutil
import socket
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from relay.agent import AgentSettings, domain_checks
from relay.agent.domain_desk import DomainSettings
from relay.agent.domain_pins import Changed, DomainPins, Pinned, Unchanged
from relay.agent.domains import REL_STANDING_ADDRESS, Account, DomainResolver
from relay.agent.kept import PlainFiles
from relay.agent.web_get import web_trust
from relay.core import PeerError, RefusedByPolicy, SeededEntropy, SystemClock, TransportUnavailable
from relay.identity import Identity
from relay.tor import PrivateNetwork, TorClient, TorSettings
from relay.tor.members import LoopbackExit
from tests.agent.web_hosts import Authority
from tests.integration.domain_web import Web, serve
from tests.integration.leak_watch import Leak, LeakWatch, is_of_this_process
from tests.integration.nameserver import Nameserver, nameserver
from tests.integration.world import ALICE as ALICE_NAME
from tests.integration.world import BOB as BOB_NAME
from tests.integration.world import World, open_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Reserved names (RFC 2606): nobody outside is ever asked for them with success.
DOMAIN, ELSEWHERE, NOWHERE = "voice.example", "elsewhere.example", "nowhere.example"
WEB_ADDRESS = "127.0.30.1"
ALICE = Account("alice", DOMAIN)
HERS, ANOTHERS = (Identity.generate(SeededEntropy(name)) for name in ("alice", "another"))


@dataclass(slots=True)
class Bench:
    place: Path
    network: Path
    web: Web
    names: Nameserver
    tor: TorClient
    trust: ssl.SSLContext

    def resolver(self, dialer: object = None) -> DomainResolver:
        return DomainResolver(dialer or self.tor, self.trust, port=self.web.port)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def watch() -> LeakWatch:
    return LeakWatch()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole_bench() -> AsyncIterator[Bench]:
    """Not pytest's own directories: their paths are too long for a unix socket."""
    place = Path(tempfile.mkdtemp(prefix="bvr-"))
    web = Web(Authority(place))
    server = serve(web, DOMAIN, WEB_ADDRESS)
    clock = SystemClock()
    try:
        async with nameserver({DOMAIN: WEB_ADDRESS, ELSEWHERE: WEB_ADDRESS}) as names:
            network = PrivateNetwork(place / "net", clock=clock, exits=LoopbackExit(names.address))
            await network.up()
            try:
                settings = TorSettings(network_directory=str(place / "net"))
                tor = await TorClient.launch(settings, place / "client", clock)
                try:
                    trust = web_trust(str(web.authority.file))
                    yield Bench(place, place / "net", web, names, tor, trust)
                finally:
                    await tor.close()
            finally:
                await network.down()
    finally:
        server.shutdown()
        server.server_close()
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def bench(whole_bench: Bench) -> Bench:
    whole_bench.web.links = {ALICE.uri: HERS.sip_uri("alice")}
    whole_bench.web.documents = {}
    whole_bench.web.redirect = ""
    whole_bench.web.visitors.clear()
    whole_bench.names.asked.clear()
    whole_bench.names.heard.clear()
    return whole_bench


async def test_a_domain_is_asked_through_tor_alone_its_name_too(bench: Bench, watch: LeakWatch) -> None:
    with watch.watching(bench.names.address):
        found = await bench.resolver().resolve(ALICE)
    assert found.address == HERS.address
    assert watch.found == []
    ((path, straight),) = bench.web.visitors
    assert "resource=acct%3Aalice%40voice.example" in path
    assert not straight
    # It was an exit that asked for the name; it may have it in its cache by now.
    assert {name for name, _ in bench.names.asked} <= {DOMAIN}
    assert not any(is_of_this_process(port, "udp") for _, port in bench.names.asked)


class LooksUp:
    """The control: a dialer that asks the system for the name."""

    async def open_host(
        self, host: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(host, port)


class GoesStraight(LooksUp):
    """The other control: it knows the address, and goes there by itself."""

    async def open_host(
        self, host: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(WEB_ADDRESS, port)


class AsksItself(LooksUp):
    """And one that writes to a nameserver with its own hand."""

    def __init__(self, names: Nameserver) -> None:
        self.names = names

    async def open_host(
        self, host: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        question = b"".join(bytes((len(label),)) + label.encode() for label in host.split(".")) + bytes(1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.sendto(
                bytes((0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)) + question + b"\0\1\0\1", self.names.address
            )
            async with asyncio.timeout(5):
                await self.names.heard.wait()
            assert is_of_this_process(self.names.asked[0][1], "udp")
        return await asyncio.open_connection(WEB_ADDRESS, port)


async def test_the_same_watch_catches_who_asks_the_system_or_goes_straight(
    bench: Bench, watch: LeakWatch
) -> None:
    for leaky, event in ((LooksUp(), "socket.getaddrinfo"), (GoesStraight(), "socket.connect")):
        with watch.watching(bench.names.address), pytest.raises(Leak):
            await bench.resolver(leaky).resolve(ALICE)
        assert watch.found == [event]
    assert bench.web.visitors == []


async def test_and_so_do_the_web_server_and_the_nameserver(bench: Bench, watch: LeakWatch) -> None:
    watch.connections_are_stopped = False
    try:
        with watch.watching(bench.names.address):
            assert (await bench.resolver(GoesStraight()).resolve(ALICE)).address == HERS.address
            await bench.resolver(AsksItself(bench.names)).resolve(ALICE)
    finally:
        watch.connections_are_stopped = True
    assert watch.found == ["socket.connect", "socket.sendto", "socket.connect"]
    assert [straight for _, straight in bench.web.visitors] == [True, True]


async def test_found_pinned_changed_and_accepted(bench: Bench) -> None:
    state = PlainFiles(bench.place / "state")
    pins, resolver = DomainPins(state), bench.resolver()
    assert isinstance(pins.note(await resolver.resolve(ALICE), 1.0), Pinned)
    assert isinstance(pins.note(await resolver.resolve(ALICE), 2.0), Unchanged)
    bench.web.links[ALICE.uri] = ANOTHERS.sip_uri("alice")
    changed = pins.note(await resolver.resolve(ALICE), 3.0)
    assert isinstance(changed, Changed)
    with pytest.raises(RefusedByPolicy):
        pins.to_call(ALICE)
    pins.accept_change(ALICE, changed.pin.offered, 4.0)
    pin = pins.to_call(ALICE)
    assert pin is not None
    assert pin.address == ANOTHERS.address


async def test_what_the_domain_does_not_know_and_a_domain_that_nobody_knows(bench: Bench) -> None:
    with pytest.raises(RefusedByPolicy, match="no such account"):
        await bench.resolver().resolve(Account("bob", DOMAIN))
    with pytest.raises(TransportUnavailable):
        await bench.resolver().resolve(Account("alice", NOWHERE))
    assert NOWHERE in {name for name, _ in bench.names.asked}
    assert len(bench.web.visitors) == 1


async def test_a_host_that_cannot_prove_its_name(bench: Bench) -> None:
    with pytest.raises(PeerError, match="certificate"):
        await bench.resolver().resolve(Account("alice", ELSEWHERE))
    with pytest.raises(PeerError, match="certificate"):
        await DomainResolver(bench.tor, web_trust(), port=bench.web.port).resolve(ALICE)
    assert bench.web.visitors == []


async def test_a_redirect_into_this_machine_is_not_followed(bench: Bench, watch: LeakWatch) -> None:
    bench.web.redirect = f"https://{WEB_ADDRESS}:{bench.web.port}/"
    with watch.watching(bench.names.address), pytest.raises(PeerError, match="bad redirect"):
        await bench.resolver().resolve(ALICE)
    assert watch.found == []
    assert len(bench.web.visitors) == 1


async def test_an_onion_is_a_domain_that_proves_itself(bench: Bench) -> None:
    plain = bench.place / "plain"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        links = [{"rel": REL_STANDING_ADDRESS, "href": HERS.sip_uri("alice")}]
        body = json.dumps({"subject": f"acct:alice@{service.onion}.onion", "links": links}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/jrd+json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        writer.close()

    async with await asyncio.start_unix_server(answer, str(plain)):
        service = await bench.tor.publish(None, {80: plain})
        found = await bench.resolver().resolve(Account("alice", f"{service.onion}.onion"))
        await service.remove()
    assert found.address == HERS.address


async def test_without_tor_the_lookup_fails_and_nothing_goes_around(bench: Bench, watch: LeakWatch) -> None:
    settings = TorSettings(network_directory=str(bench.network))
    tor = await TorClient.launch(settings, bench.place / "doomed", SystemClock())
    await tor.close()
    with watch.watching(bench.names.address), pytest.raises(TransportUnavailable):
        await bench.resolver(tor).resolve(ALICE)
    assert watch.found == []
    assert bench.web.visitors == []
    assert bench.names.asked == []


async def bayonne(*arguments: str, config: Path, typed: str = "") -> str:
    """What a command says; it has to succeed."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay.cli", "contact", *arguments, "--config", str(config)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaints = await asyncio.wait_for(child.communicate(typed.encode()), 90)
    assert child.returncode == 0, complaints.decode()
    return said.decode()


def configuration(world: World, name: str) -> Path:
    """The file of an agent that runs in this process, for commands that do not."""
    assert world.contact_point is not None
    file = world.directory / f"{name}.toml"
    file.write_text(
        f'state_directory = "{world.directory / name}"\ncontact_points = ["{world.contact_point.onion}"]\n'
        f'reflectors = ["{world.reflectors[0].reference}"]\n[vault]\nsealed = false\n'
    )
    return file


async def dial_alice(world: World) -> str:
    """How bob's call to alice ends: "rings", or what his phone shows."""
    await world.bob.phone.dial(ALICE_NAME)
    rings = asyncio.create_task(world.alice.phone.wait_for("CALL_INCOMING", timeout=30))
    closed = asyncio.create_task(world.bob.phone.wait_for("CALL_CLOSED", timeout=30))
    await asyncio.wait((rings, closed), return_when=asyncio.FIRST_COMPLETED)
    if rings.done() and rings.exception() is None:
        await world.bob.phone.hang_up()
        await closed
        await world.alice.phone.wait_for("CALL_CLOSED", timeout=10)
        await world.quiet()
        return "rings"
    rings.cancel()
    return (await closed).detail


@pytest.mark.timeout(240)
async def test_an_account_is_added_rings_changes_is_refused_and_accepted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands and agents together; the domain first names a stranger, then alice, then the stranger again."""
    defaults = DomainResolver.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "port", bench.web.port)
    monkeypatch.setattr(domain_checks, "EVERY", 1.5)
    monkeypatch.setattr(domain_checks, "NOTICE_EVERY", 0.5)

    def change(settings: AgentSettings) -> AgentSettings:
        domains = DomainSettings(str(bench.web.authority.file))
        return msgspec.structs.replace(settings, domains=domains, accept_introductions="always")

    async with open_world(bench.network, bench.place / "world", change=change, introduced=False) as world:
        alices, bobs = (configuration(world, name) for name in (ALICE_NAME, BOB_NAME))
        published = await bayonne("webfinger", ALICE.text, "--invitation", config=alices)
        bench.web.links = {ALICE.uri: ANOTHERS.sip_uri("alice")}
        said = await bayonne("add", ALICE_NAME, ALICE.text, "--as", BOB_NAME, "--json", config=bobs)
        assert json.loads(said) == {"name": ALICE_NAME, "account": ALICE.text, "address": ANOTHERS.address}

        began = world.clock.monotonic()
        bench.web.links, bench.web.documents = {}, {ALICE.uri: published}
        await world.bob.told.wait_for("domain-changed", timeout=30, contact=ALICE_NAME)
        assert "403" in await dial_alice(world)
        failed = await world.bob.told.wait_for("failed", timeout=5, after=began)
        assert "accept-change" in str(failed.fields["reason"])

        assert ALICE_NAME in await bayonne(
            "accept-change", ALICE_NAME, "--as", BOB_NAME, config=bobs, typed="y\n"
        )
        await world.bob.told.wait_for("contact-ready", timeout=60, contact=ALICE_NAME)
        await world.alice.told.wait_for("introduced", timeout=30, contact=BOB_NAME)
        assert await dial_alice(world) == "rings"

        began = world.clock.monotonic()
        bench.web.links = {ALICE.uri: ANOTHERS.sip_uri("alice")}
        await world.bob.told.wait_for("domain-changed", timeout=30, after=began)
        assert "ALARM" in await bayonne("list", config=bobs)
        assert "403" in await dial_alice(world)
    assert len(bench.web.visitors) > 3
    assert not any(straight for _, straight in bench.web.visitors)
