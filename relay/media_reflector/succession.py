"""Which line takes the place of which: what keeps tickets that lines are handed from multiplying lines.

Every line holds tickets to come back with.  If each of them opened one line more, one proof of work would open as many
as there is room for.  So the line that such a ticket opens takes the place of the one that was handed it: a line has
one successor at most, and ends when that one has stood for `OVERLAP`.  Its other tickets end with it.

Until then both stand.  A line that was lost may be heard again, and then its agent keeps it and closes the new one
(`relay.agent.failover`), at a time that must not depend on us.  After a restart nobody is left to take the place of.
"""

from collections import deque
from collections.abc import Iterator

from relay.media_reflector.line import Line
from relay.media_reflector.office import TicketOffice

OVERLAP = 12.0
"""Seconds for which both lines stand: longer than an agent takes to settle on one of them."""
OUT_AT_ONCE = 2
"""Resumption tickets of one line that are good: the latest, and the one before, should the latest have been lost."""


class Succession:
    """Knows each line by the tickets that are out for it."""

    def __init__(self, office: TicketOffice) -> None:
        self._office = office
        self._holders: dict[bytes, Line] = {}
        self._ending: deque[tuple[float, Line, Line]] = deque()
        """(when, a line, its successor), soonest first."""

    def handed(self, line: Line, number: bytes) -> None:
        """`line` was handed the resumption ticket of that number, perhaps not for the first time."""
        if number in line.resumptions:
            return
        line.resumptions.append(number)
        self._holders[number] = line
        while len(line.resumptions) > OUT_AT_ONCE:
            self._void(line.resumptions.pop(0))

    def may_open(self, number: bytes) -> bool:
        """Whether a line may be opened with that ticket now: nobody else is taking the place of its holder."""
        holder = self._holders.get(number)
        return holder is None or holder.successor is None

    def replaces(self, number: bytes) -> bool:
        """Whether that ticket is a standing line's: what it opens adds none for good."""
        return number in self._holders

    def opening(self, line: Line, number: bytes) -> None:
        """`line` is being opened with that ticket, which is used up with it."""
        holder = self._holders.pop(number, None)
        if holder is not None:
            holder.resumptions.remove(number)
            line.predecessor, holder.successor = holder, line
            # What was handed there for the backup is handed here again: coming back is not the way to more of it.
            line.spare, line.peer = holder.spare, holder.peer

    def opened(self, line: Line, now: float) -> None:
        """It proved its address: it takes the place of its predecessor, if there is one."""
        if line.predecessor is not None:
            self._ending.append((now + OVERLAP, line.predecessor, line))

    def closed(self, line: Line) -> None:
        """The line is gone, opened or not, and with it its tickets."""
        while line.resumptions:
            self._void(line.resumptions.pop())
        if line.predecessor is not None:
            line.predecessor.successor = None
        if line.successor is not None:
            line.successor.predecessor = None
        line.predecessor = line.successor = None

    def due(self, now: float) -> Iterator[Line]:
        """Lines whose successors have stood long enough."""
        while self._ending and now >= self._ending[0][0]:
            _, line, successor = self._ending.popleft()
            if line.successor is successor:
                yield line

    def _void(self, number: bytes) -> None:
        del self._holders[number]
        self._office.void(number)
