"""How long a ZRTP exchange takes on a bad path: `python -m bench.zrtp [--rounds 1000] [--out zrtp-out]`.

Two ends as they ship, in virtual time: 100 ms from end to end and back, 5 % lost each way.  Once with a datagram for
each packet, and once inside cells: one every 20 ms, 111 bytes each, so that a message is in several cells and lost with
any of them.  What the processors take comes on top; it is measured beside it.  Ends with 1 when a row does not hold.
"""

import argparse
import heapq
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bench.report import Report, Row, at_most, reported
from relay.core import Clock, Entropy, ManualClock, SeededEntropy, SystemClock
from relay.rtp import TICK, ContentPacker, ContentUnpacker, Kind
from relay.zrtp import EVERYTHING, Effect, Exchange, KeyAgreementType, MemoryZidCache, Secured, Send, Settings

LIMIT = 1.5
"""Seconds within which 95 of 100 exchanges with X255 are to be complete at both ends."""
ONE_WAY = 0.050
LOSS = 0.05
_APART = 0.100
"""Seconds: the two ends begin at most this long one after the other, as their lines are crossed."""
_GIVE_UP = 60.0


@dataclass
class End:
    """One end, what it waits to send in cells, and when it had keys."""

    exchange: Exchange
    begins: float
    tick: float
    """When its next cell leaves."""
    packer: ContentPacker = field(default_factory=ContentPacker)
    unpacker: ContentUnpacker = field(default_factory=ContentUnpacker)
    begun: bool = False
    keys: Secured | None = None
    keys_at: float = 0.0


class Call:
    """One exchange on one path."""

    def __init__(self, agreement: KeyAgreementType, seed: str, *, cells: bool) -> None:
        chance = SeededEntropy(f"{seed}/path")
        settings = Settings(replace(EVERYTHING, key_agreements=(agreement,)))
        self._chance: Entropy = chance
        self._cells = cells
        self.ends = [
            End(
                Exchange(
                    settings,
                    ssrc,
                    zid,
                    MemoryZidCache(ManualClock()),
                    SeededEntropy(f"{seed}/{ssrc}"),
                ),
                begins,
                chance.uniform(0.0, TICK),
            )
            for ssrc, zid, begins in (
                (1, b"caller's zid", 0.0),
                (2, b"callee's zid", chance.uniform(0.0, _APART)),
            )
        ]
        self._order = itertools.count()
        self._flying: list[tuple[float, int, End, bytes]] = []

    def run(self) -> float:
        """Seconds from when both had begun until both have the same keys; infinite where that never comes."""
        while not all(end.keys for end in self.ends):
            now = min(self._next_times())
            if now > _GIVE_UP:
                return float("inf")
            self._step(now)
        one, other = self.ends
        assert one.keys is not None
        assert other.keys is not None
        assert (one.keys.send, one.keys.sas) == (other.keys.receive, other.keys.sas)
        return max(end.keys_at for end in self.ends) - max(end.begins for end in self.ends)

    def _next_times(self) -> Iterator[float]:
        yield from (flight[0] for flight in self._flying[:1])
        for end in self.ends:
            if not end.begun:
                yield end.begins
            elif (deadline := end.exchange.deadline) is not None:
                yield deadline
            if self._cells:
                yield end.tick

    def _step(self, now: float) -> None:
        for end in self.ends:
            if not end.begun and end.begins <= now:
                end.begun = True
                self._act(end, end.exchange.begin(now), now)
            if self._cells and end.tick <= now:
                end.tick += TICK
                self._fly(end, end.packer.next(), now)
            if end.begun:
                self._act(end, end.exchange.due(now), now)
        while self._flying and self._flying[0][0] <= now:
            _, _, end, data = heapq.heappop(self._flying)
            arrived = [data]
            if self._cells:
                arrived = [datagram.data for datagram in end.unpacker.receive(data, now)]
            for datagram in arrived:
                if end.begun:
                    self._act(end, end.exchange.receive(datagram, now), now)

    def _act(self, end: End, effects: list[Effect], now: float) -> None:
        for effect in effects:
            if isinstance(effect, Send) and self._cells:
                end.packer.offer(Kind.ZRTP, effect.datagram)
            elif isinstance(effect, Send):
                self._fly(end, effect.datagram, now)
            elif isinstance(effect, Secured):
                end.keys, end.keys_at = effect, now

    def _fly(self, sender: End, data: bytes, now: float) -> None:
        if self._chance.uniform(0.0, 1.0) >= LOSS:
            to = self.ends[1] if sender is self.ends[0] else self.ends[0]
            heapq.heappush(self._flying, (now + ONE_WAY, next(self._order), to, data))


def measure(rounds: int, clock: Clock) -> Iterator[Row]:
    """All rows."""
    for agreement in (KeyAgreementType.X255, KeyAgreementType.DH3K):
        for cells in (False, True):
            began = clock.monotonic()
            took = [Call(agreement, f"{agreement}/{n}", cells=cells).run() for n in range(rounds)]
            spent = 1000.0 * (clock.monotonic() - began) / rounds
            where = "in cells" if cells else "in datagrams"
            how = (
                f"{rounds} exchanges in virtual time, both ends' Hello to both ends' keys; {1000 * ONE_WAY:g} ms and "
                f"{LOSS:.0%} loss each way{', of cells, one every 20 ms' if cells else ''}"
            )
            name = f"ZRTP exchange, {agreement}, {where}"
            yield reported(f"{name}, median (s)", float(np.percentile(took, 50)), how, digits=3)
            p95 = float(np.percentile(took, 95))
            if agreement is KeyAgreementType.X255:
                yield at_most(f"{name}, 95 of 100", LIMIT, p95, how, digits=3, unit=" s")
            else:
                yield reported(f"{name}, 95 of 100 (s)", p95, how, digits=3)
            yield reported(f"{name}, slowest (s)", float(np.max(took)), how, digits=3)
            if not cells:
                work = "wall time of both ends' work and of the path's simulation, one after the other on one core"
                yield reported(f"{name}, processor (ms)", spent, work)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.zrtp")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("zrtp-out"))
    options = parser.parse_args(arguments)
    clock = SystemClock()
    report = Report(quick=options.rounds < 1000)
    report.rows = list(measure(options.rounds, clock))
    options.out.mkdir(parents=True, exist_ok=True)
    report.write(options.out, clock)
    for row in report.rows:
        print(f"{row.measure:<62} {row.value!s:>8}  {row.target}")
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
