"""When and where an agent's line goes on, as decisions (DESIGN.md section 4): no sockets, no cells, no cryptography.

A line that falls silent is lost.  At a time drawn from `relay.chaff.Scatter`, the same for lines in a call and for
idle ones, another one is opened beside it: first at the same reflector, which may just have started anew, and where
that does not answer at once, at its backup.  What is open at any time is a *branch*, and has a number; the line itself,
branch 0 at first, keeps its cells leaving until everything is settled.  If it is heard again early enough, it was an
outage of its own, and what was opened meanwhile closes.

    steady --lost--> scattered --moving time--> moving --release time--> steady, perhaps on another branch
                         '------heard again----> steady                     '--> given up: no branch is left

Inputs are methods that take `now`; what is to be done is drained with `outputs()`; `deadline()` says when `tick` wants
to run next.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from relay.chaff import Scatter
from relay.core import Entropy

PATIENCE = 0.4
"""Seconds in which the same reflector has to answer before the backup is asked too; a line's first cell leaves a tenth
of a second after it was begun."""
RETURN_WITHIN = 4.0
"""Seconds after the loss in which the line itself may be heard again.  Later it stays given up: both ends of a call
have to see it alike, and theirs end up to `Scatter.releasing` apart."""
MEET_WITHIN = 3.5
"""Seconds after the loss in which the two lines of a call meet at the reflector that answered; then the other place is
tried as well, because the other end may have had no ticket for this one."""
SPOKE_WITHIN = 0.5
"""Seconds for which a branch counts as the one on which the other end is heard."""
_LOOK_AGAIN = 0.5


class Place(Enum):
    """Where a branch is opened, seen from the line that was lost."""

    HERE = auto()
    """At the same reflector, with the ticket that it gave to come back with."""
    AFRESH = auto()
    """At the same reflector, with a ticket that was asked for after the one before had turned out to be void."""
    BACKUP = auto()
    """At the reflector that takes over from it."""


@dataclass(frozen=True, slots=True)
class Open:
    """Open a line; say `failed` when it cannot be."""

    branch: int
    place: Place


@dataclass(frozen=True, slots=True)
class Keep:
    """This branch is the line from now on."""

    branch: int


@dataclass(frozen=True, slots=True)
class Release:
    """Close a branch in order."""

    branch: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nothing is left; whatever is still open is released with it."""


Output = Open | Keep | Release | GiveUp


@dataclass(slots=True)
class _Branch:
    place: Place | None = None
    answered: bool = False
    crossed: bool = False
    spoke_at: float = -math.inf


@dataclass(slots=True)
class _Loss:
    """One loss of the line and what comes of it."""

    lost_at: float
    move_at: float
    release_at: float
    places: list[Place]
    """Those that were not tried yet."""
    returned: bool = False
    """Whether the line itself was heard again, early enough."""
    late: bool = False
    """Whether it was heard again too late to count, unless nothing else is left."""


class Failover:
    """Decides for one line.  `present` is the branch that is the line now; `meets` is set while a call wants it
    crossed."""

    def __init__(self, entropy: Entropy, scatter: Scatter | None = None) -> None:
        self.present = 0
        self.meets = False
        self.over = False
        self._entropy = entropy
        self._scatter = scatter or Scatter()
        self._branches = {0: _Branch()}
        self._next_branch = 1
        self._loss: _Loss | None = None
        self._outputs: list[Output] = []

    # -- draining ------------------------------------------------------------------------------------------------

    def outputs(self) -> Sequence[Output]:
        """What is to be done now, in order; each once."""
        drained, self._outputs = self._outputs, []
        return drained

    def deadline(self) -> float | None:
        """When `tick` wants to run next."""
        loss = self._loss
        if loss is None or self.over:
            return None
        if self._may_open(loss):
            return min(loss.move_at, loss.release_at)
        if self._unmet(loss) and loss.places:
            return min(max(loss.move_at, loss.lost_at + MEET_WITHIN), loss.release_at)
        return loss.release_at

    @property
    def silent(self) -> bool:
        """Whether the line itself is not heard, and not given up yet."""
        return self._loss is not None and not self._loss.returned

    @property
    def speaking(self) -> int:
        """The branch that carries the call: the line itself as long as it is heard, then whichever is crossed."""
        if not self.silent:
            return self.present
        crossed = [number for number, branch in self._others() if branch.crossed]
        return min(crossed, key=self._rank, default=self.present)

    # -- what branches say ---------------------------------------------------------------------------------------

    def opened(self, number: int) -> None:
        """Its handshake was answered."""
        if number in self._branches:
            self._branches[number].answered = True

    def crossed(self, number: int) -> None:
        """Its reflector crossed it."""
        if number in self._branches:
            self._branches[number].crossed = True

    def spoke(self, number: int, now: float) -> None:
        """The other end of the call was heard on it."""
        if number in self._branches:
            self._branches[number].spoke_at = now

    def heard(self, number: int, now: float) -> None:
        """A branch that was lost is heard again."""
        loss = self._loss
        if number != self.present or loss is None:
            return
        if now - loss.lost_at > RETURN_WITHIN:
            loss.late = True
        elif len(self._branches) == 1:
            self._loss = None
        else:
            loss.returned = True

    def lost(self, number: int, now: float) -> None:
        """An open branch fell silent."""
        if number != self.present:
            self.failed(number, now)
        elif self._loss is not None:
            self._loss.returned = self._loss.late = False
        elif not self.over:
            move_at = now + self._scatter.move(self._entropy)
            release_at = now + self._scatter.release(self._entropy)
            self._loss = _Loss(now, move_at, release_at, [Place.HERE, Place.BACKUP])

    def failed(self, number: int, now: float) -> None:
        """A branch was never answered, could not be opened, or went silent after that."""
        branch = self._branches.get(number)
        if branch is None or self.over:
            return
        if number == self.present:
            if self._loss is None and not branch.answered:
                # Its ticket was void, or the reflector is gone: once more, at once, because nobody saw a line yet.
                self._loss = _Loss(now, now, now + self._scatter.holding, [Place.AFRESH, Place.BACKUP])
            return
        del self._branches[number]
        self._outputs.append(Release(number))
        if self._loss is not None and len(self._branches) == 1:
            self._loss.move_at = min(self._loss.move_at, now)

    # -- time ----------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Whatever was due at or before `now`."""
        loss = self._loss
        if loss is None or self.over:
            return
        late = self._unmet(loss) and now >= loss.lost_at + MEET_WITHIN
        if loss.places and now >= loss.move_at and (self._may_open(loss) or late):
            self._open(loss, now)
        if now >= loss.release_at:
            self._settle(loss, now)

    def _may_open(self, loss: _Loss) -> bool:
        """Whether the next place is to be tried at its time: none has answered."""
        answered = any(branch.answered for _, branch in self._others())
        return bool(loss.places) and not answered and not loss.returned

    def _unmet(self, loss: _Loss) -> bool:
        return self.meets and not loss.returned and not any(one.crossed for _, one in self._others())

    def _open(self, loss: _Loss, now: float) -> None:
        number, self._next_branch = self._next_branch, self._next_branch + 1
        place = loss.places.pop(0)
        self._branches[number] = _Branch(place)
        self._outputs.append(Open(number, place))
        loss.move_at = now + PATIENCE if place is Place.HERE else math.inf

    def _settle(self, loss: _Loss, now: float) -> None:
        """Keep one branch and release the others; or wait for one that may still be answered."""
        others = [number for number, branch in self._others() if branch.answered]
        candidates = others + ([self.present] if loss.returned or loss.late else [])
        if not candidates:
            if len(self._branches) > 1 or loss.places:
                loss.release_at = now + _LOOK_AGAIN
            else:
                self.over = True
                self._outputs.append(GiveUp())
            return
        kept = min(candidates, key=lambda number: self._merit(number, loss, now))
        for number in [number for number in self._branches if number != kept]:
            del self._branches[number]
            self._outputs.append(Release(number))
        self._loss = None
        if kept != self.present:
            self.present = kept
            self._branches[kept].place = None
            self._outputs.append(Keep(kept))

    def _merit(self, number: int, loss: _Loss, now: float) -> tuple[bool, bool, bool, tuple[bool, int]]:
        """Smallest is best: where the other end is heard, the line itself, crossed, nearest."""
        itself = number == self.present
        spoke = now - self._branches[number].spoke_at <= SPOKE_WITHIN
        return not spoke, not (itself and loss.returned), itself, self._rank(number)

    def _rank(self, number: int) -> tuple[bool, int]:
        branch = self._branches[number]
        return not branch.crossed, 0 if branch.place is None else branch.place.value

    def _others(self) -> list[tuple[int, _Branch]]:
        return [(number, branch) for number, branch in self._branches.items() if number != self.present]
