"""From Commit to Confirm: contention, and the modes without Diffie-Hellman."""

from dataclasses import replace

import pytest

from relay.core import MisuseError
from relay.zrtp import (
    EVERYTHING,
    AlarmKind,
    AuthTagType,
    CipherType,
    Continuity,
    ErrorCode,
    Expectation,
    Failed,
    KeyAgreementType,
    Role,
    SasType,
    Session,
    Settings,
)
from relay.zrtp.commit import Commit, build_commit
from tests.zrtp.pair import BOB, Pair, Path, World, agree, from_party, kind_of, message_of, rewrapped

PRESHARED = Settings(preshared=True)


def verified_world(seed: int | str, settings: tuple[Settings, Settings]) -> World:
    """Two people who compared their SAS in a first call."""
    world = World(seed, settings)
    pair = world.call()
    for party in pair.parties:
        party.exchange.verify_sas()
    return world


def commits(pair: Pair) -> list[str]:
    return [
        kind_of(datagram)
        for party in pair.parties
        for datagram in party.sent
        if kind_of(datagram) == "Commit"
    ]


def test_when_commits_cross_the_higher_hash_wins() -> None:
    roles = set()
    for seed in range(16):
        pair = World(seed).call(path=Path(delay=0.05))
        agree(pair)
        sent = [
            Commit.read(message_of(next(d for d in party.sent if kind_of(d) == "Commit")))
            for party in pair.parties
        ]
        assert (pair.alice.secured.role is Role.INITIATOR) is (sent[0].proof > sent[1].proof)
        roles.add(pair.alice.secured.role)
        # Whoever lost goes on with the same key pair, and with no other message.
        assert {kind_of(d) for party in pair.parties for d in party.sent} >= {"Commit", "DHPart1", "DHPart2"}
    assert roles == set(Role)


def test_commits_that_cross_with_other_groups_agree_too() -> None:
    """Not by section 4.1.2, but nothing forbids it: what the winner chose is used."""
    one = Settings(offer=replace(EVERYTHING, key_agreements=(KeyAgreementType.X255,)))
    other = Settings(offer=replace(EVERYTHING, key_agreements=(KeyAgreementType.DH3K,)))
    pair = World(1, (one, other)).call()
    agree(pair)
    assert pair.alice.secured.suite.key_agreement is KeyAgreementType.DH3K


def test_preshared_mode_goes_on_from_a_verified_call() -> None:
    world = verified_world("preshared", (PRESHARED, PRESHARED))
    secrets = set()
    for _ in range(PRESHARED.preshared_calls):
        pair = world.call()
        agree(pair)
        assert pair.alice.secured.suite.key_agreement is KeyAgreementType.PRSH
        assert pair.alice.secured.continuity is Continuity.CONTINUED
        assert pair.alice.secured.verified
        assert pair.bob.secured.peer_verified
        assert "DHPart1" not in [kind_of(d) for party in pair.parties for d in party.sent]
        secrets.add(pair.alice.secured.send.key)
    assert len(secrets) == PRESHARED.preshared_calls
    # And not for ever: a fresh agreement puts right what may have leaked.
    pair = world.call()
    agree(pair)
    assert pair.alice.secured.suite.key_agreement.is_dh
    assert pair.alice.secured.verified
    assert world.call().alice.secured.suite.key_agreement is KeyAgreementType.PRSH


def test_preshared_mode_is_not_begun_without_a_verified_sas() -> None:
    world = World("unverified", (PRESHARED, PRESHARED))
    world.call()
    assert world.call().alice.secured.suite.key_agreement.is_dh


def test_whoever_did_not_ask_for_preshared_mode_never_gets_it() -> None:
    world = verified_world("one-sided", (PRESHARED, Settings()))
    pair = world.call()
    agree(pair)
    assert pair.alice.secured.suite.key_agreement.is_dh


def test_a_preshared_commit_that_does_not_match_is_answered_with_diffie_hellman() -> None:
    world = verified_world("lost", (PRESHARED, PRESHARED))
    world.caches[1].forget(BOB, b"alice's zid.")
    pair = world.call()
    agree(pair)
    assert pair.alice.secured.suite.key_agreement.is_dh
    assert pair.alice.secured.continuity is Continuity.MISMATCH
    assert AlarmKind.CACHE_MISMATCH in pair.alice.alarms
    assert not pair.alice.secured.verified


def test_it_is_so_answered_by_whoever_had_not_begun_itself() -> None:
    """Bob never hears a HelloACK: Alice's Commit is the first that he hears after her Hello."""
    world = verified_world("lost too", (PRESHARED, PRESHARED))
    world.caches[1].forget(BOB, b"alice's zid.")
    pair = world.call(
        meddler=lambda name, d: [] if name == "alice" and kind_of(d) == "HelloACK" else [d], until=20.0
    )
    agree(pair)
    assert pair.bob.secured.role is Role.INITIATOR
    assert pair.bob.secured.suite.key_agreement.is_dh


@pytest.mark.parametrize(("one", "other"), [(b"family", b"family"), (b"family", b""), (b"", b"family")])
def test_preshared_mode_uses_an_auxsecret_that_both_have(one: bytes, other: bytes) -> None:
    world = verified_world("aux", (PRESHARED, replace(PRESHARED, passive=True)))
    alice, bob = world.exchanges(expectations=(Expectation(auxsecret=one), Expectation(auxsecret=other)))
    pair = Pair(alice, bob).run()
    if one and not other:
        # The initiator's preshared_key has it inside, and the responder has nothing to match: it may not begin.
        assert pair.bob.failed == Failed(ErrorCode.NO_SHARED_SECRET)
        return
    agree(pair)
    assert pair.bob.secured.suite.key_agreement is KeyAgreementType.PRSH
    assert pair.bob.alarms == ([AlarmKind.AUXSECRET_MISMATCH] if other != one else [])


def test_a_passive_end_says_that_it_shares_nothing() -> None:
    world = verified_world("passive", (PRESHARED, PRESHARED))
    world.caches[1].forget(BOB, b"alice's zid.")
    pair = world.with_settings(PRESHARED, replace(PRESHARED, passive=True)).call()
    assert pair.bob.failed == Failed(ErrorCode.NO_SHARED_SECRET)
    assert pair.alice.failed == Failed(ErrorCode.NO_SHARED_SECRET, by_peer=True)


def second_stream(world: World, one: Session | None, other: Session | None, path: Path | None = None) -> Pair:
    alice, bob = world.exchanges(sessions=(one, other))
    return Pair(alice, bob, path=path).run()


def test_further_streams_have_keys_of_their_own_and_no_sas() -> None:
    world = World("streams")
    first = world.call()
    first.alice.exchange.verify_sas()
    keys = {first.alice.secured.send.key, first.alice.secured.receive.key}
    for _ in range(4):
        pair = second_stream(world, first.alice.secured.session, first.bob.secured.session)
        agree(pair)
        secured = pair.alice.secured
        assert secured.suite.key_agreement is KeyAgreementType.MULT
        assert secured.sas is None
        assert secured.verified
        assert not pair.bob.secured.verified
        keys |= {secured.send.key, secured.receive.key}
    assert len(keys) == 10


def test_a_further_stream_may_have_another_authentication_tag_and_no_other_cipher() -> None:
    world = World("its own tag")
    first = world.call()
    session, suite = first.alice.secured.session, first.alice.secured.suite
    other = {AuthTagType.HS32: AuthTagType.HS80, AuthTagType.HS80: AuthTagType.HS32}[suite.auth_tag]
    session.suite = replace(suite, auth_tag=other)
    # The other end answers: it alone is told what the stream is to be.
    world = world.with_settings(Settings(), Settings(passive=True))
    pair = second_stream(world, session, first.bob.secured.session)
    agree(pair)
    assert pair.bob.secured.suite.auth_tag is other
    session.suite = replace(suite, cipher=CipherType.AES3)
    pair = second_stream(world, session, first.bob.secured.session)
    assert pair.bob.failed == Failed(ErrorCode.CIPHER)
    assert AlarmKind.DOWNGRADE in pair.bob.alarms


def test_further_streams_leave_the_cache_alone() -> None:
    world = World("alone")
    first = world.call()
    before = world.caches[0].look_up(b"alice's zid.", BOB)
    second_stream(world, first.alice.secured.session, first.bob.secured.session)
    assert world.caches[0].look_up(b"alice's zid.", BOB) == before


def test_further_streams_survive_a_bad_path() -> None:
    world = World("bad path")
    first = world.call()
    for _ in range(5):
        bad = Path(loss=0.3, doubling=0.3, jitter=0.2)
        agree(second_stream(world, first.alice.secured.session, first.bob.secured.session, bad))


def test_without_the_session_there_is_no_further_stream() -> None:
    world = World("no session")
    first = world.call()
    pair = second_stream(world, first.alice.secured.session, None)
    assert not pair.alice.is_secured
    assert not pair.bob.is_secured
    codes = {party.failed.code for party in pair.parties if party.failed}
    assert codes <= {ErrorCode.NO_SHARED_SECRET, ErrorCode.SOFTWARE}
    assert codes


@pytest.mark.parametrize(("with_session", "code"), [(0, ErrorCode.NO_SHARED_SECRET), (1, ErrorCode.SOFTWARE)])
def test_a_commit_of_the_wrong_mode_has_its_code(with_session: int, code: ErrorCode) -> None:
    """Alice begins; one of the two has the session and the other does not."""
    world = World("wrong mode", (Settings(), Settings(passive=True)))
    first = world.call()
    sessions = [first.alice.secured.session, first.bob.secured.session]
    pair = second_stream(
        world, sessions[0] if with_session == 0 else None, sessions[1] if with_session == 1 else None
    )
    assert pair.bob.failed == Failed(code)
    assert pair.alice.failed == Failed(code, by_peer=True)


def test_a_further_stream_with_other_algorithms_is_a_downgrade() -> None:
    world = World("other algorithms", (Settings(), Settings(passive=True)))
    first = world.call()
    session = first.bob.secured.session
    session.suite = replace(session.suite, cipher=CipherType.AES3)
    pair = second_stream(world, first.alice.secured.session, session)
    assert pair.bob.failed == Failed(ErrorCode.CIPHER)
    assert AlarmKind.DOWNGRADE in pair.bob.alarms


def test_the_sas_belongs_to_the_first_stream() -> None:
    world = World("first stream")
    first = world.call()
    pair = second_stream(world, first.alice.secured.session, first.bob.secured.session)
    for act in (pair.alice.exchange.verify_sas, pair.alice.exchange.reject_sas):
        with pytest.raises(MisuseError):
            act()


def test_a_commit_with_another_zid_than_the_hellos_is_an_attack() -> None:
    world = World("other zid", (Settings(), Settings(passive=True)))
    alice, bob = world.exchanges()

    def meddler(name: str, datagram: bytes) -> list[bytes]:
        if kind_of(datagram) != "Commit":
            return [datagram]
        commit = Commit.read(message_of(datagram))
        forged = build_commit(alice._own.chain, b"another zid.", commit.suite, commit.proof)
        return [rewrapped(datagram, forged.message)]

    pair = Pair(alice, bob, meddler=meddler).run()
    assert pair.bob.failed == Failed(ErrorCode.HELLO_MISMATCH)
    assert AlarmKind.TAMPERED in pair.bob.alarms


def test_somebody_else_cannot_join_a_session() -> None:
    world = World("somebody else")
    first, other = world.call(), World("other").call()
    pair = second_stream(world, first.alice.secured.session, other.bob.secured.session)
    assert not pair.alice.is_secured
    assert not pair.bob.is_secured
    assert AlarmKind.TAMPERED in pair.alice.alarms + pair.bob.alarms


def test_a_nonce_is_good_once() -> None:
    world = World("nonce")
    first = world.call()
    sessions = first.alice.secured.session, first.bob.secured.session
    alice, bob = world.exchanges(sessions=sessions)
    pair = Pair(alice, bob).run()
    commit = next(
        Commit.read(message_of(d)) for party in pair.parties for d in party.sent if kind_of(d) == "Commit"
    )
    for session in sessions:
        with pytest.raises(Exception, match="nonce used before"):
            session.take_nonce(commit.proof)


def test_there_is_an_end_to_streams() -> None:
    session = World("end").call().alice.secured.session
    for number in range(64):
        session.take_nonce(number.to_bytes(16))
    with pytest.raises(Exception, match="too many streams"):
        session.take_nonce(b"another nonce...")


def test_repeated_messages_of_the_initiator_get_the_same_answers() -> None:
    pair = World("repeat").call()
    initiator, responder = pair.parties if pair.alice.secured.role is Role.INITIATOR else pair.parties[::-1]
    confirm = next(d for d in initiator.sent if kind_of(d) == "Confirm2")
    (answer,) = pair.inject(responder, confirm)
    assert kind_of(answer.datagram) == "Conf2ACK"  # type: ignore[union-attr]
    # Those before it have had their time.
    for kind in ("Commit", "DHPart2"):
        assert pair.inject(responder, next(d for d in initiator.sent if kind_of(d) == kind)) == []


def test_a_message_without_the_right_image_is_not_even_looked_at() -> None:
    for kind in ("Commit", "DHPart1", "DHPart2"):

        def meddler(name: str, datagram: bytes, kind: str = kind) -> list[bytes]:
            if kind_of(datagram) != kind:
                return [datagram]
            message = bytearray(message_of(datagram))
            message[20] ^= 1
            return [rewrapped(datagram, bytes(message)), datagram]

        pair = World(kind).call(meddler=meddler)
        agree(pair)
        assert not pair.alice.alarms + pair.bob.alarms
        assert sum(party.exchange.counters["wrong_image"] for party in pair.parties) >= 1


def test_an_unknown_algorithm_in_an_authentic_commit_is_told() -> None:
    """Not a thing that our own initiator does: its Commit is rewritten, and H2 is right."""

    def meddler(name: str, datagram: bytes) -> list[bytes]:
        if kind_of(datagram) != "Commit":
            return [datagram]
        return [rewrapped(datagram, message_of(datagram).replace(b"X255", b"X448"))]

    pair = World("x448", (Settings(), Settings(passive=True))).call(meddler=meddler)
    assert pair.bob.failed == Failed(ErrorCode.KEY_AGREEMENT)
    assert pair.alice.failed == Failed(ErrorCode.KEY_AGREEMENT, by_peer=True)


def test_the_sas_type_is_the_initiators_choice_among_both_ends() -> None:
    words = Settings(offer=replace(EVERYTHING, sas_types=(SasType.B256, SasType.B32)))
    pair = World("words", (words, Settings(passive=True))).call()
    agree(pair)
    assert pair.bob.secured.sas is not None
    assert " " in pair.bob.secured.sas.text


def test_the_responder_waits_no_longer_than_ten_seconds() -> None:
    pair = World("silence", (Settings(), Settings(passive=True))).call(
        meddler=lambda name, datagram: [] if name == "bob" and kind_of(datagram) == "DHPart1" else [datagram],
        until=60.0,
    )
    assert pair.bob.failed is not None
    assert pair.bob.failed.code is ErrorCode.TIMEOUT


def test_once_there_are_keys_no_commit_counts_however_right_its_image() -> None:
    """All images have been revealed by then: whoever listened can send a Commit of the same chain."""
    pair = World("late commit").call()
    for one, other in (pair.parties, pair.parties[::-1]):
        secured, sent = one.exchange._secured, len(one.sent)
        late = build_commit(other.exchange._own.chain, other.exchange._own.zid, one.secured.suite, bytes(32))
        assert pair.inject(one, from_party(other, late.message)) == []
        for kind in ("Commit", "DHPart1", "Confirm1"):
            for datagram in (datagram for datagram in other.sent if kind_of(datagram) == kind):
                assert pair.inject(one, datagram) == []
        assert one.exchange._secured is secured
        assert len(one.sent) == sent
        assert one.exchange.counters["out_of_state"] >= 1
        assert one.exchange.deadline is None


def test_a_stray_acknowledgement_does_nothing() -> None:
    pair = World("stray").call(until=0.05)
    for message in (b"\x50\x5a\x00\x03Conf2ACK", b"\x50\x5a\x00\x03RelayACK", b"\x50\x5a\x00\x03ClearACK"):
        assert pair.inject(pair.alice, from_party(pair.bob, message)) == []
    assert pair.alice.failed is None
