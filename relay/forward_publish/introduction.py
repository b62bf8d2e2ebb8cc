"""Introducing oneself to somebody whose invitation, or standing record, one holds.

An introduction looks from outside like every message: `SEALED_SIZE` bytes, HPKE to a prekey, here the one in the
inviter's record.  It says who we are, where we can be reached, and proposes a pairwise secret with the inviter, made
of: a random number that is sealed with it (so that a quantum computer does not help later), the record's secret, the
static agreement of both identities, and who introduces themselves to whom.  Nobody hears whether an introduction
arrived, so it is sent again and again; the number is the same in all of them, so, whichever is taken, the secret is.

A MAC under that agreement, and that of our identity with the prekey, proves the author to the inviter, and to nobody
else, as the inviter could have made it alone.  Try it only on messages for tokens that belong to an invitation or to
the standing record.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from relay.core import Clock, MisuseError, PeerError
from relay.forward_publish.key_schedule import KEY_SIZE, MAC_SIZE, Peer, authentication_key, mac
from relay.forward_publish.plain_text import is_plain
from relay.forward_publish.prekeys import ENCAPSULATION_SIZE, HPKE_TAG_SIZE, HybridPublicKey, Prekey
from relay.forward_publish.records import MOST_CONTACT_POINTS, TAKEN_BY_SIZE, ReachableAt
from relay.forward_publish.replay import ReplayCache
from relay.forward_publish.sealed import SEALED_SIZE
from relay.identity import Identity
from relay.identity.identity import curve25519_public
from relay.wire import decode, encode, pad, unpad

MOST_NAME = 48
"""Bytes of UTF-8 of what somebody calls themselves."""
RANDOM_SIZE = 32
"""Bytes of the random number from which a pairwise secret is made."""

_PADDED_SIZE = SEALED_SIZE - ENCAPSULATION_SIZE - HPKE_TAG_SIZE
_INFO = b"bayonne introduction, version 1"
_SECRET_DOMAIN = b"bayonne pairwise secret, version 2"
_TAKEN_DOMAIN = b"bayonne invitation taken, version 1"
_IDENTITY_SIZE = 32
_X25519_SIZE = 32


class _Content(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    identity: bytes
    sent_at: int
    random: bytes
    name: str
    reachable_at: tuple[ReachableAt, ...]
    prekey: bytes


@dataclass(frozen=True, slots=True)
class Introduction:
    """What is said: what we call ourselves (or nothing), where an answer reaches us, and our own prekey."""

    name: str = field(repr=False)
    reachable_at: tuple[ReachableAt, ...] = field(repr=False)
    prekey: bytes = field(repr=False)

    def check(self) -> None:
        """Raises `PeerError` where the other side would refuse it."""
        points = self.reachable_at
        if not is_plain(self.name, MOST_NAME, least=0):
            raise PeerError("malformed")
        if not 0 < len(points) <= MOST_CONTACT_POINTS or not all(at.is_sound() for at in points):
            raise PeerError("malformed")
        HybridPublicKey.parse(self.prekey)


@dataclass(frozen=True, slots=True)
class OpenedIntroduction:
    """An authentic introduction of `identity`; `sent_at` is Unix time, at most `TIME_WINDOW` from ours."""

    identity: bytes = field(repr=False)
    pairwise_secret: bytes = field(repr=False)
    name: str = field(repr=False)
    reachable_at: tuple[ReachableAt, ...] = field(repr=False)
    prekey: bytes = field(repr=False)
    sent_at: int = field(repr=False)


def seal_introduction(
    me: Identity,
    inviter_identity: bytes,
    secret: bytes,
    prekey: bytes,
    said: Introduction,
    random: bytes,
    clock: Clock,
) -> bytes:
    """A body for the inviter's token; it proposes the `proposed_secret` of `random`, `RANDOM_SIZE` bytes.

    `secret` and `prekey` are those of the inviter's record.  Raises `PeerError` where its keys are of no use.
    """
    try:
        said.check()
        if len(random) != RANDOM_SIZE:
            raise PeerError("malformed")
    except PeerError:
        raise MisuseError("an introduction that the other side would refuse") from None
    inviter = Peer(inviter_identity, secret)
    sealing = HybridPublicKey.parse(prekey)
    agreements = me.diffie_hellman(inviter_identity), me.agree(prekey[-_X25519_SIZE:])
    context = _context(me.public_key, inviter_identity, prekey)
    content = encode(
        _Content(me.public_key, int(clock.wall()), random, said.name, said.reachable_at, said.prekey)
    )
    key = authentication_key(inviter, agreements, context)
    return sealing.seal(pad(mac(key, content) + content, _PADDED_SIZE), _INFO)


def proposed_secret(me: Identity, inviter_identity: bytes, secret: bytes, random: bytes) -> bytes:
    """The pairwise secret that I share with the inviter once one of my introductions with `random` was taken.

    Raises `PeerError` where the inviter's key is of no use.
    """
    agreement = me.diffie_hellman(inviter_identity)
    return _pairwise_secret(random, secret, agreement, me.public_key, inviter_identity)


def taken_by(pairwise_secret: bytes) -> bytes:
    """What the record of an invitation that was used says of who took it: they know themselves by it, and nobody else
    does."""
    return HKDF(SHA256(), TAKEN_BY_SIZE, None, _TAKEN_DOMAIN).derive(pairwise_secret)


def open_introduction(
    body: bytes, me: Identity, secret: bytes, prekeys: Sequence[Prekey], replays: ReplayCache, now: float
) -> OpenedIntroduction:
    """Open what came for a token of the record under `secret`; `now` is Unix time.

    Raises `PeerError`: not sealed to any of `prekeys`, not authentic, replayed, outside the time window, malformed.
    """
    if len(body) != SEALED_SIZE:
        raise PeerError("wrong size")
    for prekey in prekeys:
        padded = prekey.key.open(body, _INFO)
        if padded is not None:
            break
    else:
        raise PeerError("not sealed to a prekey")
    plain = unpad(padded)
    content = decode(plain[MAC_SIZE:], _Content, limit=_PADDED_SIZE)
    if len(content.identity) != _IDENTITY_SIZE or len(content.random) != RANDOM_SIZE:
        raise PeerError("malformed")
    try:
        to_prekey = prekey.key.x25519.exchange(curve25519_public(content.identity))
    except ValueError:
        raise PeerError("bad identity key") from None
    agreements = me.diffie_hellman(content.identity), to_prekey
    context = _context(content.identity, me.public_key, prekey.public)
    key = authentication_key(Peer(content.identity, secret), agreements, context)
    if not hmac.compare_digest(plain[:MAC_SIZE], mac(key, plain[MAC_SIZE:])):
        raise PeerError("not authentic")
    said = Introduction(content.name, content.reachable_at, content.prekey)
    said.check()
    replays.check(content.identity, plain[:MAC_SIZE], content.sent_at, now)
    return OpenedIntroduction(
        content.identity,
        _pairwise_secret(content.random, secret, agreements[0], content.identity, me.public_key),
        said.name,
        said.reachable_at,
        said.prekey,
        content.sent_at,
    )


def _context(author: bytes, inviter: bytes, prekey: bytes) -> bytes:
    """Binds everything to its direction and its prekey; all parts have one length."""
    return _INFO + author + inviter + prekey


def _pairwise_secret(random: bytes, secret: bytes, agreement: bytes, author: bytes, inviter: bytes) -> bytes:
    """All have 32 bytes."""
    return HKDF(SHA256(), KEY_SIZE, author + inviter, _SECRET_DOMAIN).derive(random + secret + agreement)
