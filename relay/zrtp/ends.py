"""The two ends of an exchange, and what they have when it is done (RFC 6189 sections 4.4 to 4.6)."""

import hmac
from dataclasses import dataclass, field

from relay.core import Entropy, MisuseError
from relay.zrtp.commit import NONCE_SIZE
from relay.zrtp.confirm import Confirm, ConfirmKeys, Flags
from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.hash_chain import HashChain, PeerChain
from relay.zrtp.hello import Hello
from relay.zrtp.key_schedule import Context, RoleKeys, StreamKeys
from relay.zrtp.messages import MessageType
from relay.zrtp.retained import Retained
from relay.zrtp.settings import Settings
from relay.zrtp.shared_secrets import Continuity, OwnSecrets, Role, Shared
from relay.zrtp.suites import KeyAgreementType, Suite

MOST_NONCES = 64
"""Nonces of one session, all of which are remembered; a stream takes one, or two where Commits cross."""


class Session:
    """What further streams of a call are keyed from: ZRTPSess (section 4.4.3).  It ends with the call."""

    __slots__ = ("_key", "_nonces", "own_zid", "peer_zid", "suite", "verified")

    def __init__(self, key: bytes, suite: Suite, own_zid: bytes, peer_zid: bytes, *, verified: bool) -> None:
        self._key = key
        self._nonces: set[bytes] = set()
        self.suite = suite
        self.own_zid = own_zid
        self.peer_zid = peer_zid
        self.verified = verified

    @property
    def key(self) -> bytes:
        """Raises `MisuseError` once the call is over."""
        if not self._key:
            raise MisuseError("the session has ended")
        return self._key

    def fresh_nonce(self, entropy: Entropy) -> bytes:
        """A nonce that no stream of this session had (section 4.4.3.1)."""
        nonce = entropy.token(NONCE_SIZE)
        self.take_nonce(nonce)
        return nonce

    def take_nonce(self, nonce: bytes) -> None:
        """Raises `ZrtpError` where it was there before, or where there are too many."""
        if nonce in self._nonces:
            raise ZrtpError(ErrorCode.NONCE_REUSE, "nonce used before", "4.4.3.1", attack=True)
        if len(self._nonces) >= MOST_NONCES:
            raise ZrtpError(ErrorCode.UNAVAILABLE, "too many streams", "4.4.3")
        self._nonces.add(nonce)

    def end(self) -> None:
        """Forget the key (section 4.7.3)."""
        self._key = b""
        self._nonces.clear()


@dataclass(frozen=True, slots=True)
class OwnEnd:
    """What this end brings into one exchange."""

    zid: bytes
    chain: HashChain
    hello: bytes
    settings: Settings
    entropy: Entropy
    session: Session | None
    auxsecret: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class PeerEnd:
    """What is known of the other end since its Hello."""

    ssrc: int
    hello: Hello
    chain: PeerChain
    retained: Retained | None

    def secrets(self, own: OwnEnd) -> OwnSecrets:
        """What we may have in common with it."""
        return OwnSecrets(self.retained, own.auxsecret)


@dataclass(slots=True)
class Agreed:
    """The outcome of a key agreement, before and after the peer confirmed it."""

    role: Role
    suite: Suite
    context: Context
    keys: StreamKeys
    shared: Shared | None = None
    """None in Multistream mode, which has nothing to do with the cache."""
    session_key: bytes = b""
    sas_hash: bytes = b""
    exported_key: bytes = b""
    retained_secret: bytes = b""
    """The next rs1."""
    confirmed: Confirm | None = None
    """What the peer's Confirm said."""

    def __repr__(self) -> str:
        return f"Agreed({self.role})"

    @classmethod
    def from_s0(
        cls, role: Role, suite: Suite, context: Context, s0: bytes, shared: Shared | None
    ) -> "Agreed":
        """Everything that is derived from s0, which is not kept (section 4.6.1)."""
        keys = context.stream_keys(suite, s0)
        if suite.key_agreement is KeyAgreementType.MULT:
            return cls(role, suite, context, keys)
        return cls(
            role,
            suite,
            context,
            keys,
            shared,
            context.session_key(s0),
            context.sas_hash(s0),
            context.exported_key(s0),
            context.retained_secret(s0),
        )

    @property
    def own_keys(self) -> RoleKeys:
        return self.keys.initiator if self.role is Role.INITIATOR else self.keys.responder

    @property
    def peer_keys(self) -> RoleKeys:
        return self.keys.responder if self.role is Role.INITIATOR else self.keys.initiator

    def confirm(self, kind: MessageType, own: OwnEnd, peer: PeerEnd) -> bytes:
        """Our Confirm1 or Confirm2, made once and sent as often as it takes."""
        continued = self.shared is not None and self.shared.continuity is Continuity.CONTINUED
        verified = continued and peer.retained is not None and peer.retained.verified
        cached = own.settings.expiration > 0
        flags = Flags(verified=verified and cached, discloses=own.settings.discloses)
        # "In Multistream mode, the field is set to 0xffffffff and is ignored" (section 4.9).
        expiration = own.settings.expiration if self.shared is not None else 0xFFFFFFFF
        plain = Confirm(own.chain[0], flags, expiration).plain()
        return self.own_keys.confirm.seal(kind, plain, own.entropy)

    def take_confirm(self, body: bytes, peer: PeerEnd) -> bool:
        """Read the peer's; H0 in it keys the MAC of what it sent before.  Raises `ZrtpError`.

        False where H0 is not the peer's: the MAC leaves the initialization vector open, which garbles H0 and nothing
        else.  Such a message is not used, and the right one may still come (section 9).
        """
        confirm = Confirm.read_plain(self.peer_keys.confirm.open(body))
        if not peer.chain.reveals(0, confirm.h0):
            return False
        peer.chain.take(0, confirm.h0)
        self.confirmed = confirm
        return True


def accept_clear_mac(keys: ConfirmKeys, clear_mac: bytes) -> bool:
    """Whether a GoClear is the peer's own (section 4.7.2)."""
    return hmac.compare_digest(keys.clear_mac(), clear_mac)
