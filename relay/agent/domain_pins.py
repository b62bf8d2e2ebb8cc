"""What a domain said of an account first, and holds: a change is an alarm that only the user can settle.

So a domain, or whoever takes it over, can put nobody in the place of the one who was called before.
"""

from dataclasses import dataclass, field

import msgspec

from relay.agent.domains import Account, Found
from relay.agent.kept import Kept
from relay.core import ConfigurationError, MisuseError, RefusedByPolicy
from relay.wire import UNREADABLE

DOMAINS_FILE = "domains.json"
MOST_PINS = 1000


class Pin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An account's address as first found; `offered` is another one that the domain says now, and is not used.

    `withdrawn`: the domain names nobody any more.  `since`, `checked_at` (when the domain last said something of use)
    and `check_at` (when it is to be asked again) are Unix seconds.
    """

    user: str
    domain: str
    address: str
    href: str
    since: int
    offered: str = ""
    offered_href: str = ""
    withdrawn: bool = False
    checked_at: int = 0
    check_at: int = 0

    @property
    def account(self) -> Account:
        return Account(self.user, self.domain)


class _Pins(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pins: tuple[Pin, ...] = ()


@dataclass(frozen=True, slots=True)
class Pinned:
    """Found for the first time, and kept."""

    pin: Pin = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The domain says what it said before."""

    pin: Pin = field(repr=False)


@dataclass(frozen=True, slots=True)
class Changed:
    """The domain names somebody else than before: the alarm.  The old address is kept, and nobody is called."""

    pin: Pin = field(repr=False)


class DomainPins:
    """What domains said at the first question, in the state directory; shared with `bayonne contact`."""

    def __init__(self, state: Kept) -> None:
        self._state = state
        self._content: bytes | None = None
        self._pins: dict[Account, Pin] = {}

    def all(self) -> tuple[Pin, ...]:
        """Raises `ConfigurationError` for a damaged file: passing over it would forget whom to trust."""
        return tuple(self._read().values())

    def find(self, account: Account) -> Pin | None:
        """Raises `ConfigurationError`."""
        return self._read().get(account)

    def _read(self) -> dict[Account, Pin]:
        content = self._state.read(DOMAINS_FILE)
        if content != self._content:
            try:
                found = msgspec.json.decode(content, type=_Pins).pins if content is not None else ()
            except UNREADABLE:
                raise ConfigurationError(
                    f"{DOMAINS_FILE} in the state directory is damaged; restore it, or move it away to begin anew"
                ) from None
            self._content, self._pins = content, {pin.account: pin for pin in found}
        return self._pins

    def to_call(self, account: Account) -> Pin | None:
        """The pin to call by; None where the domain was never asked.  Raises `RefusedByPolicy` while an alarm is
        open."""
        pin = self.find(account)
        if pin is not None and pin.offered:
            raise RefusedByPolicy(
                "that domain names somebody else than before; ask the person by another way, and then "
                "'bayonne contact accept-change NAME'"
            )
        return pin

    def note(self, found: Found, now: float) -> Pinned | Unchanged | Changed:
        """Keep what a domain said at Unix time `now`, and tell how it compares.  Raises `MisuseError` when full."""
        with self._state.locked("domains"):
            old = self.find(found.account)
            if old is None:
                if len(self.all()) >= MOST_PINS:
                    raise MisuseError("too many accounts of domains are kept; remove some contacts first")
                pin = _pin(found, now)
                self._keep(pin)
                return Pinned(pin)
            if found.address == old.address:
                # The same person: a link with other contact points is no alarm, and a withdrawn alarm is over.
                says = {"href": found.href, "offered": "", "offered_href": ""}
            else:
                says = {"offered": found.address, "offered_href": found.href}
            pin = msgspec.structs.replace(old, withdrawn=False, checked_at=int(now), **says)
            self._keep(pin)
            return Changed(pin) if pin.offered else Unchanged(pin)

    def accept_change(self, account: Account, address: str, now: float) -> Pin:
        """The user says that `address`, which the alarm showed, is right.  Raises `MisuseError`."""
        with self._state.locked("domains"):
            old = self.find(account)
            if old is None or not old.offered:
                raise MisuseError("that domain names the same address as ever; there is no change to accept")
            if old.offered != address:
                raise MisuseError("the domain names yet another address by now; look at it again")
            pin = Pin(
                old.user,
                old.domain,
                old.offered,
                old.offered_href,
                int(now),
                checked_at=old.checked_at,
                check_at=old.check_at,
            )
            self._keep(pin)
            return pin

    def note_withdrawn(self, account: Account, now: float) -> bool:
        """The domain names nobody for this account any more.  True where that is news."""
        with self._state.locked("domains"):
            old = self.find(account)
            if old is None:
                return False
            self._keep(msgspec.structs.replace(old, withdrawn=True, checked_at=int(now)))
            return not old.withdrawn

    def plan(self, account: Account, check_at: float) -> None:
        """Remember when the domain is to be asked again: Unix time."""
        with self._state.locked("domains"):
            if (old := self.find(account)) is not None:
                self._keep(msgspec.structs.replace(old, check_at=int(check_at)))

    def forget(self, account: Account) -> None:
        """With the contact goes the pin.  May be called where there is none."""
        with self._state.locked("domains"):
            self._write([pin for pin in self.all() if pin.account != account])

    def find_or_pin(self, known: Found, now: float) -> Pin:
        """The pin of an account; where it was lost, whom the contact is known to be is pinned again, never whom the
        domain says by now."""
        pin = self.find(known.account)
        return pin if pin is not None else self.note(known, now).pin

    def _keep(self, pin: Pin) -> None:
        self._write([*(other for other in self.all() if other.account != pin.account), pin])

    def _write(self, pins: list[Pin]) -> None:
        self._state.write(DOMAINS_FILE, msgspec.json.encode(_Pins(tuple(pins))))


def _pin(found: Found, now: float) -> Pin:
    account, at = found.account, int(now)
    return Pin(account.user, account.domain, found.address, found.href, at, checked_at=at)
