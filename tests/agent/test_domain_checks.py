"""Domains asked again: at random times of their own, and what is said of what changed."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from relay.agent import domain_checks
from relay.agent.contacts import ContactBook
from relay.agent.domain_checks import EVERY, LATE, LONGEST, SETTLE, DomainChecks
from relay.agent.domain_contacts import DomainContacts
from relay.agent.domain_pins import DOMAINS_FILE, DomainPins
from relay.agent.domains import Account, DomainResolver, Found
from relay.agent.events import Value
from relay.core import BayonneError, PeerError, RefusedByPolicy, SeededEntropy, TransportUnavailable
from relay.identity import Identity
from tests.agent.full_disk import FullDisk
from tests.agent.virtual_time import WALL, LoopClock, in_virtual_time

HERS, ANOTHERS, THIRD = (Identity.generate(SeededEntropy(name)) for name in ("alice", "another", "third"))
ALICE = Account("alice", "example.org")
HOUR, DAY = 3600.0, 86400.0


@pytest.fixture(autouse=True)
def _weeks_pass_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks taken in between cost the tests time and are nothing that they are about."""
    monkeypatch.setattr(domain_checks, "NOTICE_EVERY", 1800.0)
    monkeypatch.setattr(domain_checks, "LONGEST_SLEEP", 6 * HOUR)


class Bench:
    """Domains that say what the test says; `asked` is when, and for which account."""

    def __init__(self, path: Path, *accounts: Account, seed: int = 1) -> None:
        self.state = FullDisk(path)
        self.clock = LoopClock()
        self.entropy = SeededEntropy(f"checks {seed}")
        self.book, self.pins = ContactBook(self.state), DomainPins(self.state)
        self.people = DomainContacts(self.book, self.pins)
        self.asked: list[tuple[float, str]] = []
        self._was_asked = asyncio.Event()
        self.told: list[tuple[str, dict[str, Value]]] = []
        self.says: dict[Account, Identity | BayonneError] = {}
        for account in accounts:
            self.add(account)

    def add(self, account: Account) -> None:
        who = Identity.generate(self.entropy)
        self.says[account] = who
        found = Found(account, who.public_key, who.sip_uri("x"))
        self.people.add(account.user, found, "", ("a" * 56,), self.clock.wall(), self.entropy)

    async def resolve(self, account: Account) -> Found:
        self.asked.append((self.clock.wall(), account.text))
        self._was_asked.set()
        await asyncio.sleep(2.0)
        said = self.says[account]
        if isinstance(said, BayonneError):
            raise said
        return Found(account, said.public_key, said.sip_uri("x"))

    def report(self, event: str, /, **fields: Value) -> None:
        self.told.append((event, fields))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        checks = DomainChecks(
            self.book,
            self.pins,
            cast(DomainResolver, self),
            clock=self.clock,
            entropy=self.entropy,
            report=self.report,
        )
        task = asyncio.create_task(checks.run())
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until_asked(self, times: int = 1) -> None:
        for _ in range(times):
            self._was_asked.clear()
            await self._was_asked.wait()
        await asyncio.sleep(5.0)

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.told]


def accounts(number: int) -> list[Account]:
    return [Account(f"user{one}", "example.org") for one in range(number)]


@in_virtual_time
async def test_a_change_is_an_alarm_once_and_ends_when_the_domain_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ALICE)
    async with bench.running():
        await bench.until_asked()
        assert bench.told == []
        hers = bench.says[ALICE]
        bench.says[ALICE] = ANOTHERS
        await bench.until_asked(3)
        assert bench.told == [("domain-changed", {"contact": "alice", "account": ALICE.text})]
        assert "accept-change" in bench.people.doubt(bench.book.named("alice"))
        bench.says[ALICE] = THIRD
        await bench.until_asked()
        assert bench.events == ["domain-changed"] * 2
        bench.says[ALICE] = hers
        await bench.until_asked(2)
        assert bench.events == ["domain-changed"] * 2 + ["domain-again"]
        assert bench.people.doubt(bench.book.named("alice")) == ""


@in_virtual_time
async def test_an_open_alarm_is_told_again_at_the_next_start(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ALICE)
    bench.pins.note(Found(ALICE, ANOTHERS.public_key, ""), WALL)
    async with bench.running():
        await asyncio.sleep(1.0)
    assert bench.events == ["domain-changed"]
    assert bench.asked == []


@in_virtual_time
async def test_an_account_that_is_published_no_more_is_told_once_and_called_as_before(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ALICE)
    hers = bench.says[ALICE]
    bench.says[ALICE] = RefusedByPolicy("no such account")
    async with bench.running():
        await bench.until_asked(2)
        assert bench.events == ["domain-withdrew"]
        assert bench.people.doubt(bench.book.named("alice")) == ""
        bench.says[ALICE] = hers
        await bench.until_asked(2)
    assert bench.events == ["domain-withdrew", "domain-again"]


@in_virtual_time
async def test_without_an_answer_nothing_is_told_and_it_is_asked_again_sooner(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ALICE)
    for trouble in (TransportUnavailable("Tor is not running"), PeerError("bad TLS")):
        bench.says[ALICE] = trouble
        async with bench.running():
            await bench.until_asked(40)
    times = [at for at, _ in bench.asked[1:40]]
    assert (times[-1] - times[0]) / len(times) < EVERY / 4
    assert bench.told == []


@in_virtual_time
async def test_each_account_has_times_of_its_own_and_none_repeats_them(tmp_path: Path) -> None:
    bench = Bench(tmp_path, *accounts(12))
    async with bench.running():
        await asyncio.sleep(28 * DAY)
    times: dict[str, list[float]] = {}
    for at, account in bench.asked:
        times.setdefault(account, []).append(at)
    gaps = [later - at for one in times.values() for at, later in itertools.pairwise(one)]
    # 168 questions are expected; the spread of an exponential is as large as its mean.
    assert 120 < len(bench.asked) < 220
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert 0.7 < deviation / mean < 1.2
    assert max(gaps) <= LONGEST + LATE
    crowded = [at for at, _ in bench.asked if sum(abs(at - other) < 60.0 for other, _ in bench.asked) > 3]
    assert not crowded
    assert all(at > WALL + 60.0 for at, _ in bench.asked), "nobody is asked at the start"


@in_virtual_time
async def test_what_is_long_due_at_a_start_is_spread_over_hours(tmp_path: Path) -> None:
    bench = Bench(tmp_path, *accounts(20))
    for account in bench.says:
        bench.pins.plan(account, WALL - DAY)
    async with bench.running():
        await asyncio.sleep(8 * HOUR)
    first = {account: at - WALL for at, account in reversed(bench.asked)}
    assert len(first) == 20
    assert 0.4 * SETTLE < sum(first.values()) / 20 < 2.0 * SETTLE
    times = sorted(first.values())
    assert max(sum(abs(at - other) < 60.0 for other in times) for at in times) <= 4


@in_virtual_time
async def test_a_start_changes_nothing_about_when_the_next_question_is(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ALICE)
    async with bench.running():
        await asyncio.sleep(30.0)
    pin = bench.pins.find(ALICE)
    assert pin is not None
    for _ in range(5):
        async with bench.running():
            await asyncio.sleep(30.0)
    async with bench.running():
        await bench.until_asked()
    assert abs(bench.asked[0][0] - pin.check_at) <= 1.0


@in_virtual_time
async def test_a_clock_that_was_set_back_does_not_put_questions_off_for_ever(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ALICE)
    bench.pins.plan(ALICE, WALL + 400 * DAY)
    async with bench.running():
        await bench.until_asked()
    assert bench.asked[0][0] < WALL + LONGEST + HOUR


@in_virtual_time
async def test_a_full_disk_ends_no_checks(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ALICE)
    async with bench.running():
        bench.state.full = True
        await asyncio.sleep(10 * DAY)
        assert len(bench.asked) > 2
        bench.says[ALICE] = Identity.generate(bench.entropy)
        await asyncio.sleep(10 * DAY)
        assert bench.state.refused
        bench.state.full = False
        await asyncio.sleep(8 * DAY)
    assert ("domain-changed", {"contact": "alice", "account": ALICE.text}) in bench.told


@in_virtual_time
async def test_contacts_come_and_go_while_it_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ALICE)
    bob = Account("bob", "example.org")
    async with bench.running():
        await asyncio.sleep(10.0)
        bench.people.remove("alice")
        bench.add(bob)
        await bench.until_asked()
        assert {account for _, account in bench.asked} == {bob.text}
        bench.add(ALICE)
        await asyncio.sleep(LONGEST + DAY)
        assert {account for _, account in bench.asked} == {bob.text, ALICE.text}
    assert bench.told == []


@in_virtual_time
async def test_who_is_removed_while_the_domain_answers_does_not_come_back_as_a_pin(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ALICE)
    bench.says[ALICE] = ANOTHERS
    async with bench.running():
        await bench._was_asked.wait()
        bench.people.remove("alice")
        await asyncio.sleep(HOUR)
    assert bench.pins.all() == ()
    assert bench.told == []


@in_virtual_time
async def test_a_lost_pin_is_made_anew_from_the_contact_and_never_from_the_domain(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ALICE)
    bench.pins.forget(ALICE)
    bench.says[ALICE] = ANOTHERS
    async with bench.running():
        await bench.until_asked()
    assert bench.events == ["domain-changed"]


@in_virtual_time
async def test_a_damaged_file_is_said_and_ends_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ALICE)
    good = bench.state.read(DOMAINS_FILE)
    assert good is not None
    bench.state.write(DOMAINS_FILE, b"{")
    async with bench.running():
        await asyncio.sleep(DAY)
        assert bench.asked == []
        bench.state.write(DOMAINS_FILE, good)
        await bench.until_asked()
    assert bench.events == ["domains-off"]
