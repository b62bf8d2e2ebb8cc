"""One experiment: lines at a reflector, the reflector killed, and when each line was where afterwards."""

import asyncio
import gc
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp, kstest

from relay.agent.failover import PATIENCE
from relay.agent.line import START_UP
from relay.chaff import Scatter
from relay.core import Clock, Entropy, TransportUnavailable
from relay.lab.moving.lines import Move
from relay.lab.moving.site import LocalDialer, Plan, Site
from relay.lab.moving.swarm import Swarm
from relay.media_reflector import Descriptor, fetch_descriptor, fetch_ticket

OPENED_EACH_SECOND = 120
HANDED_OUT_SECONDS = 70.0
"""How long after the last line opened the last one may wait for its two tickets: some get them in the second round."""
CATCH_UP_SECONDS = 1.0
SETTLED_SECONDS = 9.8
"""After the kill: 1.5 until it is noticed, 5 to 8 until whatever is not needed is closed."""
STEADY_SECONDS = 1.0

HOME, AWAY = "h" * 56, "b" * 56


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.  Times are seconds after the kill."""

    planes: tuple[str, str]
    """Which data planes the two reflectors ran."""
    moves: tuple[Move, ...]
    killed: float
    lines_there: int
    crossed_there: int
    steady_share: float
    """Cells that the moved lines received in `STEADY_SECONDS`, of one in every tick each."""

    def _of(self, name: str, in_call: bool | None) -> NDArray[np.float64]:
        chosen = [move for move in self.moves if in_call in (None, move.in_call)]
        return np.array([getattr(move, name) - self.killed for move in chosen])

    @property
    def moved(self) -> NDArray[np.float64]:
        """When each line was where it belongs: crossed again in a call, else open; NaN where it never was."""
        return np.concatenate([self._of("crossed", True), self._of("opened", False)])

    @property
    def lost_share(self) -> float:
        """Lines that never got anywhere."""
        return float(np.mean(np.isnan(self.moved)))

    def began(self, in_call: bool | None = None) -> NDArray[np.float64]:
        """When the first cell of each line's new line left: what whoever watches the network sees."""
        found = self._of("began", in_call)
        return found[~np.isnan(found)]

    @property
    def uniform(self) -> float:
        """p-value of Kolmogorov and Smirnov: that the moves began uniformly over the policy's span."""
        began, noticed = self.began(), self._of("lost", None)
        first = float(np.nanmedian(noticed)) + PATIENCE + START_UP
        return float(kstest(began, "uniform", args=(first, Scatter().moving)).pvalue)

    @property
    def alike(self) -> float:
        """p-value of Kolmogorov and Smirnov: that lines in a call and idle ones began to move alike."""
        return float(ks_2samp(self.began(True), self.began(False)).pvalue)


Say = Callable[[str], None]


async def run(
    calls: int,
    idle: int,
    clock: Clock,
    entropy: Entropy,
    *,
    leaky: bool = False,
    prefer: str = "auto",
    say: Say = lambda text: None,
) -> Outcome:
    """Open all lines, kill their reflector, see where they go.  With `leaky` lines in a call move without a delay.

    Raises `TransportUnavailable` when it cannot be done here.
    """
    with tempfile.TemporaryDirectory(prefix="bvr-") as name:
        sockets = {onion: str(Path(name) / onion[:1]) for onion in (HOME, AWAY)}
        capacity = 2 * (2 * calls + idle) + 1000
        sites: list[Site] = []
        try:
            for onion in (HOME, AWAY):
                sites.append(await asyncio.to_thread(Site, Plan(onion, sockets, capacity, prefer)))
            return await _run(sites, LocalDialer(sockets), calls, idle, clock, entropy, leaky, prefer, say)
        finally:
            for site in sites:
                site.close()


async def _run(
    sites: list[Site],
    dialer: LocalDialer,
    calls: int,
    idle: int,
    clock: Clock,
    entropy: Entropy,
    leaky: bool,
    prefer: str,
    say: Say,
) -> Outcome:
    home, away = sites
    away.ask(peers=[str(home.reference)])
    home.ask(backup=str(away.reference))
    descriptors = [
        await fetch_descriptor(dialer, site.reference, isolation="", wall=clock.wall()) for site in sites
    ]
    scatter = Scatter(moving=0.0) if leaky else None
    swarm = Swarm(
        descriptors[0],
        descriptors[1],
        calls,
        idle,
        clock,
        entropy,
        scatter_in_call=scatter,
        prefer=prefer,
    )
    count = len(swarm.agents)
    running = asyncio.create_task(swarm.run())
    try:
        say(f"opening {count} lines, {calls} calls among them")
        await _open(swarm, descriptors[0], dialer, clock, entropy)
        await _until(lambda: swarm.up == count, 20.0, "not all lines opened")
        say("every line is full; waiting for tickets")
        await _until(lambda: swarm.handed_out == count, HANDED_OUT_SECONDS, "not all lines got tickets")
        swarm.prepare()
        gc.collect()
        gc.disable()
        await asyncio.sleep(CATCH_UP_SECONDS)
        say("killing their reflector")
        swarm.watch()
        home.kill()
        killed = clock.monotonic()
        await asyncio.sleep(SETTLED_SECONDS)
        before = await asyncio.to_thread(away.ask)
        swarm.listen(descriptors[1], False)
        received = swarm.cells_received(descriptors[1])
        began = clock.monotonic()
        await asyncio.sleep(STEADY_SECONDS)
        share = (swarm.cells_received(descriptors[1]) - received) / (clock.monotonic() - began) / 50.0 / count
    finally:
        gc.enable()
        running.cancel()
        ends = await asyncio.gather(running, return_exceptions=True)
        if isinstance(ends[0], Exception):
            raise ends[0]
    return Outcome(
        (home.name, away.name),
        tuple(swarm.moves),
        killed,
        before["lines"],
        before["crossed"],
        share,
    )


async def _open(swarm: Swarm, home: Descriptor, dialer: LocalDialer, clock: Clock, entropy: Entropy) -> None:
    began = clock.monotonic()
    for number, agent in enumerate(swarm.agents):
        ticket = await fetch_ticket(dialer, home, entropy, isolation="", now=clock.monotonic())
        swarm.open(agent, ticket)
        await asyncio.sleep(max(0.0, began + number / OPENED_EACH_SECOND - clock.monotonic()))


async def _until(done: Callable[[], bool], seconds: float, otherwise: str) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not done():  # noqa: ASYNC110 - thousands of lines have a part in it
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise TransportUnavailable(otherwise) from None
