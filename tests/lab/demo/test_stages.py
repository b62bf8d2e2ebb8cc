"""Stages tell what happens, how long it took, and what they wait for, on a terminal and in a file."""

import io

import pytest
from rich.console import Console

from relay.core import ManualClock
from relay.lab.demo.stages import Stages


def fail_in_a_stage(stages: Stages, clock: ManualClock) -> None:
    with stages.stage("Call"):
        clock.advance(1.0)
        raise ValueError("x")


def run(console: Console) -> None:
    clock = ManualClock()
    stages = Stages(console, clock)
    with stages.shown():
        with stages.stage("Tor", "relays vote") as stage:
            clock.advance(2.5)
            stage.note("start delay, drawn: 3.2 s")
            stage.note("5 s to go", countdown=True)
        with pytest.raises(ValueError, match="x"):
            fail_in_a_stage(stages, clock)
    assert stages.elapsed == 3.5


def test_in_a_file() -> None:
    out = io.StringIO()
    run(Console(file=out, width=100))
    lines = out.getvalue().splitlines()
    assert lines == [
        "[   0.0 s] Tor ...  relays vote",
        "[   2.5 s] start delay, drawn: 3.2 s",
        "[   2.5 s] Tor: done in 2.5 s",
        "[   2.5 s] Call ...",
        "[   3.5 s] Call: failed after 1.0 s",
    ]


def test_on_a_terminal() -> None:
    out = io.StringIO()
    run(Console(file=out, width=100, force_terminal=True, color_system=None))
    text = out.getvalue()
    assert "✓" in text
    assert "✗" in text
    assert "2.5 s" in text
    assert "5 s to go" in text
