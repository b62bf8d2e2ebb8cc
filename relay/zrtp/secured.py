"""After the exchange: what is retained, what the user says of the SAS, and what the peer may still ask for (RFC 6189
sections 4.6.1, 4.7.2, 5.13, 7.1)."""

from relay.core import MisuseError
from relay.zrtp.confirm import Confirm
from relay.zrtp.effects import Secured
from relay.zrtp.ends import Agreed, OwnEnd, PeerEnd, Session, accept_clear_mac
from relay.zrtp.errors import malformed
from relay.zrtp.messages import read_go_clear
from relay.zrtp.retained import Retained, Strength, ZidCache
from relay.zrtp.sas import Sas
from relay.zrtp.shared_secrets import Continuity
from relay.zrtp.suites import KeyAgreementType

_RELAYED_SIZE = 40


class SecuredStream:
    """One stream with keys, until the call ends."""

    def __init__(
        self, agreed: Agreed, own: OwnEnd, peer: PeerEnd, cache: ZidCache, *, authenticated: bool
    ) -> None:
        """`authenticated`: section 8.1.1 holds, so that a cache mismatch has an innocent reason (4.6.1.1)."""
        assert agreed.confirmed is not None, "both ends confirmed"
        self._agreed = agreed
        self._confirmed: Confirm = agreed.confirmed
        self._own = own
        self._peer = peer
        self._cache = cache
        self._authenticated = authenticated
        self._kept: Retained | None = None
        self.multistream = agreed.suite.key_agreement is KeyAgreementType.MULT
        self.session = self._session()
        if not self.multistream and (authenticated or self.continuity is not Continuity.MISMATCH):
            self._update_cache()

    @property
    def continuity(self) -> Continuity:
        """Multistream goes on from a session, whatever that went on from."""
        return self._agreed.shared.continuity if self._agreed.shared else Continuity.CONTINUED

    @property
    def _verified(self) -> bool:
        if self.multistream:
            return self.session.verified
        retained = self._peer.retained
        return self.continuity is Continuity.CONTINUED and retained is not None and retained.verified

    def _session(self) -> Session:
        if self.multistream:
            assert self._own.session is not None, "Multistream goes on from a session"
            return self._own.session
        agreed = self._agreed
        return Session(
            agreed.session_key, agreed.suite, self._own.zid, self._peer.hello.zid, verified=self._verified
        )

    def effect(self, *, signalled: bool) -> Secured:
        """What to tell whoever carries the voice."""
        agreed = self._agreed
        sas = None if self.multistream else Sas(agreed.suite.sas, agreed.sas_hash[:4])
        return Secured(
            agreed.role,
            agreed.suite,
            agreed.own_keys.srtp,
            agreed.peer_keys.srtp,
            sas,
            self.continuity,
            self._verified,
            self._confirmed.flags.verified,
            signalled,
            self._authenticated,
            self._peer.hello.zid,
            self.session,
            agreed.exported_key,
        )

    def _update_cache(self) -> None:
        """Put the new secret in (section 4.6.1), for as long as both ends want it."""
        seconds = min(self._own.settings.expiration, self._confirmed.expiration)
        zids = self._own.zid, self._peer.hello.zid
        before, agreed = self._peer.retained, self._agreed
        if seconds == 0:
            # "The stored cache interval should be set to 0", and nothing new is stored (section 4.9).
            if before is not None:
                self._cache.keep(*zids, before, 0)
            return
        # No less than before, or there would have been no exchange.
        strength = Strength.of(self._peer.hello.offer)
        if before is None:
            self._kept = Retained(agreed.retained_secret, strength)
        elif agreed.suite.key_agreement is KeyAgreementType.PRSH:
            self._kept = before.after_preshared(agreed.retained_secret)
        else:
            continued = self.continuity is Continuity.CONTINUED
            self._kept = before.after_dh(agreed.retained_secret, strength, continued=continued)
        self._cache.keep(*zids, self._kept, seconds)

    def verify_sas(self) -> None:
        """Both users read the same: from now on this peer is known (section 7.1).

        After a cache mismatch this is what lets the new secret in (section 4.6.1.1).
        """
        if self.multistream:
            raise MisuseError("the SAS belongs to the first stream of a call")
        self.session.verified = True
        if self._kept is None:
            self._update_cache()
        if self._kept is not None:
            self._kept = self._kept.as_verified()
            seconds = min(self._own.settings.expiration, self._confirmed.expiration)
            self._cache.keep(self._own.zid, self._peer.hello.zid, self._kept, seconds)

    def reject_sas(self) -> None:
        """The users read different things: somebody is in the middle, and nothing of this call is to be trusted."""
        if self.multistream:
            raise MisuseError("the SAS belongs to the first stream of a call")
        self.session.verified = False
        self._kept = None
        self._cache.forget(self._own.zid, self._peer.hello.zid)

    def asks_to_go_clear(self, body: bytes) -> bool:
        """Whether a GoClear is the peer's own.  It is refused all the same; a false one is not even answered."""
        return accept_clear_mac(self._agreed.peer_keys.confirm, read_go_clear(body))

    def check_relay(self, body: bytes) -> None:
        """Raises `ZrtpError` where an SASrelay is not the peer's own, or none.  What it relays is never shown."""
        plain = self._agreed.peer_keys.confirm.open(body)
        if len(plain) < _RELAYED_SIZE or len(plain) != _RELAYED_SIZE + 4 * (
            int.from_bytes(plain[:4]) >> 8 & 0x1FF
        ):
            raise malformed("wrong length", "5.13")
