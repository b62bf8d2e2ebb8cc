"""Figures come out of sound and captures, and a row that does not hold is said to."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from relay.core import ManualClock, SeededEntropy
from relay.lab.audio import Sound
from relay.lab.captures import Datagram, read_capture
from relay.lab.demo import results
from relay.lab.demo.call import CallTimes
from relay.lab.demo.figures import (
    Figures,
    Spoken,
    both_ways,
    find_leaks,
    line_summary,
    name_lines,
    rows,
    setup_seconds,
)
from relay.lab.demo.options import LINE_ADDRESSES
from relay.lab.demo.roles import Event, Usage
from relay.lab.lines import LineSeen, lines_seen
from relay.lab.speech import Speech, build_random_speech, sounds_directory

DIALLED = 1000.0
SECONDS = 20.0
TIMES = CallTimes(DIALLED, 1000.5, 1001.5, 1004.0, 1024.0, 1024.3, 1035.0)
REFLECTOR = ("127.0.20.1", 7210)


@pytest.fixture(scope="module")
def speech() -> dict[str, Speech]:
    sounds = sounds_directory(os.environ)
    return {
        "alice": build_random_speech("english", 24, sounds, SeededEntropy(1)),
        "bob": build_random_speech("french", 24, sounds, SeededEntropy(2)),
    }


def capture(*, odd_size: int = 160) -> list[Datagram]:
    seen: list[Datagram] = []
    generator = np.random.default_rng(3)
    for number, name in enumerate(LINE_ADDRESSES):
        agent = (LINE_ADDRESSES[name], 40000 + number)
        for at in np.arange(1002.0 + number, 1033.0 + number, 0.020):
            for source, destination in ((agent, REFLECTOR), (REFLECTOR, agent)):
                moment = at + abs(generator.normal(0, 0.0004))
                seen.append(Datagram(round(moment * 1e9), source, destination, bytes(160)))
    seen[500] = dataclasses.replace(seen[500], payload=bytes(odd_size))
    return seen


def figures(speech: dict[str, Speech], seen: list[LineSeen], *, delay: float = 0.12) -> Figures:
    spoken = {name: dataclasses.replace(one.sound, start=1002.0) for name, one in speech.items()}
    ears = {
        "bob": dataclasses.replace(spoken["alice"], start=1002.0 + delay),
        "alice": dataclasses.replace(spoken["bob"], start=1002.0 + delay),
    }
    said = {name: Spoken(1002.0, one.spoken) for name, one in speech.items()}
    lines = name_lines(seen)
    return Figures(
        setup_seconds(TIMES),
        both_ways(spoken, ears, said, {"alice": 1, "bob": 2}, TIMES),
        lines,
        find_leaks(lines, said, TIMES, SeededEntropy(5)),
        SECONDS,
    )


def test_a_good_call_holds_every_row(speech: dict[str, Speech]) -> None:
    found = figures(speech, lines_seen(capture(), [REFLECTOR], 0.0))
    assert found.setup == {"dial_to_ring": 0.5, "answer_to_voice": 2.5}
    assert found.heard["alice_to_bob"].lost_cells == 2
    assert found.heard["bob_to_alice"].comparison is not None
    assert found.heard["bob_to_alice"].comparison.delay_ms == pytest.approx(120, abs=1)
    assert list(found.lines) == ["alice", "bob"]
    assert set(found.leaks) == {"alice_up", "alice_down", "bob_up", "bob_down"}
    assert [row.measure for row in rows(found) if not row.holds] == []
    entry = line_summary("bob", found.lines["bob"], DIALLED)
    assert entry["cells_up"] == 1550
    assert entry["distinct_sizes"] == [160]
    assert entry["start"] == pytest.approx(3.0, abs=0.01)


def test_one_odd_cell_is_enough(speech: dict[str, Speech]) -> None:
    found = figures(speech, lines_seen(capture(odd_size=159), [REFLECTOR], 0.0))
    assert [row.measure for row in rows(found) if not row.holds] == ["distinct cell sizes on all lines"]


def test_lateness_and_silence_are_told(speech: dict[str, Speech]) -> None:
    late = figures(speech, lines_seen(capture(), [REFLECTOR], 0.0), delay=0.25)
    missed = [row.measure for row in rows(late) if not row.holds]
    assert missed == [f"mouth-to-ear delay in ms, {way}" for way in ("alice to bob", "bob to alice")]
    nothing = Figures({}, both_ways({}, {}, {}, {}, TIMES), {}, {}, SECONDS)
    assert not any(row.holds for row in rows(nothing))


def test_everything_is_written(speech: dict[str, Speech], tmp_path: Path) -> None:
    out = tmp_path / "demo-out"
    results.prepare(out, out / "logs")
    (out / "line-old.pcap").write_bytes(b"")
    (out / "mine.txt").write_text("kept")
    results.prepare(out, out / "logs")
    assert [path.name for path in out.iterdir() if path.is_file()] == ["mine.txt"]
    found = figures(speech, lines_seen(capture(), [REFLECTOR], 0.0))
    made = rows(found)
    events = [
        Event("alice", "line-open", 1002.0, {}),
        Event("bob", "crossed", 1003.9, {}),
        Event("alice", "line-closed", 1033.0, {"why": "stagger"}),
    ]
    summary = results.summarise(found, made, {"alice": Usage(1, 2, 3)}, TIMES, ManualClock())
    spoken = {"alice": dataclasses.replace(speech["alice"].sound, start=1002.0)}
    results.write_recordings(out, {"bob": Sound(np.zeros(480), 48_000)})
    results.write_lines(out, found.lines)
    results.write_timeline(out, events, TIMES)
    results.draw(out, found.lines, spoken, events, TIMES)
    assert (out / "observer.png").stat().st_size > 10_000
    assert len(read_capture(out / "line-alice.pcap")) == 3100
    timeline = json.loads((out / "timeline.json").read_text())
    assert timeline[0] == {"at": 0.0, "who": "demo", "event": "dialled"}
    assert {"at": 33.0, "who": "alice", "event": "line-closed", "why": "stagger"} in timeline
    assert json.loads(json.dumps(summary)).keys() >= {
        "commit", "date", "machine", "setup_seconds", "audio", "lines", "roles", "rows"
    }  # fmt: skip
    console = Console(record=True, width=120)
    results.print_table(console, summary, made, out)
    assert "correlation, alice to bob" in console.export_text()
