"""Periods of 24 hours, and which numbers in an entry are right for its period.

Entries change their key with each period.  What a contact point sees of times is the same for everybody who publishes
in the same hour (`latest_expiry`, `coarse_revision`), so that the entries of one owner cannot be put together by them.
For the same reason an entry's expiry is not chosen: it follows from the period.  So a higher revision of a key never
expires before a lower one, and no contact point that forgot the former can be brought the latter again.
"""

from relay.core import PeerError

PERIOD = 86400
"""Seconds of a period."""

CLOCK_SKEW = 1800
"""Seconds by which somebody's clock and ours may differ."""

PEER_SKEW = 2 * CLOCK_SKEW
"""The same for what another contact point hands on: its clock may differ from ours, the owner's from its."""

SWEEP_EVERY = 60
"""Seconds between two times at which a contact point forgets what its own clock has called expired for `CLOCK_SKEW`."""

STILL_THERE = 2 * CLOCK_SKEW + SWEEP_EVERY
"""Seconds for which an entry may lie at an honest contact point after its expiry, by the clock of somebody who asks."""

MOST_PERIOD = 2**36
"""Revisions of any later one would not fit a number."""

_REVISIONS_OF_A_PERIOD = 2**17


def current_period(now: float) -> int:
    """The period of Unix time `now`."""
    return int(now) // PERIOD


def lookup_periods(now: float) -> tuple[int, ...]:
    """Where to look for a record at Unix time `now`, in this order.

    The current period; the previous one, whose records are good until the current one is over; and the next one where
    a clock that is half an hour ahead is there already.
    """
    current = current_period(now)
    ahead = current_period(now + CLOCK_SKEW)
    return (current, current - 1) if ahead == current else (current, current - 1, ahead)


def latest_expiry(period: int) -> int:
    """When an entry of `period` expires: at the end of the next one."""
    return (period + 2) * PERIOD


def coarse_revision(now: float, step: int = 0) -> int:
    """The revision of an entry that is made at Unix time `now`: the hours of its period that are over, plus `step`.

    Higher in every later period, and never lower within one.  It says no more of the author's clock than the
    hour does.  Take the next higher `step` where a contact point holds that revision already.
    """
    period = current_period(now)
    hours = int(now - period * PERIOD) // 3600
    return lowest_revision(period) + min(hours + step, _REVISIONS_OF_A_PERIOD - 1)


def lowest_revision(period: int) -> int:
    return period * _REVISIONS_OF_A_PERIOD


def highest_revision(period: int) -> int:
    """The last revision of a period.

    Whoever publishes it can publish nothing more under that key.  Only the key's owner can do that, to itself, until
    the next period brings another key.  What is too high for the hour is therefore no fault: contact points whose
    clocks differ would judge differently, and hold different sets.
    """
    return lowest_revision(period + 1) - 1


def numbers_are_sound(period: int, revision: int, expires: int) -> bool:
    """Whether an entry of `period` may have these numbers."""
    return (
        0 <= period < MOST_PERIOD
        and lowest_revision(period) <= revision <= highest_revision(period)
        and expires == latest_expiry(period)
    )


def check_period(period: int, now: float, *, ahead: float = CLOCK_SKEW) -> None:
    """Whether an entry of `period` is of use at Unix time `now`, for a clock that may be `ahead` seconds ahead of ours.

    Raises `PeerError` ("expired", "future-dated").
    """
    if latest_expiry(period) <= now - CLOCK_SKEW:
        raise PeerError("expired")
    if period > current_period(now + ahead):
        raise PeerError("future-dated")
