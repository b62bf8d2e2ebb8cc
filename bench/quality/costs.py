"""What a voice packet costs an agent, in microseconds of one core: the layers around it, and its translation."""

import statistics
import time
from collections.abc import Callable
from typing import cast

import numpy as np

from bench.quality.path import CALLEE, CALLER, stream
from bench.quality.recordings import RATE, Samples
from relay.agent.agent_end import AgentEnd
from relay.agent.keyed_voice import KeyedVoice
from relay.agent.onward import Onward
from relay.agent.phone_leg import PhoneLeg
from relay.agent.transcoded_stream import TranscodedStream
from relay.agent.zrtp_end import ZrtpEnd
from relay.core import SeededEntropy
from relay.media_reflector.forwarding.face import UpKeys
from relay.media_reflector.link import CellSender, opener
from relay.rtp import Codec, Datagram, Kind, LinkType, RtpPacket, coder
from relay.rtp.cell import TICK
from relay.rtp.packet import pack_header
from relay.rtp.voice_srtp import SrtpReceiver, SrtpSender, SrtpTag

ROUNDS = 9
PACKETS = 400


def _median(work: Callable[[], None], count: int) -> float:
    """Microseconds of processor time for one of `count`, median of some rounds."""
    spent = []
    for _ in range(ROUNDS):
        before = time.process_time()
        work()
        spent.append((time.process_time() - before) / count * 1e6)
    return statistics.median(spent)


class _Secured:
    """An agent's end of ZRTP that came to keys, towards one that came to the same; one packet goes round."""

    secure = True

    def __init__(self) -> None:
        self._sender = SrtpSender(bytes(16), bytes(14), SrtpTag.HS80)
        self._receiver = SrtpReceiver(bytes(16), bytes(14), SrtpTag.HS80)
        self.protect, self.unprotect = self._sender.protect, self._receiver.unprotect


class _Leg:
    """A phone that only counts."""

    heard = 0

    def hear(self, packet: bytes) -> None:
        self.heard += 1


def per_packet() -> float:
    """The voice sealed for the other end as SRTP, content packed and sealed, a cell protected; all of it undone."""
    leg = _Leg()
    sealed: list[Datagram] = []
    end = AgentEnd(
        cast(ZrtpEnd, _Secured()), Onward(SeededEntropy("costs")), cast(PhoneLeg, leg), sealed.append
    )
    sender, receiver = (KeyedVoice(keys, SeededEntropy("costs")) for keys in (CALLER, CALLEE))
    keys = UpKeys(7, bytes(16), bytes(12))
    link, opening = CellSender(7, SeededEntropy("costs"), keys), opener(keys)
    number = 0

    def work() -> None:
        nonlocal number
        for _ in range(PACKETS):
            number += 1
            end.from_leg(Datagram(Kind.VOICE, pack_header(96, number & 0xFFFF, 960, 1) + bytes(60)))
            sender.packer.offer_voice(sealed.pop().data)
            opened = opening.unprotect(link.seal(LinkType.END_TO_END, sender.next_body()))
            assert isinstance(opened, bytes)
            for came in receiver.open(opened[1:], number * TICK) or []:
                assert end.from_cells(came)

    spent = _median(work, PACKETS)
    assert leg.heard == number
    return spent


def per_tick(codec: Codec, spoken: Samples) -> float:
    """20 ms both ways of a phone that is translated for: decode, encode to Opus, decode Opus, encode."""
    phone, other = stream(codec, "phone"), stream(codec, "other")
    assert isinstance(phone, TranscodedStream)
    assert isinstance(other, TranscodedStream)
    step = RATE // codec.rate
    pcm = (np.asarray(spoken[::step]) * 32767).astype("<i2").tobytes()
    size = 2 * codec.rate // 50
    coded = coder(codec).encode(pcm[: len(pcm) // size * size])
    packets = [coded[at : at + 160] for at in range(0, len(coded), 160)][:PACKETS]
    voices = []
    for number, payload in enumerate(packets):
        other.from_phone(RtpPacket(96, number, 160 * number, 1, payload).to_bytes())
        voices.append(other.tick()[0].data)

    def work() -> None:
        for number, payload in enumerate(packets):
            phone.from_phone(RtpPacket(96, number, 160 * number, 1, payload).to_bytes())
            phone.hear(voices[number])
            phone.tick()

    return _median(work, len(packets))
