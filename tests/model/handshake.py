"""The handshake as it is in `relay/forward_publish/sealed.py`: record, ring, answer, call keys; and mutants of it.

Sealing to a prekey, MACs, agreements and the key schedule are there part for part; padding, sizes and times are not.
"""

from dataclasses import dataclass

from tests.model.intruder import (
    LOW,
    Term,
    aead,
    dh,
    encapsulated,
    group,
    kdf,
    kem_public,
    mac,
    name,
    pub,
    sealed_to,
    signature,
)


@dataclass(frozen=True, slots=True)
class Variant:
    """The protocol; each switch turned makes a mutant."""

    identities: bool = True
    """Whether MAC and transcript say who calls whom."""
    pairwise: bool = True
    """Whether the pairwise secret goes into keys."""
    static: bool = True
    """Whether the agreement of the two identities does."""
    to_prekey: bool = True
    """Whether that of the caller's identity and the prekey does."""
    to_static: bool = True
    """Whether that of the caller's fresh key and the callee's identity does."""
    fresh: bool = True
    """Whether the answer contributes a KEM secret and a fresh X25519 key."""
    kem: bool = True
    """Whether ML-KEM is in it, beside X25519."""
    x25519: bool = True
    """Whether fresh X25519 keys are in it, beside ML-KEM."""
    whole_transcript: bool = True
    """Whether the call's keys hang on ring and answer as they were sent."""
    replay_cache: str = "content"
    """What it knows again: the authentic "content", the sealed "body", or nothing at all: ""."""
    refuses_low: bool = True
    classical_allowed: bool = False
    """Whether an old version without ML-KEM is still spoken with who seems to want it."""
    signs: bool = False
    """Whether a ring carries a signature of the caller's."""


@dataclass(frozen=True, slots=True)
class Person:
    """An agent: its identity key, and one prekey."""

    who: str

    @property
    def identity(self) -> Term:
        return name(f"identity {self.who}")

    @property
    def public(self) -> Term:
        return pub(self.identity)

    @property
    def kem(self) -> Term:
        return name(f"prekey KEM {self.who}")

    @property
    def x25519(self) -> Term:
        return name(f"prekey X25519 {self.who}")

    @property
    def prekey(self) -> Term:
        return group(kem_public(self.kem), pub(self.x25519))


def pairwise(one: Person, other: Person) -> Term:
    return name("pairwise " + " ".join(sorted((one.who, other.who))))


def record(owner: Term, secret: Term, prekey: Term, signing: Term) -> Term:
    """A record of who `owner` is the public key of, sealed for who has `secret`."""
    return aead(kdf("record", secret, owner), signature(signing, prekey))


def authentication_key(
    v: Variant, secret: Term, static: Term, to_prekey: Term, caller: Term, callee: Term, prekey: Term
) -> Term:
    parts = [prekey]
    parts += [secret] if v.pairwise else []
    parts += [static] if v.static else []
    parts += [to_prekey] if v.to_prekey else []
    parts += [caller, callee] if v.identities else []
    return kdf("authentication", *parts)


@dataclass(frozen=True, slots=True)
class RingMade:
    """What the caller holds until the answer comes."""

    ring: Term
    content: Term
    exponent: Term
    kem: Term
    shared: tuple[Term, ...]


def make_ring(
    v: Variant, me: Person, callee: Term, secret: Term, prekey: Term, session: str, *, classical: bool = False
) -> RingMade | None:
    """None where the prekey is refused."""
    _, kem_key, x_key = prekey
    if v.refuses_low and LOW in (x_key, callee):
        return None
    exponent, kem, ring_secret, coins = (name(f"{what} {session}") for what in ("x", "kem", "n", "coins"))
    static, to_prekey = dh(me.identity, callee), dh(me.identity, x_key)
    content = group(ring_secret, kem_public(kem), pub(exponent))
    key = authentication_key(v, secret, static, to_prekey, me.public, callee, prekey)
    signed = (signature(me.identity, content),) if v.signs else ()
    inner = group(mac(key, content), content, *signed)
    ring = sealed_to(x_key if classical else kem_key, coins, inner)
    return RingMade(ring, content, exponent, kem, (ring_secret, static, to_prekey))


def call_root(
    v: Variant,
    secret: Term,
    shared: tuple[Term, ...],
    kem: Term,
    agreement: Term,
    to_static: Term,
    transcript: tuple[Term, ...],
    *,
    classical: bool,
) -> Term:
    ring_secret, static, to_prekey = shared
    caller, callee, ring, *opening = transcript
    parts = [ring_secret]
    parts += [secret] if v.pairwise else []
    parts += [static] if v.static else []
    parts += [to_prekey] if v.to_prekey else []
    parts += [kem] if v.fresh and v.kem and not classical else []
    parts += [agreement] if v.fresh and v.x25519 else []
    parts += [to_static] if v.to_static else []
    parts += [caller, callee] if v.identities else []
    parts += [ring, *opening] if v.whole_transcript and v.fresh else []
    return kdf("root", *parts)


def answer_key(root: Term) -> Term:
    return kdf("answer", root)


def call_keys(v: Variant, root: Term, sealed: Term) -> tuple[Term, Term]:
    """To the callee, to the caller."""
    parts = (root, sealed) if v.whole_transcript and v.fresh else (root,)
    return kdf("up", *parts), kdf("down", *parts)


def make_answer(
    v: Variant, me: Person, caller: Term, secret: Term, ring: Term, content: Term, session: str
) -> tuple[Term, tuple[Term, Term]] | None:
    """The answer, as (ciphertext, fresh key, sealed response), and the call's keys; None where a key is refused."""
    _, ring_secret, fresh_kem, fresh_x = content
    if v.refuses_low and fresh_x == LOW:
        return None
    classical = ring[1][0] == "pub"
    exponent, coins = name(f"y {session}"), name(f"coins {session}")
    ciphertext, kem = encapsulated(fresh_kem, coins)
    shared = (ring_secret, dh(me.identity, caller), dh(me.x25519, caller))
    transcript = (caller, me.public, ring, ciphertext, pub(exponent))
    root = call_root(
        v,
        secret,
        shared,
        kem,
        dh(exponent, fresh_x),
        dh(me.identity, fresh_x),
        transcript,
        classical=classical,
    )
    sealed = aead(answer_key(root), name(f"response {session}"))
    return group(ciphertext, pub(exponent), sealed), call_keys(v, root, sealed)
