"""The replay cache: within the window nothing comes twice, and nothing grows."""

import pytest

from relay.core import PeerError
from relay.forward_publish import TIME_WINDOW, ReplayCache
from relay.forward_publish.replay import MOST_PEERS, MOST_PER_PEER

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
