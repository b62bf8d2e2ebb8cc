"""The flows of a population of agents at one contact point, as it sees them; for `relay.lab.token_linking`.

Groups and rise times are the shipped policy's (`relay.agent.regrouping`); when people start and stop their agents, and
how often networks fail, are assumptions that `Scenario` states.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil

import numpy as np
from numpy.typing import NDArray

from relay.agent.regrouping import EARLY, LATE, Grouping, rise
from relay.core import Entropy

DAY = 86400.0
TOKEN_DAYS = 1.0 + (sum(EARLY) + sum(LATE)) / 2 / DAY
"""How long a token of the shipped policy is bound, the mean: 1.4 days."""

DOWN_JITTER = 0.2
"""Seconds, the mean of an exponential delay after which a contact point notices that a flow ended."""

_CONNECT = (1.5, 1.5)
"""Seconds to reach a contact point: at least, and the mean of what is added."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Policy(StrEnum):
    """What the population does."""

    SHIPPED = "shipped"
    """Groups for life, tokens renewed each period: `days` is `TOKEN_DAYS`, whatever is asked for."""
    KEPT = "tokens kept"
    """Groups for life, but the same tokens day after day."""
    MOVED = "tokens moved"
    """The same tokens, drawn into new groups each day: what regrouping would do without new tokens."""
    TOGETHER = "flows together"
    """Control: groups, but over one circuit: all flows of an agent are lost and come up at once."""
    ONE_FLOW = "one flow"
    """Control: all tokens of an agent on one flow."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A population at one contact point.  `days`: how long the adversary watches the same tokens.

    Who is not always there has one session each day, and is seen to begin and end one for every day that has begun.
    """

    agents: int = 100
    contacts: int = 16
    days: float = 1.0
    policy: Policy = Policy.SHIPPED
    always: bool = False
    """Agents run day and night; else from about 9 to about 18 o'clock, each moment normal with `spread` seconds."""
    spread: float = 7200.0
    outages: float = 0.5
    """How often a day an agent loses its network, and all flows at once."""
    losses: float = 1.0
    """How often a day a single flow is lost."""
    rising: float = 1.0
    """How many times as long as shipped the flows take to come up."""
    falling: float = 0.0
    """Seconds over which an agent that is stopped lets its flows go; a lost network takes them at once."""

    @property
    def tokens(self) -> int:
        """At the contact point."""
        return self.agents * self.contacts


@dataclass(slots=True)
class Seen:
    """Clusters of tokens: owner and number of tokens of each; events as (moment, cluster)."""

    owners: Integers
    sizes: Floats
    downs: tuple[Floats, Integers]
    ups: tuple[Floats, Integers]
    caught: float
    """Token pairs of one owner that merging alone found, beyond those of one group."""


def simulate(scenario: Scenario, entropy: Entropy) -> Seen:
    """What the contact point sees, already merged by flows that tokens shared; owners are for the judge alone."""
    owners: list[int] = []
    sizes: list[int] = []
    downs: list[tuple[float, int]] = []
    ups: list[tuple[float, int]] = []
    caught = 0.0
    for agent in range(scenario.agents):
        clusters, found = _clusters(scenario, entropy)
        caught += found
        numbers = range(len(owners), len(owners) + len(clusters))
        owners += [agent] * len(clusters)
        sizes += clusters
        for segment in _segments(scenario, entropy):
            _live(scenario, segment, numbers, ups, downs, entropy)
    return Seen(np.array(owners), np.array(sizes, dtype=float), _events(downs), _events(ups), caught)


def _clusters(scenario: Scenario, entropy: Entropy) -> tuple[list[int], float]:
    """Sizes of one agent's clusters after merging, and the pairs of tokens that merging added to those of one group."""
    if scenario.policy is Policy.ONE_FLOW:
        return [scenario.contacts], scenario.contacts * (scenario.contacts - 1) / 2
    tokens = [str(number) for number in range(scenario.contacts)]
    merged: list[set[str]] = []
    promised = 0.0
    for day in range(ceil(scenario.days) if scenario.policy is Policy.MOVED else 1):
        grouping = Grouping()
        grouping.settle(tokens, (), entropy)
        groups = [set(group.members) for group in grouping.groups]
        if day == 0:
            promised = sum(len(group) * (len(group) - 1) / 2 for group in groups)
        for group in groups:
            touching = [cluster for cluster in merged if cluster & group]
            merged = [cluster for cluster in merged if not cluster & group]
            merged.append(group.union(*touching))
    sizes = [len(cluster) for cluster in merged]
    return sizes, sum(size * (size - 1) / 2 for size in sizes) - promised


@dataclass(frozen=True, slots=True)
class _Segment:
    """From when until when one agent is there without a break; who watches sees those ends that he is there for."""

    begin: float
    end: float
    begins: bool = True
    ends: bool = True
    stopped: bool = True


def _segments(scenario: Scenario, entropy: Entropy) -> list[_Segment]:
    if scenario.always:
        sessions = [_Segment(0.0, scenario.days * DAY, begins=False, ends=False)]
    else:
        sessions = []
        for day in range(ceil(scenario.days)):
            begin = day * DAY + 9 * 3600.0 + scenario.spread * _normal(entropy)
            end = day * DAY + 18 * 3600.0 + scenario.spread * _normal(entropy)
            sessions.append(_Segment(begin, max(end, begin + 600.0)))
    segments = []
    for session in sessions:
        rest = session
        while scenario.outages:
            out = rest.begin + entropy.exponential(DAY / scenario.outages)
            if out >= rest.end - 300.0:
                break
            segments.append(replace(rest, end=out, ends=True, stopped=False))
            rest = replace(rest, begin=out + 10.0 + entropy.exponential(60.0), begins=True)
        segments.append(replace(rest, end=max(rest.begin + 60.0, rest.end)))
    return segments


def _live(
    scenario: Scenario,
    segment: _Segment,
    numbers: range,
    ups: list[tuple[float, int]],
    downs: list[tuple[float, int]],
    entropy: Entropy,
) -> None:
    """What is seen of one agent's flows in one segment."""
    together = scenario.policy is Policy.TOGETHER
    first = entropy.choice(numbers)
    shared = _losses(scenario, segment, entropy)
    for number in numbers:
        if segment.begins:
            after = 0.0 if together else scenario.rising * rise(entropy, first=number == first)
            ups.append((segment.begin + after + connect(entropy), number))
        for at in shared if together else _losses(scenario, segment, entropy):
            downs.append((at + entropy.exponential(DOWN_JITTER), number))
            ups.append((at + entropy.uniform(0.5, 1.5) + connect(entropy), number))
        if segment.ends:
            lingering = entropy.uniform(0.0, scenario.falling) if segment.stopped else 0.0
            downs.append((segment.end + lingering + entropy.exponential(DOWN_JITTER), number))


def _losses(scenario: Scenario, segment: _Segment, entropy: Entropy) -> list[float]:
    moments, now = list[float](), segment.begin + 120.0
    while scenario.losses and (now := now + entropy.exponential(DAY / scenario.losses)) < segment.end - 60.0:
        moments.append(now)
    return moments


def connect(entropy: Entropy) -> float:
    """Seconds that one connection to the contact point takes to come up."""
    return _CONNECT[0] + entropy.exponential(_CONNECT[1])


def _normal(entropy: Entropy) -> float:
    return sum(entropy.uniform(-1.0, 1.0) for _ in range(12)) / 2.0


def _events(events: list[tuple[float, int]]) -> tuple[Floats, Integers]:
    return np.array([at for at, _ in events]), np.array([number for _, number in events], dtype=np.int64)
