"""The RTP socket towards one softphone, for the length of one call; on loopback, like everything a phone sees."""

import asyncio
import functools
import math
from collections.abc import Callable, Mapping

from relay.agent.commands import Tone
from relay.agent.phone import is_loopback
from relay.agent.phone_guard import Arrival, PhoneGuard
from relay.agent.phone_stream import PhoneStream, TonePlayer
from relay.agent.transcoded_stream import TranscodedStream
from relay.core import Clock, Entropy, TransportUnavailable, get_logger
from relay.rtp import Datagram, PhoneFormat, encode_tone, pips
from relay.rtp.cell import TICK

SECONDS_PER_PIP = 2.0
"""Each group of pips while a line opens counts the seconds still to wait, two seconds a pip."""
MOST_PIPS = 5
MOST_BEHIND = 0.060
"""Seconds by which the clock of a translated phone may run late and catch up."""

_log = get_logger("phone")


@functools.cache
def encoded_pips(count: int) -> list[bytes]:
    """One group of pips.  Encoded once: that takes milliseconds, in which nothing else happens."""
    return encode_tone(pips(count))


def countdown(seconds: float) -> list[bytes]:
    """Groups of pips for the seconds still to wait, fewer each time."""
    frames: list[bytes] = []
    while (left := seconds - len(frames) * TICK) > 0:
        frames += encoded_pips(min(MOST_PIPS, math.ceil(left / SECONDS_PER_PIP)))
    return frames


class PhoneLeg(asyncio.DatagramProtocol):
    """One phone's voice: what it says goes to `on_voice`, what it hears comes by `hear` or from a tone.

    A phone that speaks Opus is passed through packet by packet; for any other the leg keeps a clock of 20 ms.
    `tones` holds the Opus frames of each tone.  The phone is on this machine, whatever address its session description
    names (some phones name the network card's): datagrams from anywhere but loopback are dropped, and what it hears
    goes where its voice comes from (symmetric RTP, RFC 4961).  Where that is, its first packet settles; other programs
    of this machine get nothing afterwards.  `on_failure` is called for each 20 ms that cannot be translated.
    """

    def __init__(
        self,
        entropy: Entropy,
        clock: Clock,
        tones: Mapping[Tone, list[bytes]],
        on_voice: Callable[[Datagram], None],
        on_failure: Callable[[], None],
    ) -> None:
        self.stream: PhoneStream | TranscodedStream = PhoneStream(entropy)
        self._entropy = entropy
        self._clock = clock
        self._tones = tones
        self._on_voice = on_voice
        self._on_failure = on_failure
        self._complained = False
        self._transport: asyncio.DatagramTransport | None = None
        self._remote: tuple[str, int] | None = None
        self._host = ""
        self.port = 0
        """Where it listens, once it is open."""
        self._source: tuple[tuple[str, int], int] | None = None
        self._player: asyncio.Task[None] | None = None
        self._translator: asyncio.Task[None] | None = None
        self.guard: PhoneGuard | None = None
        """Who looks at what comes from the phone and goes to it; without one that is plain RTP."""
        self.strangers = 0
        self.heard_at = clock.monotonic()
        """When the phone itself said something last."""

    async def open(self, host: str) -> int:
        """Take a port on `host`; returns it."""
        try:
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: self, local_addr=(host, 0)
            )
        except OSError:
            raise TransportUnavailable("no port for the phone's voice") from None
        self._transport = transport
        self._host = host
        self.port = int(transport.get_extra_info("sockname")[1])
        return self.port

    def connect(self, host: str | None, port: int, agreed: PhoneFormat) -> None:
        """Say where the phone says that it listens, and how it talks.

        Raises `TransportUnavailable` where a phone has to be translated for and this machine has no libopus.
        """
        self._source = None
        self._remote = (host if host is not None and is_loopback(host) else self._host, port)
        if self.stream.format == agreed:
            return
        if agreed.transcoded:
            self.stream = TranscodedStream(self._entropy, agreed)
            if self._translator is None or self._translator.done():
                self._translator = asyncio.get_running_loop().create_task(self._translate())
            return
        self._stop_translating()
        if not isinstance(self.stream, PhoneStream):
            self.stream = PhoneStream(self._entropy)
        self.stream.format = agreed

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._remote is None or not is_loopback(addr[0]):
            self.strangers += 1
            return
        source = ((addr[0], addr[1]), int.from_bytes(data[8:12]))
        if self._source is not None and source != self._source:
            self.strangers += 1
            return
        arrival = self.guard.arrived(data) if self.guard is not None else Arrival(True, data)
        said = self.stream.from_phone(arrival.rtp) if arrival.rtp is not None else []
        if arrival.taken and said is not None:
            self._source, self._remote = source, source[0]
            self.heard_at = self._clock.monotonic()
            for datagram in said:
                self._on_voice(datagram)

    def error_received(self, exc: Exception) -> None:
        """The phone's port is closed: it will say so in SIP, or not at all."""

    def hear(self, packet: bytes) -> None:
        """Let the phone hear one RTP packet that came out of the cells, be it voice or a key pressed."""
        self._send(self.stream.hear(packet))

    def play(self, tone: Tone) -> None:
        """Play a tone until the next call of `play`; `Tone.NONE` stops."""
        if self._player is not None:
            self._player.cancel()
            self._player = None
        if tone is not Tone.NONE:
            self._player = asyncio.get_running_loop().create_task(self._play(TonePlayer(self._tones[tone])))

    def play_first(self, frames: list[bytes], tone: Tone) -> None:
        """Play frames made for the occasion, such as the pips of an estimate, then a tone."""
        self.play(Tone.NONE)
        player = TonePlayer(self._tones[tone], first=frames)
        self._player = asyncio.get_running_loop().create_task(self._play(player))

    async def _play(self, player: TonePlayer) -> None:
        moment = self._clock.monotonic()
        while True:
            self._send(self.stream.tone(player.next_frame()))
            moment += TICK
            await asyncio.sleep(max(0.0, moment - self._clock.monotonic()))

    async def _translate(self) -> None:
        moment = self._clock.monotonic()
        while isinstance(self.stream, TranscodedStream):
            try:
                said, heard = self.stream.tick()
                self._send(heard)
                self._on_voice(said)
            except Exception as error:
                self._complain(error)
                self._on_failure()
            # After a standstill nothing is made up for: what was missed then is old.
            moment = max(moment + TICK, self._clock.monotonic() - MOST_BEHIND)
            await asyncio.sleep(max(0.0, moment - self._clock.monotonic()))

    def _complain(self, error: Exception) -> None:
        """Once, not fifty times a second."""
        if not self._complained:
            self._complained = True
            _log.error("a phone's sound could not be translated", kind=type(error).__name__)

    def _stop_translating(self) -> None:
        if self._translator is not None:
            self._translator.cancel()
            self._translator = None

    def pass_on(self, datagram: bytes) -> None:
        """Send the phone a datagram as it is: ZRTP, or what only the phone can open."""
        if self._transport is not None and self._remote is not None:
            self._transport.sendto(datagram, self._remote)

    def _send(self, packets: list[bytes]) -> None:
        for packet in packets:
            guarded = packet if self.guard is None else self.guard.leaves(packet)
            if guarded is not None:
                self.pass_on(guarded)

    def close(self) -> None:
        """Let go of the port.  May be called twice."""
        self.play(Tone.NONE)
        self._stop_translating()
        if self._transport is not None:
            self._transport.close()
            self._transport = None
