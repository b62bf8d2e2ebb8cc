"""A small web with real TLS: what is fetched, what is refused, and that nothing is asked but through the dialer."""

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.agent.web_get import BODY_LIMIT, WebAnswer, WebGet, is_onion, is_public_name, web_trust
from relay.core import ConfigurationError, MisuseError, PeerError, TransportUnavailable
from tests.agent.web_hosts import Hosts, moved, ok, small_web

HOST = "example.org"
OTHER = "www.example.net"
ONION = "abcdefgh" * 7 + ".onion"


@pytest.fixture
async def hosts() -> AsyncIterator[Hosts]:
    # Not pytest's own directories: their paths are too long for a unix socket.
    with tempfile.TemporaryDirectory(prefix="bvr-") as place:
        async with small_web(Path(place)) as web:
            yield web


async def get(hosts: Hosts, host: str = HOST, target: str = "/x?y=z", *, isolation: str = "i") -> WebAnswer:
    web = WebGet(hosts, web_trust(str(hosts.authority.file)), seconds=10.0)
    return await web.get(host, target, accept="application/json", isolation=isolation)


async def test_a_document_and_a_request_that_says_nothing_of_us(hosts: Hosts) -> None:
    await hosts.put_up(HOST, ok(b"{}", "Application/JSON; charset=utf-8"))
    assert await get(hosts) == WebAnswer(200, "application/json", b"{}")
    assert hosts.requests == [
        b"GET /x?y=z HTTP/1.1\r\nHost: example.org\r\nAccept: application/json\r\n"
        b"Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
    ]
    ((host, port, _),) = hosts.asked
    assert (host, port) == (HOST, 443)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nConnection: close\r\n\r\nabc",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: a/b\r\n\r\nabc",
        b"HTTP/1.0 200 OK\r\nContent-Type: a/b\r\n\r\nabc",
        ok(b"abc", "a/b") + b"more than was announced",
    ],
)
async def test_every_framing_of_a_body(hosts: Hosts, answer: bytes) -> None:
    await hosts.put_up(HOST, answer)
    assert await get(hosts) == WebAnswer(200, "a/b", b"abc")


async def test_two_redirects_and_no_third(hosts: Hosts) -> None:
    await hosts.put_up(HOST, moved("/a"), moved("/a"))
    await hosts.put_up(OTHER, ok(b"there", "a/b"))
    with pytest.raises(TransportUnavailable, match="no such host"):
        await get(hosts, "unknown.example.org")
    await hosts.put_up("a.example.org", moved(f"https://{OTHER}/b?c#d", 307))
    assert (await get(hosts, "a.example.org")).body == b"there"
    assert hosts.requests[-1].startswith(b"GET /b?c HTTP/1.1\r\nHost: www.example.net\r\n")
    await hosts.put_up("b.example.org", *[moved("?again")] * 3)
    with pytest.raises(PeerError, match="too many redirects"):
        await get(hosts, "b.example.org")
    assert [host for host, _, _ in hosts.asked].count("b.example.org") == 3


@pytest.mark.parametrize(
    "location",
    [
        "http://www.example.net/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://router.local/",
        "https://localhost/",
        "https://printer/",
        "https://a.home.arpa/",
        f"https://{ONION}/",
        f"http://{ONION}/",
        "https://www.example.net:8443/",
        "https://www.example.net:99999/",
        "https://user@www.example.net/",
        "https://www.example.net\\@127.0.0.1/",
        "https://exämple.net/",
        "https://www.example.net/\x7f",
        "https://www.example.net/" + "x" * 3000,
        "file:///etc/passwd",
        "ftp://www.example.net/",
        "//[/",
        "https://[::1",
    ],
)
async def test_a_redirect_that_leads_astray_is_not_followed(hosts: Hosts, location: str) -> None:
    await hosts.put_up(HOST, moved(location))
    with pytest.raises(PeerError, match="bad redirect"):
        await get(hosts)
    assert len(hosts.asked) == 1


async def test_each_host_and_each_purpose_has_a_circuit_of_its_own(hosts: Hosts) -> None:
    await hosts.put_up(HOST, moved(f"https://{OTHER}/"), ok(b""), ok(b""))
    await hosts.put_up(OTHER, ok(b""))
    for isolation in ("a", "b", "b"):
        await get(hosts, isolation=isolation)
    one, elsewhere, two, again = (isolation for _, _, isolation in hosts.asked)
    assert len({one, elsewhere, two}) == 3
    assert two == again
    assert not any(word in label for label in (one, elsewhere) for word in ("example", "a b"))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "truncated|bad HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "truncated|bad HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "truncated|bad HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc", "truncated|bad HTTP"),
        (b"SSH-2.0-OpenSSH\r\n", "bad HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "bad HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40000 + b"\r\n\r\n", "bad HTTP"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50, "bad HTTP"),
        (ok(b"x" * (BODY_LIMIT + 1)), "oversized"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", "bad content coding"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "bad redirect"),
    ],
)
async def test_an_answer_that_breaks_a_rule(hosts: Hosts, answer: bytes, reason: str) -> None:
    await hosts.put_up(HOST, answer, answer, answer)
    with pytest.raises(PeerError, match=reason):
        await get(hosts)


async def test_the_longest_body(hosts: Hosts) -> None:
    await hosts.put_up(HOST, ok(b"x" * BODY_LIMIT))
    assert len((await get(hosts)).body) == BODY_LIMIT


async def test_a_body_without_end_is_cut_off(hosts: Hosts) -> None:
    sent = 0

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 10000)
            sent += 10000
            await writer.drain()

    await hosts.put_up_server(HOST, serve, hosts.authority.issue(HOST))
    with pytest.raises(PeerError, match="oversized"):
        await get(hosts)
    assert sent < 100 * BODY_LIMIT


async def test_silence_ends_in_time(hosts: Hosts) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    await hosts.put_up_server(HOST, serve, hosts.authority.issue(HOST))
    await hosts.put_up_server(OTHER, serve, None)
    web = WebGet(hosts, web_trust(str(hosts.authority.file)), seconds=0.3)
    for host in (HOST, OTHER):
        with pytest.raises(TransportUnavailable, match="in time"):
            await web.get(host, "/", accept="a/b", isolation="i")


async def test_a_host_that_is_not_who_it_says(hosts: Hosts) -> None:
    await hosts.put_up(HOST, ok(b""), tls=hosts.authority.issue(OTHER))
    await hosts.put_up(OTHER, ok(b""), tls=hosts.authority.issue(OTHER, expired=True))
    for host in (HOST, OTHER):
        with pytest.raises(PeerError, match="certificate of nobody we trust"):
            await get(hosts, host)
    await hosts.put_up("a.example.org", ok(b""))
    with pytest.raises(PeerError, match="certificate of nobody we trust"):
        await WebGet(hosts, web_trust()).get("a.example.org", "/", accept="a/b", isolation="i")
    assert hosts.requests == []


async def test_a_host_without_tls(hosts: Hosts) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(5)
        writer.write(ok(b"{}"))
        writer.close()

    await hosts.put_up_server(HOST, plain, None)
    with pytest.raises((PeerError, TransportUnavailable)):
        await get(hosts)
    assert web_trust().minimum_version is ssl.TLSVersion.TLSv1_2
    assert hosts.requests == []


async def test_an_onion_service_needs_no_certificate_and_sends_nobody_away(hosts: Hosts) -> None:
    await hosts.put_up(ONION, moved("/a"), ok(b"here"), moved(f"https://{HOST}/"), moved(f"http://{HOST}/"))
    assert (await get(hosts, ONION)).body == b"here"
    assert {port for _, port, _ in hosts.asked} == {80}
    for _ in range(2):
        with pytest.raises(PeerError, match="bad redirect"):
            await get(hosts, ONION)


async def test_without_tor_nothing_is_asked(hosts: Hosts) -> None:
    with pytest.raises(TransportUnavailable, match="no such host"):
        await get(hosts)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "::1", "localhost", "printer", "a.local", "Example.org", "", "a b.org"]
)
async def test_what_has_no_public_name_is_misuse(hosts: Hosts, host: str) -> None:
    with pytest.raises(MisuseError):
        await get(hosts, host)
    for target in ("", "x", "/ ", "/\r\nX: y", "/ä"):
        with pytest.raises(MisuseError):
            await get(hosts, HOST, target)
    assert hosts.asked == []


def test_names() -> None:
    assert is_onion(ONION)
    assert not is_onion("www." + ONION)
    for host in ("example.org", "xn--bcher-kva.example", "a.b-c.d1", "1.example"):
        assert is_public_name(host)
    for host in (
        ONION,
        "1.2.3.4",
        "example.org.",
        "-a.org",
        "a_b.org",
        "a..org",
        "x.alt",
        "a." * 130 + "org",
        "a.1",
    ):
        assert not is_public_name(host)


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\xff\xfe"])
def test_authorities_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"domains\.ca_file"):
        web_trust(str(file))


@given(
    answer=st.one_of(
        st.binary(max_size=400),
        st.binary(max_size=200).map(b"HTTP/1.1 200 OK\r\n".__add__),
        st.binary(max_size=200).map(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".__add__),
        st.binary(max_size=100).map(
            lambda location: b"HTTP/1.1 301 X\r\nLocation: " + location + b"\r\n\r\n"
        ),
    )
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_garbage_raises_nothing_else(hosts: Hosts, answer: bytes) -> None:
    # An onion's, so that no TLS is in the way.
    await hosts.put_up(ONION, answer, answer, answer)
    with contextlib.suppress(PeerError, TransportUnavailable):
        await get(hosts, ONION)
