"""One pull: what an honest peer costs, and how little each way of lying can waste."""

from collections.abc import Sequence
from typing import Any

import pytest

from relay.contact_cache.asks import Ask, AskDigests, AskPeers, AskSummary, AskWanted
from relay.contact_cache.digests import CHILDREN
from relay.contact_cache.entry import Row, Summary, short_hash
from relay.contact_cache.host_cache import PullOutcome
from relay.contact_cache.pull_budget import PullBudget
from relay.contact_cache.synchronisation import PULL_COUNTS, Declined, Puller
from relay.core import Counters, SeededEntropy
from tests.contact_cache.points import KIND, MemoryStore, Point, make_entry, names, verify

NOW = 1_800_000_000.0
LATER = int(NOW) + 86400
OURS, PEER = names(2)


def fill(store: MemoryStore, count: int, seed: str, *, revision: int = 1, expires: int = LATER) -> list[Row]:
    entropy = SeededEntropy(seed)
    rows = [make_entry(entropy.token(32), revision, expires) for _ in range(count)]
    for row in rows:
        store.put(row)
    return rows


def point(onion: str, budget: PullBudget | None = None) -> Point:
    return Point(onion, [OURS, PEER], budget or PullBudget(), SeededEntropy(onion))


def test_an_honest_peer_gives_all_it_has_and_costs_little_when_it_has_nothing_new() -> None:
    ours, peer = point(OURS), point(PEER)
    fill(ours.store, 500, "common")
    fill(peer.store, 500, "common")
    fill(ours.store, 50, "ours")
    fill(peer.store, 70, "theirs")
    first = ours.pull(peer, PEER, NOW)
    assert (first.pulled[KIND], first.complete) == (70, True)
    assert first.answers == 5  # names, digests, one summary, two of entries
    assert len(ours.store.rows) == 620
    again = ours.pull(peer, PEER, NOW)
    assert (again.pulled[KIND], again.complete, again.answers) == (0, True, 3)
    peer.pull(ours, OURS, NOW)
    assert peer.store.fingerprint() == ours.store.fingerprint()
    alike = ours.pull(peer, PEER, NOW)
    assert (alike.pulled[KIND], alike.complete, alike.answers) == (0, True, 2)
    assert (ours.counters["pulls good"], ours.counters["pulls idle"]) == (1, 2)


def test_the_higher_revision_wins_and_of_equal_ones_the_higher_bytes() -> None:
    ours, peer = point(OURS), point(PEER)
    keys = [bytes([number]) * 32 for number in range(4)]
    versions = [(1, b"a", 2, b"b"), (2, b"a", 1, b"b"), (1, b"a", 1, b"b"), (1, b"b", 1, b"a")]
    for key, (my_revision, mine, their_revision, theirs) in zip(keys, versions, strict=True):
        ours.store.put(make_entry(key, my_revision, LATER, mine))
        peer.store.put(make_entry(key, their_revision, LATER, theirs))
    assert ours.pull(peer, PEER, NOW).pulled[KIND] == 2
    # What lost is not fetched again and again.
    assert ours.pull(peer, PEER, NOW).answers == 3
    peer.pull(ours, OURS, NOW)
    assert peer.store.fingerprint() == ours.store.fingerprint()
    assert {row.body[48:49] for row in ours.store.rows.values()} == {b"b", b"a"}
    assert [ours.store.rows[key].revision for key in keys] == [2, 2, 1, 1]


def test_what_is_out_of_date_is_refused_and_nobody_s_fault() -> None:
    ours, peer = point(OURS), point(PEER)
    fill(peer.store, 30, "old", expires=int(NOW) - 4000)
    fill(peer.store, 30, "new")
    pull = ours.pull(peer, PEER, NOW)
    assert pull.pulled[KIND] == 30
    assert ours.counters["entries out of date"] == 30
    assert ours.counters["pulls good"] == 1
    assert ours.pull(peer, PEER, NOW).answers == 3  # and not fetched again
    assert all(row.expires == LATER for row in ours.store.rows.values())


def test_a_pull_that_finds_too_little_room_goes_on_next_time() -> None:
    ours, peer = point(OURS), point(PEER)
    fill(peer.store, 1000, "theirs")
    pulled = []
    for number in range(12):
        ours.room = 100 * (number + 1)
        pulled.append(ours.pull(peer, PEER, NOW).pulled[KIND])
    assert ours.store.fingerprint() == peer.store.fingerprint()
    assert max(pulled) == 100
    assert ours.counters["pulls good"] + ours.counters["pulls idle"] == 12


@pytest.mark.parametrize("told", ["before", "after the entries came"])
def test_a_store_without_room_takes_what_replaces_and_blames_nobody(told: str) -> None:
    ours, peer = point(OURS), point(PEER)
    rows = fill(ours.store, 100, "common")
    for row in rows:
        peer.store.put(make_entry(row.key, 2, LATER))
    fill(peer.store, 500, "theirs")
    room = 0 if told == "before" else 1000
    puller = Puller(
        verify,
        PullBudget(),
        {KIND: 100},
        {KIND: room},
        ours.declined,
        ours.counters,
        ours.entropy,
        NOW,
    )
    while (ask := puller.next_ask(NOW)) is not None:
        if not isinstance(ask, AskWanted):
            ours._take(puller, ask, peer.answer(ask, OURS, NOW), NOW)
            continue
        puller.take_wanted(ask, peer.answer(ask, OURS, NOW), NOW)
        held = [entry.key in ours.store.rows for entry in puller.take_entries()]
        entries = zip(puller.take_entries(), held, strict=True)
        puller.settle([ours.store.put(entry) if there else None for entry, there in entries])
    assert {row.revision for row in ours.store.rows.values()} == {2}
    assert (puller.pulled[KIND], len(ours.store.rows), puller.complete) == (100, 100, False)
    assert puller.answers <= 3 + (2 if told == "before" else 4)
    assert puller.outcome() is PullOutcome.GOOD
    # Nothing to bring but what there is no room for: idle, not poor.
    ours.room = 0
    for _ in range(3):
        ours.pull(peer, PEER, NOW)
    assert ours.counters["pulls poor"] == 0


@pytest.mark.parametrize("theirs", [1000, 6000])
def test_a_pull_without_room_costs_little_blames_nobody_and_finds_all_renewals_in_the_end(
    theirs: int,
) -> None:
    budget = PullBudget(page=40, wanted=16)
    ours, peer = point(OURS, budget), point(PEER, budget)
    rows = fill(ours.store, 1000, "common")
    for row in rows:
        peer.store.put(row)
    fill(ours.store, 1000, "ours")
    fill(peer.store, theirs, "theirs")
    ours.room = 0
    for _ in range(3):
        assert ours.pull(peer, PEER, NOW).answers <= 2 + budget.summaries
    assert (ours.counters["pulls idle"], ours.counters["pulls poor"]) == (3, 0)
    for row in rows[::50]:
        peer.store.put(make_entry(row.key, 2, LATER))
    pulls = 0
    while any(ours.store.rows[row.key].revision == 1 for row in rows[::50]):
        assert ours.pull(peer, PEER, NOW).answers <= 2 + 2 * budget.summaries
        pulls += 1
        assert pulls < 500
    assert ours.counters["pulls poor"] == 0


def test_a_room_of_one_place_buys_no_reading_to_the_end() -> None:
    budget = PullBudget(page=40, wanted=16)
    ours, peer = point(OURS, budget), point(PEER, budget)
    fill(ours.store, 2000, "ours")
    fill(peer.store, 2000, "theirs")
    ours.room = 2001
    pull = ours.pull(peer, PEER, NOW)
    assert (pull.pulled[KIND], pull.complete) == (1, False)
    assert pull.answers <= 4 + budget.summaries


def test_no_room_for_one_kind_excuses_no_lies_about_another() -> None:
    budget = PullBudget(page=40, wanted=16)
    ours = point(OURS, budget)
    peer = Inventor(PEER, [OURS, PEER], budget, SeededEntropy("liar"))
    fill(ours.store, 100, "ours")
    puller = Puller(
        verify, budget, {1: 100, 2: 100}, {1: 0, 2: 9}, ours.declined, ours.counters, ours.entropy, NOW
    )
    while (ask := puller.next_ask(NOW)) is not None:
        ours._take(puller, ask, peer.answer(ask, OURS, NOW), NOW)
    assert puller.outcome() is PullOutcome.POOR


def test_what_is_renewed_without_end_is_bounded_too() -> None:
    budget = PullBudget(renewed=32, wanted=16)
    ours, peer = point(OURS, budget), point(PEER, budget)
    for row in fill(ours.store, 300, "common"):
        peer.store.put(make_entry(row.key, 2, LATER))
    assert ours.pull(peer, PEER, NOW).pulled[KIND] == 32


def test_small_pages_come_to_the_same() -> None:
    budget = PullBudget(page=40, wanted=16)
    ours, peer = point(OURS, budget), point(PEER, budget)
    fill(peer.store, 3000, "theirs")
    fill(ours.store, 3000, "ours")
    # One child longer than a page.
    entropy = SeededEntropy("dense")
    for _ in range(130):
        peer.store.put(make_entry(b"\xab\xc1" + entropy.token(30), 1, LATER))
    for _ in range(3):
        ours.pull(peer, PEER, NOW)
    assert len(ours.store.rows) == 6130


def test_a_peer_that_is_far_behind_is_no_liar() -> None:
    ours, peer = point(OURS), point(PEER)
    fill(ours.store, 2000, "common", revision=5)
    fill(peer.store, 2000, "common", revision=4)
    pull = ours.pull(peer, PEER, NOW)
    assert (pull.pulled[KIND], pull.answers, pull.complete) == (0, 3, True)
    assert ours.counters["pulls idle"] == 1


class Liar(Point):
    """Has a thousand real entries, most of which we hold, and answers wrongly."""

    entropy: SeededEntropy

    def fresh_key(self, bits: int = 0, prefix: int = 0) -> bytes:
        low = int.from_bytes(self.entropy.token(32)) >> bits
        return (low | prefix << (256 - bits)).to_bytes(32)


class Forger(Liar):
    """Entries of others with a body changed."""

    def answer(self, ask: Ask, asker: str, now: float) -> list[Any]:
        answer = super().answer(ask, asker, now)
        if isinstance(ask, AskWanted):
            return [body[:-1] + bytes([body[-1] ^ 1]) for body in answer]
        return answer


class Inventor(Liar):
    """Summaries of entries that do not exist, as many as it is asked for, and none of them given."""

    def answer(self, ask: Ask, asker: str, now: float) -> list[Any]:
        match ask:
            case AskDigests():
                return [(self.entropy.token(16), 1 << 31)] * CHILDREN
            case AskSummary(_, bits, prefix, _):
                keys = sorted(self.fresh_key(bits, prefix) for _ in range(self.budget.page))
                return [Summary(key[:16], 1 << 40, b"x" * 8) for key in keys]
            case AskWanted():
                return []
        return super().answer(ask, asker, now)


class Changing(Liar):
    """Digests that never match, whatever is pulled."""

    def answer(self, ask: Ask, asker: str, now: float) -> list[Any]:
        if isinstance(ask, AskDigests):
            return [(self.entropy.token(16), count) for _, count in self.store.digests()]
        return super().answer(ask, asker, now)


class Promising(Liar):
    """Newer revisions in the summaries, old ones given."""

    def answer(self, ask: Ask, asker: str, now: float) -> list[Any]:
        answer = super().answer(ask, asker, now)
        if isinstance(ask, AskDigests):
            return [(self.entropy.token(16), count) for _, count in self.store.digests()]
        if isinstance(ask, AskSummary):
            return [s._replace(revision=s.revision + 7) for s in answer]
        return answer


class Pusher(Liar):
    """Real entries that nobody asked for."""

    def answer(self, ask: Ask, asker: str, now: float) -> list[Any]:
        if isinstance(ask, AskWanted):
            return [make_entry(self.fresh_key(), 1, LATER).body for _ in range(self.budget.wanted)]
        return super().answer(ask, asker, now)


class Repeating(Liar):
    """One page, over and over, out of order."""

    def answer(self, ask: Ask, asker: str, now: float) -> list[Any]:
        answer = super().answer(ask, asker, now)
        return answer[::-1] if isinstance(ask, AskSummary) else answer


class Elsewhere(Liar):
    """Summaries outside the prefix."""

    def answer(self, ask: Ask, asker: str, now: float) -> list[Any]:
        if isinstance(ask, AskSummary):
            return [Summary(bytes(16), 1, bytes(8)), Summary(b"\xff" * 17, 1, bytes(8))]
        return super().answer(ask, asker, now)


class Aged(Liar):
    """Entries whose time is over, signed well, without end."""

    def answer(self, ask: Ask, asker: str, now: float) -> list[Any]:
        match ask:
            case AskDigests():
                return [(self.entropy.token(16), 2) for _ in range(CHILDREN)]
            case AskSummary(_, bits, prefix, _):
                keys = sorted(self.fresh_key(bits, prefix) for _ in range(self.budget.page))
                self.made = {key[:16]: make_entry(key, 1, int(now) - 10_000).body for key in keys}
                return [Summary(short, 1, short_hash(body)) for short, body in self.made.items()]
            case AskWanted(_, keys):
                return [self.made[key] for key in keys if key in self.made]
        return super().answer(ask, asker, now)


class Truncating(Liar):
    """Too few digests."""

    def answer(self, ask: Ask, asker: str, now: float) -> list[Any]:
        answer = super().answer(ask, asker, now)
        return answer[:100] if isinstance(ask, AskDigests) else answer


LIARS = (Forger, Inventor, Changing, Promising, Pusher, Repeating, Elsewhere, Aged, Truncating)


@pytest.mark.parametrize("liar", LIARS)
def test_a_liar_wastes_a_stated_effort_and_leaves_nothing(liar: type[Liar]) -> None:
    # Small pages, so that budgets of many pages are at stake.
    budget = PullBudget(page=200, wanted=16)
    ours = point(OURS, budget)
    peer = liar(PEER, [OURS, PEER], budget, SeededEntropy("liar"))
    rows = fill(peer.store, 1000, "common")
    for row in rows[:900]:
        ours.store.put(row)
    before = ours.store.fingerprint()
    verified = 0

    def counting(kind: int, body: bytes, now: float) -> object:
        nonlocal verified
        verified += 1
        return verify(kind, body, now)

    for _ in range(3):
        held = {KIND: len(ours.store.rows)}
        puller = Puller(
            counting,  # type: ignore[arg-type]
            budget,
            held,
            {KIND: 1000},
            ours.declined,
            ours.counters,
            ours.entropy,
            NOW,
        )
        while (ask := puller.next_ask(NOW)) is not None:
            ours._take(puller, ask, peer.answer(ask, OURS, NOW), NOW)
        assert (
            puller.answers
            <= budget.in_vain((held[KIND] + puller.pulled[KIND],)) + puller.pulled[KIND] // budget.wanted + 1
        )
        assert verified <= budget.wanted * (budget.vain + 1 + puller.pulled[KIND])
        verified = 0
        outcome = puller.outcome()
    genuine = {row.body for row in rows}
    assert all(row.body in genuine for row in ours.store.rows.values())
    if liar is not Changing:
        assert ours.store.fingerprint() == before
    assert outcome is (PullOutcome.POOR if liar in (Inventor, Changing, Aged) else PullOutcome.LIED)


def test_a_peer_that_dribbles_runs_out_of_time() -> None:
    ours, peer = point(OURS), point(PEER)
    fill(peer.store, 1000, "theirs")
    budget = PullBudget(seconds=100.0)
    puller = Puller(
        verify, budget, {KIND: 0}, {KIND: 9}, Declined(), Counters(PULL_COUNTS), SeededEntropy(1), NOW
    )
    asks: Sequence[float] = [NOW + 60.0 * number for number in range(9)]
    answered = 0
    for now in asks:
        if (ask := puller.next_ask(now)) is None:
            break
        ours._take(puller, ask, peer.answer(ask, OURS, now), now)
        answered += 1
    assert answered == 2
    assert puller.outcome() is PullOutcome.SILENT


def test_names_are_handed_over_and_kinds_are_pulled_one_after_the_other() -> None:
    puller = Puller(
        verify,
        PullBudget(),
        {2: 0, 1: 0},
        {2: 9, 1: 9},
        Declined(),
        Counters(PULL_COUNTS),
        SeededEntropy(1),
        NOW,
    )
    assert puller.next_ask(NOW) == AskPeers()
    puller.take_peers(["x"])
    assert puller.names == ("x",)
    for kind in (1, 2):
        ask = puller.next_ask(NOW)
        assert ask == AskDigests(kind)
        puller.take_digests(ask, MemoryStore().digests(), MemoryStore().digests())
    assert puller.next_ask(NOW) is None
    assert puller.complete
    assert puller.outcome() is PullOutcome.IDLE
