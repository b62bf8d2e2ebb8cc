"""What this agent puts out at contact points, as its contact book says: for whom, under which secret, saying what."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from relay.agent import missed
from relay.agent.contact_file import Contact, KeptInvitation, OwnListing, reachable_at
from relay.agent.contacts import ContactBook
from relay.agent.kept_book import ENDED_KEPT
from relay.core import Entropy
from relay.forward_publish import (
    LISTING_SECRET,
    ContactRecord,
    EntryKind,
    Listing,
    ReachableAt,
    RecordStatus,
    RecordUse,
    StoredListing,
    StoredRecord,
    TokenKey,
    latest_expiry,
    seal_listing,
    seal_record,
)
from relay.identity import Identity

NEW_FOR = 3600.0
"""Seconds after it was made for which somebody may wait for an invitation's record; a contact's, for a day.  What is
older does not go out at once when the agent starts: all of it would come together."""

Published = StoredRecord | StoredListing
TokenFor = Callable[[str, int], TokenKey]


@dataclass(frozen=True, slots=True)
class Content:
    """What one publication says, as far as it is not said anew each time anyway; a change of it is published."""

    status: RecordStatus
    missed: tuple[int, ...]
    reachable_at: tuple[ReachableAt, ...]


@dataclass(frozen=True, slots=True)
class Publication:
    """One thing to be published; `name` says which, within this agent.

    `token` gives our token by contact point and period; None where the record takes nobody any more, and for a
    listing, which says only who we are.  `known`: the two have found each other before, so that nobody waits.
    """

    name: str
    kind: EntryKind
    use: RecordUse
    secret: bytes
    token: TokenFor | None
    status: RecordStatus = RecordStatus.OPEN
    taken_by: bytes = b""
    missed: tuple[int, ...] = ()
    known: bool = False
    listing: OwnListing | None = None

    def places(self, onions: Iterable[str], period: int) -> tuple[ReachableAt, ...]:
        """Where the record says that we are, of the contact points `onions`."""
        if self.token is None:
            return ()
        return tuple(reachable_at(onion, self.token(onion, period)) for onion in onions)

    def seal(
        self, content: Content, me: Identity, prekey: bytes, period: int, revision: int, entropy: Entropy
    ) -> Published:
        """The entry, of this period and revision."""
        if self.listing is not None:
            own = self.listing
            listing = Listing(
                identity=me.public_key,
                name=own.name,
                organisation=own.organisation,
                tags=own.tags,
                languages=own.languages,
                revision=revision,
                expires=latest_expiry(period),
                period=period,
            )
            return seal_listing(listing, me)
        record = ContactRecord(
            use=self.use,
            status=content.status,
            reachable_at=content.reachable_at,
            prekey=prekey if content.status is RecordStatus.OPEN else b"",
            revision=revision,
            expires=latest_expiry(period),
            missed=content.missed,
            taken_by=self.taken_by,
        )
        return seal_record(record, me, self.secret, period, entropy)


def publications(book: ContactBook, wall: float) -> Iterator[Publication]:
    """Everything that is to be out at Unix time `wall`."""
    for contact in book:
        if contact.secret and not contact.blocked:
            yield _for_contact(contact, wall)
    for kept in book.invitations:
        if kept.ended(wall) <= ENDED_KEPT:
            yield _for_invitation(kept, wall)
    if book.listing is not None:
        yield from _for_listing(book.listing, wall)


def _for_listing(own: OwnListing, wall: float) -> Iterator[Publication]:
    """The listing to search for, and the record by which those who found it introduce themselves."""
    known = wall - own.made_at > NEW_FOR
    if not own.withdrawn_at:
        yield Publication(
            "standing", EntryKind.RECORD, RecordUse.STANDING, LISTING_SECRET, own.token, known=known
        )
        yield Publication(
            "listing", EntryKind.LISTING, RecordUse.STANDING, LISTING_SECRET, None, known=known, listing=own
        )
    elif wall - own.withdrawn_at <= ENDED_KEPT:
        yield Publication(
            "standing",
            EntryKind.RECORD,
            RecordUse.STANDING,
            LISTING_SECRET,
            None,
            status=RecordStatus.WITHDRAWN,
            known=known,
        )


def _for_contact(contact: Contact, wall: float) -> Publication:
    found = contact.whereabouts is not None and contact.whereabouts.revision > 0
    return Publication(
        f"contact {contact.id}",
        EntryKind.RECORD,
        RecordUse.PAIRWISE,
        contact.secret,
        contact.token,
        missed=missed.worth_telling(contact.tries, wall),
        known=found or wall - contact.since > 24 * NEW_FOR,
    )


def _for_invitation(kept: KeptInvitation, wall: float) -> Publication:
    status = kept.status_at(wall)
    token = kept.token if status is RecordStatus.OPEN else None
    return Publication(
        f"invitation {kept.id}",
        EntryKind.RECORD,
        RecordUse.INVITATION,
        kept.secret,
        token,
        status=status,
        taken_by=kept.taken_by,
        known=wall - kept.made_at > NEW_FOR,
    )
