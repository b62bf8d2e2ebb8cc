"""Calls that nobody heard, as Unix minutes: what the next record says of them, and what its reader makes of it.

A ring to an agent that does not run is lost: a contact point keeps no messages.  So the caller's next record for that
contact carries the minutes of its tries, inside the sealed and padded record that is published anyway.  They are few,
and they expire.
"""

from collections.abc import Iterable

from relay.core import Entropy

MOST_TRIES = 8
"""Tries that one record tells of."""
MOST_KEPT = 32
"""Missed calls of one contact that are remembered, so that each is told once."""
TOLD_FOR = 3 * 86400.0
"""Seconds for which a record tells of a try."""
KEPT_FOR = 7 * 86400.0
"""Seconds after which a missed call is forgotten."""
SAME_CALL = 2
"""Minutes by which the two accounts of one call may differ: its ring took a while, and the clocks are two."""
SOON = (120.0, 600.0)
"""Seconds within which a record that tells of a try is published: not at once, or the contact point, which saw the ring
go by, could match the two."""
_AHEAD = 30
"""Minutes by which a contact's clock may be ahead of ours."""


def minute_of(wall: float) -> int:
    return int(wall) // 60


def with_try(tries: Iterable[int], wall: float) -> tuple[int, ...]:
    """`tries` and one more at Unix time `wall`."""
    return worth_telling((*tries, minute_of(wall)), wall)


def worth_telling(tries: Iterable[int], wall: float) -> tuple[int, ...]:
    """The latest of `tries` that are not too old."""
    oldest = minute_of(wall - TOLD_FOR)
    return tuple(sorted({minute for minute in tries if minute >= oldest}))[-MOST_TRIES:]


def news(told: Iterable[int], known: Iterable[int], wall: float) -> tuple[int, ...]:
    """Which of the tries that a contact's record tells of are not known here yet, oldest first."""
    oldest, latest = minute_of(wall - KEPT_FOR), minute_of(wall) + _AHEAD
    found: list[int] = []
    seen = sorted(known)
    if len(seen) >= MOST_KEPT:
        # Whatever lay before these was told already, or is not worth telling after so many.
        oldest = max(oldest, seen[0])
    for minute in sorted(set(told)):
        if oldest <= minute <= latest and all(abs(minute - other) > SAME_CALL for other in seen):
            found.append(minute)
            seen.append(minute)
    return tuple(found[-MOST_TRIES:])


def remembered(known: Iterable[int], more: Iterable[int], wall: float) -> tuple[int, ...]:
    """The missed calls to keep."""
    oldest = minute_of(wall - KEPT_FOR)
    return tuple(sorted({minute for minute in (*known, *more) if minute >= oldest}))[-MOST_KEPT:]


def soon(entropy: Entropy) -> float:
    """Seconds until a record that tells of a try is published."""
    return entropy.uniform(*SOON)
