"""A malicious contact point that tries to tell which tokens have one owner, from what it sees of flows.

It sees, for each flow: when it comes up, when it goes down, the tokens on it and when each is registered.  Whose a
flow is it does not see; every flow comes over a circuit of its own.  It works in two steps.  First it merges: tokens
that ever shared a flow are one owner's for certain, and so on from flow to flow.  Then it compares what is left, two
clusters at a time, by the moments at which their flows went down and came up: an agent that is stopped, or loses its
network, takes all its flows with it, and no policy can hide that.  Each pair of moments adds the logarithm of how
much likelier it is of one owner than of two.

The population runs the shipped policy (`relay.lab.flow_population`).  The adversary knows that policy, how often
networks fail and how many tokens an agent has, and sees moments to a fraction of a second.  Who follows whom when a
period ends is another attack (`relay.lab.token_succession`); what the times of messages may add is not in it.  All
agents keep the same hours, within `spread`; where habits differ, it does better.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from relay.agent.flow_session import EXPIRES
from relay.agent.regrouping import RISE, refresh_after, rise
from relay.core import Entropy
from relay.lab.flow_population import (
    DOWN_JITTER,
    TOKEN_DAYS,
    Floats,
    Integers,
    Policy,
    Scenario,
    Seen,
    connect,
    simulate,
)
from relay.lab.pair_ranking import Ranking, averaged, ranked

_DOWN_WINDOW, _CONNECT_WINDOW, _REGISTER_WINDOW = 3.0, 15.0, 1.0
_BIN = 600.0
_DRAWS = 20_000

_NOTHING: tuple[Floats, Integers] = (np.empty(0), np.empty(0, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Row:
    """How well the adversary did on pairs of tokens that the policy does not put on one flow: the mean of some runs."""

    scenario: Scenario
    figures: Ranking
    errors: Ranking
    """Of each of the `figures`, the standard deviation from run to run."""
    runs: int = 1


def watch(scenario: Scenario, entropy: Entropy) -> Ranking:
    """Simulate, attack, and say how well it went."""
    if scenario.policy is Policy.SHIPPED:
        scenario = replace(scenario, days=TOKEN_DAYS)
    seen = simulate(scenario, entropy)
    return _judge(seen, *_score(seen, scenario, entropy))


def curve(
    agents: Sequence[int],
    contacts: Sequence[int],
    entropy: Entropy,
    base: Scenario | None = None,
    *,
    runs: int = 1,
) -> list[Row]:
    """One row, the mean of `runs`, for each number of agents and of contacts; the rest is as in `base`."""
    rows = []
    for number in agents:
        for each in contacts:
            scenario = replace(base or Scenario(), agents=number, contacts=each)
            mean, errors = averaged([watch(scenario, entropy) for _ in range(runs)])
            rows.append(Row(scenario, mean, errors, runs))
    return rows


def registrations_auc(scenario: Scenario, entropy: Entropy, *, together: bool = False) -> float:
    """What the times of re-registration alone betray, over one session of nine hours: an area under the curve.

    `together` is the control: one timer for all tokens of an agent.
    """
    times, tokens = [], []
    for agent in range(scenario.agents):
        began = entropy.uniform(0.0, 3600.0)
        shared = _refreshes(began, entropy)
        for token in range(scenario.contacts):
            own = shared if together else _refreshes(began + rise(entropy, first=False), entropy)
            times += [moment + entropy.exponential(DOWN_JITTER) for moment in own]
            tokens += [agent * scenario.contacts + token] * len(own)
    owners = np.repeat(np.arange(scenario.agents), scenario.contacts)
    first, second, _, _ = _coincidences(np.array(times), np.array(tokens), _REGISTER_WINDOW)
    pairs, inverse = np.unique(first * len(owners) + second, return_inverse=True)
    seen = Seen(owners, np.ones(len(owners)), _NOTHING, _NOTHING, 0.0)
    return _judge(seen, pairs, np.bincount(inverse).astype(float)).auc


def _refreshes(began: float, entropy: Entropy) -> list[float]:
    moments, now = [], began
    while (now := now + refresh_after(entropy, EXPIRES)) < began + 9 * 3600.0:
        moments.append(now)
    return moments


# -- the adversary -----------------------------------------------------------------------------------------------


def _score(seen: Seen, scenario: Scenario, entropy: Entropy) -> tuple[Integers, Floats]:
    """Pairs of clusters with anything in common, as first * clusters + second, and the log-likelihood ratio of each."""
    together = scenario.policy is Policy.TOGETHER
    rising = 0.0 if together else scenario.rising
    rises = [rising * rise(entropy, first=False) + connect(entropy) for _ in range(_DRAWS)]
    falls = [entropy.uniform(0.0, scenario.falling) + entropy.exponential(DOWN_JITTER) for _ in range(_DRAWS)]
    keys, ratios = [], []
    number = len(seen.owners)
    for (times, clusters), longest, draws in (
        (seen.downs, _DOWN_WINDOW + scenario.falling, falls),
        (seen.ups, _CONNECT_WINDOW + rising * RISE, rises),
    ):
        first, second, apart, at = _coincidences(times, clusters, longest)
        halves = np.array(draws[::2]), np.array(draws[1::2])
        density, edges = np.histogram(
            np.abs(halves[0] - halves[1]), np.linspace(0.0, longest, 61), density=True
        )
        same = density[np.clip(np.digitize(apart, edges) - 1, 0, 59)] / 2 + 1e-6
        keys.append(first * number + second)
        ratios.append(np.log(same / _background(times, at, number)))
    every, ratio = np.concatenate(keys), np.concatenate(ratios)
    pairs, inverse = np.unique(every, return_inverse=True)
    matched = np.bincount(inverse, minlength=len(pairs)).astype(float)
    score = np.bincount(inverse, weights=ratio, minlength=len(pairs))
    events = np.bincount(np.concatenate((seen.downs[1], seen.ups[1])), minlength=number)
    unmatched = np.maximum(0.0, events[pairs // number] + events[pairs % number] - 2.0 * matched)
    # What has no partner was a loss of one flow alone, if the two are one owner's.
    common = (1.0 + scenario.outages) / (1.0 + scenario.outages + scenario.losses)
    return pairs, score + unmatched * np.log(1.0 - min(0.95, common))


def _background(times: Floats, at: Floats, clusters: int) -> Floats:
    """How often, in a second around `at`, any one flow has such a moment by chance."""
    bins = np.floor(times / _BIN).astype(np.int64)
    low = int(bins.min(initial=0)) - 1
    counts = np.bincount(bins - low, minlength=1).astype(float)
    found = counts[np.clip(np.floor(at / _BIN).astype(np.int64) - low, 0, len(counts) - 1)]
    return np.asarray(np.maximum(1.0, found) / (clusters * _BIN))


def _coincidences(
    times: Floats, clusters: Integers, window: float
) -> tuple[Integers, Integers, Floats, Floats]:
    """All pairs of moments of two clusters within `window` seconds: lower cluster, higher one, apart by, when."""
    order = np.argsort(times)
    times, clusters = times[order], clusters[order]
    lows, highs, aparts, ats = [], [], [], []
    for shift in range(1, len(times)):
        apart = times[shift:] - times[:-shift]
        near = np.flatnonzero(apart <= window)
        if not len(near):
            break
        near = near[clusters[near] != clusters[near + shift]]
        lows.append(np.minimum(clusters[near], clusters[near + shift]))
        highs.append(np.maximum(clusters[near], clusters[near + shift]))
        aparts.append(apart[near])
        ats.append(times[near])
    if not lows:
        return (*(np.empty(0, dtype=np.int64),) * 2, np.empty(0), np.empty(0))
    return np.concatenate(lows), np.concatenate(highs), np.concatenate(aparts), np.concatenate(ats)


def _judge(seen: Seen, pairs: Integers, scores: Floats) -> Ranking:
    """Token pairs, ranked: first those that merging caught, then by score, then those with nothing in common."""
    number = len(seen.owners)
    first, second = pairs // number, pairs % number
    per_owner = np.bincount(seen.owners, weights=seen.sizes)
    squares = float((per_owner**2).sum())
    return ranked(
        scores,
        seen.owners[first] == seen.owners[second],
        seen.sizes[first] * seen.sizes[second],
        good=seen.caught + (squares - float((seen.sizes**2).sum())) / 2,
        bad=(float(seen.sizes.sum()) ** 2 - squares) / 2,
        caught=seen.caught,
    )
