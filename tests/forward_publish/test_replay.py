"""The replay cache: within the window nothing comes twice, and nothing grows."""

import pytest

from relay.core import PeerError
from relay.forward_publish import TIME_WINDOW, ReplayCache
from relay.forward_publish.replay import MOST_KEPT, MOST_PEERS, MOST_PER_PEER

ALICE, BOB = b"a" * 32, b"b" * 32


def test_a_message_comes_once_until_its_time_stamp_keeps_it_out() -> None:
    cache = ReplayCache()
    cache.check(ALICE, b"ring", 0.0, 0.0)
    cache.check(BOB, b"ring", 0.0, 0.0)
    for now in (0.0, TIME_WINDOW):
        with pytest.raises(PeerError, match="replayed"):
            cache.check(ALICE, b"ring", 0.0, now)
    with pytest.raises(PeerError, match="window"):
        cache.check(ALICE, b"ring", 0.0, TIME_WINDOW + 1)


def test_one_contact_exhausts_only_its_own_share_and_only_for_a_while() -> None:
    cache = ReplayCache()
    for number in range(MOST_PER_PEER):
        cache.check(ALICE, number.to_bytes(4), 0.0, 0.0)
    with pytest.raises(PeerError, match="too many"):
        cache.check(ALICE, b"one more", 0.0, 0.0)
    cache.check(BOB, b"ring", 0.0, 0.0)
    cache.check(ALICE, b"later", TIME_WINDOW + 1, TIME_WINDOW + 1)
    assert len(cache) == 2


def test_time_stamps_ahead_of_ours_keep_nothing_for_good() -> None:
    cache = ReplayCache()
    for turn in range(20):
        now = turn * (2 * TIME_WINDOW + 1)
        for number in range(MOST_PER_PEER):
            cache.check(ALICE, b"%d/%d" % (turn, number), now + TIME_WINDOW, now)
        assert len(cache) == MOST_PER_PEER


def test_the_number_of_peers_is_bounded() -> None:
    cache = ReplayCache()
    for number in range(MOST_PEERS + 10):
        cache.check(number.to_bytes(32), b"", 0.0, 0.0)
    assert len(cache) == MOST_PEERS


def test_the_next_run_refuses_what_the_last_one_took() -> None:
    cache = ReplayCache()
    cache.check(ALICE, b"ring", 0.0, 0.0)
    assert cache.changed
    kept = cache.to_bytes(1.0)
    assert not cache.changed
    for turn in range(2):
        again = ReplayCache.from_bytes(kept, 2.0)
        with pytest.raises(PeerError, match="replayed"):
            again.check(ALICE, b"ring", 0.0, 2.0)
        again.check(ALICE, b"another %d" % turn, 0.0, 2.0)
        kept = again.to_bytes(3.0)
    # The control: a run that remembers nothing takes it once more.
    ReplayCache().check(ALICE, b"ring", 0.0, 2.0)


def test_what_is_kept_says_neither_whose_nor_when_nor_in_which_order_and_goes() -> None:
    kept = []
    for order in ((ALICE, BOB), (BOB, ALICE)):
        cache = ReplayCache()
        for number, peer in enumerate(order):
            cache.check(peer, peer[:1], 1.0 + number, 2.0)
        kept.append(cache.to_bytes(2.0))
    assert kept[0] == kept[1]
    assert ALICE not in kept[0]
    later = ReplayCache.from_bytes(kept[0], 3 * TIME_WINDOW)
    assert later.to_bytes(3 * TIME_WINDOW) == ReplayCache().to_bytes(0.0)


@pytest.mark.parametrize("damaged", [None, b"", b"\xff" * 40, bytes(2_000_000)])
def test_a_file_that_cannot_be_read_is_as_none(damaged: bytes | None) -> None:
    ReplayCache.from_bytes(damaged, 0.0).check(ALICE, b"ring", 0.0, 0.0)


def test_the_file_is_bounded_and_can_be_read_at_its_largest() -> None:
    cache = ReplayCache()
    for number in range(MOST_KEPT + 300):
        cache.check((number // 200).to_bytes(32), number.to_bytes(4), 0.0, 0.0)
    again = ReplayCache.from_bytes(cache.to_bytes(0.0), 0.0)
    assert len(again._before) == MOST_KEPT
