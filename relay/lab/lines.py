"""From a capture to lines: what passed between one agent's address and a reflector, up and down."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relay.lab.captures import Address, Datagram

Times = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Direction:
    """The cells of one direction: monotonic times in seconds, ascending, and sizes in bytes."""

    times: Times
    sizes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LineSeen:
    """One line as its observer saw it; `up` goes from the agent to the reflector."""

    agent: Address
    reflector: Address
    up: Direction
    down: Direction
    datagrams: tuple[Datagram, ...]

    @property
    def start(self) -> float:
        """When the first cell passed, either way."""
        return min(float(one.times[0]) for one in (self.up, self.down) if len(one.times))

    @property
    def stop(self) -> float:
        """When the last cell passed, either way."""
        return max(float(one.times[-1]) for one in (self.up, self.down) if len(one.times))

    @property
    def sizes(self) -> list[int]:
        return [datagram.size for datagram in self.datagrams]


def lines_seen(
    datagrams: Iterable[Datagram], reflectors: Iterable[Address], wall_minus_monotonic: float
) -> list[LineSeen]:
    """Every line in a capture, in the order in which they began.

    A line is what one agent address (host and port) exchanged with one of `reflectors`;
    `wall_minus_monotonic` turns the capture's Unix times into CLOCK_MONOTONIC.
    """
    known = set(reflectors)
    sorted_out: dict[tuple[Address, Address], list[Datagram]] = {}
    for datagram in sorted(datagrams, key=lambda one: one.at_ns):
        if datagram.destination in known:
            sorted_out.setdefault((datagram.source, datagram.destination), []).append(datagram)
        elif datagram.source in known:
            sorted_out.setdefault((datagram.destination, datagram.source), []).append(datagram)
    return [
        LineSeen(
            agent,
            reflector,
            _direction([one for one in seen if one.source == agent], wall_minus_monotonic),
            _direction([one for one in seen if one.source == reflector], wall_minus_monotonic),
            tuple(seen),
        )
        for (agent, reflector), seen in sorted_out.items()
    ]


def _direction(datagrams: list[Datagram], wall_minus_monotonic: float) -> Direction:
    offset = round(wall_minus_monotonic * 1e9)
    nanoseconds = np.array([one.at_ns - offset for one in datagrams], dtype=np.int64)
    return Direction(
        (nanoseconds / 1e9).astype(np.float64), np.array([one.size for one in datagrams], dtype=np.int64)
    )
