"""The generator's counts, against relays that do wrong on purpose."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from relay.core import MisuseError, TransportUnavailable
from relay.lab.load.generator import Correlation, Counts, LoadGenerator, agent_socket
from relay.lab.load.library import load_library
from relay.lab.load.lines import LINE, LOOPBACK, blank
from tests.native_code import absent

LINES = 6
TICKS = 20

Treat = Callable[[int, bytes], bytes | None]
"""What a relay makes of the cell of a line."""


@pytest.fixture(autouse=True)
def _needs_the_library() -> None:
    try:
        load_library()
    except TransportUnavailable as error:
        absent(str(error))


@contextmanager
def relay(treat: Treat, pause_after: int = -1) -> Iterator[int]:
    """A relay between neighbours; after so many cells it stands still for a tenth of a second."""
    addresses: dict[int, tuple[str, int]] = {}
    ended = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.05)

        def work() -> None:
            seen = 0
            while not ended.is_set():
                try:
                    cell, source = sock.recvfrom(256)
                except TimeoutError:
                    continue
                line = int.from_bytes(cell[8:12])
                addresses[line] = source
                seen += 1
                if seen == pause_after:
                    time.sleep(0.1)
                if line ^ 1 in addresses and (made := treat(line, cell)) is not None:
                    sock.sendto(made, addresses[line ^ 1])

        worker = threading.Thread(target=work)
        worker.start()
        try:
            yield sock.getsockname()[1]
        finally:
            ended.set()
            worker.join()


def load(treat: Treat, *, pause_after: int = -1) -> Counts:
    """What is counted of `TICKS` ticks, once every line has been heard."""
    with relay(treat, pause_after) as port:
        lines = blank(LINES, 1, destination=(LOOPBACK, port))
        with LoadGenerator(agent_socket(), lines) as generator:
            for ticks, settle in ((2, 0.1), (TICKS, 0.4)):
                generator.reset()
                start = time.monotonic() + 0.01
                generator.run(start, start + ticks * 0.02, start + ticks * 0.02 + settle)
            return generator.counts()


def test_a_relay_that_loses_nothing_loses_nothing() -> None:
    counts = load(lambda line, cell: cell)
    assert counts["sent"] > 0
    assert counts["received"] == counts["sent"] == counts["bodies"]
    wrong = ("lost", "foreign", "not_authentic", "reordered", "bodies_lost", "not_stamped")
    assert {name: counts[name] for name in wrong} == dict.fromkeys(wrong, 0)
    assert int(counts.deviations.sum()) == counts["received"]


def test_every_cell_that_is_dropped_is_missed() -> None:
    dropped: list[int] = []

    def treat(line: int, cell: bytes) -> bytes | None:
        # Neither the first nor the last of a line: a hole shows when something stands on both sides of it.
        if int.from_bytes(cell[2:4]) in (8, 9, 15):
            dropped.append(line)
            return None
        return cell

    counts = load(treat)
    assert len(dropped) == 3 * LINES
    assert counts["lost"] == counts["bodies_lost"] == len(dropped)
    assert counts["received"] == counts["sent"] - len(dropped)


def test_a_standstill_is_ticks_without_a_cell() -> None:
    assert load(lambda line, cell: cell, pause_after=LINES * 8)["missed"] >= LINES


def test_bodies_of_somebody_else_are_foreign() -> None:
    def treat(line: int, cell: bytes) -> bytes:
        return cell[:13] + (line ^ 2).to_bytes(4) + cell[17:]

    counts = load(treat)
    assert counts["foreign"] == counts["received"] > 0
    assert counts["bodies"] == 0


@pytest.mark.parametrize("spoil", [lambda cell: cell[:-1], lambda cell: cell[:8] + b"\xff" * 4 + cell[12:]])
def test_what_is_no_cell_of_any_line_is_foreign(spoil: Callable[[bytes], bytes]) -> None:
    counts = load(lambda line, cell: spoil(cell))
    assert counts["received"] == 0
    assert counts["foreign"] == counts["sent"]


def test_a_load_has_lines() -> None:
    with pytest.raises(MisuseError), agent_socket() as sock:
        LoadGenerator(sock, np.zeros(0, LINE))


def test_correlation_is_pearsons() -> None:
    generator = np.random.default_rng(1)
    x = generator.normal(size=500)
    y = 0.3 * x + generator.normal(size=500)
    found = Correlation(np.array([500, x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()]))
    assert found.coefficient == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert found.standard_error == pytest.approx(500**-0.5)
    assert np.isnan(Correlation(np.zeros(6)).coefficient)


def test_counts_add_up_and_deviations_are_read_either_way() -> None:
    def counts(latest: int, *microseconds: int) -> Counts:
        deviations = np.zeros(20_001, "u8")
        for one in microseconds:
            deviations[10_000 + one] += 1
        names = ("sent", "received", "skipped", "send_failed", "foreign", "not_authentic", "lost")
        more = ("reordered", "missed", "opened", "bodies", "bodies_lost", "not_stamped")
        values = dict.fromkeys(names + more, 1) | {"latest": latest}
        return Counts(values, Correlation(np.ones(6)), Correlation(np.ones(6)), deviations)

    both = Counts.together([counts(5, 100, -200), counts(9, 300, 0)])
    assert (both["sent"], both["latest"], both.crossed.pairs) == (2, 9, 2)
    assert both.deviation(0.25) == 0
    assert both.deviation(0.5) == pytest.approx(100e-6)
    assert both.deviation(0.75) == pytest.approx(200e-6)
    assert both.deviation(1.0) == pytest.approx(300e-6)
