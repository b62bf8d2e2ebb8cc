"""What a contact point sees of tokens when a period ends: old ones go, new ones come; for `relay.lab.token_succession`.

Moments and groups are the shipped policy's (`relay.agent.regrouping`).  All agents are there day and night, without an
outage: who comes and goes with all tokens, old and new, is linked by that already (`relay.lab.token_linking`).
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from relay.agent.lookups import NEW_PERIOD
from relay.agent.regrouping import LATE, Grouping, rise, token_life
from relay.core import Entropy
from relay.lab.flow_population import DOWN_JITTER, Floats, Integers, connect

_ONION = "a" * 56
_PERIOD = 20_000
_LOOK = 60.0
_NOTICE = 1.0
"""Seconds between two looks of an agent at what is due."""


class Renewal(StrEnum):
    """How tokens are renewed."""

    SHIPPED = "shipped"
    MIXED = "groups mixed"
    """Control: successors may join groups of their predecessors' period."""
    MINUTE = "by the minute"
    """Control: what is due is done when a clock of the agent's own, which ticks once a minute, says so."""
    EACH = "one for one"
    """Control: each successor comes when its predecessor goes."""
    AT_ONCE = "all at once"
    """Control: all tokens of an agent are renewed at one moment of its own."""


@dataclass(frozen=True, slots=True)
class Change:
    """A population at one contact point.  `contacts` is the mean; each agent has between half and one and a half."""

    agents: int = 100
    contacts: int = 16
    renewal: Renewal = Renewal.SHIPPED

    @property
    def tokens(self) -> int:
        """At the contact point, of each period; about."""
        return self.agents * self.contacts


@dataclass(slots=True)
class Tokens:
    """Tokens of one period: when each went, or came; its owner, its flow, and its contact.

    Owners, and contacts, are for the judge alone.
    """

    at: Floats
    owners: Integers
    flows: Integers
    contacts: Integers


def change_period(change: Change, entropy: Entropy) -> tuple[Tokens, Tokens]:
    """The tokens that went, and those that came."""
    gone: list[tuple[float, int, int, int]] = []
    come: list[tuple[float, int, int, int]] = []
    flows, contacts = 0, 0
    for owner in range(change.agents):
        number = max(1, change.contacts // 2 + entropy.below(change.contacts + 1))
        went, came = _moments(number, change.renewal, entropy)
        ridden = _flows(np.argsort(came).tolist(), number, change.renewal, entropy)
        for each in range(number):
            gone.append((went[each], owner, flows + ridden[each], contacts + each))
            come.append((came[each], owner, flows + ridden[number + each], contacts + each))
        flows += max(ridden) + 1
        contacts += number
    return _tokens(gone), _tokens(come)


def lost_for(first: float, entropy: Entropy, draws: int = 10_000) -> tuple[float, float]:
    """Share of contacts whose token goes before they have looked for its successor, and for how long, seconds, mean.

    `first`: seconds after the period before which no token goes; `LATE[0]` as shipped.  Until it has looked, what the
    contact sends goes nowhere, and it does not learn so.
    """
    gaps = [max(0.0, entropy.uniform(*NEW_PERIOD) - entropy.uniform(first, LATE[1])) for _ in range(draws)]
    lost = [gap for gap in gaps if gap]
    return len(lost) / draws, float(np.mean(lost)) if lost else 0.0


def _moments(number: int, renewal: Renewal, entropy: Entropy) -> tuple[Floats, Floats]:
    """When the contact point sees each of an owner's tokens go, and its successor come."""
    seeds = [entropy.token(32) for _ in range(number)]
    went = np.array([token_life(seed, _ONION, _PERIOD)[1] for seed in seeds])
    came = np.array([token_life(seed, _ONION, _PERIOD + 1)[0] for seed in seeds])
    looked = entropy.uniform(0.0, _LOOK)
    match renewal:
        case Renewal.MINUTE:
            went, came = (looked + np.ceil((due - looked) / _LOOK) * _LOOK for due in (went, came))
        case Renewal.EACH:
            came = went.copy()
        case Renewal.AT_ONCE:
            went = came = np.full(number, entropy.choice(list(went)))
        case Renewal.SHIPPED | Renewal.MIXED:
            pass
    alone = renewal is not Renewal.AT_ONCE

    def after(jitter: float) -> float:
        notice = 0.0 if renewal is Renewal.MINUTE else entropy.uniform(0.0, _NOTICE)
        return notice + rise(entropy, first=alone) + jitter

    return (
        went + np.array([after(entropy.exponential(DOWN_JITTER)) for _ in seeds]),
        came + np.array([after(connect(entropy)) for _ in seeds]),
    )


def _flows(order: list[int], number: int, renewal: Renewal, entropy: Entropy) -> list[int]:
    """The flow of each old token, then of each new one, which come in that order."""
    grouping = Grouping()
    old = [f"old {each}" for each in range(number)]
    new = [f"new {each}" for each in range(number)]
    periods = {} if renewal is Renewal.MIXED else dict.fromkeys(old, 1) | dict.fromkeys(new, 2)
    grouping.settle(old, (), entropy, periods)
    # One after the other, as they come.  The old ones are there all the while: they go later.
    wanted = list(old)
    for each in order:
        wanted.append(new[each])
        grouping.settle(wanted, (), entropy, periods)
    flow = {token: place for place, group in enumerate(grouping.groups) for token in group.members}
    return [flow[token] for token in (*old, *new)]


def _tokens(rows: list[tuple[float, int, int, int]]) -> Tokens:
    at, owners, flows, contacts = zip(*rows, strict=True)
    whole = (np.array(values, dtype=np.int64) for values in (owners, flows, contacts))
    return Tokens(np.array(at), *whole)
