"""Our end of a call is the agent: what its phone says leaves as SRTP for the other end, whoever that is.

Until both ends have keys nothing is said and nothing is heard: there is no voice in the clear, be it inside cells.
"""

from collections.abc import Callable
from dataclasses import replace

from relay.agent.onward import Onward
from relay.agent.phone_leg import PhoneLeg
from relay.agent.phone_stream import EVENT_TYPE_IN_CELLS, PAYLOAD_TYPE_IN_CELLS
from relay.agent.voice_security import End
from relay.agent.zrtp_end import ZrtpEnd
from relay.core import Counters, PeerError
from relay.rtp import EVENT_CLOCK, Datagram, Kind, RtpPacket, TelephoneEvent
from relay.sip.line_voice import NEUTRAL

_VOICE_IN_CELLS = bytes((PAYLOAD_TYPE_IN_CELLS,))
COUNTED = ("not sealed", "not opened", "malformed", "other payload type", "keys not taken")


class AgentEnd:
    """Between the neutral stream of the phone's leg and the packets of the line.

    `own` are the types that we announced, `peer` those that the other end did; `numbers` are those of what we send,
    whose SSRC is the exchange's.
    """

    end = End.AGENT

    def __init__(
        self, zrtp: ZrtpEnd, numbers: Onward, leg: PhoneLeg, offer: Callable[[Datagram], None]
    ) -> None:
        self.zrtp = zrtp
        self.own = self.peer = NEUTRAL
        self.counters = Counters(COUNTED)
        self._numbers = numbers
        self._leg = leg
        self._offer = offer

    @property
    def secure(self) -> bool:
        return self.zrtp.secure

    def from_leg(self, said: Datagram) -> None:
        """What the phone said, neutral; it leaves once there are keys."""
        if not self.secure:
            return
        if said.kind is Kind.EVENT:
            packet = self._key_for_peer(self._numbers.renumber(said.data))
        else:
            packet = self._numbers.renumber(said.data, self.peer.payload_type)
        sealed = self.zrtp.protect(packet) if packet else None
        if sealed is None:
            self.counters.count("not sealed")
        else:
            self._offer(Datagram(said.kind, sealed))

    def from_cells(self, datagram: Datagram) -> bool:
        """What the other end sent; True where the phone was let hear a voice."""
        if datagram.kind is Kind.ZRTP:
            self.zrtp.receive(datagram.data)
            return False
        opened = self.zrtp.unprotect(datagram.data)
        if opened is None:
            self.counters.count("not opened")
            return False
        payload_type = opened[1] & 0x7F
        if payload_type == self.own.payload_type:
            # Whatever else is odd about it, the leg's stream finds.
            self._leg.hear(opened[:1] + _VOICE_IN_CELLS + opened[2:])
            return True
        rate = self.own.event_rate(payload_type)
        if rate is None:
            self.counters.count("other payload type")
            return False
        try:
            self._leg.hear(_key(opened, EVENT_TYPE_IN_CELLS, rate, EVENT_CLOCK))
        except PeerError:
            self.counters.count("malformed")
        return False

    def close(self) -> None:
        """Forget the keys."""
        self.zrtp.close()

    def _key_for_peer(self, packet: bytes) -> bytes:
        """Empty where the other end takes no keys."""
        if self.peer.said_event is None:
            self.counters.count("keys not taken")
            return b""
        payload_type, rate = self.peer.said_event
        return _key(packet, payload_type, EVENT_CLOCK, rate)


def _key(packet: bytes, payload_type: int, clock: int, to_clock: int) -> bytes:
    """A key pressed, told under another type and by another clock.  Raises `PeerError`."""
    parsed = RtpPacket.parse(packet)
    event = TelephoneEvent.parse(parsed.payload, clock)
    return replace(parsed, payload_type=payload_type, payload=event.to_bytes(to_clock)).to_bytes()
