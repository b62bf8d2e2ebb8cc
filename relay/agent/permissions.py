"""Who may make the phone ring, and when: blocked contacts never, others within the hours that their owner gave them.

A ring that is not permitted gets no answer at all, as from an agent that is not running.
"""

import re
from datetime import datetime

from relay.agent.contact_file import Contact
from relay.core import MisuseError

MINUTES_OF_A_DAY = 24 * 60
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


def parse_hours(text: str) -> tuple[int, int] | None:
    """Read "08:00-22:00" (minutes of the day, local time) or "always" (None).  Raises `MisuseError`.

    Hours may go over midnight: "22:00-06:00".
    """
    if text.strip().lower() == "always":
        return None
    found = _HOURS.fullmatch(text.strip())
    if found is None:
        raise MisuseError("hours are written as 08:00-22:00, or 'always'")
    first, last = (60 * int(found[at]) + int(found[at + 1]) for at in (1, 3))
    if first == last:
        raise MisuseError("the hours begin and end at the same minute; write 'always', or block the contact")
    return first, last


def format_hours(hours: tuple[int, int] | None) -> str:
    """Undo `parse_hours`."""
    if hours is None:
        return "always"
    return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in hours)


def minute_of_day(wall: float) -> int:
    """The minute of the day at Unix time `wall`, by this machine's own time zone."""
    local = datetime.fromtimestamp(wall)
    return 60 * local.hour + local.minute


def may_ring(contact: Contact, wall: float) -> bool:
    """Whether a ring of `contact` may make the phone ring at Unix time `wall`."""
    if contact.blocked:
        return False
    if contact.hours is None:
        return True
    first, last = contact.hours
    now = minute_of_day(wall)
    return first <= now < last if first < last else now >= first or now < last
