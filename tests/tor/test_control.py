"""The control port, when it is not what it should be, and when it is."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.core import ConfigurationError, SystemClock, TransportUnavailable
from relay.tor import OnionKey, control
from relay.tor.control import ControlPort
from relay.tor.process import TorProcess

PROTOCOLINFO = (
    b'250-PROTOCOLINFO 1\r\n250-AUTH METHODS=HASHEDPASSWORD\r\n250-VERSION Tor="0.4.9.1"\r\n250 OK\r\n'
)


@pytest.fixture
async def tor(place: Path) -> AsyncIterator[TorProcess]:
    """One that is connected to nothing."""
    process = TorProcess(place / "tor", "tor", SystemClock())
    process.start(["DisableNetwork 1", "SocksPort 0"])
    await process.wait_control()
    yield process
    await process.stop()


async def connect_to_fake(place: Path, *answers: bytes, hold: bool = False) -> ControlPort:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            if not await reader.readline():
                break
            writer.write(answer)
        if hold:
            await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(serve, str(place / "c")):
        return await ControlPort.connect(place / "c", SystemClock(), password="wrong")


@pytest.mark.parametrize("answers", [(), (b"250-PROTO",), (b"\xff\x00\r\n",)])
async def test_what_is_not_tor_is_an_unavailable_transport(place: Path, answers: tuple[bytes, ...]) -> None:
    with pytest.raises(TransportUnavailable, match="does not answer"):
        await asyncio.wait_for(connect_to_fake(place, *answers), 10)


async def test_a_wrong_password_says_what_to_set(place: Path) -> None:
    refusal = b"515 Authentication failed: Password did not match\r\n"
    with pytest.raises(ConfigurationError, match=r"tor\.password or tor\.cookie_file"):
        await asyncio.wait_for(connect_to_fake(place, PROTOCOLINFO, refusal, hold=True), 10)


async def test_silence_ends_in_time(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ANSWER_SECONDS", 0.2)
    with pytest.raises(TransportUnavailable, match="does not answer"):
        await asyncio.wait_for(connect_to_fake(place, hold=True), 10)


async def test_a_real_tor_tells_what_it_is_asked(tor: TorProcess) -> None:
    port = await ControlPort.connect(tor.control_socket, SystemClock())
    assert port.alive
    assert await port.bootstrap_progress() == 0
    with pytest.raises(ConfigurationError, match="set SocksPort"):
        await port.socks_address()
    await port.close()
    assert not port.alive


async def test_a_wrong_cookie_is_refused(tor: TorProcess, place: Path) -> None:
    (place / "cookie").write_bytes(bytes(32))
    for cookie in (place / "cookie", place / "missing"):
        with pytest.raises(ConfigurationError, match="refuses us"):
            await ControlPort.connect(tor.control_socket, SystemClock(), cookie_file=str(cookie))


async def test_a_service_that_cannot_be_published_says_so(tor: TorProcess) -> None:
    port = await ControlPort.connect(tor.control_socket, SystemClock())
    with pytest.raises(TransportUnavailable, match="could not be published"):
        await port.add_onion(None, {80: ("127.0.0.1", 1)}, proof_of_work=False, timeout=0.1)
    with pytest.raises(TransportUnavailable, match="refused a command"):
        await port.add_onion(
            OnionKey("ED25519-V3:nonsense"), {80: ("127.0.0.1", 1)}, proof_of_work=False, timeout=0.1
        )
    await port.close()


async def test_the_loss_of_tor_is_noticed(tor: TorProcess) -> None:
    port = await ControlPort.connect(tor.control_socket, SystemClock())
    lost = asyncio.create_task(port.wait_lost())
    await asyncio.sleep(0)
    assert not lost.done()
    await tor.stop()
    await asyncio.wait_for(lost, 5)
    assert not port.alive
    with pytest.raises(TransportUnavailable):
        await port.bootstrap_progress()
