"""Whether the other end is who it should be, and does what it did."""

from dataclasses import replace

import pytest

from relay.core import PeerError, SeededEntropy
from relay.zrtp import (
    EVERYTHING,
    AlarmKind,
    CipherType,
    Continuity,
    ErrorCode,
    Exchange,
    Expectation,
    Failed,
    HashType,
    KeyAgreementType,
    Offer,
    Settings,
)
from relay.zrtp.hash_chain import HashChain
from relay.zrtp.hello import build_hello
from tests.zrtp.pair import ALICE, BOB, Pair, World, agree, kind_of, rewrapped

MODEST = Offer((HashType.S256,), (CipherType.AES1,), (), (KeyAgreementType.X255,), ())


def told(alice: Exchange, bob: Exchange, *, protected: bool = True, zid: bytes = b"") -> None:
    """Each hears of the other's Hello by signalling."""
    alice.expect(Expectation(hello_hashes=(bob.hello_hash,), protected=protected, zid=zid))
    bob.expect(Expectation(hello_hashes=(alice.hello_hash,), protected=protected))


@pytest.mark.parametrize("protected", [True, False])
def test_signalled_hellos_are_taken_and_vouch_for_the_exchange_where_nobody_could_change_them(
    protected: bool,
) -> None:
    alice, bob = World().exchanges()
    told(alice, bob, protected=protected)
    pair = Pair(alice, bob).run()
    agree(pair)
    for party in pair.parties:
        assert party.secured.signalled
        assert party.secured.authenticated is protected
    assert not World().call().alice.secured.signalled


def another_hello(name: str, datagram: bytes) -> list[bytes]:
    if name == "bob" and kind_of(datagram) == "Hello":
        message = build_hello(BOB, EVERYTHING, HashChain(SeededEntropy("mallory")))
        return [rewrapped(datagram, message), datagram]
    return [datagram]


def test_a_hello_that_was_not_signalled_is_not_taken_and_the_right_one_still_is() -> None:
    alice, bob = World("another").exchanges()
    told(alice, bob)
    pair = Pair(alice, bob, meddler=another_hello).run()
    agree(pair)
    assert pair.alice.alarms == [AlarmKind.HELLO_HASH_MISMATCH]
    # The control: without signalling the wrong one comes first and is taken for Bob's.
    alice, bob = World("another").exchanges()
    pair = Pair(alice, bob, meddler=another_hello).run()
    assert not pair.alice.is_secured


def test_a_hello_of_a_newer_version_comes_before_the_one_that_was_signalled_for_ours() -> None:
    """Who speaks several says the highest first, whose hash is none of ours, and ours when it hears our Hello."""

    def newer(name: str, datagram: bytes) -> list[bytes]:
        if name == "bob" and kind_of(datagram) == "Hello":
            message = build_hello(BOB, EVERYTHING, HashChain(SeededEntropy("newer"))).replace(
                b"1.10", b"1.20", 1
            )
            return [rewrapped(datagram, message), datagram]
        return [datagram]

    alice, bob = World("newer").exchanges()
    told(alice, bob)
    pair = Pair(alice, bob, meddler=newer).run()
    agree(pair)
    assert not pair.alice.alarms
    assert pair.alice.exchange.counters["newer_hello"] >= 1


def test_hashes_for_other_versions_say_nothing_about_ours() -> None:
    alice, bob = World().exchanges()
    alice.expect(Expectation(hello_hashes=("2.00 " + "0" * 64,)))
    pair = Pair(alice, bob).run()
    agree(pair)
    assert not pair.alice.secured.signalled
    _, bob = World().exchanges()
    with pytest.raises(PeerError):
        bob.expect(Expectation(hello_hashes=("nonsense",)))


def test_signalling_may_come_after_hello_was_sent() -> None:
    alice, bob = World().exchanges()
    alice.begin(0.0)
    alice.expect(Expectation(hello_hashes=(bob.hello_hash,)))
    assert alice.deadline is not None


def test_another_zid_than_last_time_is_an_alarm() -> None:
    world = World()
    alice, bob = world.exchanges(expectations=(Expectation(zid=BOB), None))
    assert not Pair(alice, bob).run().alice.alarms
    alice, bob = world.exchanges(expectations=(Expectation(zid=BOB), None), zids=(ALICE, b"bob's newer."))
    pair = Pair(alice, bob).run()
    assert pair.alice.alarms == [AlarmKind.OTHER_ZID]
    assert pair.alice.secured.continuity is Continuity.FIRST


@pytest.mark.parametrize(
    ("weaker", "code"),
    [
        (replace(EVERYTHING, hashes=(HashType.S256,)), ErrorCode.HASH),
        (replace(EVERYTHING, ciphers=(CipherType.AES1,)), ErrorCode.CIPHER),
        (replace(EVERYTHING, key_agreements=(KeyAgreementType.X255,)), ErrorCode.KEY_AGREEMENT),
    ],
)
def test_a_peer_that_offers_less_than_before_is_refused(weaker: Offer, code: ErrorCode) -> None:
    world = World("weaker")
    world.call()
    weakened = world.with_settings(Settings(), Settings(offer=weaker))
    pair = weakened.call()
    assert pair.alice.failed == Failed(code)
    assert AlarmKind.DOWNGRADE in pair.alice.alarms
    assert pair.bob.failed == Failed(code, by_peer=True)
    # The control: somebody of whom nothing is known may offer as little.
    agree(World("new", (Settings(), Settings(offer=weaker))).call())


def test_a_peer_may_offer_more_than_before_and_is_held_to_that() -> None:
    world = World("more", (Settings(), Settings(offer=MODEST)))
    world.call()
    better = world.with_settings(Settings(), Settings())
    agree(better.call())
    assert world.call().alice.failed == Failed(ErrorCode.HASH)


def test_auxsecrets_are_compared_and_used() -> None:
    def call(one: bytes, other: bytes) -> Pair:
        alice, bob = World("aux").exchanges(
            expectations=(Expectation(auxsecret=one), Expectation(auxsecret=other))
        )
        pair = Pair(alice, bob).run()
        agree(pair)
        return pair

    same, differ, one = call(b"family", b"family"), call(b"family", b"other"), call(b"family", b"")
    assert not same.alice.alarms + same.bob.alarms
    assert differ.alice.alarms == differ.bob.alarms == [AlarmKind.AUXSECRET_MISMATCH]
    assert one.alice.alarms == [AlarmKind.AUXSECRET_MISMATCH]
    assert one.bob.alarms == []


def test_an_expectation_does_not_print_its_secret() -> None:
    assert "family" not in repr(Expectation(auxsecret=b"family"))


def test_a_pbx_is_told_apart_and_gets_no_trust() -> None:
    def meddler(name: str, datagram: bytes) -> list[bytes]:
        if name == "bob" and kind_of(datagram) == "Hello":
            message = build_hello(b"a pbx's zid.", EVERYTHING, HashChain(SeededEntropy("pbx")), mitm=True)
            return [rewrapped(datagram, message)]
        return [datagram]

    pair = World("pbx").call(meddler=meddler, until=1.0)
    assert AlarmKind.MITM_DEVICE in pair.alice.alarms
