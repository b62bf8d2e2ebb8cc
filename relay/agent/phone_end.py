"""Our end of a call is the phone: what it and the other end say to each other passes as it is, and nobody here can
listen.

Until the two have keys, ZRTP alone passes: what a phone says in the clear ends here.  No other Hello reaches the phone
than the other end announced, sealed: a phone that is rung is told no hash to find that out by itself.
"""

import asyncio
from collections.abc import Callable, Sequence

from relay.agent.phone_guard import DROPPED, TAKEN, Arrival
from relay.agent.phone_leg import PhoneLeg
from relay.agent.voice_security import End
from relay.core import Clock, Counters, PeerError
from relay.rtp import Datagram, Kind
from relay.rtp.packet import header_size
from relay.sip.line_voice import LineVoice
from relay.zrtp import AlarmKind, HelloHashes, MessageType, is_newer_hello, looks_like_zrtp, passing

COUNTED = ("malformed", "too early", "other payload type", "not zrtp", "newer version", "not announced")
HELLO_EVERY = 0.2
"""Seconds between repetitions of the phone's Hello in its place: phones give up after four seconds, which is before
many a line opens (RFC 6189 section 6)."""
HELLO_FOR = 12.0
AGREE_SECONDS = 30.0
"""After so long without keys the call ends: both ends announced that they speak ZRTP."""


class PhoneEnd:
    """`peer` are the types that the other end announced, and that the phone was told.

    `agreed` is told once, when both ends have shown that they have keys; `failed` once, with the reason, when they will
    never have: nothing passes from then on.
    """

    end = End.PHONE

    def __init__(
        self,
        leg: PhoneLeg,
        offer: Callable[[Datagram], None],
        clock: Clock,
        *,
        agreed: Callable[[], None],
        failed: Callable[[AlarmKind], None],
    ) -> None:
        self.peer: LineVoice | None = None
        self.secure = False
        self.counters = Counters(COUNTED)
        self._leg = leg
        self._offer = offer
        self._clock = clock
        self._agreed = agreed
        self._failed = failed
        self._announced = HelloHashes()
        self._hello: bytes | None = None
        """The phone's latest, for as long as nobody answered one."""
        self._confirmed = False
        """Confirm2 passed: whoever sent it says nothing in the clear any more."""
        self._phone_confirmed = False
        """Whether our phone found out that it has the keys of whoever is at the other end."""
        self._began: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def begin(self, announced: Sequence[str]) -> None:
        """The lines met; `announced` are the other end's values of a=zrtp-hash.  Raises `PeerError` where they are
        none."""
        self._announced = HelloHashes(announced)
        self._began = self._clock.monotonic()
        self._tick()

    # -- the phone's side ------------------------------------------------------------------------------------------

    def arrived(self, datagram: bytes) -> Arrival:
        """Everything a phone says is for the other end."""
        if self._closed:
            return DROPPED
        if looks_like_zrtp(datagram):
            return self._zrtp_from_phone(datagram)
        kind = self._kind(datagram)
        if kind is None:
            return DROPPED
        if self.secure:
            self._offer(Datagram(kind, datagram))
        else:
            self.counters.count("too early")
        return TAKEN

    def leaves(self, packet: bytes) -> bytes | None:
        """A tone of ours, which a phone that has keys with somebody else would not play."""
        return None if self._confirmed else packet

    def from_leg(self, said: Datagram) -> None:
        """Nothing ever comes this way: `arrived` takes it all."""

    # -- the line's side -------------------------------------------------------------------------------------------

    def from_cells(self, datagram: Datagram) -> bool:
        """What the other end sent; True where the phone was let hear a voice."""
        if self._closed:
            return False
        if datagram.kind is Kind.ZRTP:
            self._zrtp_from_cells(datagram.data)
            return False
        if not self._confirmed:
            self.counters.count("too early")
            return False
        if looks_like_zrtp(datagram.data):
            self.counters.count("malformed")
            return False
        self._leg.pass_on(datagram.data)
        # Voice under the keys says as much as Conf2ACK (RFC 6189 section 4.6), which may be lost.
        self._other_says(MessageType.CONF2_ACK)
        return datagram.kind is Kind.VOICE

    def close(self) -> None:
        """Repeat nothing and pass nothing on any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._hello = None
        self._closed = True

    def _zrtp_from_cells(self, datagram: bytes) -> None:
        found = passing(datagram)
        if found is None:
            self.counters.count("not zrtp")
            return
        kind, message = found
        if kind is not MessageType.HELLO:
            # Whatever else it says, it heard ours.
            self._hello = None
        elif is_newer_hello(message):
            # The other end comes down to ours once it heard our phone's.
            self.counters.count("newer version")
            return
        elif not self._announced.fit(message):
            # All that comes after a Hello hangs by its hash images (RFC 6189 section 9): this one check is enough.
            self.counters.count("not announced")
            if not self.secure:
                self._fail(AlarmKind.HELLO_HASH_MISMATCH)
            return
        self._leg.pass_on(datagram)
        self._other_says(kind)

    def _zrtp_from_phone(self, datagram: bytes) -> Arrival:
        found = passing(datagram)
        if found is None:
            self.counters.count("not zrtp")
            return DROPPED
        kind, _ = found
        if kind is MessageType.HELLO and not self._confirmed:
            self._hello = datagram
        if self._began is not None:
            self._offer(Datagram(Kind.ZRTP, datagram))
            self._phone_says(kind)
        return TAKEN

    # Anybody can send a message of any type; that it is authentic the phone alone can tell.  It sends Confirm2 once it
    # has found Confirm1 to be, and Conf2ACK once it has found Confirm2 to be.

    def _phone_says(self, kind: MessageType) -> None:
        if kind is MessageType.CONFIRM_2:
            self._confirmed = self._phone_confirmed = True
        elif kind is MessageType.CONF2_ACK and self._confirmed:
            self._agree()

    def _other_says(self, kind: MessageType) -> None:
        if kind is MessageType.CONFIRM_2:
            self._confirmed = True
        elif kind is MessageType.CONF2_ACK and self._phone_confirmed:
            self._agree()

    def _agree(self) -> None:
        if not self.secure:
            self.secure = True
            self._agreed()

    def _fail(self, why: AlarmKind) -> None:
        self.close()
        self._failed(why)

    def _kind(self, datagram: bytes) -> Kind | None:
        """Whether it is voice or a key pressed; None for what the other end did not ask for."""
        try:
            header_size(datagram)
        except PeerError:
            self.counters.count("malformed")
            return None
        payload_type = datagram[1] & 0x7F
        if self.peer is not None and payload_type == self.peer.payload_type:
            return Kind.VOICE
        if self.peer is not None and self.peer.event_rate(payload_type) is not None:
            return Kind.EVENT
        self.counters.count("other payload type")
        return None

    def _tick(self) -> None:
        self._timer = None
        if self._began is None or self.secure or self._closed:
            return
        passed = self._clock.monotonic() - self._began
        if passed >= AGREE_SECONDS:
            self._fail(AlarmKind.DOWNGRADE)
            return
        if self._hello is not None and passed < HELLO_FOR:
            self._offer(Datagram(Kind.ZRTP, self._hello))
        self._timer = asyncio.get_running_loop().call_later(HELLO_EVERY, self._tick)
