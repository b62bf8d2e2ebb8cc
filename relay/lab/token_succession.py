"""A malicious contact point that follows owners over the end of a period: whose old tokens are whose new ones?

It sees when each token goes and each new one comes, and on which flow.  Tokens of one flow have one owner, for certain.
For all others it weighs, for each old and each new token, by how much they are apart, what the seconds of the minute
are of the one and of the other, and how many tokens their flows have.  How much likelier each of these is of one owner
than of two, and of predecessor and successor than of others, it has learned from a population like this one whose
owners it knew: an adversary can always make itself such a population.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relay.agent.regrouping import MOST_TOKENS
from relay.core import Entropy
from relay.lab.flow_population import Floats, Integers
from relay.lab.pair_ranking import Ranking, averaged, ranked
from relay.lab.period_change import Change, Tokens, change_period

_MINUTE = 60.0
Truths = NDArray[np.bool_]

_APART = np.concatenate(
    [
        [0.0, 0.3, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 130.0, 300.0, 1800.0],
        np.arange(1.0, 20.0) * 3600.0,
    ]
)
"""Seconds, the ends of classes of what lies between two moments; in both directions."""
_SECONDS = 30
"""Classes of the difference of two moments' seconds of the minute."""
_TRAINING_AGENTS = 100


@dataclass(frozen=True, slots=True)
class Succession:
    """How well it went, the mean of some runs; `errors` are standard deviations from run to run."""

    change: Change
    figures: Ranking
    """Of pairs of an old and a new token: have they one owner?"""
    errors: Ranking
    named: float
    """Share of old tokens of which the likeliest successor is the right one."""
    named_error: float
    by_chance: float
    """The same share where one new token is taken by chance."""
    runs: int


def follow(change: Change, entropy: Entropy, *, runs: int = 1) -> Succession:
    """Simulate, attack, and say how well it went."""
    known = Change(min(change.agents, _TRAINING_AGENTS), change.contacts, change.renewal)
    ratios = _learn(*change_period(known, entropy))
    found = [_attack(*change_period(change, entropy), ratios) for _ in range(runs)]
    figures, errors = averaged([ranking for ranking, _, _ in found])
    named = [share for _, share, _ in found]
    return Succession(
        change,
        figures,
        errors,
        float(np.mean(named)),
        float(np.std(named, ddof=1)) if runs > 1 else 0.0,
        float(np.mean([chance for _, _, chance in found])),
        runs,
    )


@dataclass(frozen=True, slots=True)
class _Ratios:
    """Logarithms of likelihood ratios by class: of one owner, and of predecessor and successor."""

    apart: Floats
    seconds: Floats
    sizes: Floats
    successor_apart: Floats
    successor_seconds: Floats


def _learn(gone: Tokens, come: Tokens) -> _Ratios:
    apart, seconds = _classes(gone, come, slice(None))
    own = gone.owners[:, None] == come.owners[None, :]
    successor = gone.contacts[:, None] == come.contacts[None, :]
    # What shares a flow needs no guess, and would teach wrongly about the rest.
    open_tokens = gone.flows[:, None] != come.flows[None, :]
    old, new = _Flows(gone), _Flows(come)
    open_flows = old.flows[:, None] != new.flows[None, :]
    own_flows = old.owners[:, None] == new.owners[None, :]
    apart_classes = 2 * len(_APART) + 1
    return _Ratios(
        apart=_ratio(apart[open_tokens], own[open_tokens], apart_classes),
        seconds=_ratio(seconds[open_tokens], own[open_tokens], _SECONDS),
        sizes=_ratio(_size_classes(old, new)[open_flows], own_flows[open_flows], (MOST_TOKENS + 1) ** 2),
        successor_apart=_ratio(apart, successor, apart_classes),
        successor_seconds=_ratio(seconds, successor, _SECONDS),
    )


def _ratio(classes: Integers, own: Truths, number: int) -> Floats:
    """Smoothed towards "tells nothing": a class that was hardly ever seen must not decide."""
    every = np.bincount(classes.ravel(), minlength=number) + 1.0
    share = every / every.sum()
    among = np.bincount(classes[own], minlength=number)
    others = np.bincount(classes[~own], minlength=number)
    smooth = 20.0
    of_own = (among + smooth * share) / (among.sum() + smooth)
    of_others = (others + smooth * share) / (others.sum() + smooth)
    return np.asarray(np.log(of_own / of_others))


def _classes(gone: Tokens, come: Tokens, rows: slice) -> tuple[Integers, Integers]:
    """For some old tokens and each new one: how far apart, and how far apart within a minute."""
    apart = come.at[None, :] - gone.at[rows, None]
    steps = np.digitize(np.abs(apart), _APART)
    far = np.where(apart < 0.0, len(_APART) - steps, len(_APART) + steps)
    seconds = np.floor(np.mod(apart, _MINUTE) * (_SECONDS / _MINUTE)).astype(np.int64)
    return far, np.minimum(seconds, _SECONDS - 1)


class _Flows:
    """Tokens in the order of their flows; the size and the owner of each flow."""

    def __init__(self, tokens: Tokens) -> None:
        self.order = np.argsort(tokens.flows, kind="stable")
        self.flows, self.starts, sizes = np.unique(
            tokens.flows[self.order], return_index=True, return_counts=True
        )
        self.sizes = sizes.astype(np.int64)
        self.owners = tokens.owners[self.order][self.starts]


def _size_classes(old: _Flows, new: _Flows) -> Integers:
    return old.sizes[:, None] * (MOST_TOKENS + 1) + new.sizes[None, :]


def _attack(gone: Tokens, come: Tokens, ratios: _Ratios) -> tuple[Ranking, float, float]:
    """The figures, the share of old tokens whose successor was named, and what chance would name."""
    old, new = _Flows(gone), _Flows(come)
    scores = ratios.sizes[_size_classes(old, new)]
    named = 0
    for place, (start, size) in enumerate(zip(old.starts, old.sizes, strict=True)):
        rows = old.order[start : start + size]
        for row in rows:
            apart, seconds = _classes(gone, come, slice(row, row + 1))
            each = (ratios.apart[apart] + ratios.seconds[seconds])[0]
            scores[place] += np.add.reduceat(each[new.order], new.starts)
            likely = (ratios.successor_apart[apart] + ratios.successor_seconds[seconds])[0]
            named += int(come.contacts[np.argmax(likely)] == gone.contacts[row])
    own = old.owners[:, None] == new.owners[None, :]
    weight = (old.sizes[:, None] * new.sizes[None, :]).astype(float)
    certain = old.flows[:, None] == new.flows[None, :]
    good, total = float(weight[own].sum()), float(weight.sum())
    ranking = ranked(
        scores[~certain],
        own[~certain],
        weight[~certain],
        good=good,
        bad=total - good,
        caught=float(weight[certain].sum()),
    )
    return ranking, named / len(gone.at), 1.0 / len(come.at)
