"""Domains asked again, to see whether they still name the same person: on a schedule, never when somebody dials.

Each account has random times of its own (a Poisson process, mean two days), so that a domain that is asked for many
accounts, or by many people, learns from the times neither which questions come from one person nor when that person
calls.  What was due while the agent did not run is asked within some hours after the start, each at a time of its own.
"""

import asyncio
import contextlib

from relay.agent.contact_file import Contact
from relay.agent.contacts import ContactBook
from relay.agent.domain_pins import Changed, DomainPins
from relay.agent.domains import Account, DomainResolver, Found
from relay.agent.events import Reporter
from relay.agent.kept import NotKept
from relay.core import BayonneError, Clock, Entropy, RefusedByPolicy, get_logger
from relay.identity import format_address

EVERY = 2 * 86400.0
"""Mean seconds between two questions for one account."""
LONGEST = 8 * 86400.0
RETRY = 6 * 3600.0
"""Mean seconds after which a domain that did not answer is asked again."""
SETTLE = 3600.0
"""Mean seconds after which what is long due is asked: after a start, or when the machine slept."""
LATE = 600.0
"""Seconds past its time after which a question counts as long due."""
NOTICE_EVERY = 5.0
"""How often the contact book is looked at for accounts that came or went."""
LONGEST_SLEEP = 60.0

_log = get_logger("domains")


class DomainChecks:
    """One task for each account; `report` hears what changed."""

    def __init__(
        self,
        book: ContactBook,
        pins: DomainPins,
        resolver: DomainResolver,
        *,
        clock: Clock,
        entropy: Entropy,
        report: Reporter,
    ) -> None:
        self._book = book
        self._pins = pins
        self._resolver = resolver
        self._clock = clock
        self._entropy = entropy
        self._report = report

    async def run(self) -> None:
        """Until cancelled."""
        self._remind()
        tasks: dict[str, asyncio.Task[None]] = {}
        seen = -1
        async with asyncio.TaskGroup() as group:
            while True:
                if self._book.version != seen:
                    seen = self._book.version
                    accounts = {contact.account for contact in self._book if contact.account}
                    for account in tasks.keys() - accounts:
                        tasks.pop(account).cancel()
                    for account in accounts:
                        if account not in tasks or tasks[account].done():
                            tasks[account] = group.create_task(self._follow(account))
                await asyncio.sleep(NOTICE_EVERY)

    def _remind(self) -> None:
        """Alarms that are open still."""
        for contact in self._book:
            try:
                pin = self._pins.find(Account.parse(contact.account)) if contact.account else None
            except BayonneError as error:
                self._report("domains-off", why=str(error))
                return
            if pin is not None and pin.offered:
                self._alarm(contact)

    async def _follow(self, account: str) -> None:
        while (contact := self._contact(account)) is not None:
            try:
                asked = Account.parse(contact.account)
                await self._wait(contact, asked)
                if self._contact(account) is not None:
                    await self._check(asked)
            except BayonneError as error:
                _log.info("a domain cannot be checked", why=str(error))
                await asyncio.sleep(self._entropy.exponential(RETRY))

    async def _wait(self, contact: Contact, account: Account) -> None:
        """Until it is time to ask: as kept, or soon where that is long past."""
        now = self._clock.wall()
        due = float(self._pins.find_or_pin(_known(contact, account), now).check_at)
        if due == 0.0 or due - now > LONGEST:
            due = self._plan(account, EVERY)
        while True:
            late = self._clock.wall() - due
            if 0.0 <= late <= LATE:
                return
            if late > LATE:
                due = self._clock.wall() + self._entropy.exponential(SETTLE)
            else:
                await asyncio.sleep(min(-late, LONGEST_SLEEP))

    async def _check(self, account: Account) -> None:
        try:
            found = await self._resolver.resolve(account)
        except RefusedByPolicy:
            self._plan(account, EVERY)
            contact = self._contact(account.text)
            if contact is not None and self._pins.note_withdrawn(account, self._clock.wall()):
                self._report("domain-withdrew", contact=contact.name, account=account.text)
        except BayonneError as error:
            _log.debug("a domain was not checked", why=str(error))
            self._plan(account, RETRY)
        else:
            self._plan(account, EVERY)
            self._note(found)

    def _note(self, found: Found) -> None:
        """Compare what was found with what was pinned."""
        # It took a while: somebody who was removed meanwhile must not come back as a pin.
        contact = self._contact(found.account.text)
        if contact is None:
            return
        wall = self._clock.wall()
        before = self._pins.find_or_pin(_known(contact, found.account), wall)
        noted = self._pins.note(found, wall)
        if isinstance(noted, Changed):
            if noted.pin.offered != before.offered:
                self._alarm(contact)
        elif before.offered or before.withdrawn:
            self._report("domain-again", contact=contact.name, account=contact.account)

    def _alarm(self, contact: Contact) -> None:
        self._report("domain-changed", contact=contact.name, account=contact.account)

    def _plan(self, account: Account, mean: float) -> float:
        """Draw, and keep, when the domain is asked next: Unix time."""
        due = self._clock.wall() + min(self._entropy.exponential(mean), LONGEST)
        # Where it cannot be kept, it holds for this run.
        with contextlib.suppress(NotKept):
            self._pins.plan(account, due)
        return due

    def _contact(self, account: str) -> Contact | None:
        """As it is in the book now."""
        self._book.refresh()
        return next((contact for contact in self._book if contact.account == account), None)


def _known(contact: Contact, account: Account) -> Found:
    """As if the domain had said what the contact book says."""
    address = format_address(contact.public_key)
    return Found(account, contact.public_key, f"sip:{address}.bayonne.alt")
