"""One end of ZRTP on a clock: an exchange with its timer, and SRTP under the keys that it comes to."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from relay.core import Clock
from relay.rtp.voice_srtp import SrtpReceiver, SrtpSender, SrtpTag
from relay.zrtp import (
    EVERYTHING,
    Alarm,
    CipherType,
    Effect,
    Exchange,
    Expectation,
    Failed,
    Listening,
    Phase,
    Secured,
    Send,
    Settings,
    SrtpMaster,
    Suite,
)

VOICE_SETTINGS = Settings(offer=replace(EVERYTHING, ciphers=(CipherType.AES1,)))
"""AES-128 alone: the library that seals the voice has no counter mode with longer keys."""

Told = Secured | Failed | Alarm


class ZrtpEnd:
    """`send` puts a datagram on the path of the voice; `tell` hears how it went."""

    def __init__(
        self, exchange: Exchange, clock: Clock, send: Callable[[bytes], None], tell: Callable[[Told], None]
    ) -> None:
        self._exchange = exchange
        self._clock = clock
        self._send = send
        self._tell = tell
        self._sender: SrtpSender | None = None
        self._receiver: SrtpReceiver | None = None
        self._listening = False
        self._secured: Secured | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def hello_hash(self) -> str:
        """For our session description."""
        return self._exchange.hello_hash

    @property
    def begun(self) -> bool:
        return self._exchange.phase is not Phase.IDLE

    @property
    def secure(self) -> bool:
        """Whether both ends have keys: from then on nothing goes in the clear."""
        return self._secured is not None

    def begin(self, expectation: Expectation) -> None:
        """Say Hello, once."""
        if not self.begun and not self._closed:
            self._exchange.expect(expectation)
            self._act(self._exchange.begin(self._clock.monotonic()))

    def receive(self, datagram: bytes) -> None:
        """Something came that looks like ZRTP."""
        if not self._closed:
            self._act(self._exchange.receive(datagram, self._clock.monotonic()))

    def protect(self, packet: bytes) -> bytes | None:
        """The SRTP packet; None where it may not leave."""
        return None if self._sender is None else self._sender.protect(packet)

    def unprotect(self, packet: bytes) -> bytes | None:
        """The RTP packet; None for what the other end did not send."""
        if self._receiver is None:
            return None
        opened = self._receiver.unprotect(packet)
        if opened is not None and self._listening:
            self._listening = False
            self._act(self._exchange.media_arrived(self._clock.monotonic()))
        return opened

    def verify_sas(self) -> None:
        """The user compared it, and it was the same."""
        if self.secure:
            self._exchange.verify_sas()

    def reject_sas(self) -> None:
        """It was not."""
        if self.secure:
            self._exchange.reject_sas()

    def close(self) -> None:
        """Forget all keys.  May be called twice."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for direction in (self._sender, self._receiver):
            if direction is not None:
                direction.forget()
        if self._secured is not None:
            self._secured.session.end()
        self._secured = self._sender = self._receiver = None
        self._exchange.close()

    def _act(self, effects: list[Effect]) -> None:
        # What is told may end the call, of which the other end is to hear its part all the same.
        for effect in effects:
            if isinstance(effect, Send):
                self._send(effect.datagram)
        for effect in effects:
            if self._closed:
                return
            match effect:
                case Send():
                    pass
                case Listening(suite, receive):
                    self._listen(suite, receive)
                    self._listening = True
                case Secured():
                    self._listening = False
                    self._listen(effect.suite, effect.receive)
                    tag = SrtpTag(effect.suite.auth_tag.value)
                    self._sender = SrtpSender(effect.send.key, effect.send.salt, tag)
                    self._secured = effect
                    self._tell(effect)
                case _:
                    self._tell(effect)
        self._arm()

    def _listen(self, suite: Suite, master: SrtpMaster) -> None:
        if self._receiver is None:
            # Not anew when the exchange is complete: what was opened since would open again.
            self._receiver = SrtpReceiver(master.key, master.salt, SrtpTag(suite.auth_tag.value))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._exchange.deadline
        if deadline is not None and not self._closed:
            delay = max(0.0, deadline - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        self._act(self._exchange.due(self._clock.monotonic()))
