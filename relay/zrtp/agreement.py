"""From Commit to the second Confirm, in whichever role (RFC 6189 sections 4.2, 4.4, 4.6).

    OPEN --commit()--> INITIATING --Confirm1--> CONFIRMING --Conf2ACK or SRTP--> COMPLETE
      |                    | the other's Commit wins
      `----Commit came-----`--> RESPONDING --Confirm2--> COMPLETE

Messages are taken only where they fit; what does not is counted.  What fits and is wrong raises `ZrtpError`.
"""

from enum import Enum, auto

from relay.core import Counters
from relay.zrtp.commit import Commit, Contention, discarded
from relay.zrtp.discovery import Discovery
from relay.zrtp.effects import Listening
from relay.zrtp.ends import Agreed, OwnEnd
from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.hash_chain import IMAGE_SIZE
from relay.zrtp.initiator import Initiator
from relay.zrtp.initiator import Step as InitiatorStep
from relay.zrtp.messages import FRAME_SIZE, MessageType
from relay.zrtp.outbox import Outbox
from relay.zrtp.responder import Responder
from relay.zrtp.responder import Step as ResponderStep

_IMAGE_LEVELS = {MessageType.COMMIT: 2, MessageType.DH_PART_1: 1, MessageType.DH_PART_2: 1}
COUNTS = ("out_of_state", "wrong_image", "repeated")


class Progress(Enum):
    """How far it is."""

    OPEN = auto()
    INITIATING = auto()
    CONFIRMING = auto()
    RESPONDING = auto()
    COMPLETE = auto()


class Agreement:
    """The key agreement of one exchange."""

    def __init__(self, own: OwnEnd, discovery: Discovery, outbox: Outbox, counters: Counters) -> None:
        self._own = own
        self._discovery = discovery
        self._outbox = outbox
        self._counters = counters
        self._initiator: Initiator | None = None
        self._responder: Responder | None = None
        self._over = False
        self.silent_at: float | None = None
        """When a responder has waited long enough (section 6)."""

    @property
    def progress(self) -> Progress:
        if self._over:
            return Progress.COMPLETE
        if self._responder is not None:
            complete = self._responder.step is ResponderStep.NOTHING
            return Progress.COMPLETE if complete else Progress.RESPONDING
        if self._initiator is None:
            return Progress.OPEN
        confirming = self._initiator.step is InitiatorStep.CONF2_ACK
        return Progress.CONFIRMING if confirming else Progress.INITIATING

    @property
    def agreed(self) -> Agreed | None:
        """What has been derived so far."""
        role = self._initiator or self._responder
        return role.agreed if role is not None else None

    def commit(self, *, dh_only: bool = False) -> None:
        """Become the initiator."""
        suite = self._discovery.suite(dh_only=dh_only)
        self._initiator = Initiator(self._own, self._discovery.met, suite)
        self._outbox.ask(self._initiator.commit.message)

    def right_image(self, kind: MessageType, message: bytes) -> bool:
        """Whether a message proves to be the peer's, before anything else in it is looked at (section 9)."""
        peer, level = self._discovery.peer, _IMAGE_LEVELS.get(kind)
        if level is None:
            # A Confirm was authentic before it could be found wrong.
            return kind in (MessageType.CONFIRM_1, MessageType.CONFIRM_2) and self.agreed is not None
        image = message[FRAME_SIZE : FRAME_SIZE + IMAGE_SIZE]
        return peer is not None and len(image) == IMAGE_SIZE and peer.chain.reveals(level, image)

    def take(self, kind: MessageType, message: bytes, body: bytes) -> None:
        """Take one of the five messages."""
        if self._repeated(message):
            return
        if self._over:
            # Hash images are known to everybody by now: they prove nothing any more.
            self._counters.count("out_of_state")
            return
        if kind in _IMAGE_LEVELS and not self.right_image(kind, message):
            self._counters.count("wrong_image")
            return
        match kind:
            case MessageType.COMMIT:
                self._take_commit(message)
            case MessageType.DH_PART_1:
                self._take_dh_part_1(message)
            case MessageType.DH_PART_2:
                self._take_dh_part_2(message)
            case MessageType.CONFIRM_1:
                self._take_confirm_1(body)
            case _:
                self._take_confirm_2(message, body)

    def _repeated(self, message: bytes) -> bool:
        """A responder says again what it said last, when it is asked the same (section 6)."""
        responder = self._responder
        if responder is None or responder.answered != message:
            return False
        self._counters.count("repeated")
        self._heard()
        self._outbox.answer(responder.answer)
        return True

    def _heard(self) -> None:
        waiting = self.progress is Progress.RESPONDING
        self.silent_at = self._outbox.now + self._own.settings.silence if waiting else None

    def _take_commit(self, message: bytes) -> None:
        if self._initiator is None and self._responder is None:
            self._respond(Commit.read(message))
        elif self._initiator is not None and self._initiator.contested:
            commit = Commit.read(message)
            lost = discarded(self._initiator.commit, commit, they_are_mitm=self._discovery.met.hello.mitm)
            if lost is Contention.OURS:
                self._respond(commit)
            else:
                # The peer will find out from ours, which we send until it answers.
                self._counters.count("out_of_state")
        else:
            self._counters.count("out_of_state")

    def _respond(self, commit: Commit) -> None:
        """Become the responder."""
        if not self._discovery.check(commit):
            # Preshared, and we do not share it: "SHOULD respond with its own DH Commit" (section 4.4.2.3).
            if self._own.settings.passive:
                raise ZrtpError(ErrorCode.NO_SHARED_SECRET, "no shared secret", "4.4.2.3")
            self.commit(dh_only=True)
            return
        mine, self._initiator = self._initiator, None
        self._outbox.again.stop()
        same_group = mine is not None and mine.commit.suite.key_agreement is commit.suite.key_agreement
        pair = mine.pair if mine is not None and same_group else None
        self._responder = Responder(self._own, self._discovery.met, commit, pair)
        self._heard()
        self._outbox.send(self._responder.answer)

    def _take_dh_part_1(self, message: bytes) -> None:
        initiator = self._initiator
        if initiator is None or initiator.step is not InitiatorStep.DH_PART_1:
            self._counters.count("out_of_state")
            return
        self._outbox.ask(initiator.take_dh_part_1(message))

    def _take_dh_part_2(self, message: bytes) -> None:
        responder = self._responder
        if responder is None or responder.step is not ResponderStep.DH_PART_2:
            self._counters.count("out_of_state")
            return
        self._outbox.send(responder.take_dh_part_2(message))
        self._heard()

    def _take_confirm_1(self, body: bytes) -> None:
        initiator = self._initiator
        if initiator is None or initiator.step is not InitiatorStep.CONFIRM_1:
            self._counters.count("out_of_state")
            return
        if (answer := initiator.take_confirm_1(body)) is None:
            self._counters.count("wrong_image")
            return
        self._outbox.ask(answer)
        assert initiator.agreed is not None, "there before Confirm1 could be opened"
        agreed = initiator.agreed
        self._outbox.add(Listening(agreed.suite, agreed.peer_keys.srtp))

    def _take_confirm_2(self, message: bytes, body: bytes) -> None:
        responder = self._responder
        if responder is None or responder.step is not ResponderStep.CONFIRM_2:
            self._counters.count("out_of_state")
            return
        if (answer := responder.take_confirm_2(message, body)) is None:
            self._counters.count("wrong_image")
            return
        self._outbox.send(answer)
        self._heard()

    def finish(self) -> Agreed:
        """Hand over what was agreed on, and drop the rest; Conf2ACK alone may have to be said again."""
        agreed = self.agreed
        assert agreed is not None, "both ends confirmed"
        self._over = True
        self._initiator = None
        self._outbox.again.stop()
        self.silent_at = None
        if self._responder is not None:
            self._responder.agreed = None
        return agreed

    def drop(self) -> None:
        """Forget everything, and take nothing more."""
        self._over = True
        self._initiator = self._responder = None
        self._outbox.again.stop()
        self.silent_at = None
