"""Every run of a bounded number of sessions before an attacker that carries, keeps and makes up all messages.

A session waits for one message at a time.  Whatever the attacker can give it that it would take is tried: what was said
before, by anybody to anybody, and what the attacker can put together of all it knows, each part of its type.  (What is
tagged, as all of this is, has an attack with parts of the wrong type only where it has one with the right types.)  What
is said in reply is heard at once: the attacker may ignore it as long as it likes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tests.model import handshake as hs
from tests.model.handshake import Person, Variant
from tests.model.intruder import (
    LOW,
    Knowledge,
    Term,
    aead,
    dh,
    encapsulated,
    group,
    kem_public,
    mac,
    name,
    pub,
    sealed_to,
    signature,
)

EVE = Person("Eve")
"""The attacker, as a contact."""
_COINS = name("coins of Eve")
_NONCE = name("n of Eve")


@dataclass(frozen=True, slots=True)
class Caller:
    """One call that `me` makes to `peer`."""

    id: str
    me: Person
    peer: Person
    made: hs.RingMade | None = None
    classical: bool = False
    keys: tuple[Term, Term] | None = None


@dataclass(frozen=True, slots=True)
class Callee:
    """One message that `me` takes up, on the token of `peer`."""

    id: str
    me: Person
    peer: Person
    ring: Term | None = None
    content: Term | None = None
    keys: tuple[Term, Term] | None = None


Session = Caller | Callee


@dataclass(frozen=True, slots=True)
class Moment:
    sessions: tuple[Session, ...]
    known: Knowledge = field(repr=False)


def moments(
    variant: Variant, sessions: tuple[Session, ...], stolen: tuple[Term, ...] = ()
) -> Iterator[Moment]:
    """All that can be reached, each once.  `stolen` is known to the attacker from the beginning."""
    people = {person for session in sessions for person in (session.me, session.peer)} | {EVE}
    told: list[Term] = [*stolen, EVE.identity, EVE.kem, EVE.x25519, _COINS, _NONCE]
    for person in sorted(people, key=lambda one: one.who):
        told += [person.public, person.prekey, hs.pairwise(person, EVE)]
    for session in sessions:
        secret, owner = hs.pairwise(session.me, session.peer), session.peer
        told.append(hs.record(owner.public, secret, owner.prekey, owner.identity))
    first = Moment(sessions, Knowledge(told))
    seen, waiting = set(), [first]
    while waiting:
        here = waiting.pop()
        mark = (here.sessions, here.known.terms)
        if mark in seen:
            continue
        seen.add(mark)
        yield here
        for number, session in enumerate(here.sessions):
            for after, said in _steps(variant, session, here):
                others = (*here.sessions[:number], after, *here.sessions[number + 1 :])
                waiting.append(Moment(others, here.known.extended(*said)))


def _steps(v: Variant, session: Session, here: Moment) -> Iterator[tuple[Session, tuple[Term, ...]]]:
    match session:
        case Caller(made=None):
            yield from _ring(v, session, here.known)
        case Caller(made=hs.RingMade() as made, keys=None):
            yield from _take_answer(v, session, made, here.known)
        case Callee(keys=None):
            yield from _take_ring(v, session, here)
        case _:
            return


def _ring(v: Variant, session: Caller, known: Knowledge) -> Iterator[tuple[Session, tuple[Term, ...]]]:
    """The caller reads a record, whoever made it, and rings."""
    secret = hs.pairwise(session.me, session.peer)
    prekeys = [session.peer.prekey]
    if known.derivable(session.peer.identity) and known.derivable(secret):
        prekeys += [
            group(kem, x25519) for kem in known.of_kind("kpk") for x25519 in (*known.of_kind("pub"), LOW)
        ]
    for prekey in dict.fromkeys(prekeys):
        for classical in (False, True) if v.classical_allowed else (False,):
            made = hs.make_ring(
                v, session.me, session.peer.public, secret, prekey, session.id, classical=classical
            )
            if made is not None:
                yield replace(session, made=made, classical=classical), (made.ring,)


def _take_ring(v: Variant, session: Callee, here: Moment) -> Iterator[tuple[Session, tuple[Term, ...]]]:
    me, peer, known = session.me, session.peer, here.known
    secret = hs.pairwise(me, peer)
    static, to_prekey = dh(me.identity, peer.public), dh(me.x25519, peer.public)
    key = hs.authentication_key(v, secret, static, to_prekey, peer.public, me.public, me.prekey)
    ours = (kem_public(me.kem), pub(me.x25519)) if v.classical_allowed else (kem_public(me.kem),)
    rings = [term for term in known.of_kind("hpke") if term[1] in ours]
    contents = [term[2] for term in known.of_kind("mac") if term[1] == key]
    if known.derivable(key):
        nonces = [_NONCE, *(term for term in known.terms if term[0] == "name" and term[1].startswith("n "))]
        publics = (*known.of_kind("pub"), LOW)
        kems = known.of_kind("kpk")
        contents += [group(n, k, x) for n in dict.fromkeys(nonces) for k in kems for x in publics]
    for content in contents:
        signed = (signature(EVE.identity, content),) if v.signs else ()
        rings += [sealed_to(to, _COINS, group(mac(key, content), content, *signed)) for to in ours]
    for ring in dict.fromkeys(rings):
        _, tag, content, *_ = ring[3]
        if tag != mac(key, content) or _seen(v, here.sessions, me, ring, content):
            continue
        made = hs.make_answer(v, me, peer.public, secret, ring, content, session.id)
        if made is not None:
            answer, keys = made
            yield replace(session, ring=ring, content=content, keys=keys), (answer,)


def _seen(v: Variant, sessions: tuple[Session, ...], me: Person, ring: Term, content: Term) -> bool:
    taken = [one for one in sessions if isinstance(one, Callee) and one.me == me]
    match v.replay_cache:
        case "content":
            return any(one.content == content for one in taken)
        case "body":
            return any(one.ring == ring for one in taken)
        case _:
            return False


def _take_answer(
    v: Variant, session: Caller, made: hs.RingMade, known: Knowledge
) -> Iterator[tuple[Session, tuple[Term, ...]]]:
    me, peer = session.me, session.peer
    fresh = kem_public(made.kem)
    ciphertexts = {term for term in known.terms if term[0] == "kct" and term[1] == fresh}
    if known.derivable(fresh):
        ciphertexts.add(encapsulated(fresh, _COINS)[0])
    for ciphertext in sorted(ciphertexts, key=repr):
        for public in (*known.of_kind("pub"), *(() if v.refuses_low else (LOW,))):
            root = hs.call_root(
                v,
                hs.pairwise(me, peer),
                made.shared,
                ("kss", *ciphertext[1:]),
                dh(made.exponent, public),
                dh(made.exponent, peer.public),
                (me.public, peer.public, made.ring, ciphertext, public),
                classical=session.classical,
            )
            key = hs.answer_key(root)
            sealed = [term for term in known.of_kind("aead") if term[1] == key]
            if known.derivable(key):
                sealed.append(aead(key, _NONCE))
            for one in sealed:
                yield replace(session, keys=hs.call_keys(v, root, one)), ()
