"""The end that takes a Commit (RFC 6189 sections 4.4.1.2, 4.4.2.3, 4.4.3).

It never speaks first: it answers what the initiator sends, and the same again when that comes again (section 6).
"""

import hmac
from enum import Enum, auto

from relay.zrtp.commit import HVI_SIZE, Commit
from relay.zrtp.dh_part import DhPart, build_dh_part
from relay.zrtp.ends import Agreed, OwnEnd, PeerEnd
from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.key_agreement import PUBLIC_SIZES, KeyPair, fresh_pair
from relay.zrtp.key_schedule import Context, key_id, preshared_key
from relay.zrtp.messages import CONF2_ACK, MessageType
from relay.zrtp.shared_secrets import Continuity, Role, Shared
from relay.zrtp.suites import KeyAgreementType


class Step(Enum):
    """What it waits for."""

    DH_PART_2 = auto()
    CONFIRM_2 = auto()
    NOTHING = auto()


class Responder:
    """One exchange from the responder's side.  Whatever it raises ends the exchange.

    `answer` is what was said last, `answered` the message that it was said to.
    """

    def __init__(self, own: OwnEnd, peer: PeerEnd, commit: Commit, pair: KeyPair | None = None) -> None:
        """`commit` has been checked; `pair` is one of the same group that was made for a Commit of our own."""
        self._own = own
        self._peer = peer
        self._commit = commit
        self._pair = pair
        self.agreed: Agreed | None = None
        self.answered = commit.message
        if commit.suite.key_agreement.is_dh:
            self.step = Step.DH_PART_2
            self.answer = self._dh_part_1()
        else:
            self.step = Step.CONFIRM_2
            self.answer = self._from_secret()

    def _dh_part_1(self) -> bytes:
        own, suite = self._own, self._commit.suite
        if self._pair is None:
            self._pair = fresh_pair(suite.key_agreement, own.entropy)
        ids = self._peer.secrets(own).ids(suite.hash, Role.RESPONDER, own.chain[3], own.entropy)
        return build_dh_part(MessageType.DH_PART_1, own.chain, ids, self._pair.public_value)

    def _from_secret(self) -> bytes:
        """Confirm1, which follows a Commit at once where there is no Diffie-Hellman."""
        own, peer, commit = self._own, self._peer, self._commit
        suite = commit.suite
        context = Context.of(suite.hash, peer.hello.zid, own.zid, own.hello, commit.message)
        if suite.key_agreement is KeyAgreementType.MULT:
            assert own.session is not None, "checked with the Commit"
            shared, s0 = None, context.multistream_s0(own.session.key)
        else:
            found = preshared_match(own, peer, commit)
            assert found is not None, "checked with the Commit"
            assert peer.retained is not None, "it was found there"
            secret, aux = found
            shared = Shared(peer.retained.rs1, aux, Continuity.CONTINUED, aux != own.auxsecret)
            s0 = context.preshared_s0(secret)
        self.agreed = Agreed.from_s0(Role.RESPONDER, suite, context, s0, shared)
        return self.agreed.confirm(MessageType.CONFIRM_1, own, peer)

    def take_dh_part_2(self, message: bytes) -> bytes:
        """Confirm1, the answer."""
        own, peer, commit = self._own, self._peer, self._commit
        suite = commit.suite
        part = DhPart.read(message, PUBLIC_SIZES[suite.key_agreement])
        peer.chain.take(1, part.h1)
        peer.chain.check(commit.message, 1)
        hvi = suite.hash.digest(message + own.hello)[:HVI_SIZE]
        if not hmac.compare_digest(hvi, commit.proof):
            raise ZrtpError(
                ErrorCode.WRONG_HVI, "DHPart2 is not what was committed to", "4.4.1.2", attack=True
            )
        assert self._pair is not None, "made with DHPart1"
        result = self._pair.agree(part.public_value)
        shared = peer.secrets(own).shared(suite.hash, Role.RESPONDER, part.ids, peer.chain[3])
        context = Context.of(
            suite.hash, peer.hello.zid, own.zid, own.hello, commit.message, self.answer, message
        )
        s0 = context.dh_s0(result, shared.s1, shared.s2)
        self.agreed = Agreed.from_s0(Role.RESPONDER, suite, context, s0, shared)
        self._pair = None
        self._dh_part_2 = message
        self.step = Step.CONFIRM_2
        return self._say(message, self.agreed.confirm(MessageType.CONFIRM_1, own, peer))

    def take_confirm_2(self, message: bytes, body: bytes) -> bytes | None:
        """Conf2ACK, the answer, with which the exchange is complete; None where this was not to be used."""
        assert self.agreed is not None, "made with DHPart2 or the Commit"
        if not self.agreed.take_confirm(body, self._peer):
            return None
        if self._commit.suite.key_agreement.is_dh:
            self._peer.chain.check(self._dh_part_2, 0)
        else:
            self._peer.chain.check(self._commit.message, 1)
        self.step = Step.NOTHING
        return self._say(message, CONF2_ACK)

    def _say(self, to: bytes, answer: bytes) -> bytes:
        self.answered, self.answer = to, answer
        return answer


def preshared_match(own: OwnEnd, peer: PeerEnd, commit: Commit) -> tuple[bytes, bytes] | None:
    """(preshared_key, auxsecret in it) that fits the keyID of a Preshared Commit, if there is one (section 4.4.2.3)."""
    if peer.retained is None:
        return None
    for aux in dict.fromkeys((own.auxsecret, b"")):
        secret = preshared_key(commit.suite.hash, peer.retained.rs1, aux)
        if hmac.compare_digest(key_id(commit.suite.hash, secret), commit.key_id):
            return secret, aux
    return None
