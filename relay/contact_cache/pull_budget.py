"""What one pull from a peer may cost, how much peers may bring, and which parts of a set to ask about.

A peer's entries carry no proof of work, so what protects the store from peers that make entries up is how many it holds
of theirs: of seeds as many as there is room for, of a learned peer a quarter of a kind's room, of all learned peers
together half of it, counted as `relay.contact_cache.brought` says.  That is no matter of days: a place is free again
when what took it has expired.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from relay.contact_cache.digests import CHILD_BITS, CHILDREN


@dataclass(frozen=True, slots=True)
class PullBudget:
    """Bounds of one pull.  An answer is 256 KiB, so what it may cost in vain is stated in answers.

    A pull that brings nothing costs at most one answer of names and, for each kind, one of digests,
    `summaries + 2 * ceil(own entries / page)` of summaries and `vain` of entries.  Where there is no room, only what
    replaces something is looked for, in `summaries` answers about parts drawn by lot, others in each pull.  Every
    accepted entry buys its share of a further page; nothing buys more than `answers` and `seconds`.
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
    renewed: int = 16_384
    """Entries of each kind that only replace others: 64 MiB, where a peer renews what it made up without end."""

    def summaries_for(self, held: int, room: int) -> int:
        """Pages of summaries of one kind that may be asked for where `held` are held and `room` more are taken."""
        return self.summaries + (2 * -(-held // self.page) if room > 0 else 0)

    def in_vain(self, held: tuple[int, ...]) -> int:
        """Answers that a pull costs at most where the peer gives nothing and there is room; `held` is by kind."""
        return 1 + sum(1 + self.summaries_for(count, 1) + self.vain for count in held)


def places_left(room: int, brought: int, by_all: int) -> int:
    """How many more keys a learned peer may bring of a kind of which `room` are held at most.

    `brought`: how many it is charged with; `by_all`: how many all learned peers are.
    """
    return max(0, min(room // 4 - brought, room // 2 - by_all))


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
