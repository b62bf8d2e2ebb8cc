"""The contact points that a contact point knows: which to pull from, how seldom, and whom to tell of which.

Seeds come from the configuration and stay.  Others are learned from peers and from visitors that name themselves;
what somebody says about others is worth a try and no more:

- names that never answered hold at most `MOST_UNTRIED` places, and those that came by one teller `MOST_UNTRIED_OF_ONE`;
- all that came by one seed, directly or over others, hold a share of the places (`_share`), and so do visitors and
  theirs: who floods one of them with points that do answer gets that share;
- no name pushes out one that works, and a round has places for seeds, for old acquaintances and for new names;
- a name is told to others only after it answered.

Times are Unix seconds, because the cache outlives the process.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from relay.contact_cache.hosts import Host, read_hosts, write_hosts
from relay.core import Entropy
from relay.wire import is_onion

MOST_HOSTS = 256
MOST_UNTRIED = 64
MOST_UNTRIED_OF_ONE = 8
MOST_TOLD = 64
"""Names in one answer to a peer."""

ROUND = 3600.0
"""Seconds over which the pulls of one round are spread at random."""
MOST_PULLS = 24
"""Pulls of one round."""
UNTRIED_PULLS = 4
"""Of these, places that names that never answered have for certain; they get what others leave, too."""

FORGET_AFTER = 30 * 86400.0
"""Seconds without an answer after which a learned name is forgotten."""
LONGEST_WAIT = 7 * 86400.0
LONGEST_SILENCE_WAIT = 86400.0

VISITORS = ""
"""The teller of those that named themselves to us."""

_PATIENCE = 3
"""Silent pulls in a row before a host is asked less often, or a name that never answered may be replaced."""
_TRIES_BEFORE_FORGETTING = 8
_LEAST_SHARE = 32
_MOST_DEMERITS = 10
_MOST_DOUBLED = 16


T = TypeVar("T")


class PullOutcome(Enum):
    """How a pull went, as far as it tells something of the peer."""

    GOOD = "good"
    """It brought something new, and all was in order."""
    IDLE = "idle"
    """All was in order, and nothing was new: no merit either."""
    POOR = "poor"
    """It said much and gave nothing: digests that do not match what it lists, entries that it promised and withheld."""
    LIED = "lied"
    """It broke a rule that no honest peer can break: a forged entry, say."""
    SILENT = "silent"
    """Out of reach, or it stopped answering."""


_DEMERITS = {
    PullOutcome.GOOD: -1,
    PullOutcome.IDLE: 0,
    PullOutcome.POOR: 1,
    PullOutcome.LIED: 2,
    PullOutcome.SILENT: 0,
}


@dataclass(frozen=True, slots=True)
class PlannedPull:
    """One pull of a round: when (Unix seconds) and from whom."""

    at: float
    onion: str


class HostCache:
    """All that is known of other contact points; bounded whatever peers say."""

    def __init__(self, seeds: Sequence[str], hosts: Iterable[Host] = (), *, own: str = "") -> None:
        """`seeds` and `own` are onion names (56 characters); `hosts` is what was remembered."""
        self._own = own
        self._hosts = {host.onion: host for host in hosts if not host.seed and host.onion != own}
        self._answered = max((host.answered for host in self._hosts.values()), default=0.0)
        for seed in seeds:
            if seed != own:
                known = self._hosts.pop(seed, None)
                self._hosts[seed] = known or Host(seed, root=seed)
                self._hosts[seed].seed = True
                self._hosts[seed].root = seed
        self._make_room_for_seeds()

    @classmethod
    def from_bytes(cls, data: bytes, seeds: Sequence[str], *, own: str = "") -> "HostCache":
        """What `to_bytes` wrote.  Raises `PeerError` where it is damaged."""
        remembered = read_hosts(data, MOST_HOSTS)
        cache = cls(seeds, remembered, own=own)
        for host in remembered:
            # What was learned of a seed is of use as long as it is one.
            if host.seed and host.onion in cache._hosts:
                cache._hosts[host.onion] = host
                host.root = host.onion
        cache._answered = max((host.answered for host in cache._hosts.values()), default=0.0)
        return cache

    def _make_room_for_seeds(self) -> None:
        """New seeds come on top of a full cache; what goes for them never answered, or not for the longest time."""
        learned = [host for host in self._hosts.values() if not host.seed]
        learned.sort(key=lambda host: (bool(host.first_answer), max(host.answered, host.learned)))
        for host in learned[: max(0, len(self._hosts) - MOST_HOSTS)]:
            del self._hosts[host.onion]

    def to_bytes(self) -> bytes:
        return write_hosts(self._hosts.values())

    def __len__(self) -> int:
        return len(self._hosts)

    def __contains__(self, onion: str) -> bool:
        return onion in self._hosts

    def is_seed(self, onion: str) -> bool:
        return onion in self._hosts and self._hosts[onion].seed

    def learn(self, onions: Iterable[str], teller: str, now: float) -> int:
        """Take names that `teller` gave (an onion name, or `VISITORS`); how many are new."""
        root = self._hosts[teller].root if teller in self._hosts else VISITORS
        new = 0
        for onion in list(onions)[:MOST_TOLD]:
            if onion == self._own or onion in self._hosts or not is_onion(onion):
                continue
            if self._has_place(teller, root):
                self._hosts[onion] = Host(onion, teller=teller, root=root, learned=now)
                new += 1
        return new

    def known(self, entropy: Entropy, now: float) -> list[str]:
        """Names to tell others: of those that answered lately and keep the rules, at most `MOST_TOLD` at random."""
        good = [
            host.onion
            for host in self._hosts.values()
            if host.answered > now - LONGEST_SILENCE_WAIT and not host.demerits
        ]
        return entropy.draw(good, MOST_TOLD)

    def draw_round(self, now: float, entropy: Entropy) -> list[PlannedPull]:
        """The pulls of the round that begins now, each at a random time of its own, in the order of times.

        Half of the places are for seeds first; of the others half go to those that have answered longest, so that
        many new points cannot take them, and the rest by lot.
        """
        # A date beyond any wait comes from a clock that was wrong.
        due = [
            host
            for host in self._hosts.values()
            if host.not_before < now + ROUND or host.not_before > now + LONGEST_WAIT
        ]
        seeds = [host for host in due if host.seed]
        tried = sorted(
            (host for host in due if host.first_answer and not host.seed), key=lambda host: host.first_answer
        )
        untried = [host for host in due if not host.first_answer and not host.seed]
        places = MOST_PULLS - min(UNTRIED_PULLS, len(untried))
        chosen = entropy.draw(seeds, max(places // 2, places - len(tried)))
        places -= len(chosen)
        old = tried[: places // 2]
        chosen += old + entropy.draw(tried[len(old) :], places - len(old))
        chosen += entropy.draw(untried, MOST_PULLS - len(chosen))
        planned = []
        for host in chosen:
            start = max(now, host.not_before) if host.not_before < now + ROUND else now
            planned.append(PlannedPull(entropy.uniform(start, now + ROUND), host.onion))
        return sorted(planned, key=lambda pull: pull.at)

    def note(self, onion: str, outcome: PullOutcome, now: float, entropy: Entropy) -> None:
        """Remember how a pull went, and when to ask that host again at the earliest."""
        host = self._hosts.get(onion)
        if host is None:
            return
        host.demerits = min(max(0, host.demerits + _DEMERITS[outcome]), _MOST_DEMERITS)
        wait = 0.0
        if outcome is PullOutcome.SILENT:
            host.silences += 1
            if host.silences > _PATIENCE:
                doubled = min(host.silences - _PATIENCE, _MOST_DOUBLED)
                wait = min(ROUND * 2.0**doubled, LONGEST_SILENCE_WAIT)
        else:
            self._heard(host, now)
        if host.demerits:
            wait = max(wait, min(ROUND * 2.0**host.demerits, LONGEST_WAIT))
        host.not_before = now + wait * entropy.uniform(0.75, 1.0)

    def _heard(self, host: Host, now: float) -> None:
        if now - self._answered > 2 * ROUND:
            # Nobody answered for so long that it was we who were away: the silence of others says nothing of them.
            for other in self._hosts.values():
                if other.silences:
                    other.silences = 0
                    # What one waits for because it lied stays.
                    other.not_before = other.not_before if other.demerits else now
        self._answered = now
        host.silences, host.answered = 0, now
        host.first_answer = host.first_answer or now
        for other in [*self._hosts.values()]:
            last = max(other.answered, other.learned)
            if other.seed or other.silences < _TRIES_BEFORE_FORGETTING:
                continue
            if now - last > FORGET_AFTER:
                del self._hosts[other.onion]

    def _has_place(self, teller: str, root: str) -> bool:
        """Whether a new name may come in, where need be in the place of one that is worth less."""
        bounds: tuple[tuple[Callable[[Host], bool], int], ...] = (
            (
                lambda host: not host.seed and not host.first_answer and host.teller == teller,
                MOST_UNTRIED_OF_ONE,
            ),
            (lambda host: not host.seed and host.root == root, self._share()),
            (lambda host: not host.seed and not host.first_answer, MOST_UNTRIED),
            (lambda host: True, MOST_HOSTS),
        )
        for counts, most in bounds:
            group = [host for host in self._hosts.values() if counts(host)]
            if len(group) >= most and not self._drop_useless(group):
                return False
        return True

    def _drop_useless(self, group: Sequence[Host]) -> bool:
        """Forget one of a group that never answered although it was asked."""
        useless = [
            host for host in group if not host.first_answer and host.silences >= _PATIENCE and not host.seed
        ]
        if not useless:
            return False
        del self._hosts[min(useless, key=lambda host: host.learned).onion]
        return True

    def _share(self) -> int:
        """Places for all that came by one seed, and for visitors and theirs."""
        seeds = sum(host.seed for host in self._hosts.values())
        return max(_LEAST_SHARE, (MOST_HOSTS - seeds) // (seeds + 1))
