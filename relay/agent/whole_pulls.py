"""Fetching all that a contact point has of one kind, known already or not: page by page, and at which times.

Asking for what is missing would tell a contact point what is there.  A pull has a circuit of its own, goes to one
contact point, drawn by lot, and begins at a random time.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from relay.core import Entropy

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MOST_IN_VAIN = 2
"""Answers of one pull without anything of use, after which no more are asked for."""
SOON = 300.0
"""Seconds within which the first pull begins."""
DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Page(Generic[T_co]):
    """One answer: how many there are, and what is of use in this one."""

    pages: int
    entries: Sequence[T_co]


async def all_pages(ask: Callable[[int], Awaitable[Page[T]]], most: int) -> AsyncIterator[Page[T]]:
    """The answers to `ask`, numbered from 0, `most` of them at most.  Raises what `ask` raises."""
    number, pages, vain = 0, 1, 0
    while number < min(pages, most) and vain < MOST_IN_VAIN:
        answer = await ask(number)
        # What it says first holds: a contact point that says more with every answer would never end.
        pages = answer.pages if number == 0 else pages
        number += 1
        vain += not answer.entries
        yield answer


@dataclass(frozen=True, slots=True)
class Pace:
    """How often all of a kind is fetched."""

    shortest: float
    """Seconds between two pulls, at least three quarters of this."""
    pages_a_day: int
    """Answers that are fetched in a day, about, where each pull takes several."""
    retry_first: float
    retry_last: float

    def after(self, pages: int, entropy: Entropy) -> float:
        """Seconds from a pull of so many answers to the next one."""
        longest = min(DAY, max(self.shortest, DAY * pages / self.pages_a_day))
        return entropy.uniform(0.75, 1.0) * longest

    def at_start(self, last: float, pages: int, wall: float, entropy: Entropy) -> float:
        """Seconds until the first pull: an agent that is started often does not pull each time.

        `last`: Unix time of the last one, of so many answers; no pages where there was none.
        """
        left = 0.0
        if pages and last <= wall:
            left = max(0.0, last + self.after(pages, entropy) - wall)
        return left + entropy.uniform(0.0, SOON)

    def after_failure(self, retry: float, entropy: Entropy) -> tuple[float, float]:
        """Seconds until the next try, `retry` at most, and how long the one after that may wait."""
        return entropy.uniform(0.5, 1.0) * retry, min(2 * retry, self.retry_last)
