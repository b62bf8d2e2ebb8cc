"""What one pull from a peer may cost, how much peers may bring in a day, and which parts of a set to ask about.

A peer's entries carry no proof of work, so what protects the store from peers that make entries up is how many it takes
of them: from seeds as many as there is room for, from a learned peer a quarter of a kind's room in a day, from all
learned peers together half of it.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from relay.contact_cache.digests import CHILD_BITS, CHILDREN

DAY = 86400.0


@dataclass(frozen=True, slots=True)
class PullBudget:
    """Bounds of one pull.  An answer is 256 KiB, so what it may cost in vain is stated in answers.

    A pull that brings nothing costs at most one answer of names and, for each kind, one of digests,
    `summaries + 2 * ceil(own entries / page)` of summaries and `vain` of entries.  Every accepted entry buys its share
    of a further page; nothing buys more than `answers` and `seconds`.
    """

    answers: int = 4096
    """Answers of any sort: 1 GiB."""
    seconds: float = 1800.0
    summaries: int = 4
    vain: int = 3
    """Answers to wishes with nothing new in them, for each kind."""
    forged: int = 4
    """Entries that do not verify, after which nothing more is taken."""
    page: int = 8160
    """Summaries of one answer."""
    wanted: int = 64
    """Entries of one wish."""

    def summaries_for(self, held: int) -> int:
        """Pages of summaries of one kind that may be asked for where `held` entries of that kind are held."""
        return self.summaries + 2 * -(-held // self.page)

    def in_vain(self, held: tuple[int, ...]) -> int:
        """Answers that a pull costs at most where the peer gives nothing; `held` is by kind."""
        return 1 + sum(1 + self.summaries_for(count) + self.vain for count in held)


@dataclass(slots=True)
class Allowances:
    """Entries that learned peers brought today; `room` is how many of each kind are held at most."""

    room: Mapping[int, int]
    brought: Counter[tuple[int, str]] = field(default_factory=Counter)
    """By kind and peer; all learned peers together are the peer of no name."""
    _day: int = -1

    def left(self, onion: str, *, seed: bool, now: float) -> dict[int, int]:
        """How many of each kind this peer may bring now (Unix time)."""
        self._turn(now)
        return {kind: room if seed else self._left(kind, room, onion) for kind, room in self.room.items()}

    def note(self, onion: str, pulled: Mapping[int, int], *, seed: bool, now: float) -> None:
        """Remember how many of each kind this peer brought."""
        self._turn(now)
        if seed:
            return
        for kind, count in pulled.items():
            self.brought[kind, onion] += count
            self.brought[kind, ""] += count

    def _left(self, kind: int, room: int, onion: str) -> int:
        alone, together = room // 4 - self.brought[kind, onion], room // 2 - self.brought[kind, ""]
        return max(0, min(alone, together))

    def _turn(self, now: float) -> None:
        if self._day != (day := int(now // DAY)):
            self._day = day
            self.brought.clear()


@dataclass(frozen=True, slots=True)
class Part:
    """A prefix that is to be summarised: how many entries the peer claims there, and how many children differ."""

    bits: int
    prefix: int
    claimed: int
    differing: int


def cover(differing: Collection[int], theirs: Sequence[int], mine: Sequence[int], page: int) -> list[Part]:
    """The fewest prefixes that hold all `differing` children, each within a page on either side.

    `theirs` and `mine` count the entries of each of the `CHILDREN`; one child alone may be longer than a page.
    """
    their_sums, my_sums = _sums(theirs), _sums(mine)
    flags = _sums([child in differing for child in range(CHILDREN)])
    parts: list[Part] = []
    waiting = [(0, 0)]
    while waiting:
        bits, prefix = waiting.pop()
        start, end = prefix << (CHILD_BITS - bits), (prefix + 1) << (CHILD_BITS - bits)
        claimed, held = their_sums[end] - their_sums[start], my_sums[end] - my_sums[start]
        if not (inside := flags[end] - flags[start]):
            continue
        if bits == CHILD_BITS or (claimed <= page and held <= page):
            parts.append(Part(bits, prefix, claimed, inside))
        else:
            waiting += [(bits + 1, 2 * prefix), (bits + 1, 2 * prefix + 1)]
    return parts


def _sums(counts: Iterable[int]) -> list[int]:
    return list(accumulate(counts, initial=0))
