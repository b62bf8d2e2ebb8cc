"""One voice from phone to phone through the code that ships, cells lost on the way by lot.

Phone, agent (passing through or translating), cell contents packed and sealed, opened and unpacked, the other agent,
phone.  Modelled: that every cell arrives in its tick or never.  A phone with Opus recovers lost frames itself, as the
agent does for others.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from bench.quality.recordings import RATE, Samples
from relay.agent.keyed_voice import KeyedVoice
from relay.agent.phone_stream import PhoneStream
from relay.agent.transcoded_stream import TranscodedStream
from relay.core import PeerError, SeededEntropy
from relay.forward_publish import CallKeys
from relay.rtp import Codec, Kind, OpusDecoder, OpusEncoder, PhoneFormat, Playout, RtpPacket, coder
from relay.rtp.cell import TICK, TIMESTAMP_STEP

CALLER = CallKeys(bytes(32), bytes([1]) * 32, bytes(32), bytes(32))
CALLEE = CallKeys(CALLER.receive, CALLER.send, CALLER.transcript, CALLER.again)
PAYLOAD_TYPE = 96


@dataclass(frozen=True, slots=True)
class Path:
    """Both phones' codec, the share of cells that is lost, whether frames carry copies and for which loss."""

    codec: Codec
    loss: float = 0.0
    recoverable: bool = True
    expected: int | None = None


def stream(codec: Codec, name: str) -> PhoneStream | TranscodedStream:
    agreed = PhoneFormat(PAYLOAD_TYPE, codec)
    if agreed.transcoded:
        return TranscodedStream(SeededEntropy(name), agreed)
    made = PhoneStream(SeededEntropy(name))
    made.format = agreed
    return made


def carry(spoken: Samples, path: Path, seed: int) -> tuple[Samples, float]:
    """What is heard of speech at `RATE`, and the share of cells that were lost."""
    rate = path.codec.rate
    pcm = to_pcm(_at(spoken, RATE, rate))
    alice, bob = stream(path.codec, "alice"), stream(path.codec, "bob")
    _prepare(alice, path)
    sealer, opener = (KeyedVoice(keys, SeededEntropy("quality")) for keys in (CALLER, CALLEE))
    ear = _ear(path.codec)
    size = 2 * rate // 50
    ticks = len(pcm) // size
    lost = np.random.default_rng(seed).random(ticks) < path.loss
    heard = []
    mouth = _mouth(path)
    for tick in range(ticks):
        packet = RtpPacket(PAYLOAD_TYPE, tick, _stamp(path.codec, tick), 1, mouth(pcm[tick * size :][:size]))
        said = alice.from_phone(packet.to_bytes()) or []
        if isinstance(alice, TranscodedStream):
            said = [alice.tick()[0]]
        for datagram in said:
            sealer.packer.offer_voice(datagram.data)
        body = sealer.next_body()
        heard += ear(bob, [] if lost[tick] else _opened(opener, body, tick))
    sound = np.frombuffer(b"".join(heard), "<i2").astype(np.float64) / 32768
    return _at(sound, rate, RATE), float(lost.mean())


def to_pcm(samples: Samples) -> bytes:
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()


def narrow(samples: Samples) -> Samples:
    """The telephone's band: what G.711 could carry at best."""
    return _at(_at(samples, RATE, 8_000), 8_000, RATE)


def _stamp(codec: Codec, tick: int) -> int:
    return round(tick * TICK * codec.clock_rate)


def _at(samples: NDArray[np.float64], rate: int, wanted: int) -> Samples:
    if rate == wanted:
        return samples
    return np.asarray(resample_poly(samples, wanted, rate), dtype=np.float64)


def _encoder(path: Path) -> OpusEncoder:
    if path.expected is None:
        return OpusEncoder(path.codec.rate, recoverable=path.recoverable)
    return OpusEncoder(path.codec.rate, recoverable=path.recoverable, loss=path.expected)


def _prepare(alice: PhoneStream | TranscodedStream, path: Path) -> None:
    if isinstance(alice, TranscodedStream):
        alice.microphone._encoder = _encoder(path)


def _mouth(path: Path) -> Callable[[bytes], bytes]:
    """A phone's encoder."""
    return _encoder(path).encode if path.codec is Codec.OPUS else coder(path.codec).encode


def _opened(opener: KeyedVoice, body: bytes, tick: int) -> Iterator[bytes]:
    for datagram in opener.open(body, tick * TICK) or ():
        if datagram.kind is Kind.VOICE:
            yield datagram.data


def _ear(
    codec: Codec,
) -> Callable[[PhoneStream | TranscodedStream, Iterator[bytes] | list[bytes]], list[bytes]]:
    """What a phone plays for what came out of one cell."""
    if codec is not Codec.OPUS:
        decode = coder(codec).decode

        def translated(
            bob: PhoneStream | TranscodedStream, came: Iterator[bytes] | list[bytes]
        ) -> list[bytes]:
            assert isinstance(bob, TranscodedStream)
            for datagram in came:
                bob.hear(datagram)
            return [decode(RtpPacket.parse(packet).payload) for packet in bob.tick()[1]]

        return translated
    playout, decoder = Playout(), OpusDecoder(codec.rate)

    def passed(bob: PhoneStream | TranscodedStream, came: Iterator[bytes] | list[bytes]) -> list[bytes]:
        for datagram in came:
            for packet in bob.hear(datagram):
                playout.put(RtpPacket.parse(packet))
        place = playout.take()
        if place is None:
            return []
        try:
            if place.frame is not None:
                return [decoder.decode(place.frame)]
            return [decoder.conceal() if place.following is None else decoder.recover(place.following)]
        except PeerError:
            return [decoder.conceal()]

    return passed


assert _stamp(Codec.OPUS, 1) == TIMESTAMP_STEP
