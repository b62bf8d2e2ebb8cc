"""A phone as the agent sees it, without SIP: a call that writes down what it is told, and a socket for voice."""

import asyncio
from typing import cast

from relay.agent.commands import Tone
from relay.agent.phone import PhoneCall
from relay.rtp import HANG_UP_TONE, WAITING_TONE, RtpPacket, encode_tone
from relay.sip.opus_offer import find_voice
from relay.sip.sdp import SessionDescription

TONES = {Tone.WAITING: encode_tone(WAITING_TONE), Tone.FAREWELL: encode_tone(HANG_UP_TONE)}
VOICE = bytes(range(60))


class Microphone(asyncio.DatagramProtocol):
    """A phone's RTP socket: says what it is told, keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[RtpPacket] = []
        self.transport: asyncio.DatagramTransport | None = None
        self._number = 100

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append(RtpPacket.parse(data))

    @property
    def port(self) -> int:
        assert self.transport is not None
        return int(self.transport.get_extra_info("sockname")[1])

    @property
    def payloads(self) -> list[bytes]:
        return [packet.payload for packet in self.heard]

    def say(self, payload: bytes, port: int, payload_type: int = 96) -> None:
        assert self.transport is not None
        self._number += 1
        packet = RtpPacket(payload_type, self._number, 960 * self._number, 77, payload)
        self.transport.sendto(packet.to_bytes(), ("127.0.0.1", port))


class ScriptedCall:
    """What an agent holds of a call with a phone; it writes down what the agent wants."""

    def __init__(self, offered: SessionDescription | None = None) -> None:
        self.said: list[tuple[str, int]] = []
        self.offered = offered
        self.answered_with: SessionDescription | None = None

    def progress(self, status: int = 180, reason: str | None = None, *, now: float) -> None:
        self.said.append(("progress", status))

    def answer(self, sdp: SessionDescription, now: float) -> None:
        self.answered_with = sdp
        self.said.append(("answer", 200))

    def refuse(self, status: int, reason: str | None, now: float) -> None:
        self.said.append(("refuse", status))

    def hang_up(self, now: float) -> None:
        self.said.append(("hang up", 0))

    def probe(self, now: float) -> None:
        self.said.append(("probe", 0))

    @property
    def as_call(self) -> PhoneCall:
        return cast(PhoneCall, self)

    @property
    def agents_port(self) -> int:
        """Where the agent listens for this phone's voice."""
        session = self.offered or self.answered_with
        assert session is not None
        return find_voice(session).port
