"""Who is at the other end, and whether that is who should be (RFC 6189 sections 4.1, 4.2, 8.1, 12)."""

from collections.abc import Iterator

from relay.zrtp.commit import Commit
from relay.zrtp.effects import AlarmKind
from relay.zrtp.ends import Agreed, OwnEnd, PeerEnd
from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.hash_chain import PeerChain
from relay.zrtp.hello import Hello, HelloHashes
from relay.zrtp.messages import VERSION, Ping, PingAck
from relay.zrtp.responder import preshared_match
from relay.zrtp.retained import ZidCache
from relay.zrtp.settings import Expectation
from relay.zrtp.shared_secrets import Continuity
from relay.zrtp.suites import KeyAgreementType, Suite, choose

_ENDPOINT_SIZE = 8


class Discovery:
    """What is known of the peer, and what may be agreed on with it."""

    def __init__(self, own: OwnEnd, expectation: Expectation, cache: ZidCache) -> None:
        self._own = own
        self._cache = cache
        self.expectation = expectation
        self.acknowledged = False
        """Our Hello was heard."""
        self.peer: PeerEnd | None = None
        self._hashes = HelloHashes(expectation.hello_hashes)

    def announced(self, hello: Hello) -> bool:
        """Whether a Hello is one that signalling spoke of; any is, where it spoke of none."""
        return not self._hashes or self._hashes.fit(hello.message)

    @property
    def signalled(self) -> bool:
        """Whether the peer's Hello was announced."""
        return self.peer is not None and bool(self._hashes)

    @property
    def authenticated(self) -> bool:
        """Whether the announcement vouches for the whole exchange (section 8.1.1)."""
        return self.signalled and self.expectation.protected

    def meet(self, hello: Hello, ssrc: int) -> Iterator[AlarmKind]:
        """Take the peer's Hello, and tell what is alarming about it.  Raises `ZrtpError` where it will not do."""
        if hello.older:
            raise ZrtpError(ErrorCode.VERSION, "unsupported version", "4.1.1")
        if hello.zid == self._own.zid:
            raise ZrtpError(ErrorCode.EQUAL_ZIDS, "equal ZIDs", "5.9")
        session = self._own.session
        if session is not None and session.peer_zid != hello.zid:
            raise ZrtpError(ErrorCode.HELLO_MISMATCH, "another ZID than the call's", "4.4.3", attack=True)
        retained = self._cache.look_up(self._own.zid, hello.zid)
        self.peer = PeerEnd(ssrc, hello, PeerChain(hello.h3), retained)
        if retained is not None and session is None:
            retained.strength.refuse_less(hello.offer)
        if self.expectation.zid and self.expectation.zid != hello.zid:
            yield AlarmKind.OTHER_ZID
        if hello.mitm:
            yield AlarmKind.MITM_DEVICE

    def suite(self, *, dh_only: bool) -> Suite:
        """What to commit to.  Raises `ZrtpError` where the peer does not do what this stream needs."""
        peer, own = self.met, self._own
        if own.session is not None:
            chosen = own.session.suite
            multistream = Suite(
                chosen.hash, chosen.cipher, chosen.auth_tag, KeyAgreementType.MULT, chosen.sas
            )
            peer.hello.offer.admits(multistream)
            return multistream
        mode = KeyAgreementType.PRSH if not dh_only and self._may_preshare() else None
        return choose(own.settings.offer, peer.hello.offer, key_agreement=mode)

    def _may_preshare(self) -> bool:
        """Only with a peer whose secret was verified, and only so many times in a row (sections 4.4.2, 4.4.2.1)."""
        retained, settings = self.met.retained, self._own.settings
        return (
            settings.preshared
            and KeyAgreementType.PRSH in self.met.hello.offer.key_agreements
            and retained is not None
            and retained.verified
            and not retained.expired
            and retained.preshared_uses < settings.preshared_calls
        )

    def check(self, commit: Commit) -> bool:
        """Whether to answer a Commit, whose hash image fits; False where Diffie-Hellman has to take its place.

        Raises `ZrtpError` where it cannot be answered.
        """
        peer, own = self.met, self._own
        peer.chain.take(2, commit.h2)
        peer.chain.check(peer.hello.message, 2)
        if commit.zid != peer.hello.zid:
            raise ZrtpError(ErrorCode.HELLO_MISMATCH, "another ZID than in Hello", "5.4", attack=True)
        own.settings.offer.admits(commit.suite)
        peer.hello.offer.admits(commit.suite)
        if (commit.suite.key_agreement is KeyAgreementType.MULT) != (own.session is not None):
            code = ErrorCode.SOFTWARE if own.session is not None else ErrorCode.NO_SHARED_SECRET
            raise ZrtpError(code, "the wrong mode for this stream", "4.4.3")
        if own.session is not None:
            self._check_multistream(commit)
            return True
        if commit.suite.key_agreement is KeyAgreementType.PRSH:
            return preshared_match(own, peer, commit) is not None
        return True

    def _check_multistream(self, commit: Commit) -> None:
        session = self._own.session
        assert session is not None, "asked for by the caller"
        ours, theirs = session.suite, commit.suite
        # "SHOULD be set by the initiator to the same": an authentication tag of its own choice is bzrtp's habit, and
        # both ends offered it; another cipher or hash would make this stream weaker than the one compared.
        if (ours.hash, ours.cipher) != (theirs.hash, theirs.cipher):
            raise ZrtpError(ErrorCode.CIPHER, "not the first stream's algorithms", "4.4.3.1", downgrade=True)
        session.take_nonce(commit.proof)

    def alarms_of(self, agreed: Agreed) -> Iterator[AlarmKind]:
        """What a complete exchange has to be said of."""
        assert agreed.confirmed is not None, "complete"
        if agreed.shared is not None:
            if agreed.shared.continuity is Continuity.MISMATCH:
                yield AlarmKind.CACHE_MISMATCH
            if agreed.shared.auxsecret_missed:
                yield AlarmKind.AUXSECRET_MISMATCH
        if agreed.confirmed.flags.discloses:
            yield AlarmKind.DISCLOSURE

    def pong(self, ping: Ping, ssrc: int) -> bytes:
        """The answer to a Ping, which every end owes (section 5.16).  The hash is the ZID's beginning."""
        return PingAck(VERSION, self._own.zid[:_ENDPOINT_SIZE], ping.endpoint_hash, ssrc).build()

    @property
    def met(self) -> PeerEnd:
        """The peer, for whom nothing but a Hello is taken before it is there."""
        assert self.peer is not None, "nothing but a Hello is taken before"
        return self.peer
