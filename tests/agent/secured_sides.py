"""Two sides of a call from phone to cells, with the cells handed across: no SIP, no lines, no reflector.

Phones with ZRTP, and without, are sockets on loopback.  Whoever is in the middle sits where the cells cross.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

from relay.agent.call_security import CallSecurity
from relay.agent.call_voice import CallVoice
from relay.agent.contact_file import Contact
from relay.agent.sealed_voice import SealedVoice
from relay.agent.surroundings import Surroundings
from relay.agent.voice_security import Alarmed, Cells, Comparing, Secured
from relay.agent.zrtp_end import VOICE_SETTINGS, Told, ZrtpEnd
from relay.core import Clock, SeededEntropy
from relay.forward_publish import CallKeys
from relay.rtp import RtpPacket
from relay.rtp.cell import TICK
from relay.sip.line_voice import LineVoice
from relay.sip.opus_offer import PhoneVoice, answer_phone, find_voice, line_offer, phone_offer
from relay.sip.sdp import SessionDescription
from relay.zrtp import Alarm, Exchange, Expectation, MemoryZidCache, Settings, looks_like_zrtp
from relay.zrtp import Secured as ZrtpSecured
from tests.agent.amnesic_zids import AmnesicZids
from tests.agent.scripted_call import TONES
from tests.agent.virtual_time import LoopClock

PHONE_LINE = LineVoice(98, ((99, 48_000), (100, 8_000)))
SPOKEN = bytes(range(100, 160))


class SocketPhone(asyncio.DatagramProtocol):
    """A phone: Opus or G.711, with ZRTP where it has a `zid`."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        *,
        zrtp: bool,
        codec: str = "opus",
        settings: Settings = VOICE_SETTINGS,
        cache: MemoryZidCache | None = None,
        line: LineVoice = PHONE_LINE,
    ) -> None:
        self.heard: list[RtpPacket] = []
        self.raw: list[bytes] = []
        self.told: list[Told] = []
        self.line = line if codec == "opus" else LineVoice(8)
        self.codec = codec
        self.mirrors = True
        """Whether it answers with the payload types that it was offered, as phones do."""
        self.peer: PhoneVoice | None = None
        self._ssrc = 7000 + len(name)
        self._number = 100
        self._transport: asyncio.DatagramTransport | None = None
        self.zrtp: ZrtpEnd | None = None
        if zrtp:
            chance = SeededEntropy(f"phone of {name}")
            exchange = Exchange(
                settings,
                self._ssrc,
                name.encode().ljust(12),
                cache if cache is not None else MemoryZidCache(clock),
                chance,
            )
            self.zrtp = ZrtpEnd(exchange, clock, self._send, self.told.append)

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))

    @property
    def description(self) -> SessionDescription:
        """What it says of itself."""
        assert self._transport is not None
        port = self._transport.get_extra_info("sockname")[1]
        hashes = () if self.zrtp is None else (self.zrtp.hello_hash,)
        if self.codec == "opus":
            return line_offer(self.line, hashes, address="127.0.0.1", port=port, session_id=1)
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
        lines += [f"m=audio {port} RTP/AVP 8", *(f"a=zrtp-hash:{value}" for value in hashes)]
        return SessionDescription.parse("\r\n".join(lines).encode())

    def connect(self, told: SessionDescription) -> None:
        """What the agent told it; it begins at once, as phones do."""
        self.peer = find_voice(told)
        if self.zrtp is not None:
            # As phones do: of several hashes they read the first.
            self.zrtp.begin(Expectation(self.peer.zrtp_hashes[:1]))

    def say(self, payload: bytes = SPOKEN, payload_type: int | None = None) -> None:
        """One packet of 20 ms."""
        assert self.peer is not None
        if payload_type is None:
            payload_type = self.peer.line.payload_type if self.codec == "opus" and self.peer.line else 8
        self._number += 1
        packet = RtpPacket(payload_type, self._number, 960 * self._number, self._ssrc, payload).to_bytes()
        sealed = self.zrtp.protect(packet) if self.zrtp is not None and self.zrtp.secure else packet
        assert sealed is not None
        self._send(sealed)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.raw.append(data)
        if self.zrtp is not None:
            if looks_like_zrtp(data):
                self.zrtp.receive(data)
                return
            if self.zrtp.secure:
                opened = self.zrtp.unprotect(data)
                if opened is not None:
                    self.heard.append(RtpPacket.parse(opened))
                return
            # It may be secure as soon as this was opened.
            data = self.zrtp.unprotect(data) or data
        if not looks_like_zrtp(data):
            self.heard.append(RtpPacket.parse(data))

    def _send(self, data: bytes) -> None:
        assert self._transport is not None
        if self.peer is not None:
            self._transport.sendto(data, ("127.0.0.1", self.peer.port))

    @property
    def sas(self) -> str | None:
        """What it shows."""
        found = [told.sas for told in self.told if isinstance(told, ZrtpSecured)]
        return None if not found or found[-1] is None else found[-1].text

    @property
    def alarms(self) -> list[str]:
        return [told.kind.value for told in self.told if isinstance(told, Alarm)]

    def close(self) -> None:
        if self.zrtp is not None:
            self.zrtp.close()
        if self._transport is not None:
            self._transport.close()


@dataclass
class Side:
    """One side of the call: agent, phone, and what each told."""

    name: str
    phone: SocketPhone
    zids: AmnesicZids
    clock: Clock = field(default_factory=LoopClock)
    secured: list[Secured] = field(default_factory=list)
    alarms: list[Alarmed] = field(default_factory=list)
    over: int = 0
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    comparing: Comparing | None = None
    talking: bool = False

    def __post_init__(self) -> None:
        around = Surroundings(
            identity=cast(Any, None),
            clock=self.clock,
            entropy=SeededEntropy(f"agent of {self.name}"),
            pool=cast(Any, None),
            messenger=cast(Any, None),
            report=lambda event, /, **fields: self.events.append((event, fields)),
            tones=TONES,
            line_address="",
            media_host="127.0.0.1",
            spawn=cast(Any, None),
            zids=self.zids,
            listener=_Recorder(self),
        )
        contact = Contact("0a", f"friend of {self.name}", bytes(32), bytes(32), ())
        self.voice = CallVoice(around, contact, lambda: self.talking, lambda _: None, self.end_call)

    @property
    def security(self) -> CallSecurity:
        return self.voice.security

    def end_call(self, reason: str) -> None:
        self.broken.append(reason)
        self.talking = False

    @property
    def sas(self) -> str | None:
        """What somebody at this side reads out: from the agent, or from the phone where that is the end."""
        if self.secured and self.secured[-1].agreement is not None:
            return self.secured[-1].agreement.sas.characters
        return self.phone.sas

    @property
    def alarm_kinds(self) -> list[str]:
        return [told.kind.value for told in self.alarms]

    def close(self) -> None:
        self.voice.forget()
        self.voice.leg.close()
        self.phone.close()


class _Recorder:
    def __init__(self, side: Side) -> None:
        self._side = side

    def secured(self, told: Secured, call: Comparing) -> None:
        self._side.secured.append(told)
        self._side.comparing = call

    def may_sign(self, told: Secured, call: Comparing, cells: Cells) -> None:
        pass

    def alarmed(self, told: Alarmed, call: Comparing) -> None:
        self._side.alarms.append(told)

    def ended(self, call: Comparing) -> None:
        self._side.over += 1


Rewrite = Callable[[SealedVoice], SealedVoice]
Ring = Callable[[SessionDescription], Awaitable[SessionDescription]]


def keys(seed: str) -> tuple[CallKeys, CallKeys]:
    """Caller's and callee's of one call."""
    up, down, transcript, again = (SeededEntropy(f"keys/{seed}/{n}").token(32) for n in range(4))
    return CallKeys(up, down, transcript, again), CallKeys(down, up, transcript, again)


async def meet(
    caller: Side,
    callee: Side,
    *,
    to_callee: Rewrite = lambda one: one,
    to_caller: Rewrite = lambda one: one,
    ring: Ring | None = None,
) -> None:
    """Everything before the lines meet: the phones and the sealed descriptions.  `ring` offers the call to another
    phone than the callee's, and returns its answer."""
    for side in (caller, callee):
        await side.phone.open()
        await side.voice.leg.open("127.0.0.1")
    offered = find_voice(caller.phone.description)
    caller.voice.leg.connect(offered.address, offered.port, offered.format)
    sealed = caller.security.take_phone(offered)
    callee.security.take_peer(to_callee(sealed))
    line = callee.security.to_offer()
    rung = phone_offer(address="127.0.0.1", port=callee.voice.leg.port, session_id=1, line=line)
    if callee.phone.mirrors and callee.phone.codec == "opus":
        callee.phone.line = line
    answered = find_voice(callee.phone.description if ring is None else await ring(rung))
    callee.voice.leg.connect(answered.address, answered.port, answered.format)
    sealed = callee.security.take_phone(answered)
    caller.security.take_peer(to_caller(sealed))
    types, hashes = caller.security.to_answer()
    answer = answer_phone(
        caller.phone.description,
        address="127.0.0.1",
        port=caller.voice.leg.port,
        session_id=1,
        line=types,
        hashes=hashes,
    )
    callee.phone.connect(rung)
    caller.phone.connect(answer)


async def cross(
    caller: Side, callee: Side, seconds: float, middle: Callable[[Side, bytes], bytes | None] | None = None
) -> None:
    """Cells both ways, as many as leave in `seconds`.  `middle` says what arrives in place of a body from a side."""
    for side in (caller, callee):
        side.talking = True
    for _ in range(round(seconds / TICK)):
        for side, other in ((caller, callee), (callee, caller)):
            body = side.voice.next_body()
            if body is not None and middle is not None:
                body = middle(side, body)
            if body is not None:
                other.voice.take_body(body, lambda first: None)
        await asyncio.sleep(TICK)
