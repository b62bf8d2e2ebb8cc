"""What a log may hold: load, never a line, never a call."""

from relay.media_reflector import Occupancy
from relay.media_reflector.forwarding.face import COUNTERS
from relay.node.reflector_status import REASONS, STATUS_EVERY, status


def carrying(lines: int, cells: int, drops: int) -> dict[str, object]:
    occupancy = Occupancy(lines=lines, opening=lines, crossed=lines, tickets=lines)
    counts = dict.fromkeys((*COUNTERS, *REASONS), drops) | {"cells_received": cells, "cells_sent": cells}
    return status("native", occupancy, counts)


def test_a_call_does_not_show() -> None:
    assert carrying(2, 2 * 180_000, 999) == carrying(0, 0, 0)
    assert STATUS_EVERY >= 3600.0


def test_load_does() -> None:
    busy = carrying(57, 12_345_678, 4_321)
    assert (busy["data_plane"], busy["lines"], busy["crossed"]) == ("native", 50, 50)
    assert (busy["cells_sent"], busy["cells_received"]) == (12_000_000, 12_000_000)
    assert (busy["departures_missed"], busy["send_failed"], busy["receive_failed"]) == (4000, 4000, 4000)


def test_every_reason_to_drop_is_named_and_rounded() -> None:
    dropped = carrying(0, 0, 4_321)["dropped"]
    assert dropped == dict.fromkeys(REASONS, 4000)
    planes = {"replayed", "upcalls_full", "stranger_limited", "line_limited", "no_capacity"}
    assert planes | {"request_refused", "trunk_refused", "streams_put_off"} <= set(REASONS)
    assert len(set(REASONS)) == len(REASONS), "no two of them share a count"


def test_nothing_finer_than_a_unit_is_ever_told() -> None:
    for lines, cells, drops in (
        (13, 1_999_999, 1_001),
        (99, 77_777_777, 99_999),
        (12_345, 10**12 + 7, 1234567),
    ):
        told = carrying(lines, cells, drops)
        for name in ("lines", "crossed", "tickets"):
            assert int(str(told[name])) % 10 == 0
        for name in ("cells_received", "cells_sent"):
            assert int(str(told[name])) % 1_000_000 == 0
