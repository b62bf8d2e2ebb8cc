"""The contact book's file: read when it changed, written under a lock, on what is in it now.

Shared by a running agent and `bayonne contact`.
"""

import contextlib
from collections.abc import Hashable, Iterator
from typing import Self

import msgspec

from relay.agent.contact_file import (
    CONTACTS_FILE,
    MAX_CONTACTS,
    Book,
    Contact,
    IntroductionRequest,
    KeptInvitation,
    OwnListing,
    read_book,
    write_book,
)
from relay.agent.kept import Kept
from relay.core import Entropy, MisuseError
from relay.forward_publish import RecordStatus

LONGEST_NAME = 64
ENDED_KEPT = 14 * 86400.0
"""Seconds for which an invitation that ended is still shown to its maker, and its record, as that of a listing that was
withdrawn, tells late comers why it takes nobody."""

_ID_SIZE = 4


class KeptBook:
    """The contacts on disk, to be read; `ContactBook` changes them."""

    def __init__(self, state: Kept) -> None:
        self._state = state
        self._book = Book()
        self._stamp: Hashable = None
        self._by_id: dict[str, Contact] = {}
        self.version = 0
        """Counts how often the file was read anew."""

    def again(self) -> Self:
        """The same contacts, to be looked at and changed in another thread."""
        return type(self)(self._state)

    def refresh(self) -> bool:
        """Read the file again if it changed.  True when it did.  Raises `ConfigurationError`."""
        stamp = self._state.stamp(CONTACTS_FILE)
        if stamp == self._stamp and stamp is not None:
            return False
        content = self._state.read(CONTACTS_FILE)  # also where nothing is there: what is gone is no beginning
        if content is None:
            return False
        self._book = read_book(content)
        self._stamp = stamp
        self._by_id = {contact.id: contact for contact in self}
        self.version += 1
        return True

    def __iter__(self) -> Iterator[Contact]:
        return iter(self._book.contacts)

    @property
    def invitations(self) -> tuple[KeptInvitation, ...]:
        return tuple(self._book.invitations)

    @property
    def requests(self) -> tuple[IntroductionRequest, ...]:
        """Introductions that wait for the owner's yes, the oldest first."""
        return tuple(self._book.requests)

    @property
    def listing(self) -> OwnListing | None:
        return self._book.listing

    @property
    def openpgp(self) -> str:
        """The fingerprint of the owner's OpenPGP key; empty where no call is to be signed."""
        return self._book.openpgp

    def find(self, name: str) -> Contact | None:
        """The contact of that petname; capitals do not matter, because phones do as they like with them."""
        wanted = name.casefold()
        return next((contact for contact in self if contact.name.casefold() == wanted), None)

    def is_promised(self, name: str) -> bool:
        """Whether an invitation is out for somebody of that name."""
        return name.casefold() in _promised(self._book)

    def named(self, name: str) -> Contact:
        """As `find`.  Raises `MisuseError` when nobody is called that."""
        contact = self.find(name)
        if contact is None:
            raise MisuseError("no contact of that name; 'bayonne contact list' shows them")
        return contact

    def get(self, identifier: str) -> Contact | None:
        """The contact of that id, as it is known now."""
        return self._by_id.get(identifier)

    def settle(self, wall: float) -> None:
        """Mark what expired by Unix time `wall`, and drop what ended long ago."""
        if any(self._settled(kept, wall) is not kept for kept in self._book.invitations):
            with self._changing() as book:
                settled = [self._settled(kept, wall) for kept in book.invitations]
                book.invitations = [kept for kept in settled if kept is not None]

    @staticmethod
    def _settled(kept: KeptInvitation, wall: float) -> KeptInvitation | None:
        if kept.ended(wall) > ENDED_KEPT:
            return None
        status = kept.status_at(wall)
        if status is kept.status:
            return kept
        return msgspec.structs.replace(kept, status=status, ended_at=kept.expires)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Book]:
        """The book as it is in the file now; what the block did is written, unless it raised.  Raises `NotKept`."""
        with self._state.locked("contacts"):
            self.refresh()
            before = write_book(self._book)
            try:
                yield self._book
                content = write_book(self._book)
                if content != before:
                    self._state.write(CONTACTS_FILE, content)
            except BaseException:
                # Nothing half done stays in memory, nor what could not be kept.
                self._stamp = None
                self._book, self._by_id = Book(), {}
                self.refresh()
                raise
            if content != before:
                self._stamp = None
                self.refresh()

    def _replace(self, contact: Contact, **changes: object) -> Contact:
        position = self._book.contacts.index(contact)
        updated = msgspec.structs.replace(contact, **changes)
        self._book.contacts[position] = updated
        return updated

    def _insert(self, book: Book, contact: Contact) -> None:
        self._check_name(book, contact.name)
        if len(book.contacts) >= MAX_CONTACTS:
            raise MisuseError("the contact list is full")
        book.contacts.append(contact)

    def _check_name(self, book: Book, name: str) -> None:
        if not is_name(name):
            raise MisuseError(
                "a contact's name is 1 to 64 letters, digits, '-' or '_': it is what the phone dials"
            )
        wanted = name.casefold()
        if wanted in (contact.name.casefold() for contact in book.contacts):
            raise MisuseError(
                "a contact of that name is there already; choose another name, or remove it first"
            )
        if wanted in _promised(book):
            raise MisuseError(
                "an invitation for somebody of that name is out; choose another name, or withdraw it first"
            )


def new_id(entropy: Entropy) -> str:
    """A number for one thing in the book: short enough to type, and said to nobody else."""
    return entropy.token(_ID_SIZE).hex()


def is_name(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME and name.replace("-", "").replace("_", "").isalnum()


def _promised(book: Book) -> set[str]:
    """The names that those who come by an open invitation are to get."""
    return {kept.name.casefold() for kept in book.invitations if kept.status is RecordStatus.OPEN}
