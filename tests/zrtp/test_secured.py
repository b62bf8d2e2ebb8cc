"""After the exchange: the cache, the SAS, and what the peer may still ask for."""

from dataclasses import replace

import pytest

from relay.core import SeededEntropy
from relay.zrtp import AlarmKind, Continuity, Phase, Role, Settings
from relay.zrtp.messages import MessageType, build_go_clear
from tests.zrtp.pair import ALICE, BOB, Pair, Path, World, agree, from_party, kind_of, message_of


def test_verified_once_and_continuous_from_then_on() -> None:
    world = World("continuity")
    first = world.call()
    assert not first.alice.secured.verified
    first.alice.exchange.verify_sas()
    for _ in range(3):
        pair = world.call()
        agree(pair)
        assert pair.alice.secured.continuity is pair.bob.secured.continuity is Continuity.CONTINUED
        assert pair.alice.secured.verified
        assert not pair.bob.secured.verified
        assert pair.bob.secured.peer_verified
        assert not pair.alice.alarms + pair.bob.alarms


def test_a_call_that_broke_off_halfway_does_not_break_continuity() -> None:
    """One end wrote its cache and the other did not: rs2 is for that."""
    for lost in ("Confirm2", "Conf2ACK"):
        world = World(lost)
        world.call()
        broken = world.call(meddler=lambda name, d, lost=lost: [] if kind_of(d) == lost else [d])  # type: ignore[misc]
        assert not (broken.alice.is_secured and broken.bob.is_secured)
        for _ in range(2):
            pair = world.call()
            agree(pair)
            assert pair.alice.secured.continuity is Continuity.CONTINUED


def test_when_one_end_lost_its_cache_the_other_is_alarmed_until_the_sas_is_compared() -> None:
    world = World("lost")
    world.call().alice.exchange.verify_sas()
    before = world.caches[0].look_up(ALICE, BOB)
    world.caches[1].forget(BOB, ALICE)
    for _ in range(2):
        pair = world.call()
        agree(pair)
        assert pair.alice.secured.continuity is Continuity.MISMATCH
        assert AlarmKind.CACHE_MISMATCH in pair.alice.alarms
        assert not pair.alice.secured.verified
        # The cache is left as it was: the alarm comes again on every call (section 4.6.1.1).
        assert world.caches[0].look_up(ALICE, BOB) == before
    # By now the other end misses its newer secret too: it takes both users.
    assert AlarmKind.CACHE_MISMATCH in pair.bob.alarms
    pair.alice.exchange.verify_sas()
    pair.bob.exchange.verify_sas()
    after = world.call()
    assert after.alice.secured.continuity is Continuity.CONTINUED
    assert after.alice.secured.verified
    assert not after.alice.alarms


def test_a_sas_that_differs_takes_everything_back() -> None:
    world = World("differs")
    world.call().alice.exchange.verify_sas()
    pair = world.call()
    assert pair.alice.secured.verified
    pair.alice.exchange.reject_sas()
    assert world.caches[0].look_up(ALICE, BOB) is None
    assert not pair.alice.secured.session.verified
    assert world.call().alice.secured.continuity is Continuity.FIRST


def test_the_shorter_interval_counts_and_then_a_mismatch_is_no_alarm() -> None:
    world = World("expires", (Settings(expiration=3600), Settings()))
    world.call()
    world.clock.advance(3000)
    assert world.call().bob.secured.continuity is Continuity.CONTINUED
    world.clock.advance(4000)
    world.caches[0].forget(ALICE, BOB)
    pair = world.call()
    agree(pair)
    assert pair.bob.secured.continuity is Continuity.FIRST
    assert not pair.bob.alarms


def test_an_end_without_a_cache_leaves_nothing() -> None:
    world = World("cacheless", (Settings(expiration=0), Settings()))
    for _ in range(2):
        pair = world.call()
        agree(pair)
        assert pair.bob.secured.continuity is Continuity.FIRST
    assert world.caches[0].look_up(ALICE, BOB) is None
    assert world.caches[1].look_up(BOB, ALICE) is None


def test_a_peer_that_gives_up_its_cache_is_remembered_as_expired() -> None:
    world = World("gives up")
    world.call()
    changed = world.with_settings(Settings(expiration=0), Settings())
    agree(changed.call())
    kept = world.caches[1].look_up(BOB, ALICE)
    assert kept is not None
    assert kept.expired


def secure(seed: str) -> tuple[Pair, Role]:
    pair = World(seed).call()
    agree(pair)
    return pair, pair.bob.secured.role


def bobs_keys(pair: Pair) -> object:
    """What only Bob has: his Confirm keys."""
    secured = pair.bob.exchange._secured
    assert secured is not None
    return secured._agreed.own_keys.confirm


def test_going_clear_is_refused_and_told() -> None:
    pair, _ = secure("clear")
    go_clear = build_go_clear(bobs_keys(pair).clear_mac())  # type: ignore[attr-defined]
    pair.inject(pair.alice, from_party(pair.bob, go_clear))
    assert AlarmKind.GO_CLEAR in pair.alice.alarms
    assert pair.alice.exchange.phase is Phase.SECURE
    assert message_of(pair.alice.sent[-1])[-4:] == (0x100).to_bytes(4)
    # The alarm rings once, however often it is asked.
    pair.inject(pair.alice, from_party(pair.bob, go_clear))
    assert pair.alice.alarms.count(AlarmKind.GO_CLEAR) == 1


@pytest.mark.parametrize("forged", [bytes(8), b"\xff" * 8])
def test_a_forged_wish_to_go_clear_is_not_even_answered(forged: bytes) -> None:
    pair, _ = secure("forged")
    assert pair.inject(pair.alice, from_party(pair.bob, build_go_clear(forged))) == []
    # Alice's own, sent back to her: each role has a MAC of its own.
    secured = pair.alice.exchange._secured
    assert secured is not None
    reflected = build_go_clear(secured._agreed.own_keys.confirm.clear_mac())
    assert pair.inject(pair.alice, from_party(pair.bob, reflected)) == []
    assert pair.alice.exchange.counters["unauthentic"] == 2
    assert not pair.alice.alarms


def test_a_relayed_sas_is_acknowledged_and_never_shown() -> None:
    pair, _ = secure("relay")
    plain = bytes(4) + b"B32 " + b"S" * 32
    relay = bobs_keys(pair).seal(MessageType.SAS_RELAY, plain, SeededEntropy("relay"))  # type: ignore[attr-defined]
    before = list(pair.alice.effects)
    pair.inject(pair.alice, from_party(pair.bob, relay))
    assert kind_of(pair.alice.sent[-1]) == "RelayACK"
    assert [type(e).__name__ for e in pair.alice.effects[len(before) :]] == ["Alarm"]
    assert pair.alice.alarms == [AlarmKind.RELAYED_SAS]


def test_a_forged_relay_is_silence() -> None:
    pair, _ = secure("forged relay")
    relay = bobs_keys(pair).seal(MessageType.SAS_RELAY, bytes(40), SeededEntropy("relay"))  # type: ignore[attr-defined]
    for at in (12, 40, len(relay) - 1):
        forged = bytearray(relay)
        forged[at] ^= 1
        assert pair.inject(pair.alice, from_party(pair.bob, bytes(forged))) == []
    assert not pair.alice.alarms


def test_a_product_that_discloses_keys_is_told_apart() -> None:
    world = World("discloses", (Settings(), Settings(discloses=True)))
    pair = world.call()
    agree(pair)
    assert pair.alice.alarms == [AlarmKind.DISCLOSURE]
    assert pair.bob.alarms == []


def test_continuity_survives_a_bad_path() -> None:
    world = World("bad path")
    world.call().alice.exchange.verify_sas()
    for _ in range(10):
        pair = world.call(path=Path(loss=0.25, doubling=0.2, jitter=0.1))
        agree(pair)
        assert pair.alice.secured.verified


def test_settings_may_change_between_calls() -> None:
    world = World("change")
    world.call()
    more = replace(Settings(), preshared=True)
    changed = world.with_settings(more, more)
    assert changed.call().alice.secured.continuity is Continuity.CONTINUED
