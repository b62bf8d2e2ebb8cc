"""One ZRTP exchange on one stream, whoever begins it (RFC 6189 sections 4.1 to 4.7, 6).

    IDLE --begin--> RUNNING --both confirmed--> SECURE
                       `---- whatever goes wrong, and every time-out ----> ENDED

Sans-IO: datagrams and the time go in, effects come out, and `deadline` says when to call `due`.  What is not
authentic is dropped and counted; what is authentic and wrong ends the exchange with the RFC's code.  After SECURE no
message changes anything any more.
"""

from dataclasses import replace
from enum import Enum, auto

from relay.core import Counters, Entropy, MisuseError
from relay.zrtp import agreement, messages
from relay.zrtp.agreement import Agreement, Progress
from relay.zrtp.discovery import Discovery
from relay.zrtp.effects import AlarmKind, Effect, Failed
from relay.zrtp.ends import OwnEnd, Session
from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.hash_chain import HashChain
from relay.zrtp.hello import Hello, build_hello, hello_hash, is_newer_hello
from relay.zrtp.messages import MessageType
from relay.zrtp.outbox import Outbox
from relay.zrtp.packet import PacketDrop, open_packet
from relay.zrtp.retained import ZidCache
from relay.zrtp.retransmission import Retransmission, Ripe
from relay.zrtp.secured import SecuredStream
from relay.zrtp.settings import Expectation, Settings

COUNTS = (
    *PacketDrop,
    *agreement.COUNTS,
    "malformed",
    "wrong_source",
    "other_hello",
    "newer_hello",
    "unauthentic",
    "error_when_secure",
)
"""Why messages were not taken."""


class Phase(Enum):
    """Where an exchange is."""

    IDLE = auto()
    RUNNING = auto()
    SECURE = auto()
    ENDED = auto()


class Exchange:
    """Both roles: which one it takes is settled on the way.  Not to be used again once it has ended."""

    def __init__(
        self,
        settings: Settings,
        ssrc: int,
        zid: bytes,
        cache: ZidCache,
        entropy: Entropy,
        *,
        expectation: Expectation | None = None,
        session: Session | None = None,
    ) -> None:
        """`zid`: twelve bytes, those of this contact; with a `session`, this is a further stream of its call.

        Two exchanges without a session between the same two ZIDs must not run at once (section 4.4.1).
        """
        if len(zid) != messages.ZID_SIZE or (session is not None and session.own_zid != zid):
            raise MisuseError("a ZID has twelve bytes, and all streams of a call have the same one")
        settings = replace(settings, offer=settings.whole_offer())
        chain = HashChain(entropy)
        hello = build_hello(zid, settings.offer, chain, passive=settings.passive)
        self._own = OwnEnd(zid, chain, hello, settings, entropy, session)
        self._cache = cache
        self._outbox = Outbox(ssrc, settings.schedule, entropy)
        self._counters = Counters(COUNTS)
        self._hello_again = Retransmission()
        self._phase = Phase.IDLE
        self._began = 0.0
        self._secured: SecuredStream | None = None
        self._discovery: Discovery
        self._agreement: Agreement
        self._expect(expectation or Expectation())

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def counters(self) -> Counters:
        """What was dropped, by reason."""
        return self._counters

    @property
    def hello_hash(self) -> str:
        """The value of a=zrtp-hash for our own SDP (section 8)."""
        return hello_hash(self._own.hello)

    def expect(self, expectation: Expectation) -> None:
        """What signalling says of the peer, where that comes after this was made and before any Hello does."""
        if self._discovery.peer is not None:
            raise MisuseError("the peer is known already")
        acknowledged = self._discovery.acknowledged
        self._expect(expectation)
        self._discovery.acknowledged = acknowledged
        if self._phase is Phase.RUNNING and expectation.speaks_zrtp:
            self._hello_again.extend(self._began + self._own.settings.known_peer)

    def _expect(self, expectation: Expectation) -> None:
        self._own = replace(self._own, auxsecret=expectation.auxsecret)
        self._discovery = Discovery(self._own, expectation, self._cache)
        self._agreement = Agreement(self._own, self._discovery, self._outbox, self._counters)

    def begin(self, now: float) -> list[Effect]:
        """Say Hello."""
        if self._phase is not Phase.IDLE:
            raise MisuseError("an exchange begins once")
        self._began = self._outbox.now = now
        self._phase = Phase.RUNNING
        settings, known = self._own.settings, self._discovery.expectation.speaks_zrtp
        at_least = settings.known_peer if known else 0.0
        self._hello_again.start(self._own.hello, settings.hello_schedule, now, at_least=at_least)
        self._outbox.send(self._own.hello)
        return self._outbox.drain()

    def receive(self, datagram: bytes, now: float) -> list[Effect]:
        """Take one datagram from the path of the voice; anything may be in it."""
        self._outbox.now = now
        packet = open_packet(datagram)
        if isinstance(packet, PacketDrop):
            self._counters.count(packet)
        elif self._phase is not Phase.IDLE:
            self._take(packet.ssrc, packet.message)
        return self._outbox.drain()

    def due(self, now: float) -> list[Effect]:
        """Do what the time asks for; to be called at `deadline`, or any time."""
        self._outbox.now = now
        match self._hello_again.due(now):
            case Ripe.AGAIN:
                self._outbox.send(self._hello_again.message)
            case Ripe.GIVE_UP if self._discovery.peer is None:
                self._give_up(None)
        match self._outbox.again.due(now):
            case Ripe.AGAIN:
                self._outbox.send(self._outbox.again.message)
            case Ripe.GIVE_UP:
                self._give_up(ErrorCode.TIMEOUT)
        if any(at is not None and now >= at for at in self._ends):
            self._give_up(ErrorCode.TIMEOUT if self._discovery.peer is not None else None)
        return self._outbox.drain()

    @property
    def deadline(self) -> float | None:
        """When `due` is to be called next; None when nothing is waited for."""
        times = (self._hello_again.deadline, self._outbox.again.deadline, *self._ends)
        return min((at for at in times if at is not None), default=None)

    @property
    def _ends(self) -> tuple[float | None, ...]:
        if self._phase is not Phase.RUNNING:
            return ()
        return self._began + self._own.settings.total, self._agreement.silent_at

    def media_arrived(self, now: float) -> list[Effect]:
        """SRTP came that is authentic under the keys of `Listening`: worth a Conf2ACK (section 4.6)."""
        self._outbox.now = now
        if self._agreement.progress is Progress.CONFIRMING:
            self._complete()
        return self._outbox.drain()

    def verify_sas(self) -> None:
        """The users compared the SAS and it was the same."""
        self._stream().verify_sas()

    def reject_sas(self) -> None:
        """The users compared the SAS and it was not."""
        self._stream().reject_sas()

    def close(self) -> None:
        """The call is over: drop all keys of this stream (section 4.7.3).  Its owner ends the session."""
        self._phase = Phase.ENDED
        self._hello_again.stop()
        self._agreement.drop()
        self._secured = None

    def _take(self, ssrc: int, message: bytes) -> None:
        try:
            kind, body = messages.read(message)
        except ZrtpError:
            self._counters.count("malformed")
            return
        peer = self._discovery.peer
        if peer is not None and ssrc not in (peer.ssrc, self._outbox.ssrc) and kind is not MessageType.PING:
            self._counters.count("wrong_source")
            return
        try:
            if ssrc == self._outbox.ssrc:
                raise ZrtpError(ErrorCode.SSRC_COLLISION, "SSRC collision", "4.1")
            self._dispatch(kind, message, body, ssrc)
        except ZrtpError as error:
            if self._phase is not Phase.RUNNING:
                self._counters.count("unauthentic")
            elif error.code is ErrorCode.MALFORMED and not self._agreement.right_image(kind, message):
                # Anybody could have sent it: that must not end a call.
                self._counters.count("malformed")
            else:
                self._fail(error)

    def _dispatch(self, kind: MessageType, message: bytes, body: bytes, ssrc: int) -> None:
        running, secure = self._phase is Phase.RUNNING, self._phase is Phase.SECURE
        match kind:
            case MessageType.HELLO:
                self._take_hello(message, ssrc)
            case MessageType.HELLO_ACK if running:
                messages.read_ack(body)
                self._was_heard()
            case MessageType.ERROR:
                self._take_error(messages.read_error(body))
            case MessageType.ERROR_ACK if self._phase is Phase.ENDED:
                self._outbox.again.stop()
            case MessageType.CONF2_ACK if self._agreement.progress is Progress.CONFIRMING:
                messages.read_ack(body)
                self._complete()
            case MessageType.GO_CLEAR if secure:
                self._take_go_clear(body)
            case MessageType.SAS_RELAY if secure:
                self._take_relay(body)
            case MessageType.PING:
                self._outbox.answer(self._discovery.pong(messages.Ping.read(body), ssrc))
            case (
                MessageType.COMMIT
                | MessageType.DH_PART_1
                | MessageType.DH_PART_2
                | MessageType.CONFIRM_1
                | MessageType.CONFIRM_2
            ) if running or secure:
                self._take_step(kind, message, body)
            case _:
                self._counters.count("out_of_state")

    def _take_hello(self, message: bytes, ssrc: int) -> None:
        peer = self._discovery.peer
        if peer is not None or self._phase is not Phase.RUNNING:
            same = peer is not None and peer.hello.message == message and self._phase is not Phase.ENDED
            if same:
                self._outbox.answer(messages.HELLO_ACK)
            else:
                self._counters.count("other_hello")
            return
        if is_newer_hello(message):
            self._counters.count("newer_hello")
            # Whatever is in it, it was heard (section 5.3).
            self._outbox.answer(messages.HELLO_ACK)
            return
        hello = Hello.read(message)
        if not self._discovery.announced(hello):
            self._counters.count("other_hello")
            self._outbox.alarm(AlarmKind.HELLO_HASH_MISMATCH)
            return
        self._outbox.answer(messages.HELLO_ACK)
        for kind in self._discovery.meet(hello, ssrc):
            self._outbox.alarm(kind)
        self._hello_again.extend(self._outbox.now + self._own.settings.known_peer)
        self._maybe_commit()

    def _was_heard(self) -> None:
        """HelloACK, or a Commit in its place."""
        self._discovery.acknowledged = True
        self._hello_again.stop()
        self._maybe_commit()

    def _maybe_commit(self) -> None:
        """Become the initiator as soon as both Hellos were heard (section 5.4)."""
        peer = self._discovery.peer
        if peer is None or not self._discovery.acknowledged or self._agreement.progress is not Progress.OPEN:
            return
        if not self._own.settings.passive:
            self._agreement.commit()
        elif peer.hello.passive:
            raise ZrtpError(ErrorCode.UNAVAILABLE, "nobody may begin", "5.2")

    def _take_step(self, kind: MessageType, message: bytes, body: bytes) -> None:
        """A message of the key agreement; once that is complete, nothing but a repetition is answered."""
        self._agreement.take(kind, message, body)
        if self._phase is not Phase.RUNNING:
            return
        if self._agreement.progress is not Progress.OPEN:
            self._hello_again.stop()
        if self._agreement.progress is Progress.COMPLETE:
            self._complete()

    def _complete(self) -> None:
        discovery = self._discovery
        agreed = self._agreement.finish()
        self._phase = Phase.SECURE
        self._hello_again.stop()
        # The cache is written to in here: alarms are about what it held before.
        self._secured = SecuredStream(
            agreed, self._own, discovery.met, self._cache, authenticated=discovery.authenticated
        )
        for kind in discovery.alarms_of(agreed):
            self._outbox.alarm(kind)
        self._outbox.add(self._secured.effect(signalled=discovery.signalled))

    def _take_error(self, code: int) -> None:
        """Before there are keys anybody's Error ends it; afterwards nobody's does (section 4.7.1)."""
        self._outbox.answer(messages.ERROR_ACK)
        if self._phase is Phase.SECURE:
            self._counters.count("error_when_secure")
        elif self._phase is Phase.RUNNING:
            self.close()
            known = ErrorCode(code) if code in list(ErrorCode) else None
            self._outbox.add(Failed(known, by_peer=True))

    def _take_go_clear(self, body: bytes) -> None:
        if not self._stream().asks_to_go_clear(body):
            self._counters.count("unauthentic")
            return
        self._outbox.alarm(AlarmKind.GO_CLEAR)
        self._outbox.answer(messages.build_error(ErrorCode.GO_CLEAR_NOT_ALLOWED))

    def _take_relay(self, body: bytes) -> None:
        self._stream().check_relay(body)
        self._outbox.alarm(AlarmKind.RELAYED_SAS)
        # One that never said it was a PBX gets no Error (section 5.13); what it relays is shown to nobody.
        untrusted = messages.build_error(ErrorCode.UNTRUSTED_RELAY)
        self._outbox.answer(untrusted if self._discovery.met.hello.mitm else messages.RELAY_ACK)

    def _fail(self, error: ZrtpError) -> None:
        """Something authentic is wrong: say so until it is acknowledged, and have nothing more to do with it."""
        if error.attack:
            self._outbox.alarm(AlarmKind.TAMPERED)
        if error.downgrade:
            self._outbox.alarm(AlarmKind.DOWNGRADE)
        self._give_up(error.code)

    def _give_up(self, code: ErrorCode | None) -> None:
        """Without a code nobody is there to be told."""
        if self._phase is not Phase.RUNNING:
            return
        self.close()
        if code is not None:
            self._outbox.ask(messages.build_error(code))
        elif self._discovery.expectation.speaks_zrtp:
            self._outbox.alarm(AlarmKind.DOWNGRADE)
        self._outbox.add(Failed(code))

    def _stream(self) -> SecuredStream:
        if self._secured is None:
            raise MisuseError("there are no keys")
        return self._secured
