"""What `bayonne contact add NAME alice@example.org` is told, by a small web without Tor."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.agent import domain_desk
from relay.agent.contacts import ContactBook
from relay.agent.domain_desk import DomainDesk, DomainSettings
from relay.agent.domains import Account, format_descriptor
from relay.agent.kept import PlainFiles
from relay.core import (
    ConfigurationError,
    MisuseError,
    RefusedByPolicy,
    SeededEntropy,
    SystemClock,
    TransportUnavailable,
)
from relay.identity import Identity
from tests.agent.web_hosts import Hosts, ok, small_web

ALICE = Account("alice", "example.org")
HERS = Identity.generate(SeededEntropy("alice"))
SAYS = format_descriptor(ALICE, HERS.sip_uri("alice")).encode()


class Web:
    """The small web as a way through Tor, which comes up when the test says so."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.open, self.open_host = hosts.open, hosts.open_host
        self.is_up = asyncio.Event()
        self.is_up.set()

    @property
    def up(self) -> bool:
        return self.is_up.is_set()

    async def wait_up(self) -> None:
        await self.is_up.wait()


class Bench:
    def __init__(self, hosts: Hosts, *, ca_file: str | None = None) -> None:
        self.web = Web(hosts)
        self.heard: list[str] = []
        self.state = PlainFiles(hosts.directory / "state")
        self.desk = DomainDesk(
            DomainSettings(str(hosts.authority.file) if ca_file is None else ca_file),
            self.web,
            ContactBook(self.state),
            self.state,
            clock=SystemClock(),
            entropy=SeededEntropy("desk"),
            report=lambda event, /, **fields: None,
        )

    async def resolve(self, account: str = ALICE.text) -> dict[str, str]:
        return dict(await self.desk.resolve({"account": account}, self.heard.append))


@pytest.fixture
async def hosts() -> AsyncIterator[Hosts]:
    # Not pytest's own directories: their paths are too long for a unix socket.
    with tempfile.TemporaryDirectory(prefix="bvr-") as place:
        async with small_web(Path(place)) as web:
            yield web


async def test_what_the_domain_says_comes_back(hosts: Hosts) -> None:
    await hosts.put_up("example.org", ok(SAYS))
    bench = Bench(hosts)
    assert await bench.resolve() == {"address": HERS.address, "href": HERS.sip_uri("alice")}
    assert bench.heard == ["asking the domain through Tor"]


async def test_a_tor_that_starts_is_waited_for(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    await hosts.put_up("example.org", ok(SAYS))
    bench = Bench(hosts)
    bench.web.is_up.clear()
    monkeypatch.setattr(domain_desk, "TOR_SECONDS", 0.05)
    with pytest.raises(TransportUnavailable, match="see what the agent says"):
        await bench.resolve()
    assert hosts.asked == []
    monkeypatch.setattr(domain_desk, "TOR_SECONDS", 30.0)
    asking = asyncio.create_task(bench.resolve())
    await asyncio.sleep(0.05)
    bench.web.is_up.set()
    assert (await asking)["address"] == HERS.address
    assert bench.heard == ["waiting for Tor"] * 2 + ["asking the domain through Tor"]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "check how it is written"),
        (ok(json.dumps({"subject": ALICE.uri, "links": []}).encode()), "ask the person for an invitation"),
        (ok(b"<html>", "text/html"), "ask the person for an invitation, or try again later"),
        (b"SSH-2.0-x\r\n", "ask the person for an invitation, or try again later"),
    ],
)
async def test_each_failure_says_what_to_do_next(hosts: Hosts, answer: bytes, sentence: str) -> None:
    await hosts.put_up("example.org", answer)
    with pytest.raises(RefusedByPolicy, match=sentence) as raised:
        await Bench(hosts).resolve()
    assert "example.org" not in str(raised.value)


async def test_a_host_that_cannot_prove_its_name(hosts: Hosts) -> None:
    await hosts.put_up("example.org", ok(SAYS))
    with pytest.raises(RefusedByPolicy, match=r"'\[domains\] ca_file'"):
        await Bench(hosts, ca_file="").resolve()
    await hosts.put_up("example.org", ok(SAYS), tls=hosts.authority.issue("elsewhere.example"))
    with pytest.raises(RefusedByPolicy, match="does not prove its name"):
        await Bench(hosts).resolve()
    assert hosts.requests == []


async def test_what_is_no_account_reaches_nobody(hosts: Hosts) -> None:
    for text in ("", "alice", f"alice@{HERS.address}.bayonne.alt", "alice@127.0.0.1"):
        with pytest.raises(MisuseError):
            await Bench(hosts).resolve(text)
    with pytest.raises(TransportUnavailable):
        await Bench(hosts).resolve()
    assert [host for host, _, _ in hosts.asked] == ["example.org"]


async def test_authorities_that_are_of_no_use_end_the_agent_with_one_sentence(hosts: Hosts) -> None:
    with pytest.raises(ConfigurationError, match=r"^domains\.ca_file: "):
        await Bench(hosts, ca_file="/no/such/file").desk.run()
