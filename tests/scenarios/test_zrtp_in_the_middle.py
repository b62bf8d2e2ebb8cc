"""Somebody between two ends of ZRTP who reads, drops and rewrites everything: caught in each mode."""

import itertools
from dataclasses import replace

import pytest

from relay.core import ManualClock, SeededEntropy
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
    MemoryZidCache,
    Offer,
    SasType,
    Session,
    Settings,
)
from relay.zrtp.hello import Hello
from relay.zrtp.key_agreement import fresh_pair
from tests.zrtp.pair import ALICE, BOB, Meddler, Pair, Party, World, agree, kind_of, message_of, rewrapped


class Mallory:
    """One exchange with each end, in the other one's name and with the other one's ZID."""

    def __init__(self, seed: int | str, settings: Settings | None = None) -> None:
        self._seed = seed
        self._settings = settings or Settings()
        self._calls = itertools.count()
        self.caches = MemoryZidCache(ManualClock()), MemoryZidCache(ManualClock())

    def meet(
        self, alice: Exchange, bob: Exchange, sessions: tuple[Session | None, Session | None] = (None, None)
    ) -> tuple[Party, Party, Party, Party]:
        """Alice, Mallory as Bob, Mallory as Alice, Bob; after everything was said."""
        call = next(self._calls)
        as_bob, as_alice = (
            Exchange(
                self._settings,
                5000 + side,
                zid,
                self.caches[side],
                SeededEntropy(f"mallory/{self._seed}/{call}/{side}"),
                session=sessions[side],
            )
            for side, zid in ((0, BOB), (1, ALICE))
        )
        one, other = Pair(alice, as_bob).run(), Pair(as_alice, bob).run()
        return one.alice, one.bob, other.alice, other.bob


@pytest.mark.parametrize("sas", list(SasType))
def test_in_a_first_call_the_two_read_different_things_to_each_other(sas: SasType) -> None:
    """Nothing else can tell in a first call; the control is a call without Mallory."""
    settings = Settings(offer=replace(EVERYTHING, sas_types=(sas,)))
    for seed in range(30):
        world = World(seed, (settings, settings))
        alice, _, _, bob = Mallory(seed, settings).meet(*world.exchanges())
        assert alice.secured.sas is not None
        assert bob.secured.sas is not None
        assert alice.secured.sas.text != bob.secured.sas.text
        assert alice.secured.sas.characters != bob.secured.sas.characters
        without = world.call()
        assert without.alice.secured.sas == without.bob.secured.sas


def test_after_a_first_call_without_mallory_both_are_alarmed() -> None:
    world = World("second")
    for party in world.call().parties:
        party.exchange.verify_sas()
    alice, _, _, bob = Mallory("second").meet(*world.exchanges())
    for party in (alice, bob):
        assert party.secured.continuity is Continuity.MISMATCH
        assert AlarmKind.CACHE_MISMATCH in party.alarms
        assert not party.secured.verified
    # Without Mallory they find each other again, verified as before.
    pair = world.call()
    agree(pair)
    assert pair.alice.secured.verified
    assert pair.bob.secured.verified


def test_after_a_first_call_with_mallory_both_are_alarmed_when_mallory_leaves() -> None:
    world, mallory = World("leaves"), Mallory("leaves")
    mallory.meet(*world.exchanges())
    alice, _, _, bob = mallory.meet(*world.exchanges())
    assert alice.secured.continuity is bob.secured.continuity is Continuity.CONTINUED
    pair = world.call()
    assert AlarmKind.CACHE_MISMATCH in pair.alice.alarms
    assert AlarmKind.CACHE_MISMATCH in pair.bob.alarms


def test_with_signalled_hellos_mallory_gets_no_call() -> None:
    world = World("signalled")
    alice, bob = world.exchanges()
    alice.expect(Expectation(hello_hashes=(bob.hello_hash,), protected=True))
    bob.expect(Expectation(hello_hashes=(alice.hello_hash,), protected=True))
    a, _, _, b = Mallory("signalled").meet(alice, bob)
    for party in (a, b):
        assert not party.is_secured
        assert party.alarms[0] is AlarmKind.HELLO_HASH_MISMATCH
        assert party.failed == Failed(None)


def test_in_preshared_mode_mallory_is_thrown_back_on_diffie_hellman_and_both_are_alarmed() -> None:
    settings = Settings(preshared=True)
    world = World("preshared", (settings, settings))
    for party in world.call().parties:
        party.exchange.verify_sas()
    assert world.call().alice.secured.suite.key_agreement is KeyAgreementType.PRSH
    alice, _, _, bob = Mallory("preshared", settings).meet(*world.exchanges())
    for party in (alice, bob):
        assert party.secured.suite.key_agreement.is_dh
        assert AlarmKind.CACHE_MISMATCH in party.alarms


def test_in_multistream_mode_mallory_gets_nothing() -> None:
    world = World("multistream")
    first = world.call()
    sessions = first.alice.secured.session, first.bob.secured.session
    forged = tuple(
        Session(b"?" * 32, first.alice.secured.suite, zid, peer, verified=True)
        for zid, peer in ((BOB, ALICE), (ALICE, BOB))
    )
    alice, _, _, bob = Mallory("multistream").meet(
        *world.exchanges(sessions=sessions), (forged[0], forged[1])
    )
    assert not alice.is_secured
    assert not bob.is_secured
    assert AlarmKind.TAMPERED in alice.alarms + bob.alarms


AUTHENTIC = ("Hello", "Commit", "DHPart1", "DHPart2", "Confirm1", "Confirm2")


def flipping(kind: str, at: int, sender: str = "") -> Meddler:
    """Every message of this kind has one bit changed, and a right checksum."""

    def meddler(name: str, datagram: bytes) -> list[bytes]:
        if kind_of(datagram) != kind or (sender and name != sender):
            return [datagram]
        message = bytearray(message_of(datagram))
        if at >= len(message):
            return [datagram]
        message[at] ^= 0x10
        return [rewrapped(datagram, bytes(message))]

    return meddler


@pytest.mark.parametrize("kind", AUTHENTIC)
def test_no_bit_of_any_message_can_be_changed(kind: str) -> None:
    """Whatever is changed: the two never both have keys, and what is no mere loss rings."""
    passive = Settings(passive=True)
    sizes = {"Hello": 140, "Commit": 116, "DHPart1": 116, "DHPart2": 116, "Confirm1": 76, "Confirm2": 76}
    rung = 0
    for at in range(12, sizes[kind], 3):
        for settings in ((Settings(), passive), (passive, Settings())):
            pair = World(at, settings).call(meddler=flipping(kind, at, "alice" if kind == "Hello" else ""))
            assert not (pair.alice.is_secured and pair.bob.is_secured), f"byte {at}"
            failed = pair.alice.failed or pair.bob.failed
            assert failed is not None
            if AlarmKind.TAMPERED in pair.alice.alarms + pair.bob.alarms:
                rung += 1
    assert rung > 10


def test_nothing_changed_is_nothing_noticed() -> None:
    """The control of the test above."""
    pair = World("unchanged", (Settings(), Settings(passive=True))).call(meddler=flipping("Hello", 10_000))
    agree(pair)
    assert not pair.alice.alarms + pair.bob.alarms


def weakening(name: str, datagram: bytes) -> list[bytes]:
    """Takes the better algorithms out of both Hellos: S384 becomes N384, which nobody knows, and so on."""
    if kind_of(datagram) != "Hello":
        return [datagram]
    message = message_of(datagram)
    for better, unknown in ((b"S384", b"N384"), (b"AES3", b"2FS3"), (b"EC38", b"EC52"), (b"X255", b"X448")):
        message = message.replace(better, unknown)
    return [rewrapped(datagram, message)]


def test_nobody_can_be_talked_down_to_weaker_algorithms() -> None:
    """Hello is bound by hvi and by its MAC: even in a first call, the two never come to keys."""
    strong = Offer(
        (HashType.S384,), (CipherType.AES3,), (), (KeyAgreementType.EC38, KeyAgreementType.X255), ()
    )
    for seed in range(4):
        settings = Settings(offer=strong)
        pair = World(seed, (settings, settings)).call(meddler=weakening)
        assert not pair.alice.is_secured
        assert not pair.bob.is_secured
        assert AlarmKind.TAMPERED in pair.alice.alarms + pair.bob.alarms
        without = World(seed, (settings, settings)).call().alice.secured.suite
        assert without.key_agreement is KeyAgreementType.EC38
        assert (without.hash, without.cipher) == (HashType.S384, CipherType.AES3)


def test_a_public_value_chosen_after_the_commit_is_caught() -> None:
    """What would let Mallory search for a SAS that fits: another DHPart2 than the one that was committed to."""
    other = fresh_pair(KeyAgreementType.X255, SeededEntropy("later")).public_value

    def meddler(name: str, datagram: bytes) -> list[bytes]:
        if kind_of(datagram) != "DHPart2":
            return [datagram]
        message = message_of(datagram)
        return [rewrapped(datagram, message[:76] + other + message[108:])]

    pair = World("later", (Settings(), Settings(passive=True))).call(meddler=meddler)
    assert pair.bob.failed == Failed(ErrorCode.WRONG_HVI)
    assert AlarmKind.TAMPERED in pair.bob.alarms


@pytest.mark.parametrize("value", [bytes(32), b"\x01" + bytes(31)])
def test_weak_public_values_are_caught(value: bytes) -> None:
    def meddler(name: str, datagram: bytes) -> list[bytes]:
        if kind_of(datagram) != "DHPart1":
            return [datagram]
        message = message_of(datagram)
        return [rewrapped(datagram, message[:76] + value + message[108:])]

    pair = World("weak", (Settings(), Settings(passive=True))).call(meddler=meddler)
    assert pair.alice.failed == Failed(ErrorCode.BAD_PUBLIC_VALUE)
    assert AlarmKind.TAMPERED in pair.alice.alarms


def test_what_was_recorded_in_one_call_is_of_no_use_in_the_next() -> None:
    world = World("recorded")
    recorded = world.call()
    alice, bob = world.exchanges()
    pair = Pair(alice, bob)
    pair.act(pair.alice, alice.begin(0.0))
    for datagram in recorded.bob.sent:
        # As the next call's peer would send it: with a source that fits.
        pair.inject(pair.alice, datagram)
    assert not pair.alice.is_secured
    assert Hello.read(message_of(recorded.bob.sent[0])).zid == BOB


def test_errors_can_end_an_exchange_and_never_weaken_it() -> None:
    """Somebody who can forge an Error could as well have cut the wire (section 4.7.1)."""

    def meddler(name: str, datagram: bytes) -> list[bytes]:
        if kind_of(datagram) == "Commit":
            return [rewrapped(datagram, b"\x50\x5a\x00\x04Error   \x00\x00\x00\x53")]
        return [datagram]

    pair = World("error").call(meddler=meddler)
    for party in pair.parties:
        assert not party.is_secured
        assert party.failed is not None
