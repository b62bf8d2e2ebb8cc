"""One line when the store begins to fail, one when it works again, however often it is tried in between."""

import pytest

from relay.core import ManualClock
from relay.node.store_watch import CALM, StoreWatch

FULL = "the disk is full"
AGAIN = "takes entries again"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_it_is_said_once_and_its_end_once(clock: ManualClock, capfd: pytest.CaptureFixture[str]) -> None:
    watch = StoreWatch(clock)
    watch.heard("")
    watch.look()
    assert not "".join(capfd.readouterr())
    for _ in range(100):
        watch.heard(FULL)
        clock.advance(CALM)
        watch.look()
    said = "".join(capfd.readouterr())
    assert (said.count(FULL), said.count(AGAIN)) == (1, 0), "time alone is no proof"
    watch.heard("")
    watch.heard("")
    said = "".join(capfd.readouterr())
    assert (said.count(FULL), said.count(AGAIN)) == (0, 1)
    watch.heard(FULL)
    assert "".join(capfd.readouterr()).count(FULL) == 1


def test_a_disk_that_is_nearly_full_does_not_fill_the_log(
    clock: ManualClock, capfd: pytest.CaptureFixture[str]
) -> None:
    watch = StoreWatch(clock)
    for _ in range(1000):
        watch.heard(FULL)
        clock.advance(1.0)
        watch.heard("")
    said = "".join(capfd.readouterr())
    assert (said.count(FULL), said.count(AGAIN), watch.failing) == (1, 0, True)
    # The last one was kept; nobody came since.
    clock.advance(CALM)
    watch.look()
    assert AGAIN in "".join(capfd.readouterr())
    assert not watch.failing
