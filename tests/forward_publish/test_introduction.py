"""Introductions: from whoever holds an invitation, to the inviter, and provable to nobody."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError, SeededEntropy
from relay.forward_publish import (
    LISTING_SECRET,
    PREKEY_SIZE,
    SEALED_SIZE,
    TIME_WINDOW,
    HybridPublicKey,
    Introduction,
    OpenedIntroduction,
    Peer,
    Prekey,
    ReachableAt,
    ReplayCache,
    introduction,
    open_introduction,
    open_message,
    proposed_secret,
    seal_introduction,
    taken_by,
)
from relay.forward_publish.introduction import MOST_NAME
from relay.forward_publish.plain_text import is_plain
from relay.forward_publish.records import TAKEN_BY_SIZE
from relay.identity import Identity
from relay.wire import encode, pad

Pair = Any  # of conftest.py, which cannot be imported by name
PREKEY = Prekey.generate(SeededEntropy("introduction"), 0.0).public
HERE = ReachableAt(b"o" * 35, b"t" * 32)
SAID = Introduction("Alice", (HERE,), PREKEY)
RANDOM = bytes(range(32))


def sealed(
    pair: Pair, said: Introduction = SAID, secret: bytes | None = None, random: bytes = RANDOM
) -> tuple[bytes, bytes]:
    """From Alice, by Bob's invitation, and the secret that it proposes."""
    secret, inviter = secret or pair.secret, pair.bob.public_key
    body = seal_introduction(pair.alice, inviter, secret, pair.prekey.public, said, random, pair.clock)
    return body, proposed_secret(pair.alice, inviter, secret, random)


def opened(pair: Pair, body: bytes, replays: ReplayCache | None = None, **changes: Any) -> OpenedIntroduction:
    arguments = {
        "me": pair.bob, "secret": pair.secret, "prekeys": [pair.prekey], "now": pair.clock.wall(), **changes,
    }  # fmt: skip
    return open_introduction(body, replays=ReplayCache() if replays is None else replays, **arguments)


def test_both_hold_the_same_new_secret(pair: Pair) -> None:
    body, secret = sealed(pair)
    assert (len(body), len(secret)) == (SEALED_SIZE, 32)
    found = opened(pair, body)
    assert found == OpenedIntroduction(
        pair.alice.public_key, secret, "Alice", (HERE,), PREKEY, int(pair.clock.wall())
    )
    assert repr(found) == "OpenedIntroduction()"
    assert secret != pair.secret
    assert sealed(pair, random=bytes(32))[1] != secret
    assert sealed(pair, secret=bytes(32))[1] != secret
    assert PREKEY[:32] not in body
    assert pair.alice.public_key not in body
    assert RANDOM not in body


def test_whichever_of_several_is_taken_the_secret_is_one(pair: Pair) -> None:
    bodies = [sealed(pair)[0]]
    pair.prekey = Prekey.generate(pair.entropy, 0.0)
    bodies += [sealed(pair, Introduction("A.", (HERE, HERE), PREKEY))[0]]
    assert bodies[0][:16] != bodies[1][:16]
    assert opened(pair, bodies[1]).pairwise_secret == sealed(pair)[1] == sealed(pair)[1]


def test_a_number_that_an_inviter_was_told_is_of_no_use_to_them_elsewhere(pair: Pair) -> None:
    """The secret is of these two people: neither a third identity nor the other direction has the same one."""
    body, secret = sealed(pair)
    assert opened(pair, body).pairwise_secret == secret
    third = Identity.generate(pair.entropy)
    others = (
        proposed_secret(pair.bob, pair.alice.public_key, pair.secret, RANDOM),
        proposed_secret(pair.alice, third.public_key, pair.secret, RANDOM),
        proposed_secret(third, pair.bob.public_key, pair.secret, RANDOM),
    )
    assert len({secret, *others}) == 4


def test_who_took_an_invitation_knows_themselves_and_nobody_else_them(pair: Pair) -> None:
    _, secret = sealed(pair)
    said = taken_by(secret)
    assert len(said) == TAKEN_BY_SIZE
    assert said == taken_by(secret)
    assert said != taken_by(sealed(pair, random=bytes(32))[1])
    assert said not in secret


@settings(max_examples=20, deadline=None)
@given(
    st.text(max_size=MOST_NAME).filter(lambda text: is_plain(text, MOST_NAME, least=0)),
    st.lists(
        st.builds(ReachableAt, st.binary(min_size=35, max_size=35), st.binary(min_size=32, max_size=32)),
        min_size=1,
        max_size=4,
    ).map(tuple),
)
def test_whatever_is_said_arrives(new_pair: Any, name: str, places: tuple[ReachableAt, ...]) -> None:
    pair = new_pair()
    body, secret = sealed(pair, Introduction(name, places, PREKEY))
    found = opened(pair, body)
    assert (found.name, found.reachable_at, found.pairwise_secret) == (name, places, secret)


def test_by_a_standing_record_too(pair: Pair) -> None:
    body, secret = sealed(pair, secret=LISTING_SECRET)
    assert opened(pair, body, secret=LISTING_SECRET).pairwise_secret == secret


def test_only_the_inviter_opens_it_and_only_for_that_record(pair: Pair) -> None:
    body, _ = sealed(pair)
    with pytest.raises(PeerError, match="not authentic"):
        opened(pair, body, secret=bytes(32))
    with pytest.raises(PeerError, match="not authentic"):
        opened(pair, body, me=Identity.generate(pair.entropy))
    with pytest.raises(PeerError, match="not sealed"):
        opened(pair, body, prekeys=[Prekey.generate(pair.entropy, 0.0)])
    with pytest.raises(PeerError, match="not sealed"):
        opened(pair, body, prekeys=[])
    fresh = Prekey.generate(pair.entropy, 0.0)
    assert opened(pair, body, prekeys=[fresh, pair.prekey]).name == "Alice"


def test_nobody_introduces_somebody_else(pair: Pair) -> None:
    """Not even who holds the invitation, and the identity key of the inviter as well."""
    thief = Identity.generate(pair.entropy)
    posing = replace(thief, public_key=pair.alice.public_key)
    body = seal_introduction(
        posing, pair.bob.public_key, pair.secret, pair.prekey.public, SAID, RANDOM, pair.clock
    )
    with pytest.raises(PeerError, match="not authentic"):
        opened(pair, body)


def test_it_is_no_ring_and_a_ring_is_none(pair: Pair) -> None:
    body, _ = sealed(pair)
    with pytest.raises(PeerError, match="not sealed"):
        open_message(
            body,
            pair.bob,
            Peer(pair.alice.public_key, pair.secret),
            [pair.prekey],
            ReplayCache(),
            pair.clock.wall(),
        )
    ring, _ = pair.ring()
    with pytest.raises(PeerError, match="not sealed"):
        opened(pair, ring)


def test_replays_and_stale_ones_are_refused(pair: Pair) -> None:
    body, _ = sealed(pair)
    replays = ReplayCache()
    opened(pair, body, replays)
    with pytest.raises(PeerError, match="replayed"):
        opened(pair, body, replays)
    for late in (TIME_WINDOW + 2, -TIME_WINDOW - 2):
        with pytest.raises(PeerError, match="outside the time window"):
            opened(pair, body, now=pair.clock.wall() + late)


def test_changed_bytes_raise_only_peer_error(pair: Pair) -> None:
    body, _ = sealed(pair)
    for position in range(0, SEALED_SIZE, 97):
        with pytest.raises(PeerError):
            opened(pair, body[:position] + bytes([body[position] ^ 4]) + body[position + 1 :])
    for size in (0, SEALED_SIZE - 1, SEALED_SIZE + 1):
        with pytest.raises(PeerError, match="wrong size"):
            opened(pair, bytes(size))


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=500))
def test_whatever_a_stranger_seals_raises_only_peer_error(new_pair: Any, plain: bytes) -> None:
    pair = new_pair()
    key = HybridPublicKey.parse(pair.prekey.public)
    for padded in (pad(plain, introduction._PADDED_SIZE), plain.ljust(introduction._PADDED_SIZE, b"\1")):
        with pytest.raises(PeerError):
            opened(pair, key.seal(padded, introduction._INFO))


@pytest.mark.parametrize(
    ("identity", "random", "reason"),
    [(bytes(31), bytes(32), "malformed"), (bytes(32), bytes(31), "malformed"), (bytes(32), bytes(32), "bad")],
)
def test_keys_of_no_use_inside_are_the_strangers_fault(
    pair: Pair, identity: bytes, random: bytes, reason: str
) -> None:
    content = introduction._Content(identity, int(pair.clock.wall()), random, "", (HERE,), PREKEY)
    padded = pad(bytes(32) + encode(content), introduction._PADDED_SIZE)
    body = HybridPublicKey.parse(pair.prekey.public).seal(padded, introduction._INFO)
    with pytest.raises(PeerError, match=reason):
        opened(pair, body)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "x" * 49},
        {"name": "Ali\u202ece"},
        {"reachable_at": ()},
        {"reachable_at": (HERE,) * 5},
        {"reachable_at": (ReachableAt(b"", bytes(32)),)},
        {"prekey": bytes(PREKEY_SIZE - 1)},
    ],
)
def test_what_would_be_refused_is_not_sent_and_is_refused(pair: Pair, changes: dict[str, Any]) -> None:
    wrong = replace(SAID, **changes)
    with pytest.raises(MisuseError):
        sealed(pair, wrong)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Introduction, "check", lambda _: None)
        body, _ = sealed(pair, wrong)
    with pytest.raises(PeerError):
        opened(pair, body)


def test_keys_of_no_use_are_the_peers_fault(pair: Pair) -> None:
    for identity, prekey in ((bytes(32), pair.prekey.public), (pair.bob.public_key, bytes(PREKEY_SIZE - 1))):
        with pytest.raises(PeerError):
            seal_introduction(pair.alice, identity, pair.secret, prekey, SAID, RANDOM, pair.clock)
    with pytest.raises(MisuseError):
        sealed(pair, random=bytes(31))
