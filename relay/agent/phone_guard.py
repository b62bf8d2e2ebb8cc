"""What stands between a phone's socket and its stream: ZRTP with the phone itself, where the agent is the call's end.

On loopback nobody else listens, so a phone without ZRTP goes on in plain RTP; one that speaks it has its wish.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from relay.agent.onward import Onward
from relay.agent.zrtp_end import VOICE_SETTINGS, Told, ZrtpEnd
from relay.core import Clock, Entropy
from relay.zrtp import Exchange, Expectation, ZidCache, looks_like_zrtp


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of a datagram: dropped, or taken, perhaps with RTP in it for the phone's stream."""

    taken: bool
    rtp: bytes | None = None


TAKEN, DROPPED = Arrival(True), Arrival(False)


class PhoneGuard(Protocol):
    """Looks at every datagram from and to a phone."""

    def arrived(self, datagram: bytes) -> Arrival: ...

    def leaves(self, packet: bytes) -> bytes | None:
        """What is sent in the place of an RTP packet of ours; None for nothing."""
        ...


class OwnPhone:
    """Our end of ZRTP towards our own phone.  It begins with the phone's first Hello.

    `send` puts a datagram on the phone's socket; `announced` are the hashes in the phone's session description.
    """

    def __init__(
        self,
        zid: bytes,
        cache: ZidCache,
        clock: Clock,
        entropy: Entropy,
        send: Callable[[bytes], None],
        tell: Callable[[Told], None],
    ) -> None:
        self.announced: tuple[str, ...] = ()
        self._numbers = Onward(entropy)
        exchange = Exchange(VOICE_SETTINGS, self._numbers.ssrc, zid, cache, entropy)
        self._zrtp = ZrtpEnd(exchange, clock, send, tell)

    @property
    def hello_hash(self) -> str:
        """For what the phone is offered or answered."""
        return self._zrtp.hello_hash

    def arrived(self, datagram: bytes) -> Arrival:
        """Take ZRTP, open SRTP; pass RTP on for as long as there are no keys."""
        if looks_like_zrtp(datagram):
            self._zrtp.begin(Expectation(self.announced))
            self._zrtp.receive(datagram)
            return TAKEN
        opened = self._zrtp.unprotect(datagram)
        if opened is None and self._zrtp.secure:
            return DROPPED
        return Arrival(True, opened or datagram)

    def leaves(self, packet: bytes) -> bytes | None:
        """Sealed as soon as there are keys."""
        if not self.announced and not self._zrtp.begun:
            return packet
        mine = self._numbers.renumber(packet)
        return self._zrtp.protect(mine) if self._zrtp.secure else mine

    def close(self) -> None:
        """Forget the keys."""
        self._zrtp.close()
