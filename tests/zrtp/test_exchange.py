"""Whole exchanges, from Hello to keys or to an Error."""

from dataclasses import replace
from itertools import product

import pytest

from relay.core import ManualClock, MisuseError, SeededEntropy
from relay.zrtp import (
    EVERYTHING,
    AlarmKind,
    AuthTagType,
    CipherType,
    Continuity,
    ErrorCode,
    Exchange,
    Expectation,
    Failed,
    HashType,
    KeyAgreementType,
    MemoryZidCache,
    Offer,
    Phase,
    Role,
    SasType,
    Send,
    Settings,
)
from relay.zrtp.hash_chain import HashChain
from relay.zrtp.hello import build_hello
from relay.zrtp.messages import HELLO_ACK, Ping, PingAck, build_error, read
from relay.zrtp.packet import PacketWriter, open_packet
from tests.zrtp.pair import (
    ALICE,
    BOB,
    Meddler,
    Pair,
    Path,
    World,
    agree,
    from_party,
    kind_of,
    message_of,
    rewrapped,
)

SUITES = [
    suite
    for suite in product(HashType, CipherType, AuthTagType, [k for k in KeyAgreementType if k.is_dh], SasType)
    if suite[3] is not KeyAgreementType.EC38 or suite[0] is HashType.S384
]


def only(
    hash_type: HashType, cipher: CipherType, tag: AuthTagType, agreement: KeyAgreementType, sas: SasType
) -> Offer:
    return Offer((hash_type,), (cipher,), (tag,), (agreement,), (sas,))


@pytest.mark.parametrize("agreement", [k for k in KeyAgreementType if k.is_dh])
def test_all_suites(agreement: KeyAgreementType) -> None:
    for suite in (suite for suite in SUITES if suite[3] is agreement):
        settings = Settings(offer=only(*suite))
        pair = World(str(suite), (settings, settings)).call()
        agree(pair)
        secured = pair.alice.secured
        chosen = secured.suite
        assert (chosen.hash, chosen.cipher, chosen.auth_tag, chosen.key_agreement, chosen.sas) == suite
        assert len(secured.send.key) == {"AES1": 16, "AES3": 32}[chosen.cipher]
        assert len(secured.send.salt) == 14
        assert secured.sas is not None
        assert len(secured.sas.text.split()) == (2 if suite[4] is SasType.B256 else 1)


def test_ends_that_prefer_different_things_agree_all_the_same() -> None:
    """Every preference of one end with every preference of the other."""
    kinds = [k for k in KeyAgreementType if k.is_dh and k is not KeyAgreementType.DH3K]
    for number, (one, other) in enumerate(product(kinds, kinds)):
        settings = tuple(
            Settings(offer=replace(EVERYTHING, key_agreements=(kind, *[k for k in kinds if k is not kind])))
            for kind in (one, other)
        )
        pair = World(number, (settings[0], settings[1])).call()
        agree(pair)
        assert pair.alice.secured.suite.key_agreement is min(one, other, key=list(KeyAgreementType).index)


@pytest.mark.parametrize("passive", [0, 1])
def test_a_passive_end_never_begins(passive: int) -> None:
    settings = [Settings(), Settings()]
    settings[passive] = Settings(passive=True)
    for seed in range(5):
        pair = World(seed, (settings[0], settings[1])).call()
        agree(pair)
        assert pair.parties[passive].secured.role is Role.RESPONDER
        assert "Commit" not in map(kind_of, pair.parties[passive].sent)


def test_where_both_are_passive_nobody_waits() -> None:
    pair = World(0, (Settings(passive=True), Settings(passive=True))).call()
    assert pair.alice.failed is not None
    assert pair.bob.failed is not None
    assert ErrorCode.UNAVAILABLE in {pair.alice.failed.code, pair.bob.failed.code}
    assert pair.now < 2.0


def test_a_late_end_is_waited_for() -> None:
    alice, bob = World().exchanges()
    pair = Pair(alice, bob).run(bob_later=2.0)
    agree(pair)
    assert pair.now < 2.5


def test_it_takes_three_round_trips_and_a_half() -> None:
    """Hello, HelloACK; Commit, DHPart1; DHPart2, Confirm1; Confirm2, Conf2ACK."""
    pair = World().call(path=Path(delay=0.05))
    assert pair.alice.done_at is not None
    assert pair.bob.done_at is not None
    assert max(pair.alice.done_at, pair.bob.done_at) <= 0.41


def test_with_nobody_there_it_ends_after_the_hellos() -> None:
    exchange = Exchange(Settings(), 1, ALICE, MemoryZidCache(ManualClock()), SeededEntropy("alone"))
    effects = exchange.begin(0.0)
    now = 0.0
    while (deadline := exchange.deadline) is not None:
        now = deadline
        effects += exchange.due(now)
    assert effects[-1] == Failed(None)
    assert [type(effect) for effect in effects[:-1]] == [Send] * 21
    assert 3.75 <= now < 4.0
    assert exchange.phase is Phase.ENDED


def test_finding_no_zrtp_where_there_was_some_is_a_downgrade() -> None:
    exchange = Exchange(
        Settings(),
        1,
        ALICE,
        MemoryZidCache(ManualClock()),
        SeededEntropy("alone"),
        expectation=Expectation(zid=BOB),
    )
    effects = exchange.begin(0.0)
    now = 0.0
    while (deadline := exchange.deadline) is not None:
        now = deadline
        effects += exchange.due(now)
    assert Failed(None) in effects
    assert AlarmKind.DOWNGRADE in [getattr(effect, "kind", None) for effect in effects]
    assert 11.0 < now < 13.0


@pytest.mark.parametrize("lost", ["DHPart1", "DHPart2", "Confirm1", "Confirm2", "Commit"])
def test_when_a_message_never_gets_through_both_give_up(lost: str) -> None:
    def meddler(name: str, datagram: bytes) -> list[bytes]:
        return [] if kind_of(datagram) == lost else [datagram]

    pair = World(lost).call(meddler=meddler)
    for party in pair.parties:
        assert party.failed is not None
        assert party.failed.code is ErrorCode.TIMEOUT
        assert party.exchange.deadline is None
    assert pair.now < 45.0


def test_when_conf2ack_never_comes_media_takes_its_place() -> None:
    def meddler(name: str, datagram: bytes) -> list[bytes]:
        return [] if kind_of(datagram) == "Conf2ACK" else [datagram]

    pair = World().call(meddler=meddler, until=1.0)
    initiator, responder = (pair.alice, pair.bob) if pair.bob.is_secured else (pair.bob, pair.alice)
    assert not initiator.is_secured
    assert initiator.listening is not None
    assert initiator.listening.receive == responder.secured.send
    pair.act(initiator, initiator.exchange.media_arrived(1.0))
    agree(pair)
    assert initiator.exchange.deadline is None


def test_media_means_nothing_before_its_time() -> None:
    alice, _ = World().exchanges()
    assert alice.media_arrived(0.0) == []
    alice.begin(0.0)
    assert alice.media_arrived(0.0) == []


def test_messages_sent_again_are_the_same_in_new_packets() -> None:
    pair = World("again").call(path=Path(loss=0.4))
    for party in pair.parties:
        by_kind: dict[str, set[bytes]] = {}
        numbers = []
        for datagram in party.sent:
            by_kind.setdefault(kind_of(datagram), set()).add(message_of(datagram))
            numbers.append(int.from_bytes(datagram[2:4]))
        assert all(len(messages) == 1 for messages in by_kind.values())
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    # The control: something was sent again.
    assert any(len(party.sent) > len(set(map(message_of, party.sent))) for party in pair.parties)


def hello_of(version: bytes = b"1.10", zid: bytes = b"a third zid.") -> Meddler:
    """Bob's Hello is another one, as somebody with that version or ZID would send it."""

    def meddler(name: str, datagram: bytes) -> list[bytes]:
        if name == "bob" and kind_of(datagram) == "Hello":
            message = build_hello(zid, EVERYTHING, HashChain(SeededEntropy("hello")))
            return [rewrapped(datagram, message.replace(b"1.10", version, 1))]
        return [datagram]

    return meddler


def test_an_older_version_gets_an_error() -> None:
    pair = World().call(meddler=hello_of(b"1.00"), until=20.0)
    assert pair.alice.failed == Failed(ErrorCode.VERSION)
    assert pair.bob.failed == Failed(ErrorCode.VERSION, by_peer=True)


def test_a_newer_version_is_heard_and_ignored() -> None:
    pair = World().call(meddler=hello_of(b"2.00"), until=1.0)
    assert "HelloACK" in map(kind_of, pair.alice.sent)
    assert "Commit" not in map(kind_of, pair.alice.sent)
    assert pair.alice.failed is None


def test_equal_zids_get_an_error() -> None:
    pair = World().call(meddler=hello_of(zid=ALICE), until=20.0)
    assert pair.alice.failed == Failed(ErrorCode.EQUAL_ZIDS)


def test_an_echo_is_a_collision() -> None:
    alice, bob = World().exchanges()
    pair = Pair(alice, bob)
    pair.act(pair.alice, alice.begin(0.0))
    pair.inject(pair.alice, pair.alice.sent[0])
    assert pair.alice.failed == Failed(ErrorCode.SSRC_COLLISION)


def test_an_error_from_the_peer_ends_it_and_is_acknowledged() -> None:
    pair = World().call(until=0.05)
    pair.inject(pair.alice, from_party(pair.bob, build_error(ErrorCode.UNAVAILABLE)))
    assert pair.alice.failed == Failed(ErrorCode.UNAVAILABLE, by_peer=True)
    assert kind_of(pair.alice.sent[-1]) == "ErrorACK"
    assert pair.alice.exchange.deadline is None


def test_an_error_with_a_code_of_nobody_s() -> None:
    pair = World().call(until=0.05)
    pair.inject(pair.alice, from_party(pair.bob, build_error(0xDEAD)))
    assert pair.alice.failed == Failed(None, by_peer=True)


def test_after_the_keys_nobody_s_error_counts() -> None:
    pair = World().call()
    pair.inject(pair.alice, from_party(pair.bob, build_error(ErrorCode.SOFTWARE)))
    assert pair.alice.failed is None
    assert pair.alice.exchange.phase is Phase.SECURE
    assert pair.alice.exchange.counters["error_when_secure"] == 1


def test_our_error_is_sent_until_it_is_acknowledged() -> None:
    def meddler(name: str, datagram: bytes) -> list[bytes]:
        return [] if kind_of(datagram) == "ErrorACK" else hello_of(b"1.00")(name, datagram)

    pair = World().call(meddler=meddler, until=40.0)
    assert [kind_of(datagram) for datagram in pair.alice.sent].count("Error") == 11
    acknowledged = World().call(meddler=hello_of(b"1.00"), until=40.0)
    assert [kind_of(datagram) for datagram in acknowledged.alice.sent].count("Error") == 1


@pytest.mark.parametrize("when", [0.01, 0.05, 5.0])
def test_ping_is_answered_at_any_time_from_anybody(when: float) -> None:
    pair = World().call(until=when)
    pinger = PacketWriter(0xFEED, SeededEntropy("ping"))
    effects = pair.inject(pair.alice, pinger.wrap(Ping(b"1.10", b"endpoint").build()))
    (answer,) = [effect.datagram for effect in effects if isinstance(effect, Send)]
    assert PingAck.read(read(message_of(answer))[1]) == PingAck(b"1.10", ALICE[:8], b"endpoint", 0xFEED)


def test_there_is_an_end_to_answers() -> None:
    pair = World().call()
    ping = PacketWriter(0xFEED, SeededEntropy("flood")).wrap(Ping(b"1.10", b"endpoint").build())
    answers = sum(len(pair.inject(pair.alice, ping)) for _ in range(2000))
    assert 100 < answers <= 256


def test_other_sources_are_not_listened_to() -> None:
    pair = World().call(until=0.05)
    stranger = PacketWriter(0xBAD, SeededEntropy("stranger"))
    assert pair.inject(pair.alice, stranger.wrap(build_error(ErrorCode.SOFTWARE))) == []
    assert pair.alice.failed is None
    assert pair.alice.exchange.counters["wrong_source"] == 1


def test_a_second_hello_changes_nothing() -> None:
    pair = World().call(until=0.05)
    other = build_hello(b"a third zid.", EVERYTHING, HashChain(SeededEntropy("second")))
    assert pair.inject(pair.alice, from_party(pair.bob, other)) == []
    assert pair.alice.exchange.counters["other_hello"] == 1


def test_once_it_has_ended_nothing_is_kept_and_little_is_said() -> None:
    pair = World().call()
    session = pair.alice.secured.session
    pair.alice.exchange.close()
    assert pair.alice.exchange.phase is Phase.ENDED
    assert pair.alice.exchange.deadline is None
    assert pair.inject(pair.alice, from_party(pair.bob, HELLO_ACK)) == []
    for act in (pair.alice.exchange.verify_sas, pair.alice.exchange.reject_sas):
        with pytest.raises(MisuseError):
            act()
    assert session.key
    session.end()
    with pytest.raises(MisuseError):
        assert session.key


def test_misuse_is_told() -> None:
    cache = MemoryZidCache(ManualClock())
    with pytest.raises(MisuseError):
        Exchange(Settings(), 1, b"short", cache, SeededEntropy(0))
    alice, bob = World().exchanges()
    alice.begin(0.0)
    with pytest.raises(MisuseError):
        alice.begin(0.0)
    alice.receive(
        PacketWriter(2, SeededEntropy(0)).wrap(build_hello(BOB, EVERYTHING, HashChain(SeededEntropy(0)))), 0.1
    )
    with pytest.raises(MisuseError):
        alice.expect(Expectation())
    with pytest.raises(MisuseError):
        bob.verify_sas()


def test_before_it_begins_it_hears_nothing() -> None:
    alice, bob = World().exchanges()
    (hello,) = alice.begin(0.0)
    assert isinstance(hello, Send)
    assert bob.receive(hello.datagram, 0.0) == []
    assert bob.phase is Phase.IDLE


def test_what_was_first_heard_is_first() -> None:
    assert World().call().alice.secured.continuity is Continuity.FIRST


def test_no_secret_reaches_a_print() -> None:
    pair = World().call()
    for party in pair.parties:
        shown = "".join(map(repr, party.effects))
        secured = party.secured
        for secret in (secured.send.key, secured.receive.salt, secured.exported_key, secured.session.key):
            assert repr(secret)[2:-1] not in shown
            assert secret.hex() not in shown
        opened = open_packet(party.sent[0])
        assert repr(opened)
