"""Sealed SIP: both ends agree, nobody else gets in, and all bodies look alike."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError, SeededEntropy
from relay.forward_publish import (
    MOST_SIP,
    SEALED_SIZE,
    HybridKey,
    HybridPublicKey,
    OpenedNote,
    OpenedRing,
    Peer,
    Prekey,
    ReplayCache,
    open_message,
    seal_note,
    seal_ring,
    sealed,
)
from relay.identity import Identity
from relay.identity.identity import curve25519_public

Pair = Any  # of conftest.py, which cannot be imported by name


def opened_ring(pair: Pair, body: bytes) -> OpenedRing:
    opened = open_message(body, pair.bob, pair.to_alice, [pair.prekey], ReplayCache(), pair.clock.wall())
    assert isinstance(opened, OpenedRing)
    return opened


def test_ring_and_answer_give_both_sides_the_same_keys(pair: Pair) -> None:
    body, ring = pair.ring(b"I" * MOST_SIP)
    opened = opened_ring(pair, body)
    assert (opened.sip, opened.reply, opened.peer) == (b"I" * MOST_SIP, pair.reply, pair.to_alice)
    answer, callee_keys = opened.seal_answer(pair.bob, b"2" * MOST_SIP, pair.entropy)
    answered = ring.open_answer(answer)
    assert answered is not None
    sip, caller_keys = answered
    assert sip == b"2" * MOST_SIP
    assert (caller_keys.send, caller_keys.receive) == (callee_keys.receive, callee_keys.send)
    assert caller_keys.transcript == callee_keys.transcript
    assert caller_keys.send != caller_keys.receive
    assert {len(key) for key in (caller_keys.send, caller_keys.receive, caller_keys.transcript)} == {32}


def test_rings_and_notes_say_when_they_were_sent(pair: Pair) -> None:
    sent_at = int(pair.clock.wall())
    ring, note = pair.ring()[0], pair.note()
    pair.clock.advance(900.0)
    assert opened_ring(pair, ring).sent_at == sent_at
    opened = open_message(note, pair.bob, pair.to_alice, [pair.prekey], ReplayCache(), pair.clock.wall())
    assert isinstance(opened, OpenedNote)
    assert opened.sent_at == sent_at


def test_every_answer_to_a_ring_has_keys_of_its_own(pair: Pair) -> None:
    body, ring = pair.ring()
    opened = opened_ring(pair, body)
    first, first_keys = opened.seal_answer(pair.bob, b"180", pair.entropy)
    second, second_keys = opened.seal_answer(pair.bob, b"200", pair.entropy)
    assert first_keys.send != second_keys.send
    assert ring.open_answer(second) is not None
    assert ring.open_answer(first) is not None
    with pytest.raises(PeerError, match="replayed"):
        ring.open_answer(first)


def test_an_answer_belongs_to_one_ring(pair: Pair) -> None:
    body, _ = pair.ring()
    _, other_ring = pair.ring()
    answer, _ = opened_ring(pair, body).seal_answer(pair.bob, b"200", pair.entropy)
    assert other_ring.open_answer(answer) is None


def test_the_keys_of_two_calls_differ_though_the_chance_is_the_same(pair: Pair) -> None:
    """ML-KEM draws its own randomness, so that a broken source of ours alone does not repeat a key."""
    keys = []
    for _ in range(2):
        pair.entropy = SeededEntropy("broken")
        body, _ring = pair.ring()
        keys.append(opened_ring(pair, body).seal_answer(pair.bob, b"200", SeededEntropy("broken"))[1].send)
    assert keys[0] != keys[1]


def test_note_and_dummy(pair: Pair) -> None:
    replays = ReplayCache()
    for sip, dummy in ((b"BYE", False), (b"", True)):
        opened = open_message(
            pair.note(sip), pair.bob, pair.to_alice, [pair.prekey], replays, pair.clock.wall()
        )
        assert isinstance(opened, OpenedNote)
        assert (opened.sip, opened.dummy) == (sip, dummy)


def test_an_older_prekey_still_opens_and_a_deleted_one_does_not(pair: Pair) -> None:
    newer = Prekey.generate(pair.entropy, 0)
    body, _ = pair.ring()
    now = pair.clock.wall()
    assert open_message(body, pair.bob, pair.to_alice, [newer, pair.prekey], ReplayCache(), now)
    with pytest.raises(PeerError, match="not sealed"):
        open_message(body, pair.bob, pair.to_alice, [newer], ReplayCache(), now)


def test_replay_is_noticed(pair: Pair) -> None:
    replays = ReplayCache()
    body, _ = pair.ring()
    arguments = (pair.bob, pair.to_alice, [pair.prekey], replays, pair.clock.wall())
    open_message(body, *arguments)
    with pytest.raises(PeerError, match="replayed"):
        open_message(body, *arguments)


def test_a_ring_sealed_anew_by_who_stole_the_prekey_is_noticed_too(pair: Pair) -> None:
    body, ring = pair.ring()
    padded = pair.prekey.key.open(body, sealed._INFO)
    again = HybridPublicKey.parse(pair.prekey.public).seal(padded, sealed._INFO)
    arguments = (pair.bob, pair.to_alice, [pair.prekey])
    assert again != body
    # The control: it is a good ring, to who has not seen the other.
    opened = open_message(again, *arguments, ReplayCache(), pair.clock.wall())
    assert isinstance(opened, OpenedRing)
    assert ring.open_answer(opened.seal_answer(pair.bob, b"200", pair.entropy)[0]) is None, (
        "no call comes of it"
    )
    replays = ReplayCache()
    open_message(body, *arguments, replays, pair.clock.wall())
    with pytest.raises(PeerError, match="replayed"):
        open_message(again, *arguments, replays, pair.clock.wall())


@pytest.mark.parametrize("difference", [-1801.0, 1802.0])
def test_a_message_outside_the_time_window_is_refused(pair: Pair, difference: float) -> None:
    body, _ = pair.ring()
    with pytest.raises(PeerError, match="time window"):
        open_message(
            body, pair.bob, pair.to_alice, [pair.prekey], ReplayCache(), pair.clock.wall() + difference
        )


def test_only_the_right_peer_with_the_right_secret_is_believed(pair: Pair) -> None:
    stranger = Identity.generate(pair.entropy)
    body, _ = pair.ring()
    for peer in (Peer(stranger.public_key, pair.secret), Peer(pair.alice.public_key, bytes(32)), pair.to_bob):
        with pytest.raises(PeerError, match="not authentic"):
            open_message(body, pair.bob, peer, [pair.prekey], ReplayCache(), pair.clock.wall())


def test_a_ring_reflected_to_its_sender_is_not_believed(pair: Pair) -> None:
    """Even where, against all rules, both had the same prekey."""
    body, _ = pair.ring()
    with pytest.raises(PeerError, match="not authentic"):
        open_message(body, pair.alice, pair.to_bob, [pair.prekey], ReplayCache(), pair.clock.wall())


def test_whoever_stole_the_callees_identity_cannot_pose_as_others(pair: Pair) -> None:
    """Key compromise impersonation: the thief has Bob's identity key and the secret, not his prekey."""
    inner = sealed._Inner(sealed._Kind.NOTE, int(pair.clock.wall()), bytes(32), b"BYE", b"", "", "")
    posing = replace(pair.bob, public_key=pair.alice.public_key)
    static = pair.bob.diffie_hellman(pair.alice.public_key)

    def forged(to_prekey: bytes) -> bytes:
        return sealed._seal(posing, pair.to_bob, pair.prekey.public, inner, (static, to_prekey))

    def received(body: bytes) -> object:
        return open_message(body, pair.bob, pair.to_alice, [pair.prekey], ReplayCache(), pair.clock.wall())

    with pytest.raises(PeerError, match="not authentic"):
        received(forged(pair.bob.agree(pair.prekey.public[-32:])))
    assert isinstance(received(forged(pair.alice.agree(pair.prekey.public[-32:]))), OpenedNote)  # the control


def test_a_ring_resent_to_another_contact_of_the_caller_rings_for_nobody(pair: Pair) -> None:
    """Unknown key share, by a contact point and, sealed anew, by a callee who lies."""
    carol, secret = Identity.generate(pair.entropy), pair.entropy.token(32)
    prekey = Prekey.generate(pair.entropy, pair.clock.wall())
    body, _ = pair.ring()

    def at_carols(resent: bytes, shared: bytes) -> object:
        peer = Peer(pair.alice.public_key, shared)
        return open_message(resent, carol, peer, [prekey], ReplayCache(), pair.clock.wall())

    with pytest.raises(PeerError, match="not sealed"):
        at_carols(body, secret)
    padded = pair.prekey.key.open(body, sealed._INFO)
    anew = HybridPublicKey.parse(prekey.public).seal(padded, sealed._INFO)
    for shared in (secret, pair.secret):
        with pytest.raises(PeerError, match="not authentic"):
            at_carols(anew, shared)
    to_carol = Peer(carol.public_key, secret)
    own, _ = seal_ring(pair.alice, to_carol, prekey.public, b"INVITE", pair.reply, pair.clock, pair.entropy)
    assert isinstance(at_carols(own, secret), OpenedRing), "the control"


def test_nobody_is_talked_down_to_another_version_or_to_half_a_key(pair: Pair) -> None:
    for half in (
        pair.prekey.public[-32:],
        pair.prekey.public[:-32],
        b"\xff" * 1184 + pair.prekey.public[-32:],
    ):
        with pytest.raises(PeerError, match="bad hybrid key"):
            seal_note(pair.alice, pair.to_bob, half, b"", pair.clock, pair.entropy)
    body, _ = pair.ring()
    padded = pair.prekey.key.open(body, sealed._INFO)
    assert padded is not None
    sealing = HybridPublicKey.parse(pair.prekey.public)

    def received(version: bytes) -> object:
        other = sealing.seal(padded, version)
        return open_message(other, pair.bob, pair.to_alice, [pair.prekey], ReplayCache(), pair.clock.wall())

    for version in (b"bayonne sealed SIP, version 0", b"bayonne sealed SIP, version 2", b""):
        with pytest.raises(PeerError, match="not sealed"):
            received(version)
    assert isinstance(received(sealed._INFO), OpenedRing), "the control"


@pytest.mark.parametrize("point", [bytes(32), (1).to_bytes(32, "little"), b"\xec" + b"\xff" * 30 + b"\x7f"])
def test_keys_that_contribute_nothing_are_refused_everywhere(pair: Pair, point: bytes) -> None:
    """Points of small order (RFC 7748 section 6.1), as prekey, as the caller's fresh key, and as the answer's."""
    with pytest.raises(PeerError, match="bad agreement key"):
        seal_note(pair.alice, pair.to_bob, pair.prekey.public[:-32] + point, b"", pair.clock, pair.entropy)
    body, ring = pair.ring()
    opened = opened_ring(pair, body)
    answer, _ = opened.seal_answer(pair.bob, b"200", pair.entropy)
    assert ring.open_answer(answer[:1088] + point + answer[1120:]) is None
    poor = replace(
        opened, _fresh=HybridPublicKey(opened._fresh.kem, X25519PublicKey.from_public_bytes(point))
    )
    with pytest.raises(PeerError, match="bad hybrid key"):
        poor.seal_answer(pair.bob, b"200", pair.entropy)


def test_either_of_the_two_could_have_made_a_call_alone(pair: Pair) -> None:
    """Deniability: Bob, without anything of Alice's but her public key, makes her ring and his answer; Alice makes his
    answer to her ring, without anything of his.  Whoever has all secrets of the two takes them for real."""

    class Posing:
        """Alice's identity as far as Bob's secrets go; Bob's as far as Alice's go."""

        def __init__(self, public_key: bytes, agreements: dict[bytes, bytes]) -> None:
            self.public_key, self._agreements = public_key, agreements

        def diffie_hellman(self, peer: bytes) -> bytes:
            return self._agreements[peer]

        def agree(self, public: Any) -> bytes:
            raw = public if isinstance(public, bytes) else public.public_bytes_raw()
            return self._agreements[raw]

    prekey = pair.prekey
    of_alices = curve25519_public(pair.alice.public_key)
    by_bob: Any = Posing(
        pair.alice.public_key,
        {
            pair.bob.public_key: pair.bob.diffie_hellman(pair.alice.public_key),
            prekey.public[-32:]: prekey.key.x25519.exchange(of_alices),
        },
    )
    forged, ring = seal_ring(
        by_bob, pair.to_bob, prekey.public, b"INVITE", pair.reply, pair.clock, pair.entropy
    )
    answer, _ = opened_ring(pair, forged).seal_answer(pair.bob, b"200", pair.entropy)
    judged = replace(ring, _me=pair.alice).open_answer(answer)
    assert judged is not None

    body, real = pair.ring()
    of_bobs = curve25519_public(pair.bob.public_key)
    by_alice: Any = Posing(
        pair.bob.public_key,
        {real._fresh.public[-32:]: real._fresh.x25519.exchange(of_bobs)},
    )
    alices_view = replace(opened_ring(pair, body), _shared=real._shared)
    assert real.open_answer(alices_view.seal_answer(by_alice, b"200", pair.entropy)[0]) is not None
    # The control: who lacks the agreement with the fresh key makes nothing that is taken.
    other: Any = Posing(pair.bob.public_key, {real._fresh.public[-32:]: bytes(32)})
    assert real.open_answer(alices_view.seal_answer(other, b"200", pair.entropy)[0]) is None


class _ThiefAsBob:
    """Holds Alice's identity key, the pairwise secret and a prekey of its own, to which it led her ring."""

    def __init__(self, pair: Pair, own: Identity) -> None:
        self.public_key = pair.bob.public_key
        self._stolen, self._own = pair.alice, own

    def diffie_hellman(self, _: bytes) -> bytes:
        return bytes(self._stolen.diffie_hellman(self.public_key))

    def agree(self, public: Any) -> bytes:
        return self._own.agree(public)


def test_whoever_stole_the_callers_identity_cannot_answer_as_others(pair: Pair) -> None:
    prekey = Prekey.generate(pair.entropy, pair.clock.wall())
    body, ring = seal_ring(
        pair.alice, pair.to_bob, prekey.public, b"INVITE", pair.reply, pair.clock, pair.entropy
    )
    thief: Any = _ThiefAsBob(pair, Identity.generate(pair.entropy))
    opened = open_message(body, thief, pair.to_alice, [prekey], ReplayCache(), pair.clock.wall())
    assert isinstance(opened, OpenedRing), "the ring arrives at the thief, and is read"
    answer, _ = opened.seal_answer(thief, b"200", pair.entropy)
    assert ring.open_answer(answer) is None
    answer, _ = opened.seal_answer(pair.bob, b"200", pair.entropy)
    assert ring.open_answer(answer) is not None


def test_every_region_is_protected(pair: Pair) -> None:
    body, ring = pair.ring()
    opened = opened_ring(pair, body)
    answer, _ = opened.seal_answer(pair.bob, b"200", pair.entropy)
    note = pair.note()
    positions = [*range(0, SEALED_SIZE, 61), 1087, 1088, 1118, 1119, 1120, SEALED_SIZE - 17, SEALED_SIZE - 1]
    for position in positions:
        mask = 1 << (position % 8)
        for message in (body, note):
            with pytest.raises(PeerError):
                open_message(
                    flipped(message, position, mask),
                    pair.bob,
                    pair.to_alice,
                    [pair.prekey],
                    ReplayCache(),
                    pair.clock.wall(),
                )
        assert ring.open_answer(flipped(answer, position, mask)) is None
    assert ring.open_answer(answer) is not None


def test_wrong_sizes_are_refused(pair: Pair) -> None:
    body, ring = pair.ring()
    for wrong in (b"", body[:-1], body + b"\0", bytes(65536)):
        with pytest.raises(PeerError, match="wrong size"):
            open_message(wrong, pair.bob, pair.to_alice, [pair.prekey], ReplayCache(), pair.clock.wall())
        with pytest.raises(PeerError, match="wrong size"):
            ring.open_answer(wrong)


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=64).map(lambda seed: SeededEntropy(seed.hex()).token(SEALED_SIZE)))
def test_garbage_raises_only_peer_error(garbage: bytes) -> None:
    entropy = SeededEntropy("garbage")
    me = Identity.generate(entropy)
    peer = Peer(Identity.generate(entropy).public_key, bytes(32))
    with pytest.raises(PeerError):
        open_message(garbage, me, peer, [Prekey.generate(entropy, 0)], ReplayCache(), 0.0)


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=MOST_SIP), st.binary(max_size=MOST_SIP))
def test_any_sip_makes_bodies_of_one_size(
    new_pair: Callable[[], Pair], invite: bytes, response: bytes
) -> None:
    pair = new_pair()
    body, ring = pair.ring(invite)
    answer, _ = opened_ring(pair, body).seal_answer(pair.bob, response, pair.entropy)
    assert {len(body), len(answer), len(pair.note(invite)), len(pair.note(b""))} == {SEALED_SIZE}
    answered = ring.open_answer(answer)
    assert answered is not None
    assert answered[0] == response


def test_too_much_sip_is_our_misuse(pair: Pair) -> None:
    body, _ = pair.ring()
    with pytest.raises(MisuseError):
        pair.ring(bytes(MOST_SIP + 1))
    with pytest.raises(MisuseError):
        opened_ring(pair, body).seal_answer(pair.bob, bytes(MOST_SIP + 1), pair.entropy)


@pytest.mark.parametrize("prekey", [b"", bytes(1215), b"\xff" * 1216, bytes(1216)])
def test_a_useless_prekey_is_the_peers_fault(pair: Pair, prekey: bytes) -> None:
    with pytest.raises(PeerError):
        seal_note(pair.alice, pair.to_bob, prekey, b"", pair.clock, pair.entropy)


def test_a_contact_that_sends_a_useless_fresh_key_raises_only_peer_error(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    for useless in (b"", bytes(1216), b"\xff" * 1216):
        broken = HybridKey.generate(pair.entropy)
        monkeypatch.setattr(HybridKey, "generate", lambda _: HybridKey(broken.kem, broken.x25519, useless))  # noqa: B023
        body, _ = pair.ring()
        monkeypatch.undo()
        with pytest.raises(PeerError):
            opened_ring(pair, body).seal_answer(pair.bob, b"", pair.entropy)


def test_nothing_secret_in_the_representations(pair: Pair) -> None:
    body, ring = pair.ring()
    opened = opened_ring(pair, body)
    _, keys = opened.seal_answer(pair.bob, b"200", pair.entropy)
    assert [repr(each) for each in (ring, opened, keys, pair.prekey.key)] == [
        "OutgoingRing()",
        "OpenedRing()",
        "CallKeys()",
        "HybridKey()",
    ]


# All bodies are of one look: a chi-square test of homogeneity over byte values (16 groups), in eight regions
# of the body, between rings, answers and dummies.  Threshold: 6 standard deviations by Wilson and Hilferty,
# p = 1e-9, at 15 degrees of freedom.  Regions are tested apart so that none drowns a difference in another.

_REGIONS = [
    (0, 544),
    (544, 1088),
    (1088, 1119),
    (1120, 1500),
    (1500, 2400),
    (2400, 3400),
    (3400, 4080),
    (4080, 4096),
]


def _threshold(freedom: int, z: float = 6.0) -> float:
    limit: float = freedom * (1 - 2 / (9 * freedom) + z * (2 / (9 * freedom)) ** 0.5) ** 3
    return limit


def _homogeneity(first: list[bytes], second: list[bytes], region: tuple[int, int]) -> tuple[float, int]:
    """Chi-square statistic and degrees of freedom for byte values (grouped by 16) in a region of two sets."""
    table = np.zeros((2, 16))
    for row, bodies in enumerate((first, second)):
        values = np.frombuffer(b"".join(body[slice(*region)] for body in bodies), np.uint8)
        table[row] = np.bincount(values >> 4, minlength=16)
    expected = table.sum(0) * table.sum(1, keepdims=True) / table.sum()
    return float(((table - expected) ** 2 / expected).sum()), 15


def _alike(first: list[bytes], second: list[bytes]) -> bool:
    return all(
        statistic < _threshold(freedom)
        for statistic, freedom in (_homogeneity(first, second, region) for region in _REGIONS)
    )


def test_rings_answers_and_dummies_look_alike_and_a_leaky_kind_is_caught(pair: Pair) -> None:
    count = 150
    rings, answers = [], []
    for _ in range(count):
        body, _ring = pair.ring(b"INVITE" * 200)
        rings.append(body)
        answers.append(opened_ring(pair, body).seal_answer(pair.bob, b"200", pair.entropy)[0])
    dummies = [pair.note(b"") for _ in range(count)]
    assert _alike(rings, dummies)
    assert _alike(rings, answers)
    assert _alike(answers, dummies)
    leaks: list[Callable[[bytes], bytes]] = [
        lambda body: body[:4080] + bytes(16),  # a body that ends without a tag
        lambda body: body[:1088] + bytes(32) + body[1120:],  # an answer without a fresh key
        lambda body: (
            body[:2400] + body[2400:3400].replace(b"\xff", b"\0").replace(b"\xfe", b"\0") + body[3400:]
        ),
    ]
    assert [_alike(rings, [leak(body) for body in dummies]) for leak in leaks] == [False] * 3


def flipped(data: bytes, position: int, mask: int) -> bytes:
    return data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]
