"""The SOCKS client against a scripted server: RFC 1928, RFC 1929 and Tor's extended errors (proposal 304)."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, TransportUnavailable
from relay.tor.socks import open_host_stream, open_stream
from tests.tor.fake_socks import GRANTED, METHOD, WELCOME, reply, socks_server

ONION = "abcdefgh" * 7


async def test_the_conversation_is_that_of_the_rfcs(place: Path) -> None:
    async with socks_server(place / "s", METHOD, WELCOME, GRANTED, b"echo") as server:
        reader, writer = await open_stream(server.path, ONION, 5060, isolation="call 1")
        writer.write(b"voice")
        assert await reader.readexactly(5) == b"voice"
        writer.close()
    greeting, credentials, request = server.heard
    assert greeting == b"\x05\x01\x02"
    assert credentials == b"\x01\x06call 1\x01-"
    assert request == b"\x05\x01\x00\x03\x3e" + f"{ONION}.onion".encode() + (5060).to_bytes(2)


async def test_each_isolation_label_is_a_user_of_its_own(place: Path) -> None:
    heard = []
    for label in ("a", "b", "x" * 255):
        async with socks_server(place / "s", METHOD, WELCOME, GRANTED) as server:
            _, writer = await open_stream(server.path, ONION, 1, isolation=label)
            writer.close()
        heard.append(server.heard[1])
        (place / "s").unlink(missing_ok=True)
    assert heard == [b"\x01\x01a\x01-", b"\x01\x01b\x01-", b"\x01\xff" + b"x" * 255 + b"\x01-"]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (0x01, "could not open"),
        (0x02, "refused the stream by its own rules"),
        (0x03, "no network"),
        (0x04, "may be offline"),
        (0x05, "refused the stream"),
        (0x06, "did not answer in time"),
        (0x07, "could not open"),
        (0x08, "could not open"),
        (0xF0, "no descriptor"),
        (0xF1, "descriptor is not valid"),
        (0xF2, "introduced"),
        (0xF3, "rendezvous"),
        (0xF4, "key that is missing"),
        (0xF5, "refuses the key"),
        (0xF6, "name is not valid"),
        (0xF7, "introduction timed out"),
        (0xFF, "could not open"),
    ],
)
async def test_every_refusal_is_one_sentence(place: Path, code: int, says: str) -> None:
    async with socks_server(place / "s", METHOD, WELCOME, reply(code)) as server:
        with pytest.raises(TransportUnavailable, match=says) as caught:
            await open_stream(server.path, ONION, 80, isolation="x")
        await asyncio.wait_for(server.ended.wait(), 5)
    assert ONION not in str(caught.value)


@pytest.mark.parametrize(
    "answers",
    [
        (b"",),
        (b"\x05",),
        (METHOD, b""),
        (METHOD, b"\x01"),
        (METHOD, WELCOME, b""),
        (METHOD, WELCOME, b"\x05\x00\x00"),
        (METHOD, WELCOME, b"\x05\x00\x00\x01\x00"),
        (METHOD, WELCOME, b"\x05\x00\x00\x03"),
        (METHOD, WELCOME, b"\x05\x00\x00\x03\x09abc"),
    ],
)
async def test_a_truncated_answer_is_an_unavailable_transport(
    place: Path, answers: tuple[bytes, ...]
) -> None:
    async with socks_server(place / "s", *answers) as server:
        with pytest.raises(TransportUnavailable, match="does not answer"):
            await open_stream(server.path, ONION, 80, isolation="x")


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ((b"\x04\x02",), "does not isolate"),
        ((b"\x05\x00",), "does not isolate"),
        ((b"\x05\xff",), "does not isolate"),
        ((b"HTTP/1.1 400",), "does not isolate"),
        ((METHOD, b"\x01\x01"), "refused the isolation"),
        ((METHOD, b"\x05\x00"), "refused the isolation"),
        ((METHOD, WELCOME, b"\x04" + GRANTED[1:]), "another protocol"),
        ((METHOD, WELCOME, b"\x05\x00\x00\x09" + bytes(6)), "another protocol"),
    ],
)
async def test_what_is_not_tor_is_refused(place: Path, answers: tuple[bytes, ...], says: str) -> None:
    async with socks_server(place / "s", *answers) as server:
        with pytest.raises(TransportUnavailable, match=says):
            await open_stream(server.path, ONION, 80, isolation="x")


@pytest.mark.parametrize("bound", [b"\x01" + bytes(6), b"\x04" + bytes(18), b"\x03\x04abcd" + bytes(2)])
async def test_every_kind_of_bound_address_is_skipped(place: Path, bound: bytes) -> None:
    async with socks_server(place / "s", METHOD, WELCOME, b"\x05\x00\x00" + bound, b"echo") as server:
        reader, writer = await open_stream(server.path, ONION, 80, isolation="x")
        writer.write(b"first")
        assert await reader.readexactly(5) == b"first"
        writer.close()


@given(garbage=st.one_of(st.binary(max_size=300), st.binary(max_size=30).map((METHOD + WELCOME).__add__)))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_garbage_raises_nothing_else(place: Path, garbage: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(garbage)
        writer.write_eof()
        await reader.read()
        writer.close()

    (place / "s").unlink(missing_ok=True)
    async with await asyncio.start_unix_server(serve, str(place / "s")):
        with contextlib.suppress(TransportUnavailable):
            _, writer = await open_stream(place / "s", ONION, 80, isolation="x", timeout=5)
            writer.close()


@pytest.mark.parametrize(
    ("target", "port"),
    [
        ("example.org", 80),
        ("127.0.0.1", 80),
        ("", 80),
        (f"{ONION}.onion", 80),
        (ONION.upper(), 80),
        (ONION[:-1], 80),
        (ONION + "a", 80),
        (ONION[:-1] + "\n", 80),
        (ONION + "\n", 80),
        (ONION[:-1] + "1", 80),
        (ONION, 0),
        (ONION, 65536),
    ],
)
async def test_anything_but_an_onion_is_misuse_before_any_connection(
    place: Path, target: str, port: int
) -> None:
    async with socks_server(place / "s", METHOD, WELCOME, GRANTED) as server:
        with pytest.raises(MisuseError):
            await open_stream(server.path, target, port, isolation="x")
    assert server.connections == 0


async def test_a_host_goes_to_tor_by_its_name(place: Path) -> None:
    async with socks_server(place / "s", METHOD, WELCOME, GRANTED, b"echo") as server:
        reader, writer = await open_host_stream(server.path, "www.example.org", 443, isolation="domain 1")
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
    assert server.heard[1:] == [b"\x01\x08domain 1\x01-", b"\x05\x01\x00\x03\x0fwww.example.org\x01\xbb"]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (0x01, "could not open"),
        (0x02, "no exit of Tor leads there"),
        (0x03, "no network"),
        (0x04, "not known at the exit"),
        (0x05, "host refused"),
        (0x06, "did not answer in time"),
        (0xF6, "name is not valid"),
    ],
)
async def test_every_refusal_of_a_host_is_one_sentence(place: Path, code: int, says: str) -> None:
    async with socks_server(place / "s", METHOD, WELCOME, reply(code)) as server:
        with pytest.raises(TransportUnavailable, match=says) as caught:
            await open_host_stream(server.path, "example.org", 443, isolation="x")
    assert "example" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("", 443),
        ("localhost", 443),
        ("127.0.0.1", 443),
        ("2130706433", 443),
        ("127.1", 443),
        ("::1", 443),
        ("[::1]", 443),
        (f"{ONION}.onion", 443),
        ("example.org.exit", 443),
        ("abc.noconnect", 443),
        ("Example.org", 443),
        ("bücher.example", 443),
        ("example.org.", 443),
        ("example.org\n", 443),
        ("-a.example", 443),
        ("a..example", 443),
        ("a" * 64 + ".example", 443),
        ("a." * 126 + "example", 443),
        ("example.org", 0),
        ("example.org", 65536),
    ],
)
async def test_a_host_without_a_name_is_misuse_before_any_connection(
    place: Path, host: str, port: int
) -> None:
    async with socks_server(place / "s", METHOD, WELCOME, GRANTED) as server:
        with pytest.raises(MisuseError):
            await open_host_stream(server.path, host, port, isolation="x")
    assert server.connections == 0


@pytest.mark.parametrize("label", ["", "x" * 256, "é" * 128])
async def test_a_label_of_no_use_is_misuse_before_any_connection(place: Path, label: str) -> None:
    async with socks_server(place / "s", METHOD, WELCOME, GRANTED) as server:
        with pytest.raises(MisuseError):
            await open_stream(server.path, ONION, 80, isolation=label)
    assert server.connections == 0


async def test_no_server_at_all(place: Path) -> None:
    with pytest.raises(TransportUnavailable, match="is Tor running"):
        await open_stream(place / "nothing", ONION, 80, isolation="x")


async def test_silence_ends_in_time(place: Path) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(say_nothing, str(place / "s")):
        with pytest.raises(TransportUnavailable, match="in time"):
            await open_stream(place / "s", ONION, 80, isolation="x", timeout=0.05)
