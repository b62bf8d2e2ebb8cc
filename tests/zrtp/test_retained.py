"""What is kept of peers, for how long, and how many."""

import pytest

from relay.core import ManualClock
from relay.zrtp.confirm import FOREVER
from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.retained import MemoryZidCache, Retained, Strength
from relay.zrtp.settings import EVERYTHING
from relay.zrtp.suites import Offer
from tests.zrtp.pair import ALICE, BOB

STRENGTH = Strength(384, 256, 192)
KEPT = Retained(b"1" * 32, STRENGTH)


def zid(number: int) -> bytes:
    return number.to_bytes(12)


def test_what_is_kept_is_found_under_both_zids_alone() -> None:
    cache = MemoryZidCache(ManualClock())
    cache.keep(ALICE, BOB, KEPT, FOREVER)
    assert cache.look_up(ALICE, BOB) == KEPT
    assert cache.look_up(BOB, ALICE) is None
    assert cache.look_up(zid(1), BOB) is None
    cache.forget(ALICE, BOB)
    cache.forget(ALICE, BOB)
    assert cache.look_up(ALICE, BOB) is None


def test_past_its_interval_it_is_marked() -> None:
    clock = ManualClock()
    cache = MemoryZidCache(clock)
    cache.keep(ALICE, BOB, KEPT, 60)
    clock.advance(59.0)
    assert cache.look_up(ALICE, BOB) == KEPT
    clock.advance(2.0)
    found = cache.look_up(ALICE, BOB)
    assert found is not None
    assert found.expired
    cache.keep(ALICE, BOB, KEPT, FOREVER)
    clock.advance(1e9)
    assert cache.look_up(ALICE, BOB) == KEPT


def test_strangers_push_out_strangers_and_nobody_else() -> None:
    cache = MemoryZidCache(ManualClock(), most=10)
    friends = [zid(number) for number in range(9)]
    for friend in friends:
        cache.keep(ALICE, friend, KEPT.as_verified(), FOREVER)
    for number in range(100, 200):
        cache.keep(ALICE, zid(number), KEPT, FOREVER)
    assert len(cache) == 10
    assert all(cache.look_up(ALICE, friend) for friend in friends)
    assert cache.look_up(ALICE, zid(199)) is not None
    cache.keep(ALICE, zid(9), KEPT.as_verified(), FOREVER)
    cache.keep(ALICE, zid(200), KEPT, FOREVER)
    assert cache.look_up(ALICE, zid(200)) is None
    cache.keep(ALICE, zid(10), KEPT.as_verified(), FOREVER)
    assert len(cache) == 10
    assert cache.look_up(ALICE, zid(10)) is not None


def test_the_secret_before_is_kept_after_diffie_hellman_alone() -> None:
    verified = KEPT.as_verified()
    after = verified.after_dh(b"2" * 32, STRENGTH, continued=True)
    assert (after.rs1, after.rs2, after.verified) == (b"2" * 32, b"1" * 32, True)
    assert not verified.after_dh(b"2" * 32, STRENGTH, continued=False).verified
    preshared = after.after_preshared(b"3" * 32)
    assert (preshared.rs1, preshared.rs2, preshared.verified) == (b"3" * 32, b"1" * 32, True)
    assert preshared.after_preshared(b"4" * 32).preshared_uses == 2
    assert preshared.after_dh(b"5" * 32, STRENGTH, continued=True).preshared_uses == 0


@pytest.mark.parametrize(
    ("without", "code"),
    [("hashes", ErrorCode.HASH), ("ciphers", ErrorCode.CIPHER), ("key_agreements", ErrorCode.KEY_AGREEMENT)],
)
def test_a_peer_is_held_to_what_it_offered(without: str, code: ErrorCode) -> None:
    strength = Strength.of(EVERYTHING)
    assert strength == STRENGTH
    strength.refuse_less(EVERYTHING)
    offers = {name: getattr(EVERYTHING, name) for name in Offer.__dataclass_fields__}
    with pytest.raises(ZrtpError) as error:
        strength.refuse_less(Offer(**{**offers, without: ()}).completed())
    assert error.value.code is code
    assert error.value.downgrade
    Strength.of(Offer((), (), (), (), ()).completed()).refuse_less(EVERYTHING)


def test_secrets_are_not_printed() -> None:
    assert "1111" not in repr(KEPT)
