"""Which few reflectors an agent opens lines at: its guards, drawn once, kept for months (pure decisions).

Whoever runs a reflector sees the addresses of the lines on it.  An agent that chose anew for every call would sooner or
later have shown its address to every reflector there is, and one that followed what reflectors claim of themselves
would choose whoever claims best.  So three are drawn, each accepted reflector as likely as any other, and the draw is
not repeated for reasons that somebody else can bring about in a day.

    kept     until its time is over (3 to 5 months, drawn with it), it was gone on 14 days it was tried, or no list
             that its owner accepted names it any more
    drawn    when fewer than three are kept, among the accepted reflectors that are no guard yet
"""

from collections.abc import Callable, Collection, Sequence

import msgspec

from relay.agent.credentials import damaged
from relay.agent.kept import Kept
from relay.core import Entropy
from relay.wire import UNREADABLE

GUARDS_FILE = "guards.json"

GUARDS = 3
DAY = 86400
SHORTEST_DAYS = 91
LONGEST_DAYS = 152
"""A guard is kept for a time drawn uniformly between these: three to five months."""
MISSED_DAYS = 14
"""Days on which a guard was tried and never reached, one after the other, after which it is given up.  Days on which
the agent did not run do not count, so that a long holiday changes no guard."""


class Guard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One guard.  Times are Unix seconds, to the day: the file says no more about its owner's habits than it must."""

    identity: bytes
    since: int
    until: int
    reached: int
    """The last day on which it answered."""
    missed: int = 0
    """How many days since then it was tried in vain."""
    missed_on: int = 0
    """The last of them."""


class _KeptGuards(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    guards: tuple[Guard, ...]


def kept_guards(state: Kept) -> tuple[Guard, ...]:
    """The guards that were drawn; none before the first draw.

    Raises `ConfigurationError`: what is damaged is not passed over, for who loses it chooses anew, and so shows its
    address to others.
    """
    content = state.read(GUARDS_FILE)
    if content is None:
        return ()
    try:
        return msgspec.json.decode(content, type=_KeptGuards).guards
    except UNREADABLE:
        raise damaged(GUARDS_FILE) from None


def keep_guards(state: Kept, guards: Sequence[Guard]) -> None:
    """Raises `NotKept`."""
    state.write(GUARDS_FILE, msgspec.json.encode(_KeptGuards(tuple(guards))))


class Guards:
    """The guards of one agent.  Methods say whether anything changed that is worth keeping."""

    def __init__(self, kept: Sequence[Guard], entropy: Entropy) -> None:
        self._guards = list(kept)
        self._entropy = entropy

    @property
    def kept(self) -> tuple[Guard, ...]:
        """In the order in which they were drawn."""
        return tuple(self._guards)

    @property
    def identities(self) -> tuple[bytes, ...]:
        return tuple(guard.identity for guard in self._guards)

    def choose(self, accepted: Collection[bytes], wall: float, *, pending: Collection[bytes] = ()) -> bool:
        """Let go what is over, and draw until there are three or nobody is left to draw.

        `accepted` are the identities that may be guards at `wall`; one that is only `pending` stays if it is one, and
        is never drawn: its list ran out a short while ago, or cannot be read just now.
        """
        before = self.kept
        self._guards = [_anchored(guard, wall) for guard in self._guards]
        vanished = {guard.identity for guard in self._guards if guard.missed >= MISSED_DAYS}
        self._guards = [
            guard
            for guard in self._guards
            if guard.identity not in vanished
            and wall < guard.until
            and (guard.identity in accepted or guard.identity in pending)
        ]
        self._draw(set(accepted) - vanished, wall)
        # What vanished comes back only where there is nothing else.
        self._draw(set(accepted), wall)
        return self.kept != before

    def reached(self, identity: bytes, wall: float) -> bool:
        """It answered, whatever it said."""
        return self._replace(
            identity, lambda guard: _changed(guard, reached=_day(wall), missed=0, missed_on=0)
        )

    def missed(self, identity: bytes, wall: float) -> bool:
        """It was tried and did not answer, though there was a way to it."""

        def count(guard: Guard) -> Guard:
            today = _day(wall)
            if today in (guard.missed_on, guard.reached):
                return guard
            return _changed(guard, missed=guard.missed + 1, missed_on=today)

        return self._replace(identity, count)

    def _draw(self, candidates: Collection[bytes], wall: float) -> None:
        # In a fixed order, so that nothing but chance decides.
        others = sorted(set(candidates) - set(self.identities))
        for identity in self._entropy.draw(others, GUARDS - len(self._guards)):
            days = SHORTEST_DAYS + self._entropy.below(LONGEST_DAYS - SHORTEST_DAYS + 1)
            today = _day(wall)
            self._guards.append(Guard(identity, today, today + days * DAY, today))

    def _replace(self, identity: bytes, change: Callable[[Guard], Guard]) -> bool:
        before = self.kept
        self._guards = [change(guard) if guard.identity == identity else guard for guard in self._guards]
        return self.kept != before


def _day(wall: float) -> int:
    return int(wall) // DAY * DAY


def _changed(guard: Guard, **fields: int) -> Guard:
    return msgspec.structs.replace(guard, **fields)


def _anchored(guard: Guard, wall: float) -> Guard:
    """A guard from the future was drawn under a clock that was wrong; it is kept no longer than others for that."""
    today = _day(wall)
    if guard.since <= today:
        return guard
    return _changed(guard, since=today, until=today + guard.until - guard.since, reached=today)
