"""Whom a contact point knows: bounded, aged, remembered, and not to be had by whoever says most."""

from itertools import pairwise

import pytest

from relay.contact_cache.host_cache import (
    FORGET_AFTER,
    LONGEST_SILENCE_WAIT,
    LONGEST_WAIT,
    MOST_HOSTS,
    MOST_PULLS,
    MOST_TOLD,
    MOST_UNTRIED,
    MOST_UNTRIED_OF_ONE,
    ROUND,
    VISITORS,
    HostCache,
    PullOutcome,
)
from relay.core import PeerError, SeededEntropy
from tests.contact_cache.points import names

NOW = 1_800_000_000.0
DAY = 86400.0
ENTROPY = SeededEntropy("hosts")
SEEDS = names(3, "seeds")


def answer(cache: HostCache, onions: list[str], now: float = NOW) -> None:
    for onion in onions:
        cache.note(onion, PullOutcome.GOOD, now, ENTROPY)


def befriend(cache: HostCache, onions: list[str], teller: str = VISITORS, now: float = NOW) -> list[str]:
    """Have names learned one by one and answer at once."""
    taken = []
    for onion in onions:
        if cache.learn([onion], teller, now):
            answer(cache, [onion], now)
            taken.append(onion)
    return taken


def rounds_until(cache: HostCache, onion: str, now: float, days: float = 60.0) -> float:
    """Seconds until a round has this host in it."""
    at = now
    while at < now + days * DAY:
        for pull in cache.draw_round(at, ENTROPY):
            if pull.onion == onion:
                return pull.at - now
        at += ROUND
    return days * DAY


def test_seeds_are_there_from_the_start_and_we_are_no_peer_of_ours() -> None:
    cache = HostCache(SEEDS, own=SEEDS[0])
    assert {pull.onion for pull in cache.draw_round(NOW, ENTROPY)} == set(SEEDS[1:])
    assert cache.learn([SEEDS[0], "not an onion", "A" * 56, SEEDS[1]], VISITORS, NOW) == 0


def test_a_round_is_spread_at_random_over_its_time() -> None:
    cache = HostCache(names(20, "many"))
    times = [pull.at for pull in cache.draw_round(NOW, ENTROPY)]
    assert times == sorted(times)
    assert NOW <= times[0] < times[-1] < NOW + ROUND
    assert max(after - before for before, after in pairwise(times)) < ROUND / 2
    assert times != [pull.at for pull in cache.draw_round(NOW, ENTROPY)]


def test_a_round_is_bounded_and_has_places_for_everybody() -> None:
    cache = HostCache(names(40, "seeds"))
    old = befriend(cache, names(20, "old"))
    answer(cache, old, NOW + DAY)
    new = befriend(cache, names(100, "new"), now=NOW + DAY)
    assert len(new) == 12  # the share of visitors is 32
    for teller in [pull.onion for pull in cache.draw_round(NOW + DAY, ENTROPY) if cache.is_seed(pull.onion)]:
        cache.learn(names(8, teller), teller, NOW + DAY)
    pulls = [pull.onion for pull in cache.draw_round(NOW + DAY, ENTROPY)]
    assert len(pulls) == len(set(pulls)) == MOST_PULLS
    seeds = sum(cache.is_seed(onion) for onion in pulls)
    assert seeds == 10
    assert len(set(pulls) & set(old)) >= 5  # those who answered first
    assert sum(onion not in old and not cache.is_seed(onion) for onion in pulls) >= 4


def test_names_that_never_answered_hold_few_places() -> None:
    cache = HostCache(SEEDS)
    assert cache.learn(names(500, "flood"), SEEDS[0], NOW) == MOST_UNTRIED_OF_ONE
    tellers = befriend(cache, names(30, "tellers"))
    for teller in tellers:
        cache.learn(names(64, teller), teller, NOW)
    assert len(cache) == len(SEEDS) + MOST_UNTRIED_OF_ONE + 63  # the share of visitors and theirs
    for seed in SEEDS:
        for onion in befriend(cache, names(6, seed), seed):
            cache.learn(names(64, onion), onion, NOW)
    assert sum(host.first_answer == 0 and not host.seed for host in cache._hosts.values()) <= MOST_UNTRIED
    # Other names get the places of those that were tried in vain.
    flood = [onion for onion in names(500, "flood") if onion in cache]
    for _ in range(3):
        for onion in flood:
            cache.note(onion, PullOutcome.SILENT, NOW, ENTROPY)
    assert cache.learn(names(100, "more"), SEEDS[0], NOW) == MOST_UNTRIED_OF_ONE
    assert sum(onion in cache for onion in flood) == 0


def test_points_of_one_attacker_get_a_share_and_push_nobody_out() -> None:
    cache = HostCache(SEEDS)
    honest = befriend(cache, names(20, "honest"), SEEDS[0])
    # All of them answer and tell of more of their kind.
    flood = befriend(cache, names(1, "flood"), SEEDS[1])
    for generation in range(6):
        for teller in list(flood):
            flood += befriend(cache, names(20, f"{generation} {teller}"), teller)
        answer(cache, honest, NOW + generation * ROUND)
    assert len(flood) <= (MOST_HOSTS - 3) // 4
    assert all(onion in cache for onion in [*SEEDS, *honest])
    assert len(befriend(cache, names(50, "visitors"))) == 50
    assert len(cache) <= MOST_HOSTS


def test_it_never_grows_beyond_its_bound() -> None:
    cache = HostCache(names(200, "seeds"))
    for teller in names(200, "seeds"):
        befriend(cache, names(8, teller), teller)
    assert len(cache) == MOST_HOSTS


def test_the_silent_are_asked_less_and_less_and_forgotten() -> None:
    cache = HostCache(SEEDS)
    (host,) = befriend(cache, names(1, "host"))
    asked = [NOW]
    now = NOW
    while host in cache and now < NOW + 60 * DAY:
        answer(cache, SEEDS, now)
        for pull in cache.draw_round(now, ENTROPY):
            if pull.onion == host:
                asked.append(pull.at)
                cache.note(host, PullOutcome.SILENT, pull.at, ENTROPY)
        now += ROUND
    waits = [after - before for before, after in pairwise(asked)]
    assert all(wait < 2 * ROUND for wait in waits[:3])  # an hour of it is nothing
    assert min(waits[-10:]) > LONGEST_SILENCE_WAIT / 2
    assert NOW + FORGET_AFTER < now < NOW + FORGET_AFTER + 2 * DAY


def test_seeds_are_never_forgotten() -> None:
    cache = HostCache(SEEDS)
    for hour in range(90 * 24):
        cache.note(SEEDS[0], PullOutcome.SILENT, NOW + hour * ROUND, ENTROPY)
        answer(cache, SEEDS[1:], NOW + hour * ROUND)
    assert SEEDS[0] in cache
    assert rounds_until(cache, SEEDS[0], NOW + 90 * DAY) <= LONGEST_SILENCE_WAIT + ROUND


def test_who_was_away_itself_holds_the_silence_of_all_against_nobody() -> None:
    cache = HostCache(SEEDS)
    learned = befriend(cache, names(5, "learned"))
    answer(cache, SEEDS)
    for day in range(1, 40):
        for onion in [*SEEDS, *learned]:
            cache.note(onion, PullOutcome.SILENT, NOW + day * DAY, ENTROPY)
    now = NOW + 40 * DAY
    answer(cache, SEEDS[:1], now)
    assert all(onion in cache for onion in learned)
    assert {pull.onion for pull in cache.draw_round(now, ENTROPY)} == {*SEEDS, *learned}


@pytest.mark.parametrize("outcome", [PullOutcome.LIED, PullOutcome.POOR])
def test_the_wasteful_are_asked_less_and_less(outcome: PullOutcome) -> None:
    cache = HostCache(SEEDS)
    now, waits = NOW, []
    for _ in range(8):
        waits.append(rounds_until(cache, SEEDS[0], now))
        now += waits[-1]
        cache.note(SEEDS[0], outcome, now, ENTROPY)
    assert all(before < after + ROUND for before, after in pairwise(waits[:4]))
    assert waits[-1] > LONGEST_WAIT / 2
    # Nothing new is no merit; what is new and good is.
    cache.note(SEEDS[0], PullOutcome.IDLE, now, ENTROPY)
    assert rounds_until(cache, SEEDS[0], now) > 3 * DAY
    for _ in range(10):
        cache.note(SEEDS[0], PullOutcome.GOOD, now, ENTROPY)
    assert rounds_until(cache, SEEDS[0], now) < ROUND


def test_only_who_answered_lately_and_keeps_the_rules_is_told_to_others() -> None:
    cache = HostCache(SEEDS)
    befriend(cache, names(30, "a"), SEEDS[0], NOW - 2 * DAY)
    good = befriend(cache, names(30, "b"), SEEDS[1])
    cache.learn(names(5, "untried"), SEEDS[2], NOW)
    cache.note(good[0], PullOutcome.LIED, NOW, ENTROPY)
    assert set(cache.known(ENTROPY, NOW)) == set(good[1:])
    befriend(cache, names(50, "c"), SEEDS[2])
    assert len(set(cache.known(ENTROPY, NOW))) == MOST_TOLD


def test_it_is_remembered() -> None:
    cache = HostCache(SEEDS)
    befriend(cache, names(10, "learned"), SEEDS[0])
    cache.note(SEEDS[0], PullOutcome.LIED, NOW, ENTROPY)
    again = HostCache.from_bytes(cache.to_bytes(), SEEDS)
    assert again.to_bytes() == cache.to_bytes()
    # A seed that the configuration names no longer is forgotten; one that was learned keeps what is known of it.
    learned = names(10, "learned")[0]
    changed = HostCache.from_bytes(cache.to_bytes(), [SEEDS[1], learned])
    assert SEEDS[0] not in changed
    assert changed.is_seed(learned)
    assert len(changed) == 11
    assert set(changed.known(ENTROPY, NOW)) == set(names(10, "learned"))


@pytest.mark.parametrize("damage", [b"", b"\x00", b"\xff" * 40, b"\x92\x01\x91\x9a"])
def test_a_damaged_file_is_refused(damage: bytes) -> None:
    with pytest.raises(PeerError):
        HostCache.from_bytes(damage, SEEDS)


def test_a_clock_that_was_wrong_leaves_nobody_waiting() -> None:
    cache = HostCache(SEEDS)
    for _ in range(9):
        cache.note(SEEDS[0], PullOutcome.LIED, NOW + 400 * DAY, ENTROPY)
    assert rounds_until(cache, SEEDS[0], NOW) < 2 * ROUND


def full_cache() -> HostCache:
    """As many hosts as there may be."""
    cache = HostCache(names(60, "first seeds"))
    for teller in names(60, "first seeds"):
        befriend(cache, names(40, f"of {teller}"), teller)
    return cache


def test_a_full_cache_can_be_read_again_after_further_seeds() -> None:
    cache = full_cache()
    more = names(60, "first seeds") + names(4, "further seeds")
    assert len(cache) > MOST_HOSTS - 4, "or this shows nothing"
    grown = HostCache.from_bytes(cache.to_bytes(), more)
    assert len(grown) <= MOST_HOSTS
    assert all(seed in grown for seed in more)
    again = HostCache.from_bytes(grown.to_bytes(), more)
    assert len(again) == len(grown)


def test_coming_back_forgives_silence_and_no_lies() -> None:
    liar, silent, friend = names(3, "peers")
    cache = HostCache([liar, silent, friend])
    answer(cache, [friend])
    for number in range(8):
        cache.note(liar, PullOutcome.LIED, NOW + number, ENTROPY)
        cache.note(liar, PullOutcome.SILENT, NOW + number, ENTROPY)
        cache.note(silent, PullOutcome.SILENT, NOW + number, ENTROPY)
    back = NOW + 3 * ROUND
    answer(cache, [friend], back)
    assert rounds_until(cache, silent, back) <= 2 * ROUND
    assert rounds_until(cache, liar, back) > 5 * ROUND


def test_a_restart_is_no_absence() -> None:
    silent, friend = SEEDS[:2]
    cache = HostCache(SEEDS)
    answer(cache, [friend])
    for number in range(8):
        cache.note(silent, PullOutcome.SILENT, NOW + number, ENTROPY)
    again = HostCache.from_bytes(cache.to_bytes(), SEEDS)
    answer(again, [friend], NOW + ROUND)
    assert rounds_until(again, silent, NOW + ROUND) > 2 * ROUND
