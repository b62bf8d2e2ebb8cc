"""How well somebody ranked pairs: figures for whoever says which of many pairs have one owner."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Figures of one attack on pairs of tokens."""

    auc: float
    """That a pair of one owner looks likelier than one of two; 0.5 is guessing."""
    average_precision: float
    precision: float
    """Of the pairs that it would call one owner's, those that are; 0 where it calls none."""
    recall: float
    """Of the pairs that are one owner's, those that it calls so."""
    chance: float
    """Share of pairs that are one owner's: the precision of guessing."""


NOTHING_TO_TELL = Ranking(0.5, 0.0, 0.0, 0.0, 0.0)
"""Where all pairs are of one sort."""


def ranked(
    scores: Floats,
    own: NDArray[np.bool_],
    weight: Floats,
    *,
    good: float,
    bad: float,
    caught: float = 0.0,
) -> Ranking:
    """Pairs in order: first `caught` of one owner that are certain, then by score, then all that have none.

    `scores` are logarithms of likelihood ratios; `weight` is how many pairs of tokens each stands for; `good` and `bad`
    how many there are in all, those without a score included.
    """
    if good <= 0.0 or bad <= 0.0:
        return NOTHING_TO_TELL
    order = np.argsort(-scores, kind="stable")
    hits = caught + np.cumsum(np.where(own, weight, 0.0)[order])
    errors = np.cumsum(np.where(own, 0.0, weight)[order])
    # Pairs of one score are in no order: the curve goes straight through all of them.
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    true = np.concatenate(([0.0, caught], hits[ends], [good]))
    false = np.concatenate(([0.0, 0.0], errors[ends], [bad]))
    called = true + false
    precisions = np.divide(true, called, out=np.ones_like(called), where=called > 0.0)
    open_good = good - caught
    prior = open_good / (open_good + bad) if open_good > 0.0 else 0.0
    believed = scores > (np.log((1.0 - prior) / prior) if prior else np.inf)
    hit = caught + float(weight[believed & own].sum())
    error = float(weight[believed & ~own].sum())
    return Ranking(
        auc=float(np.trapezoid(true, false)) / (good * bad),
        average_precision=float((np.diff(true) * precisions[1:]).sum()) / good,
        precision=hit / (hit + error) if hit + error else 0.0,
        recall=hit / good,
        chance=good / (good + bad),
    )


def averaged(runs: Sequence[Ranking]) -> tuple[Ranking, Ranking]:
    """Mean and standard deviation of each figure."""
    values = np.array([astuple(run) for run in runs])
    spread = values.std(axis=0, ddof=1) if len(runs) > 1 else np.zeros(values.shape[1])
    return Ranking(*map(float, values.mean(axis=0))), Ranking(*map(float, spread))
