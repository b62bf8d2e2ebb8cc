"""Which tokens ride on one flow, when flows come up, and when a token follows another: pure policy.

A contact point sees which tokens share a flow, and a flow has one owner.  So whatever a token ever shares a flow with
is known to be its owner's, and what that shared one with, and so on: a token that moved from group to group would,
within a few periods, tie all tokens of its owner together (`relay.lab.token_linking` measures it).  Hence five rules:

1. A token stays in its group for life, over restarts too.
2. A group never has more than `MOST_TOKENS` members, those that left it included.
3. Groups are drawn anew each period because tokens are: `period_token` gives every (contact, contact point, period)
   one of its own.  Successors come and predecessors go at independent moments, in windows of hours that are the same
   for everybody, so that the one does not name the other.  They come and go at these very moments (`next_change`): a
   look once a minute would show whose they are by the second of the minute.
4. A group holds tokens of one period: one that took in successors would tie two periods together for certain
   (`relay.lab.token_succession` measures it).
5. A token that strangers may know (of an invitation or a standing record) rides alone: it says whose it is.

Sizes are drawn evenly from 1 to 8, mean 4.5, and a token takes any open group or a new one with equal chance, so that
the tokens on a flow do not tell how many contacts its owner has.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from relay.core import Entropy
from relay.forward_publish import PERIOD, TokenKey

MOST_TOKENS = 8
"""Tokens that one flow carries at most, ever."""

FIRST_RISE = 2.0
"""Seconds within which the first flow to a contact point comes up, or a change that stands alone is made."""

RISE = 60.0
"""The same for all further flows and changes: no two of an owner's flows move together."""

EARLY = (0.5 * 3600.0, 6.0 * 3600.0)
"""Seconds before its period begins at which a token is bound: drawn evenly from there."""

LATE = (3.25 * 3600.0, 12.0 * 3600.0)
"""Seconds after its period ended at which a token is given up.

A contact rings the old one until it has found the new one, three hours after the period ended at the latest
(`relay.agent.lookups.NEW_PERIOD`): what it sends to one that is gone is lost without a word.  Who has not looked for
twelve hours looks first.
"""

_TOKEN_DOMAIN = b"bayonne period token, version 1\x00"
_MOMENT_DOMAIN = b"bayonne period token moments, version 1\x00"
_MOST_CACHED = 32768


class Group(msgspec.Struct, forbid_unknown_fields=True):
    """The tokens of one flow, all of one period: at most `size`, counting those of `members` that are given up."""

    size: int
    members: list[str]
    period: int = 0

    @property
    def roomy(self) -> bool:
        return len(self.members) < self.size


class Grouping:
    """The groups of one agent at one contact point."""

    __slots__ = ("groups",)

    def __init__(self, groups: Iterable[Group] = ()) -> None:
        self.groups = list(groups)

    def settle(
        self,
        wanted: Collection[str],
        alone: Collection[str],
        entropy: Entropy,
        periods: Mapping[str, int] | None = None,
    ) -> bool:
        """Give every token of `wanted` its group, those of `alone` one each; True where anything changed.

        `periods` are those of the tokens; all are of one where it is left out.  A group is forgotten when none of its
        tokens is wanted any more.
        """
        before = len(self.groups)
        self.groups = [group for group in self.groups if any(token in wanted for token in group.members)]
        changed = len(self.groups) != before
        known = {token for group in self.groups for token in group.members}
        for token in entropy.draw(sorted(set(wanted) - known)):
            self._place(token, token in alone, (periods or {}).get(token, 0), entropy)
            changed = True
        return changed

    def _place(self, token: str, alone: bool, period: int, entropy: Entropy) -> None:
        open_ones = () if alone else self.groups
        roomy = [group for group in open_ones if group.roomy and group.period == period]
        chosen = entropy.below(len(roomy) + 1)
        if chosen < len(roomy):
            roomy[chosen].members.append(token)
        else:
            size = 1 if alone else 1 + entropy.below(MOST_TOKENS)
            self.groups.append(Group(size, [token], period))


def rise(entropy: Entropy, *, first: bool) -> float:
    """Seconds until a flow comes up or changes; `first`: nothing else at its contact point does just now."""
    return entropy.uniform(0.0, FIRST_RISE if first else RISE)


def refresh_after(entropy: Entropy, expires: float) -> float:
    """Seconds after which a registration that lasts `expires` is renewed (RFC 5626 section 4.4)."""
    return entropy.uniform(0.5, 0.9) * expires


def period_token(seed: bytes, onion: str, period: int) -> TokenKey:
    """The token, at contact point `onion`, in our record of `period` for the contact whose token seed is `seed`."""
    return _period_token(bytes(seed), onion, period)


@lru_cache(maxsize=_MOST_CACHED)
def _period_token(seed: bytes, onion: str, period: int) -> TokenKey:
    return TokenKey.from_seed(_derive(_TOKEN_DOMAIN, seed, onion, period, 32))


def bound_periods(seed: bytes, onion: str, now: float) -> tuple[int, ...]:
    """The periods whose tokens are to be bound at `now` (Unix time): the current one, and perhaps a neighbour.

    The moments follow from the seed, so that a restart does not draw them again.
    """
    return tuple(period for period, (begin, end) in _lives(seed, onion, now) if begin <= now < end)


def next_change(seed: bytes, onion: str, now: float) -> float:
    """The Unix time after `now` at which `bound_periods` says something else."""
    return min(moment for _, life in _lives(seed, onion, now) for moment in life if moment > now)


def _lives(seed: bytes, onion: str, now: float) -> list[tuple[int, tuple[float, float]]]:
    current = int(now) // PERIOD
    return [(period, token_life(seed, onion, period)) for period in (current - 1, current, current + 1)]


def token_life(seed: bytes, onion: str, period: int) -> tuple[float, float]:
    """Unix times from and until which a period's token is bound; the two draws are independent."""
    return _token_life(bytes(seed), onion, period)


@lru_cache(maxsize=_MOST_CACHED)
def _token_life(seed: bytes, onion: str, period: int) -> tuple[float, float]:
    drawn = _derive(_MOMENT_DOMAIN, seed, onion, period, 16)
    early, late = (int.from_bytes(part) / 2.0**64 for part in (drawn[:8], drawn[8:]))
    begin, end = period * PERIOD, (period + 1) * PERIOD
    return (
        begin - EARLY[0] - early * (EARLY[1] - EARLY[0]),
        end + LATE[0] + late * (LATE[1] - LATE[0]),
    )


def _derive(domain: bytes, seed: bytes, onion: str, period: int, size: int) -> bytes:
    info = domain + onion.encode() + b"\x00" + period.to_bytes(8)
    return HKDF(hashes.SHA256(), size, salt=None, info=info).derive(seed)
