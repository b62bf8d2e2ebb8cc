"""How well it sounds, what it costs, how late it is, how soon keyed: `make quality`, or `python -m bench.quality`.

`[--out quality-out] [--workers N]`.  Recorded speech through the code that ships (`path.py` says what is modelled),
judged by ViSQOL.  Figures go to summary.json, the picture to quality.png; exits with 1 where a target is missed.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.quality.costs import per_packet, per_tick
from bench.quality.delay import parts
from bench.quality.path import Path as Way
from bench.quality.recordings import recordings
from bench.quality.scores import Result, scores
from bench.quality.unlocking import ROUNDS as UNLOCKINGS
from bench.quality.unlocking import unlock_seconds
from bench.report import Row, at_least, at_most, not_run, reported
from bench.zrtp import measure as exchanges
from relay.core import SystemClock, SystemEntropy, TransportUnavailable
from relay.identity.vault import COST
from relay.lab.demo.results import commit, machine
from relay.lab.pictures import BLUE, VERMILION
from relay.rtp import Codec
from relay.rtp.libopus import version

LOSS = 0.03
CLEAN_MOS, LOSSY_MOS = 4.0, 3.5
ROUNDS = 400
"""Exchanges of ZRTP with each key agreement, in datagrams and in cells."""
PACKET_MICROSECONDS = 60.0
TICK_MICROSECONDS = 2000.0
"""A tenth of a tick: what is encoded in the agent's event loop must not hold up much else."""

UNLOCK_SECONDS = 3.0
"""What an owner waits for at each start; every guess takes whoever has the disk as long, on such a machine."""

_NAMES = {Codec.OPUS: "Opus", Codec.G722: "G.722, translated", Codec.PCMU: "G.711, translated"}
_ITSELF = "the recording itself"
_CONTROL = "Opus, 30 % of cells lost, no copies"
WAYS: dict[str, Way | None] = {_ITSELF: None, _CONTROL: Way(Codec.OPUS, 0.3, recoverable=False)}
for _codec, _name in _NAMES.items():
    WAYS[f"{_name}, clean"] = Way(_codec)
    WAYS[f"{_name}, 3 % lost"] = Way(_codec, LOSS)
    WAYS[f"{_name}, 3 % lost, no copies"] = Way(_codec, LOSS, recoverable=False)
WAYS["Opus, clean, told to expect 10 %"] = Way(Codec.OPUS, expected=10)
WAYS["Opus, 3 % lost, told to expect 10 %"] = Way(Codec.OPUS, LOSS, expected=10)


def main() -> int:
    parser = argparse.ArgumentParser(description="how well a call sounds, what it costs, how late it is")
    parser.add_argument("--out", type=Path, default=Path("quality-out"))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    # Costs first: afterwards all cores are busy.
    rows = [*costs(), *delays(), unlocking()]
    print(f"{ROUNDS} ZRTP exchanges of each kind, in virtual time ...", flush=True)
    rows += exchanges(ROUNDS, SystemClock())
    try:
        print(f"{len(WAYS)} paths, judged by ViSQOL: some minutes ...", flush=True)
        found = scores(WAYS, options.workers)
    except TransportUnavailable as error:
        found = {}
        rows += [not_run(f"MOS, {name}", "", str(error)) for name in WAYS]
    rows += list(judged(found))
    summary = {
        "commit": commit(),
        "date": datetime.fromtimestamp(SystemClock().wall(), UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "codec": version(),
        "metric": "ViSQOL 3, speech mode, lattice; MOS-LQO",
        "rows": [asdict(row) for row in rows],
    }
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    if found:
        draw(found, options.out / "quality.png")
    for row in rows:
        verdict = "" if row.holds is None else "ok" if row.holds else "MISSED"
        print(f"{row.measure}: {row.value} {f'({row.target})' if row.target else ''} {verdict}")
    return 0 if all(row.holds is not False for row in rows) else 1


def judged(found: dict[str, Result]) -> Iterator[Row]:
    """A row for each path: targets for what ships, figures for what it was chosen over."""
    for name, (mos, lost) in found.items():
        measure = f"MOS, {name}"
        how = f"ViSQOL 3 over {len(recordings())} recordings of a wide band, {lost:.1%} of cells lost"
        if "G.711" in name:
            how += "; against the recording in the telephone's band"
        if name == _CONTROL:
            yield at_most(measure, LOSSY_MOS, mos, f"{how}: the metric must tell this one")
        elif name == _ITSELF or "no copies" in name or "told" in name:
            yield reported(measure, mos, how)
        else:
            yield at_least(measure, LOSSY_MOS if lost else CLEAN_MOS, mos, how)


def costs() -> Iterator[Row]:
    """Microseconds of one core, in the agent."""
    how = (
        "processor time, median of 9 rounds of 400: SRTP for the other end, content packed, sealed, a cell made; "
        "opened, unpacked, opened"
    )
    yield at_most("per voice packet, both directions", PACKET_MICROSECONDS, per_packet(), how, unit=" us")
    try:
        spoken = recordings()[0]
    except TransportUnavailable as error:
        yield not_run("per 20 ms of a translated phone", "", str(error))
        return
    for codec in (Codec.G722, Codec.PCMU):
        yield at_most(
            f"per 20 ms of a translated phone, both ways, {codec.value}",
            TICK_MICROSECONDS,
            per_tick(codec, spoken),
            "processor time of the event loop: decoded, encoded to Opus, Opus decoded, encoded",
            unit=" us",
        )


def delays() -> Iterator[Row]:
    """Sums of waits, and where they come from."""
    for translated, name in ((False, "Opus"), (True, "translated at both ends")):
        waits = parts(translated=translated)
        how = "; ".join(f"{part.what} {part.milliseconds:g}" for part in waits)
        total = sum(part.milliseconds for part in waits)
        yield reported(f"mouth to ear by arithmetic, {name}, without the network, ms", total, how)


def unlocking() -> Row:
    """What each start costs its owner, and each guess somebody else at the least."""
    how = (
        f"median of {UNLOCKINGS}; Argon2id, {COST.memory >> 10} MiB, {COST.passes} passes, {COST.lanes} lanes; on "
        "this machine with nothing else to do, and faster on a faster one, for whoever guesses as well"
    )
    seconds = unlock_seconds(SystemClock(), SystemEntropy())
    return at_most("unlocking a vault, one guess of its passphrase", UNLOCK_SECONDS, seconds, how, unit=" s")


def draw(found: dict[str, Result], path: Path) -> None:
    """quality.png: what listeners would say of each path."""
    figure = Figure(figsize=(9, 5), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    names = list(reversed(found))
    colours = [VERMILION if found[name][1] else BLUE for name in names]
    bars = axes.barh(names, [found[name][0] for name in names], color=colours)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.axvline(CLEAN_MOS, color=BLUE, linestyle=":", linewidth=1)
    axes.axvline(LOSSY_MOS, color=VERMILION, linestyle=":", linewidth=1)
    axes.set_xlim(1, 5)
    axes.set_xlabel("MOS-LQO (ViSQOL); dotted: the targets, without and with losses")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
