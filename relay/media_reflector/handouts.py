"""What lines are handed without asking: tickets to come back with, and word that the reflector is about to end.

Each line has a second of its own, drawn at random, in which it gets its next ticket; so the work is spread as the lines
are, and nothing in it is proportional to all of them at once.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from relay.core import Counters, Entropy
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.line import NEVER, Line
from relay.media_reflector.office import TicketOffice
from relay.media_reflector.succession import Succession
from relay.media_reflector.tickets import Ticket

FIRST = (0.5, 4.0)
RESUMED = (20.0, 60.0)
"""Seconds to the first resumption ticket; and those of a line that takes the place of another one.  That one is gone by
then (`succession.OVERLAP`), and who comes back again and again does it at this pace."""
PAIR = (1.0, 3.0)
"""Seconds from a resumption ticket to the backup ticket: two cells in a row would hold up two voices."""
AGAIN = (20.0, 60.0)
"""Seconds to the second pair, the same tickets again, should the first have been lost."""
REPEAT = (1200.0, 1800.0)
"""Seconds between two pairs, drawn at random: less than what a ticket lives."""

HAND_OUTS_AT_ONCE = 64
DRAININGS_AT_ONCE = 200
"""Lines that are served in one call of `watch`; the others with the next ones."""
DRAINING_TIMES = 2
DRAINING_PAUSE = 3.0
"""How often a line is told, because a cell may be lost, and seconds in between."""

EVENTS = ("resumptions_sent", "backups_sent")


class BackupSource(Protocol):
    """Where tickets for the backup reflector come from."""

    @property
    def identity(self) -> bytes:
        """The reflector that honours them."""
        ...

    def ticket(self, now: float, again: bytes = b"") -> Ticket | None:
        """A fresh one, or that of the number `again` where it is of the present key; None when none can be made just
        now."""
        ...


Say = Callable[[Line, Control], bool]
"""Lets control leave on a line; False when too much waits there."""


class HandOuts:
    """Lines by the second in which they are due."""

    def __init__(
        self, office: TicketOffice, succession: Succession, entropy: Entropy, counters: Counters, say: Say
    ) -> None:
        self.backup: BackupSource | None = None
        self._office = office
        self._succession = succession
        self._entropy = entropy
        self._counters = counters
        self._say = say
        self._due: dict[int, dict[Line, None]] = {}
        self._looked_at = -1
        """The latest second all of whose lines were served."""
        self._draining = False
        self._to_tell: deque[tuple[float, int, Line]] = deque()
        """(when, how often, which line), soonest first."""

    def opened(self, line: Line, now: float) -> None:
        """Serve this line from now on."""
        self._schedule(line, now, FIRST if line.predecessor is None else RESUMED)
        if self._draining:
            self._to_tell.append((now + DRAINING_PAUSE, DRAINING_TIMES, line))

    def closed(self, line: Line) -> None:
        """No longer."""
        bucket = self._due.get(line.due)
        if bucket is not None:
            bucket.pop(line, None)
            if not bucket:
                del self._due[line.due]

    def tell_draining(self, lines: Iterable[Line]) -> None:
        """Say DRAINING to all of them, a few at a time, and to those that come back from now on."""
        self._draining = True
        self._to_tell = deque((NEVER, DRAINING_TIMES, line) for line in lines)

    def stop_telling(self) -> None:
        self._draining = False
        self._to_tell.clear()

    def watch(self, now: float, alive: Callable[[Line], bool]) -> None:
        """Serve who is due.  `alive` says whether a line is still there."""
        self._tell(now, alive)
        second = int(now)
        if self._looked_at < 0:
            self._looked_at = second - 1
        left = HAND_OUTS_AT_ONCE
        while self._looked_at < second:
            bucket = self._due.get(self._looked_at + 1, {})
            while bucket:
                if not left:
                    return
                left -= 1
                line = next(iter(bucket))
                del bucket[line]
                self._serve(line, now)
            self._due.pop(self._looked_at + 1, None)
            self._looked_at += 1

    def _serve(self, line: Line, now: float) -> None:
        """A resumption ticket at every other turn, a backup ticket at the others; after two pairs at the long pace."""
        turn = line.hand_outs
        line.hand_outs = turn + 1 if turn < 5 else 4
        if turn % 2 == 0:
            ticket = self._office.resumption(
                now, line.resumptions[-1] if turn == 2 and line.resumptions else b""
            )
            self._succession.handed(line, ticket.id)
            if self._say(line, Control.resumption(ticket, now)):
                self._counters.count("resumptions_sent")
            self._schedule(line, now, PAIR)
            return
        backup = self.backup
        spare = None if backup is None else backup.ticket(now, line.spare if turn < 4 else b"")
        if backup is not None and spare is not None:
            line.spare = spare.id
            if self._say(line, _backup(backup, spare, now)):
                self._counters.count("backups_sent")
        self._schedule(line, now, AGAIN if turn == 1 else REPEAT)

    def _schedule(self, line: Line, now: float, span: tuple[float, float]) -> None:
        # Never the second that is being served: its turn may be over.
        line.due = max(int(now + self._entropy.uniform(*span)), int(now) + 1)
        self._due.setdefault(line.due, {})[line] = None

    def _tell(self, now: float, alive: Callable[[Line], bool]) -> None:
        for _ in range(DRAININGS_AT_ONCE):
            if not self._to_tell or now < self._to_tell[0][0]:
                return
            _, times, line = self._to_tell.popleft()
            if alive(line):
                self._say(line, Control(Operation.DRAINING))
                if times > 1:
                    self._to_tell.append((now + DRAINING_PAUSE, times - 1, line))


def _backup(source: BackupSource, ticket: Ticket, now: float) -> Control:
    return Control.backup(source.identity, ticket, now)
