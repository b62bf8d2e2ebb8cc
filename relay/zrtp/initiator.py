"""The end whose Commit counts (RFC 6189 sections 4.4.1.3, 4.4.2.2, 4.4.3).

It speaks first at every step and sends again what is not answered; when to do so is `Exchange`'s business.
"""

from enum import Enum, auto

from relay.zrtp.commit import HVI_SIZE, NONCE_SIZE, Commit, build_commit
from relay.zrtp.dh_part import DhPart, build_dh_part
from relay.zrtp.ends import Agreed, OwnEnd, PeerEnd
from relay.zrtp.key_agreement import PUBLIC_SIZES, KeyPair, fresh_pair
from relay.zrtp.key_schedule import Context, key_id, preshared_key
from relay.zrtp.messages import MessageType
from relay.zrtp.shared_secrets import Continuity, Role, Shared
from relay.zrtp.suites import KeyAgreementType, Suite


class Step(Enum):
    """What it waits for."""

    DH_PART_1 = auto()
    CONFIRM_1 = auto()
    CONF2_ACK = auto()


class Initiator:
    """One exchange from the initiator's side.  Whatever it raises ends the exchange."""

    def __init__(self, own: OwnEnd, peer: PeerEnd, suite: Suite) -> None:
        self._own = own
        self._peer = peer
        self._suite = suite
        self.agreed: Agreed | None = None
        self._pair: KeyPair | None = None
        self._dh_part_2 = b""
        if suite.key_agreement.is_dh:
            self.step = Step.DH_PART_1
            self.commit = self._commit_to_dh()
        else:
            self.step = Step.CONFIRM_1
            self.commit = self._commit_to_secret()

    @property
    def contested(self) -> bool:
        """Whether the responder has not answered yet, so that a Commit of its own could still win (section 4.2)."""
        first = Step.DH_PART_1 if self._suite.key_agreement.is_dh else Step.CONFIRM_1
        return self.step is first

    @property
    def pair(self) -> KeyPair | None:
        """Its key pair, which goes on to serve where another Commit won (section 4.2)."""
        return self._pair

    def _commit_to_dh(self) -> Commit:
        """hvi binds us to DHPart2, and to the responder's Hello, before we see anything of its."""
        own, suite = self._own, self._suite
        self._pair = fresh_pair(suite.key_agreement, own.entropy)
        ids = self._peer.secrets(own).ids(suite.hash, Role.INITIATOR, own.chain[3], own.entropy)
        self._dh_part_2 = build_dh_part(MessageType.DH_PART_2, own.chain, ids, self._pair.public_value)
        hvi = suite.hash.digest(self._dh_part_2 + self._peer.hello.message)[:HVI_SIZE]
        return build_commit(own.chain, own.zid, suite, hvi)

    def _commit_to_secret(self) -> Commit:
        own, peer, suite = self._own, self._peer, self._suite
        if suite.key_agreement is KeyAgreementType.MULT:
            assert own.session is not None, "Multistream goes on from a session"
            commit = build_commit(own.chain, own.zid, suite, own.session.fresh_nonce(own.entropy))
            secret, shared = own.session.key, None
        else:
            assert peer.retained is not None, "Preshared goes on from a retained secret"
            secret = preshared_key(suite.hash, peer.retained.rs1, own.auxsecret)
            nonce = own.entropy.token(NONCE_SIZE)
            commit = build_commit(own.chain, own.zid, suite, nonce, key_id(suite.hash, secret))
            shared = Shared(peer.retained.rs1, own.auxsecret, Continuity.CONTINUED, False)
        context = Context.of(suite.hash, own.zid, peer.hello.zid, peer.hello.message, commit.message)
        s0 = context.multistream_s0(secret) if shared is None else context.preshared_s0(secret)
        self.agreed = Agreed.from_s0(Role.INITIATOR, suite, context, s0, shared)
        return commit

    def take_dh_part_1(self, message: bytes) -> bytes:
        """DHPart2, the answer.  Everything but the peer's confirmation is known after this."""
        own, peer, suite = self._own, self._peer, self._suite
        part = DhPart.read(message, PUBLIC_SIZES[suite.key_agreement])
        peer.chain.take(1, part.h1)
        # The responder sent no Commit that counts, so H2 came with H1: now its Hello can be checked.
        peer.chain.check(peer.hello.message, 2)
        assert self._pair is not None, "made with the Commit"
        result = self._pair.agree(part.public_value)
        shared = peer.secrets(own).shared(suite.hash, Role.INITIATOR, part.ids, peer.chain[3])
        context = Context.of(
            suite.hash,
            own.zid,
            peer.hello.zid,
            peer.hello.message,
            self.commit.message,
            part.message,
            self._dh_part_2,
        )
        s0 = context.dh_s0(result, shared.s1, shared.s2)
        self.agreed = Agreed.from_s0(Role.INITIATOR, suite, context, s0, shared)
        self._pair = None
        self._dh_part_1 = message
        self.step = Step.CONFIRM_1
        return self._dh_part_2

    def take_confirm_1(self, body: bytes) -> bytes | None:
        """Confirm2, the answer; None where this was not to be used."""
        assert self.agreed is not None, "made with the Commit or DHPart1"
        if not self.agreed.take_confirm(body, self._peer):
            return None
        if self._suite.key_agreement.is_dh:
            self._peer.chain.check(self._dh_part_1, 0)
        else:
            # No message of the responder's but its Hello lies behind (section 9).
            self._peer.chain.check(self._peer.hello.message, 2)
        self.step = Step.CONF2_ACK
        return self.agreed.confirm(MessageType.CONFIRM_2, self._own, self._peer)
