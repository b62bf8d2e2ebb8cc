"""Which tokens are bound at which of our contact points, and to whom each was given."""

import hashlib
from dataclasses import dataclass, field

from relay.agent.contact_file import Contact, KeptInvitation, OwnListing
from relay.agent.contacts import ContactBook
from relay.agent.regrouping import bound_periods, next_change
from relay.core import Clock
from relay.forward_publish import TokenKey

LINGERS = (1800.0, 6 * 3600.0)
"""Seconds for which the tokens of invitations that ended stay bound."""

Owner = Contact | KeptInvitation | OwnListing


@dataclass(slots=True)
class TokensAt:
    """Follows a contact book: tokens for everybody who may reach us, at each of `contact_points`."""

    book: ContactBook
    contact_points: tuple[str, ...]
    clock: Clock
    alone: set[str] = field(default_factory=set)
    """Those that strangers may know; set by `wanted`."""
    periods: dict[str, int] = field(default_factory=dict)
    """Of each token; set by `wanted`."""
    _changes_at: float = 0.0
    _owners: dict[str, tuple[str, str]] = field(default_factory=dict)

    def wanted(self) -> dict[str, dict[str, TokenKey]]:
        """What is to be bound now: {contact point: {token: its key}}.

        Blocked contacts are not among them, nor invitations that ended some hours ago: what is sent to their tokens
        goes nowhere.
        """
        wall = self.clock.wall()
        owners: list[Owner] = [contact for contact in self.book if not contact.blocked]
        owners += [kept for kept in self.book.invitations if kept.ended(wall) <= _lingers(kept)]
        if self.book.listing is not None and not self.book.listing.withdrawn_at:
            owners.append(self.book.listing)
        found: dict[str, dict[str, TokenKey]] = {}
        self._owners, self.alone, self.periods, self._changes_at = {}, set(), {}, float("inf")
        for onion in self.contact_points:
            at = found.setdefault(onion, {})
            for owner in owners:
                self._changes_at = min(self._changes_at, next_change(owner.token_root, onion, wall))
                for period in bound_periods(owner.token_root, onion, wall):
                    key = owner.token(onion, period)
                    at[key.token] = key
                    self.periods[key.token] = period
                    self._owners[key.token] = _name(owner)
                    if not isinstance(owner, Contact):
                        self.alone.add(key.token)
        return found

    def quiet_for(self, longest: float) -> float:
        """Seconds, at most so many, for which what `wanted` said holds, as far as periods' tokens go.

        Each of them comes and goes at a moment of its own; whoever looks at times of their own instead shows by these
        whose they all are.
        """
        return min(longest, max(0.0, self._changes_at - self.clock.wall()))

    def owner(self, token: str) -> Owner | None:
        """To whom we gave that token, as it is in the book now; None where it is bound no more."""
        kind, identifier = self._owners.get(token, ("", ""))
        match kind:
            case "contact":
                contact = self.book.get(identifier)
                return None if contact is None or contact.blocked else contact
            case "invitation":
                return next((kept for kept in self.book.invitations if kept.id == identifier), None)
            case "listing":
                return self.book.listing
            case _:
                return None


def _lingers(kept: KeptInvitation) -> float:
    """Seconds for which the token of an invitation that ended stays bound: it must not go when that of who came by it
    is bound, or the contact point could match the two.  A number of its own for each, the same after a restart."""
    share = int.from_bytes(hashlib.sha256(kept.token_root).digest()[:4]) / 2.0**32
    return LINGERS[0] + share * (LINGERS[1] - LINGERS[0])


def _name(owner: Owner) -> tuple[str, str]:
    match owner:
        case Contact():
            return "contact", owner.id
        case KeptInvitation():
            return "invitation", owner.id
        case OwnListing():
            return "listing", ""
