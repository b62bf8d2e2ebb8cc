"""What lines are handed without asking: tickets to come back with, and word that the reflector is about to end.

Each line has a second of its own, drawn at random, in which it gets its next ticket; so the work is spread as the lines
are, and nothing in it is proportional to all of them at once.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from relay.core import Counters, Entropy
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.line import Line
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
DRAINING_ROUNDS = 2
DRAINING_PAUSE = 3.0
"""How often a line is told, because a cell may be lost, and seconds between two rounds."""

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
        self._to_tell: deque[Line] = deque()
        self._told: list[Line] = []
        """Those of this round, for the next one at `_next_round`."""
        self._rounds_left = 0
        self._next_round = 0.0

    def opened(self, line: Line, now: float) -> None:
        """Serve this line from now on."""
        self._schedule(line, now, FIRST if line.predecessor is None else RESUMED)

    def closed(self, line: Line) -> None:
        """No longer."""
        bucket = self._due.get(line.due)
        if bucket is not None:
            bucket.pop(line, None)
            if not bucket:
                del self._due[line.due]

    def tell_draining(self, lines: Iterable[Line]) -> None:
        """Say DRAINING to all of them, a few at a time."""
        self._to_tell = deque(lines)
        self._told = []
        self._rounds_left = DRAINING_ROUNDS

    def stop_telling(self) -> None:
        self._rounds_left = 0

    def watch(self, now: float, alive: Callable[[Line], bool]) -> None:
        """Serve who is due.  `alive` says whether a line is still there."""
        if self._rounds_left:
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
        if not self._to_tell:
            if now < self._next_round:
                return
            self._to_tell.extend(self._told)
            self._told = []
        for _ in range(min(DRAININGS_AT_ONCE, len(self._to_tell))):
            line = self._to_tell.popleft()
            if alive(line):
                self._say(line, Control(Operation.DRAINING))
                self._told.append(line)
        if not self._to_tell:
            self._rounds_left -= 1
            self._next_round = now + DRAINING_PAUSE


def _backup(source: BackupSource, ticket: Ticket, now: float) -> Control:
    return Control.backup(source.identity, ticket, now)
