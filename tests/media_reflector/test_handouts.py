"""What lines are handed: when, how often, and how much of it at a time."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from relay.core import Counters, SeededEntropy
from relay.media_reflector import BackupReceived, ResumptionReceived
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.handouts import EVENTS, HAND_OUTS_AT_ONCE, REPEAT, RESUMED, HandOuts
from relay.media_reflector.line import Line
from relay.media_reflector.resumption import BackupMint
from relay.media_reflector.succession import Succession
from relay.media_reflector.tickets import Ticket, TicketKind

World = Any
IDENTITY = bytes(range(32))


def test_a_line_gets_a_resumption_ticket_soon_and_another_one_in_case_it_was_lost(world: World) -> None:
    alice = world.agent("alice")
    world.run(5.5)
    (first,) = [event.ticket for event in alice.events if isinstance(event, ResumptionReceived)]
    assert alice.line.resumption == first
    assert first.kind is TicketKind.RESUMPTION
    assert 3600 - 10 < first.expires - world.now <= 7200
    assert world.office.find(first.id, world.now).secret == first.secret
    world.run(70.0)
    tickets = [event.ticket for event in alice.events if isinstance(event, ResumptionReceived)]
    assert len(tickets) == 2
    assert len({ticket.id for ticket in tickets}) == 1, "the same one: a second would open a second line"
    assert alice.line.backup is None


def test_backup_tickets_are_handed_out_where_there_is_a_backup(make_world: type) -> None:
    mint = BackupMint(bytes(32), IDENTITY, SeededEntropy("mint"), 1000.0)
    world: World = make_world(backup=mint)
    alice = world.agent("alice")
    world.run(9.0)
    (event,) = [event for event in alice.events if isinstance(event, BackupReceived)]
    assert alice.line.backup == (event.identity, event.ticket)
    assert event.identity == IDENTITY
    assert event.ticket.kind is TicketKind.BACKUP
    assert event.ticket.expires - world.now <= 7200
    assert world.count("backups_sent") == 1
    world.reflector.backup = None
    world.run(70.0)
    assert world.count("backups_sent") == 1
    assert world.count("resumptions_sent") == 2


def test_a_mint_whose_key_is_gone_hands_out_nothing(make_world: type) -> None:
    world: World = make_world(backup=BackupMint(bytes(32), IDENTITY, SeededEntropy("mint"), -10_000.0))
    alice = world.agent("alice")
    world.run(9.0)
    assert not alice.saw(BackupReceived)
    assert alice.saw(ResumptionReceived)


class Office:
    """As many tickets as anybody wants."""

    def __init__(self) -> None:
        self.made = 0

    def resumption(self, now: float, again: bytes = b"") -> Ticket:
        self.made += not again
        return Ticket(again or self.made.to_bytes(16), bytes(32), now + 7200.0)

    def void(self, ticket_id: bytes) -> None:
        pass


@dataclass
class Backup:
    identity: bytes = IDENTITY
    made: int = 0

    def ticket(self, now: float, again: bytes = b"") -> Ticket:
        self.made += not again
        return Ticket(again or self.made.to_bytes(16), bytes(32), now + 7200.0)


class Bench:
    """Hand-outs by themselves, with lines that are nothing but lines."""

    def __init__(self, lines: int) -> None:
        self.said: list[tuple[float, Line, Operation]] = []
        self.numbers: list[bytes] = []
        self.now = 1000.0
        self.entropy = SeededEntropy("hand-outs")
        office: Any = Office()
        succession = Succession(office)
        self.hand_outs = HandOuts(office, succession, self.entropy, Counters(EVENTS), self._say)
        self.hand_outs.backup = Backup()
        self.lines = [Line(number, 0, None) for number in range(lines)]  # type: ignore[arg-type]
        for line in self.lines:
            self.hand_outs.opened(line, self.now)

    def _say(self, line: Line, control: Control) -> bool:
        self.said.append((self.now, line, control.operation))
        self.numbers.append(control.ticket(self.now).id)
        return True

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            self.hand_outs.watch(self.now, lambda line: True)


def test_after_two_pairs_they_come_every_twenty_to_thirty_minutes() -> None:
    bench = Bench(1)
    bench.run(3 * 3600.0)
    times = {kind: [at for at, _, said in bench.said if said is kind] for kind in Operation}
    for kind in (Operation.RESUMPTION, Operation.BACKUP):
        gaps = [b - a for a, b in zip(times[kind], times[kind][1:], strict=False)]
        assert 18 < gaps[0] < 66
        assert all(REPEAT[0] - 5 < gap < REPEAT[1] + 5 for gap in gaps[1:])
        assert len(gaps) >= 6
    pairs = zip(times[Operation.RESUMPTION], times[Operation.BACKUP], strict=False)
    assert all(0.5 < backup - resumption < 4.5 for resumption, backup in pairs)
    first = bench.numbers[:4]
    assert first[:2] == first[2:], "the second pair is the first one again"
    assert len(set(bench.numbers[::2])) == len(times[Operation.RESUMPTION]) - 1, "then fresh ones"
    assert len(set(bench.numbers[1::2])) == len(times[Operation.BACKUP]) - 1


def test_a_line_that_takes_the_place_of_another_gets_its_tickets_later_and_no_other_backup_ticket() -> None:
    bench = Bench(0)
    line, before = (Line(number, 0, None) for number in range(2))  # type: ignore[arg-type]
    line.predecessor, line.spare = before, b"handed before.16"
    bench.hand_outs.opened(line, bench.now)
    begun = bench.now
    bench.run(200.0)
    assert RESUMED[0] - 1 < bench.said[0][0] - begun < RESUMED[1] + 1
    assert [bench.numbers[1], bench.numbers[3]] == [b"handed before.16"] * 2


def test_lines_that_opened_together_are_served_apart_and_never_many_at_once() -> None:
    """As after another reflector died: all of its lines come within five seconds."""
    bench = Bench(3000)
    bench.run(20.0)
    per_watch = Counter(at for at, _, _ in bench.said)
    assert max(per_watch.values()) <= HAND_OUTS_AT_ONCE
    assert {line.number for _, line, said in bench.said if said is Operation.RESUMPTION} == set(range(3000))
    bench.run(80.0)
    bench.said.clear()
    bench.run(1800.0)
    per_watch = Counter(at for at, _, _ in bench.said)
    seconds = Counter(int(at) for at, _, _ in bench.said)
    assert max(per_watch.values()) <= HAND_OUTS_AT_ONCE
    assert max(seconds.values()) < 40, "spread over ten minutes"
    assert Counter(said for _, _, said in bench.said)[Operation.RESUMPTION] >= 3000


def test_a_line_that_ended_is_forgotten() -> None:
    bench = Bench(50)
    for line in bench.lines:
        bench.hand_outs.closed(line)
        bench.hand_outs.closed(line)
    assert bench.hand_outs._due == {}
    bench.run(10.0)
    assert bench.said == []


def test_a_standstill_is_made_up_for_a_few_at_a_time() -> None:
    bench = Bench(500)
    bench.run(1.0)
    bench.now += 3600.0
    bench.said.clear()
    bench.run(0.1)
    assert len(bench.said) <= HAND_OUTS_AT_ONCE
    bench.run(5.0)
    assert len({line.number for _, line, _ in bench.said}) == 500
