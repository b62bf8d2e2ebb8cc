"""What is kept with contacts of their voices, as a running agent has it: at once in memory, soon in the contact book.

No call waits for a disk (`relay.agent.behind`).  What could not be written is so with the next change, and counts until
then all the same.
"""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from relay.agent.behind import Later
from relay.agent.contact_file import Contact
from relay.agent.contacts import ContactBook
from relay.agent.voice_trust import VoiceTrust
from relay.core import BayonneError, get_logger

MOST_PENDING = 256
"""Changes that wait for a disk to have room; a call makes about two."""

_Change: TypeAlias = tuple[str, Callable[[VoiceTrust], VoiceTrust]]
"""Of which contact, by its number, and what; may be made twice."""

_log = get_logger("trust")


class KeptTrust:
    """`later` writes it down."""

    def __init__(self, book: ContactBook, later: Later) -> None:
        self._book = book
        self._later = later
        self._pending: list[_Change] = []

    def of(self, contact: Contact) -> VoiceTrust:
        """What is known of that contact's voice now."""
        trust = contact.trust
        for contact_id, change in self._pending:
            trust = change(trust) if contact_id == contact.id else trust
        return trust

    def keep(self, contact_id: str, change: Callable[[VoiceTrust], VoiceTrust]) -> None:
        """It holds from now on, whatever becomes of the file."""
        self._pending.append((contact_id, change))
        del self._pending[:-MOST_PENDING]
        self._later.do(self._write, self._written, self._not_written)

    async def written(self) -> None:
        """Return once it was tried to write everything down."""
        await self._later.done()

    def _write(self) -> tuple[_Change, ...]:
        """In whatever thread, with a book that is nobody else's; returns what was made."""
        pending = tuple(self._pending)
        if pending:
            _make(pending, self._book.again())
        return pending

    def _written(self, made: tuple[_Change, ...]) -> None:
        self._pending = [change for change in self._pending if change not in made]
        try:
            self._book.refresh()
        except BayonneError as error:
            self._not_written(error)

    def _not_written(self, error: BayonneError) -> None:
        # It was told; a disk that is full ends no call.
        _log.error("what a call found could not be written down", kind=type(error).__name__)


def _make(changes: Iterable[_Change], book: ContactBook) -> None:
    book.refresh()
    for contact_id, change in changes:
        if (contact := book.get(contact_id)) is not None:
            book.judge(contact, change)
