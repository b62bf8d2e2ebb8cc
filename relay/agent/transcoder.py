"""Sound between one phone that has no Opus and the cells: decoded, put on the 20 ms grid, encoded anew.  No sockets, no
clock: `tick` is called every 20 ms.

Towards the cells one Opus frame of 60 bytes leaves at every tick, whether the phone speaks, is silent or sends nothing
(RFC 6562).  Towards the phone what was lost on the way is recovered or guessed.
"""

from relay.core import Counters, PeerError
from relay.rtp import Codec, OpusDecoder, OpusEncoder, Playout, RtpPacket, coder
from relay.rtp.telephone_codecs import BYTES_PER_MILLISECOND

TICK_MILLISECONDS = 20
SLACK = 60
"""Milliseconds beyond one packet that may wait; the oldest sound goes then: the phone's clock is faster than ours."""


class Microphone:
    """What the phone says, 20 ms at a time.  Counters: `underruns` (it said too little), `overruns` (too much)."""

    def __init__(self, codec: Codec) -> None:
        self.counters = Counters(("underruns", "overruns"))
        self._decode = coder(codec).decode
        self._encoder = OpusEncoder(codec.rate)
        self._millisecond = 2 * codec.rate // 1000
        self._tick = TICK_MILLISECONDS * self._millisecond
        self._packet = self._tick
        self._pcm = bytearray()
        self._filling = self._fresh = True

    def put(self, payload: bytes) -> bool:
        """One packet's sound, whose length the caller has bounded; False for an empty one."""
        if not payload:
            return False
        sound = self._decode(payload)
        self._packet = max(len(sound), self._tick)
        self._pcm += sound
        if len(self._pcm) > 2 * self._packet + SLACK * self._millisecond:
            del self._pcm[: len(self._pcm) - self._packet - self._tick]
            self.counters.count("overruns")
        return True

    def tick(self) -> bytes:
        """The next Opus frame, silence where the phone said nothing."""
        if self._filling and len(self._pcm) >= self._packet:
            # Not at once: the next packet may come a little later than a packet's length from now.
            self._filling, self._fresh = self._fresh, False
        sound = b""
        if not self._filling:
            sound = bytes(self._pcm[: self._tick])
            del self._pcm[: self._tick]
            if len(sound) < self._tick:
                self.counters.count("underruns")
                self._filling = self._fresh = True
        return self._encoder.encode(sound + bytes(self._tick - len(sound)))


class Earpiece:
    """What the phone hears: frames out of the cells in, packets of `milliseconds` in the phone's own codec out."""

    def __init__(self, codec: Codec, milliseconds: int) -> None:
        self.playout = Playout()
        self._encode = coder(codec).encode
        self._voice = OpusDecoder(codec.rate)
        self._tones = OpusDecoder(codec.rate)
        self._tick = 2 * codec.rate * TICK_MILLISECONDS // 1000
        self._packet = BYTES_PER_MILLISECOND * milliseconds
        self._pcm = bytearray()
        self._coded = bytearray()
        self._tone_plays = False

    def put(self, packet: RtpPacket) -> None:
        """One frame of the other side's voice."""
        self.playout.put(packet)

    def tone(self, frame: bytes) -> list[bytes]:
        """The packets for 20 ms of a tone.  While one plays, the voice is not heard."""
        self._tone_plays = True
        self._pcm.clear()
        return self._packets(self._tones.decode(frame)[: self._tick])

    def tick(self) -> list[bytes]:
        """The packets for the next 20 ms of the voice, none where there is none."""
        if len(self._pcm) >= self._tick:
            self.playout.pass_over()
        elif not self._fetch():
            return []
        sound = bytes(self._pcm[: self._tick])
        del self._pcm[: self._tick]
        silenced, self._tone_plays = self._tone_plays, False
        return [] if silenced else self._packets(sound)

    def _fetch(self) -> bool:
        """More sound of the voice; False when nobody speaks."""
        place = self.playout.take()
        if place is None:
            return False
        try:
            if place.frame is not None:
                self._pcm += self._voice.decode(place.frame)
            elif place.following is not None:
                self._pcm += self._voice.recover(place.following)
            else:
                self._pcm += self._voice.conceal()
        except PeerError:
            self._pcm += self._voice.conceal()
        self._pcm += bytes(-len(self._pcm) % self._tick)
        return True

    def _packets(self, sound: bytes) -> list[bytes]:
        self._coded += self._encode(sound)
        packets = []
        while len(self._coded) >= self._packet:
            packets.append(bytes(self._coded[: self._packet]))
            del self._coded[: self._packet]
        return packets
