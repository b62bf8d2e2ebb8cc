"""What a reflector tells whoever runs it.  Counts are rounded down, so that no line and no call shows in them."""

from collections.abc import Callable, Mapping

from relay.core import get_logger
from relay.media_reflector import DROPS, Occupancy, server, trunk

Report = Callable[[Mapping[str, object]], None]
"""Takes one event for a program or a person to read."""

STATUS_EVERY = 3600.0
"""Seconds between two lines of counts.  Together with the rounding below: a log of these lines must show load,
never a call."""
LINES_ROUNDED = 10
CELLS_ROUNDED = 1_000_000
"""One line takes 180,000 cells an hour each way."""
FAULTS_ROUNDED = 1000

REASONS = (*DROPS, *trunk.DROPS, *server.STREAM_DROPS)
"""Every reason for which something that came to a reflector, over UDP or over Tor, went no further."""
_FAULTS = ("departures_missed", "send_failed", "receive_failed")

log = get_logger("reflector")


def unfailing(report: Report) -> Report:
    """As `report`, but where it raises `OSError` (a full disk, a reader who is gone) the event is lost, and the log
    says so: lines do not need anybody to read what is told."""

    def tell(event: Mapping[str, object]) -> None:
        try:
            report(event)
        except OSError as error:
            log.warning("what happened could not be told", told=event.get("event"), why=error.strerror)

    return tell


def rounded(count: int, unit: int) -> int:
    return count - count % unit


def status(data_plane: str, occupancy: Occupancy, counts: Mapping[str, int]) -> dict[str, object]:
    """One line of counts, from all those that the reflector has."""
    dropped = {reason: rounded(counts[reason], FAULTS_ROUNDED) for reason in REASONS}
    return {
        "event": "status",
        "data_plane": data_plane,
        "lines": rounded(occupancy.lines, LINES_ROUNDED),
        "crossed": rounded(occupancy.crossed, LINES_ROUNDED),
        "tickets": rounded(occupancy.tickets, LINES_ROUNDED),
        "cells_received": rounded(counts["cells_received"], CELLS_ROUNDED),
        "cells_sent": rounded(counts["cells_sent"], CELLS_ROUNDED),
        **{name: rounded(counts[name], FAULTS_ROUNDED) for name in _FAULTS},
        "dropped": {reason: count for reason, count in dropped.items() if count},
    }
