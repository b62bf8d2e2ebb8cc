"""Contacts that were found at domains: the contact book and the pins, kept in step.

The book is written first, the pin after it: whoever is stopped in between is left with a contact whose pin is made
anew from the contact, or whose alarm is still open, and never with somebody else's key behind a known name.
"""

from relay.agent.contact_file import Contact
from relay.agent.contacts import ContactBook
from relay.agent.domain_pins import DomainPins, Pin
from relay.agent.domains import Account, Found
from relay.agent.following import lead_of
from relay.core import BayonneError, Entropy, MisuseError
from relay.identity import format_address, parse_address


class DomainContacts:
    """What the owner does with people who are called at a domain, and what keeps them from being called."""

    def __init__(self, book: ContactBook, pins: DomainPins) -> None:
        self._book = book
        self._pins = pins

    def add(
        self,
        name: str,
        found: Found,
        own_name: str,
        contact_points: tuple[str, ...],
        wall: float,
        entropy: Entropy,
    ) -> Contact:
        """A new contact, pinned to what the domain said.  Raises `MisuseError`."""
        lead = lead_of(found, own_name, contact_points, wall)
        contact = self._book.add(
            name, lead.public_key, lead.introducing, lead.home, entropy, account=found.account.text
        )
        # Nobody had this account: a pin of that name is what a stopped command left.
        self._pins.forget(found.account)
        try:
            self._pins.note(found, wall)
        except MisuseError:
            self._book.remove(contact.name)
            raise
        return contact

    def accept_change(
        self,
        name: str,
        address: str,
        own_name: str,
        contact_points: tuple[str, ...],
        wall: float,
        entropy: Entropy,
    ) -> Contact:
        """From now on the contact is whoever has `address`, which the alarm showed.  Raises `MisuseError`."""
        contact, pin = self._book.named(name), self.alarm(self._book.named(name))
        if pin is None:
            raise MisuseError(
                "that contact's domain names the same address as ever; nothing is to be accepted"
            )
        if pin.offered != address:
            raise MisuseError("that is not the address which the domain names now; look at it again")
        public_key = parse_address(pin.offered)
        if public_key != contact.public_key:
            lead = lead_of(Found(pin.account, public_key, pin.offered_href), own_name, contact_points, wall)
            contact = self._book.begin_anew(name, lead.public_key, lead.introducing, lead.home, entropy)
        self._pins.accept_change(pin.account, address, wall)
        return contact

    def remove(self, name: str) -> None:
        """Forget a contact, and what its domain said.  Raises `MisuseError`."""
        account = self._book.named(name).account
        self._book.remove(name)
        if account:
            self._pins.forget(Account.parse(account))

    def alarm(self, contact: Contact) -> Pin | None:
        """The pin of a contact whose domain names somebody else by now."""
        pin = self.pin(contact)
        return pin if pin is not None and pin.offered else None

    def pin(self, contact: Contact) -> Pin | None:
        """What is kept of a contact's domain."""
        return self._pins.find(Account.parse(contact.account)) if contact.account else None

    def doubt(self, contact: Contact) -> str:
        """Why this contact must not be called now; "" where nothing speaks against it."""
        if not contact.account:
            return ""
        try:
            pin = self._pins.to_call(Account.parse(contact.account))
        except BayonneError as error:
            return str(error)
        if pin is not None and pin.address != format_address(contact.public_key):
            return (
                "what was kept of that contact's domain is of somebody else; 'bayonne contact remove NAME', and add "
                "the account again"
            )
        return ""
