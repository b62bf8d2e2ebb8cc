"""`bayonne bench`: what it says."""

import json
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from relay.cli.bench import command
from relay.core import TransportUnavailable
from relay.lab.load import capacity
from relay.lab.load.capacity import Capacity, Limit
from relay.lab.load.generator import Correlation, Counts
from relay.lab.load.measure import Observation


def seen(lines: int, *, missed: int = 0, skipped: int = 0) -> Observation:
    names = ("sent", "received", "lost", "send_failed")
    values = dict.fromkeys(names, 1000) | {"lost": 0, "send_failed": 0, "missed": missed, "skipped": skipped}
    nothing = Correlation(np.zeros(6))
    counts = Counts(values, nothing, nothing, np.ones(20_001, "u8"))
    counters = {"cells_received": 1000, "departures_missed": 0}
    return Observation(lines, 1.0, counts, 0.5, 1.0, 1000, 0.4, 1 << 20, counters)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the search was asked for; it finds 12,340 lines."""
    asked: dict[str, Any] = {}

    def find_capacity(clock: object, **arguments: Any) -> Capacity:
        asked.update(arguments)
        arguments["about_to_try"](1000)
        tried = (seen(1000), seen(12_340), seen(20_000, missed=3), seen(30_000, skipped=500))
        return Capacity(12_340, Limit.CPU, arguments["workers"], True, tried)

    monkeypatch.setattr(capacity, "find_capacity", find_capacity)
    return asked


def test_it_ends_with_one_sentence(found: dict[str, Any]) -> None:
    done = CliRunner().invoke(command, ["--data-plane", "plain"])
    assert done.exit_code == 0
    assert done.stdout == "this machine: 12,340 lines, limited by CPU (70% of one core)\n"
    assert "loading 1,000 lines" in done.stderr
    assert "3 ticks missed" in done.stderr
    assert "could not keep up" in done.stderr
    assert "shared cores" in done.stderr


def test_json_is_one_object_on_standard_output(found: dict[str, Any]) -> None:
    done = CliRunner().invoke(command, ["--json", "--data-plane", "plain", "--workers", "3", "--link", "500"])
    result = json.loads(done.stdout)
    assert (result["lines"], result["limited_by"], result["data_plane"]) == (12_340, "CPU", "plain")
    assert [one["carried"] for one in result["tried"]] == [True, True, False, False]
    assert (found["workers"], found["link"]) == (3, 500.0)


def test_quick_is_shorter_and_coarser(found: dict[str, Any]) -> None:
    CliRunner().invoke(command, ["--data-plane", "plain"])
    full = found["seconds"], found["precision"]
    CliRunner().invoke(command, ["--data-plane", "plain", "--quick"])
    assert found["seconds"] < full[0]
    assert found["precision"] > full[1]


def test_a_missing_generator_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_capacity(*_: object, **__: object) -> Capacity:
        raise TransportUnavailable("native code needs rustc")

    monkeypatch.setattr(capacity, "find_capacity", find_capacity)
    done = CliRunner().invoke(command, ["--data-plane", "plain"])
    assert isinstance(done.exception, TransportUnavailable)


@pytest.mark.parametrize("arguments", [["--workers", "0"], ["--link", "0"], ["--data-plane", "fast"]])
def test_what_makes_no_sense_is_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(command, arguments).exit_code == 2
