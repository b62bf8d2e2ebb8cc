"""The contact book: who is known and how to ring them, which invitations are out, who asks to be let in.

Shared by a running agent and `bayonne contact`: every change is made under a lock, on what is in the file now.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from relay.agent import missed
from relay.agent.contact_file import (
    MAX_CONTACTS,
    Book,
    Contact,
    Introducing,
    IntroductionRequest,
    KeptInvitation,
    OwnListing,
    Whereabouts,
)
from relay.agent.kept_book import LONGEST_NAME, KeptBook, is_name, new_id
from relay.agent.voice_trust import VoiceTrust
from relay.core import Entropy, MisuseError
from relay.forward_publish import RANDOM_SIZE, RecordStatus, taken_by

MOST_INVITATIONS = 200
MOST_REQUESTS = 50
"""Introductions that wait for the owner at once.  Anybody can make up as many identities as they like, so that further
ones do not find the door closed: the one that was not repeated for longest gives way, at the door where most wait."""


class ContactBook(KeptBook):
    """Everything that may be done to the contacts; each is written before it returns."""

    # -- what the owner does -------------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        public_key: bytes,
        introducing: Introducing,
        home: tuple[str, ...],
        entropy: Entropy,
        *,
        account: str = "",
    ) -> Contact:
        """Somebody whom we are to introduce ourselves to; `account` is what a domain calls them.  Raises
        `MisuseError`."""
        made = Contact(
            new_id(entropy),
            name,
            public_key,
            entropy.token(32),
            home,
            introducing=introducing,
            account=account,
        )
        with self._changing() as book:
            if any(known.public_key == public_key and known.introducing is None for known in book.contacts):
                raise MisuseError("whoever made that invitation is one of your contacts already")
            _check_account(book, account)
            again = [known for known in book.contacts if known.public_key == public_key]
            if any(
                known.introducing is not None and known.introducing.secret == introducing.secret
                for known in again
            ):
                raise MisuseError("that invitation, or address, was used here already")
            self._insert(book, made)
        return made

    def check_new(self, name: str, account: str) -> None:
        """Whether somebody of that name and account could be added.  Raises `MisuseError`."""
        self._check_name(self._book, name)
        _check_account(self._book, account)

    def begin_anew(
        self,
        name: str,
        public_key: bytes,
        introducing: Introducing,
        home: tuple[str, ...],
        entropy: Entropy,
    ) -> Contact:
        """Another identity takes the place of the one that is called `name`: what the two shared is forgotten, what
        the owner set stays.  Raises `MisuseError`."""
        with self._changing() as book:
            old = self.named(name)
            if any(known.public_key == public_key and known is not old for known in book.contacts):
                raise MisuseError("whoever that is, is one of your contacts already; remove one of the two")
            made = Contact(
                new_id(entropy),
                old.name,
                public_key,
                entropy.token(32),
                home,
                introducing=introducing,
                blocked=old.blocked,
                hours=old.hours,
                account=old.account,
                trust=old.trust.begun_anew(),
            )
            book.contacts[book.contacts.index(old)] = made
        return made

    def invite(self, made: KeptInvitation) -> None:
        """Keep an invitation that is handed out now.  Raises `MisuseError`."""
        with self._changing() as book:
            if made.name:
                self._check_name(book, made.name)
                if len(book.contacts) >= MAX_CONTACTS:
                    raise MisuseError("the contact list is full")
            if len(book.invitations) >= MOST_INVITATIONS:
                raise MisuseError("too many invitations; withdraw some")
            book.invitations.append(made)

    def withdraw(self, identifier: str, wall: float) -> KeptInvitation:
        """Take an invitation back.  Raises `MisuseError`."""
        with self._changing() as book:
            for position, kept in enumerate(book.invitations):
                if kept.id == identifier.lower():
                    if kept.status_at(wall) is not RecordStatus.OPEN:
                        raise MisuseError("that invitation takes nobody any more anyway")
                    ended = msgspec.structs.replace(kept, status=RecordStatus.WITHDRAWN, ended_at=int(wall))
                    book.invitations[position] = ended
                    return ended
        raise MisuseError("no invitation of that number; 'bayonne contact invitations' shows them")

    def remove(self, name: str) -> None:
        """Forget somebody; the tokens given to them go too.  Raises `MisuseError` when nobody is called that."""
        with self._changing() as book:
            book.contacts.remove(self.named(name))

    def block(self, name: str, entropy: Entropy) -> None:
        """Nobody hears of it: the tokens given to that contact stop working for good, and no other ones."""
        with self._changing():
            self._replace(self.named(name), blocked=True, token_root=entropy.token(32))

    def unblock(self, name: str) -> None:
        """The contact gets new tokens with our next record for it."""
        with self._changing():
            self._replace(self.named(name), blocked=False)

    def set_hours(self, name: str, hours: tuple[int, int] | None) -> None:
        """When that contact may ring."""
        with self._changing():
            self._replace(self.named(name), hours=hours)

    def judge(self, contact: Contact, change: Callable[[VoiceTrust], VoiceTrust]) -> VoiceTrust:
        """Change what is kept of a contact's voice; returns what is kept now."""
        with self._changing():
            known = self._by_id.get(contact.id)
            if known is None:
                return contact.trust
            return self._replace(known, trust=change(known.trust)).trust

    def accept(self, identifier: str, name: str, entropy: Entropy) -> Contact:
        """Say yes to an introduction; `name` is the petname.  Raises `MisuseError`."""
        with self._changing() as book:
            request = _request(book, identifier)
            made = _introduced(request, name, entropy)
            self._insert(book, made)
            book.requests.remove(request)
        return made

    def refuse(self, identifier: str) -> None:
        """Say no to an introduction, which its sender does not hear.  Raises `MisuseError`."""
        with self._changing() as book:
            book.requests.remove(_request(book, identifier))

    def set_listing(self, listing: OwnListing | None) -> None:
        with self._changing() as book:
            book.listing = listing

    def set_openpgp(self, fingerprint: str) -> None:
        """Sign by that key of the owner's from now on; empty: sign nothing.  Raises `NotKept`."""
        with self._changing() as book:
            book.openpgp = fingerprint

    # -- what the agent finds out --------------------------------------------------------------------------------

    def taken(
        self, kept: KeptInvitation, request: IntroductionRequest, wall: float, entropy: Entropy
    ) -> Contact | None:
        """The first who introduces themselves by a one-time invitation becomes the contact it was made for.

        None where the invitation takes nobody any more.
        """
        with self._changing() as book:
            for position, known in enumerate(book.invitations):
                if known.id == kept.id and known.status_at(wall) is RecordStatus.OPEN:
                    used = msgspec.structs.replace(
                        known,
                        status=RecordStatus.USED,
                        ended_at=int(wall),
                        taken_by=taken_by(request.secret),
                    )
                    book.invitations[position] = used
                    made = _introduced(request, known.name, entropy)
                    book.contacts.append(made)
                    return made
        return None

    def asked(self, request: IntroductionRequest) -> bool:
        """Keep an introduction until its owner decides; a repeated one takes the place of the earlier one.

        False where it is nothing new.  Where as many wait as are kept, another one gives way.
        """
        with self._changing() as book:
            if any(known.public_key == request.public_key for known in book.contacts):
                return False
            for position, waiting in enumerate(book.requests):
                if waiting.public_key == request.public_key:
                    book.requests[position] = msgspec.structs.replace(request, id=waiting.id)
                    return False
            if len(book.requests) >= MOST_REQUESTS:
                book.requests.remove(_gives_way(book.requests))
            book.requests.append(request)
        return True

    @property
    def is_crowded(self) -> bool:
        """Whether as many introductions wait as are kept."""
        return len(self.requests) >= MOST_REQUESTS

    def free_name(self, wanted: str) -> str:
        """A petname like `wanted` that a phone can dial and nobody has."""
        plain = "".join(sign for sign in wanted if sign.isalnum() or sign in "-_")[: LONGEST_NAME - 5]
        plain = plain if is_name(plain) else "somebody"
        numbers = range(1, 2 * MAX_CONTACTS)
        names = (plain if number == 1 else f"{plain}-{number}" for number in numbers)
        return next(name for name in names if self.find(name) is None and not self.is_promised(name))

    def introduced_with(self, contact: Contact, entropy: Entropy) -> bytes | None:
        """The random number of our introductions to the contact: drawn for the first, the same in all of them.

        None where there is nobody to introduce ourselves to any more.
        """
        with self._changing():
            known = self._by_id.get(contact.id)
            if known is None or known.introducing is None:
                return None
            if known.introducing.random:
                return known.introducing.random
            random = entropy.token(RANDOM_SIZE)
            self._replace(known, introducing=msgspec.structs.replace(known.introducing, random=random))
            return random

    def turned_away(self, contact: Contact, status: RecordStatus) -> None:
        """The invitation that we follow takes nobody any more; `OPEN` where it does after all."""
        with self._changing():
            known = self._by_id.get(contact.id)
            if known is not None and known.introducing is not None:
                self._replace(known, introducing=msgspec.structs.replace(known.introducing, refused=status))

    def looked(self, contact: Contact, *, there: bool, wall: float) -> None:
        """Contact points answered, and had a record of whom we introduce ourselves to, or none."""
        with self._changing():
            known = self._by_id.get(contact.id)
            if known is not None and known.introducing is not None:
                since = 0 if there else known.introducing.silent_since or int(wall)
                self._replace(
                    known, introducing=msgspec.structs.replace(known.introducing, silent_since=since)
                )

    def confirmed(self, contact: Contact, secret: bytes, wall: float) -> Contact | None:
        """The contact took one of our introductions: from now on the two share `secret`."""
        with self._changing():
            known = self._by_id.get(contact.id)
            if known is None or known.introducing is None:
                return known
            return self._replace(known, secret=secret, since=int(wall), introducing=None)

    def found(
        self, contact: Contact, whereabouts: Whereabouts, *, told: Iterable[int] = (), wall: float = 0.0
    ) -> tuple[int, ...]:
        """Keep what a contact's record said.  Returns the calls missed that it tells of and that are news."""
        with self._changing():
            known = self._by_id.get(contact.id)
            if known is None:
                return ()
            fresh = missed.news(told, known.missed, wall)
            kept = missed.remembered(known.missed, fresh, wall) if fresh else known.missed
            if known.whereabouts is not None and whereabouts.revision < known.whereabouts.revision:
                whereabouts = known.whereabouts
            self._replace(known, whereabouts=whereabouts, missed=kept)
            return fresh

    def not_heard(self, contact: Contact, wall: float) -> None:
        """The contact did not hear a call of ours: its next record of ours says so."""
        with self._changing():
            if (known := self._by_id.get(contact.id)) is not None:
                self._replace(known, tries=missed.with_try(known.tries, wall))

    def spoken(self, contact: Contact) -> None:
        """The two talked: earlier tries are no news any more."""
        if (known := self._by_id.get(contact.id)) is not None and known.tries:
            with self._changing():
                if (known := self._by_id.get(contact.id)) is not None:
                    self._replace(known, tries=())

    def missed_call(self, contact: Contact, wall: float) -> None:
        """The contact rang and no phone did."""
        with self._changing():
            if (known := self._by_id.get(contact.id)) is not None:
                kept = missed.remembered(known.missed, (missed.minute_of(wall),), wall)
                self._replace(known, missed=kept)


def _check_account(book: Book, account: str) -> None:
    if account and any(known.account == account for known in book.contacts):
        raise MisuseError("that account is one of your contacts already")


def _introduced(request: IntroductionRequest, name: str, entropy: Entropy) -> Contact:
    return Contact(
        new_id(entropy),
        name,
        request.public_key,
        entropy.token(32),
        home=tuple(place.onion for place in request.whereabouts.places),
        secret=request.secret,
        since=request.received_at,
        whereabouts=request.whereabouts,
    )


def _gives_way(requests: Sequence[IntroductionRequest]) -> IntroductionRequest:
    """Of those who came by the invitation, or the listing, of most of them, the one that was not heard for longest: who
    is there still repeats theirs, and a crowd at one door leaves the others open."""
    waiting = Counter(request.invitation for request in requests)
    most = max(waiting.values())
    there = [request for request in requests if waiting[request.invitation] == most]
    return min(there, key=lambda request: request.received_at)


def _request(book: Book, identifier: str) -> IntroductionRequest:
    for request in book.requests:
        if request.id == identifier.lower():
            return request
    raise MisuseError("nobody of that number waits; 'bayonne contact requests' shows who does")
