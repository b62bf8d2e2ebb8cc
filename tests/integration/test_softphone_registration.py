"""Real tools against a real `PhoneServer`: sipp and baresip, over UDP and TCP."""

import asyncio
import os
import socket
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal, TypeVar

import pytest

from relay.agent.phone import (
    Answered,
    Cancelled,
    HungUp,
    IncomingInvite,
    PhoneEvent,
    PhoneServer,
    PhoneSettings,
    Registered,
    Reoffered,
    Ringing,
    Unregistered,
)
from relay.core import Child, SystemClock, SystemEntropy, spawn
from relay.lab.softphones import Account, Softphone
from relay.sip.opus_offer import answer_phone, neutral_offer

SCENARIOS = Path(__file__).parent / "sipp"
CLOCK = SystemClock()
T = TypeVar("T")


class Exchange:
    """A server whose agent answers every call (or, without `answers`, leaves it ringing)."""

    def __init__(self) -> None:
        self.answers = True
        self.events: asyncio.Queue[PhoneEvent] = asyncio.Queue()
        self.server = PhoneServer(
            PhoneSettings("alice", "secret", port=0), CLOCK, SystemEntropy(), self._event
        )

    def _event(self, event: PhoneEvent) -> None:
        if isinstance(event, IncomingInvite):
            event.call.progress(180, "Ring sent", now=CLOCK.monotonic())
        if isinstance(event, IncomingInvite) and self.answers:
            answer = answer_phone(event.offer, address="127.0.0.1", port=40010, session_id=7)
            event.call.answer(answer, CLOCK.monotonic())
        self.events.put_nowait(event)

    async def event(self, kind: type[T]) -> T:
        """The next event of this kind; registrations of others are passed over."""
        async with asyncio.timeout(10):
            while not isinstance(event := await self.events.get(), kind):
                assert isinstance(event, (Registered, Ringing)), event
        return event


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    made = Exchange()
    await made.server.start()
    yield made
    await made.server.close()


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def sipp(
    scenario: str, exchange: Exchange, transport: Literal["u1", "t1"], port: int, directory: Path
) -> Child:
    return spawn(
        [
            *("sipp", f"127.0.0.1:{exchange.server.port}", "-sf", str(SCENARIOS / f"{scenario}.xml")),
            *("-i", "127.0.0.1", "-p", str(port), "-t", transport, "-m", "1", "-nostdin"),
            *("-timeout", "8", "-timeout_error", "-trace_err", "-error_file", str(directory / "errors")),
        ],
        directory=directory,
    )


async def succeed(child: Child, directory: Path) -> None:
    """Wait for sipp to be content."""
    status = await asyncio.to_thread(child.wait, 15)
    errors = directory / "errors"
    assert status == 0, errors.read_text() if errors.exists() else "sipp failed and wrote no reason"


@pytest.mark.parametrize("transport", ["u1", "t1"])
async def test_sipp_registers_with_digest_md5(
    exchange: Exchange, tmp_path: Path, transport: Literal["u1", "t1"]
) -> None:
    await succeed(sipp("register", exchange, transport, free_port(), tmp_path), tmp_path)
    assert (await exchange.event(Registered)).contacts == 1


@pytest.mark.parametrize("transport", ["u1", "t1"])
async def test_sipp_dials_talks_and_hangs_up(
    exchange: Exchange, tmp_path: Path, transport: Literal["u1", "t1"]
) -> None:
    await succeed(sipp("dial", exchange, transport, free_port(), tmp_path), tmp_path)
    assert (await exchange.event(IncomingInvite)).dialled.user == "bob"
    await exchange.event(HungUp)


async def test_sipp_is_called_answers_and_is_hung_up_on(exchange: Exchange, tmp_path: Path) -> None:
    port = free_port()
    await succeed(sipp("register", exchange, "u1", port, tmp_path), tmp_path)
    await exchange.event(Registered)
    phone = sipp("answer", exchange, "u1", port, tmp_path)
    await asyncio.sleep(0.3)
    offer = neutral_offer(address="127.0.0.1", port=40010, session_id=8)
    call = exchange.server.place("bob", "Bob", offer)
    assert call is not None
    answered = await exchange.event(Answered)
    assert answered.call is call
    assert answered.answer.media[0].port == 40000
    call.hang_up(CLOCK.monotonic())
    await succeed(phone, tmp_path)


@pytest.fixture
async def baresip(
    exchange: Exchange, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Softphone]:
    """A baresip that registers over the transport named by the test."""
    microphone = tmp_path / "silence.wav"
    with wave.open(str(microphone), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(48000)
        sound.writeframes(bytes(2 * 48000))
    server = f"127.0.0.1:{exchange.server.port}"
    account = Account("alice", "secret", server, request.param, "auto")
    phone = Softphone(account, microphone, tmp_path / "alice", CLOCK, os.environ)
    await phone.start()
    yield phone
    await phone.close()


BOTH = pytest.mark.parametrize("baresip", ["udp", "tcp"], indirect=True)


@BOTH
async def test_baresip_registers_dials_is_hung_up_on_and_takes_leave(
    exchange: Exchange, baresip: Softphone
) -> None:
    await exchange.event(Registered)
    await baresip.dial(f"sip:bob@127.0.0.1:{exchange.server.port}")
    invite = await exchange.event(IncomingInvite)
    assert invite.dialled.user == "bob"
    await baresip.wait_for("CALL_ESTABLISHED", timeout=5)
    invite.call.hang_up(CLOCK.monotonic())
    await baresip.wait_for("CALL_CLOSED", timeout=5)
    await baresip.close()
    await exchange.event(Unregistered)


@BOTH
async def test_baresip_is_called_holds_resumes_and_hangs_up(exchange: Exchange, baresip: Softphone) -> None:
    await exchange.event(Registered)
    offer = neutral_offer(address="127.0.0.1", port=free_port(), session_id=8)
    call = exchange.server.place("bob", "Bob", offer)
    assert call is not None
    assert (await exchange.event(Answered)).call is call
    await baresip.wait_for("CALL_ESTABLISHED", timeout=5)
    for command, direction in (("hold", "sendonly"), ("resume", "sendrecv")):
        await baresip.command(command)
        held = (await exchange.event(Reoffered)).offer
        assert held.direction_of(held.media[0]) == direction
    await baresip.hang_up()
    assert (await exchange.event(HungUp)).call is call


@BOTH
async def test_baresip_gives_up_while_it_waits(exchange: Exchange, baresip: Softphone) -> None:
    exchange.answers = False
    await exchange.event(Registered)
    await baresip.dial(f"sip:bob@127.0.0.1:{exchange.server.port}")
    await exchange.event(IncomingInvite)
    await baresip.wait_for("CALL_RINGING", timeout=5)
    await baresip.hang_up()
    await exchange.event(Cancelled)


@BOTH
async def test_baresip_is_told_why_a_call_fails(exchange: Exchange, baresip: Softphone) -> None:
    exchange.answers = False
    await exchange.event(Registered)
    await baresip.dial(f"sip:nobody@127.0.0.1:{exchange.server.port}")
    (await exchange.event(IncomingInvite)).call.refuse(404, "Not a contact", CLOCK.monotonic())
    assert "404 Not a contact" in (await baresip.wait_for("CALL_CLOSED", timeout=5)).detail
