"""What `contacts.json` holds: people, invitations that are out, introductions that wait for a yes, our own listing.

Plain values, read whole and written whole; `relay.agent.contacts` says what may be done to them.
"""

import msgspec

from relay.agent.regrouping import LATE, period_token
from relay.agent.voice_trust import VoiceTrust
from relay.core import ConfigurationError
from relay.forward_publish import (
    PERIOD,
    ContactRecord,
    OpenedIntroduction,
    ReachableAt,
    RecordStatus,
    TokenKey,
    current_period,
)
from relay.identity import InvitationKind
from relay.wire import UNREADABLE

CONTACTS_FILE = "contacts.json"
FILE_VERSION = 4
OLDEST_VERSION = 2
"""One without what is kept of contacts' voices: read, and written as the newest."""
_RANDOM_VERSION = 4
"""The first in which all introductions to somebody propose one secret; those of before are begun anew."""
MAX_CONTACTS = 1000
_AFTER_PERIOD = int(LATE[1])
"""Seconds after its period by which a token is given up for certain; from `LATE[0]` on it may be gone."""


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A contact point (onion name) and the token that rings there."""

    onion: str
    token: str


class Whereabouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to ring a contact, from the newest of its records that was found.

    `places` are tried in turn; `period` is that of the tokens; `revision` is 0 where it is known from an introduction
    alone; `expires` and `fetched_at` are Unix seconds.
    """

    places: tuple[Place, ...]
    prekey: bytes
    period: int
    revision: int
    expires: int
    fetched_at: int

    @classmethod
    def of_record(cls, record: ContactRecord, period: int, now: float) -> "Whereabouts":
        expires = min(record.expires, _last_use(period))
        return cls(_places(record.reachable_at), record.prekey, period, record.revision, expires, int(now))

    @classmethod
    def of_introduction(cls, opened: OpenedIntroduction, now: float) -> "Whereabouts":
        period = current_period(opened.sent_at)
        return cls(_places(opened.reachable_at), opened.prekey, period, 0, _last_use(period), int(now))


class Introducing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far we came with somebody whose invitation, or listing, we follow.

    `secret` is that of the inviter's record, `expires` Unix seconds (0: never), `own_name` what we call ourselves.
    `random` is what all our introductions to them make the pairwise secret of
    (`relay.forward_publish.introduction.proposed_secret`), so that it does not matter which of them was taken; empty
    until the first is sent.  `refused` is the status of a record that takes nobody any more.  `silent_since` is when
    (Unix seconds) contact points began to have no record of theirs, 0 while they have one.
    """

    secret: bytes
    expires: int
    own_name: str = ""
    random: bytes = b""
    refused: RecordStatus = RecordStatus.OPEN
    silent_since: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing can come of it any more: it was used by somebody else, or ended before we could introduce
        ourselves.  Else the inviter may know us already, or have yet to decide, for as long as it likes."""
        return self.refused is RecordStatus.USED or (
            self.refused is not RecordStatus.OPEN and not self.random
        )


class Contact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One person.

    `id` names the contact in this file alone.  `secret` is shared by the two `since` then (Unix seconds); empty while
    we are `introducing` ourselves.  `token_root` is where our own tokens for this contact come from, one for each
    contact point and period.  `home` are the contact points at which its records were looked for first.  `hours` are
    minutes of the day.  `tries` are the Unix minutes of our calls that it did not hear, `missed` those of its calls
    that we did not.  `account` is what a domain calls it ("alice@example.org"), where it was found so;
    `relay.agent.domain_pins` holds the rest.  `trust` is what its voice was found to be.
    """

    id: str
    name: str
    public_key: bytes
    token_root: bytes
    home: tuple[str, ...]
    secret: bytes = b""
    since: int = 0
    whereabouts: Whereabouts | None = None
    introducing: Introducing | None = None
    blocked: bool = False
    hours: tuple[int, int] | None = None
    tries: tuple[int, ...] = ()
    missed: tuple[int, ...] = ()
    account: str = ""
    trust: VoiceTrust = VoiceTrust()

    def token(self, onion: str, period: int) -> TokenKey:
        """Our token for this contact at one of our contact points, in one period."""
        return period_token(self.token_root, onion, period)

    @property
    def state(self) -> str:
        """ "introducing" until both sides hold the pairwise secret, then "known"."""
        return "introducing" if self.introducing is not None else "known"

    def callable_at(self, wall: float) -> bool:
        """Whether enough is known to ring it at Unix time `wall`."""
        place = self.whereabouts
        known = place is not None and bool(place.places) and place.expires > wall
        return known and bool(self.secret) and not self.blocked


class KeptInvitation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An invitation that we made.

    `secret` is that of its record.  `name` is the petname that who comes by it gets; empty for a standing one.
    `made_at`, `expires` and `ended_at` are Unix seconds, 0 for never and for not yet.  `taken_by` is what its record
    says of who used it.
    """

    id: str
    kind: InvitationKind
    secret: bytes
    token_root: bytes
    name: str
    made_at: int
    expires: int
    status: RecordStatus = RecordStatus.OPEN
    ended_at: int = 0
    taken_by: bytes = b""

    def token(self, onion: str, period: int) -> TokenKey:
        return period_token(self.token_root, onion, period)

    def status_at(self, wall: float) -> RecordStatus:
        """Its status, with time taken into account."""
        if self.status is RecordStatus.OPEN and self.expires and wall >= self.expires:
            return RecordStatus.EXPIRED
        return self.status

    def ended(self, wall: float) -> float:
        """Seconds since it took nobody any more; negative while it does."""
        if self.status_at(wall) is RecordStatus.OPEN:
            return -1.0
        return max(0.0, wall - (self.ended_at or self.expires))


class IntroductionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who introduced themselves by a standing invitation, or by our listing, and waits for a yes.

    `name` is what they call themselves; `invitation` is the invitation's id, empty for the listing.
    """

    id: str
    name: str
    public_key: bytes
    secret: bytes
    whereabouts: Whereabouts
    invitation: str
    received_at: int


class OwnListing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What everybody may find of us: a listing to search for, and a standing record to introduce oneself by.

    `made_at` and `withdrawn_at` are Unix seconds, the latter 0 while it is published.
    """

    name: str
    organisation: str
    tags: tuple[str, ...]
    languages: tuple[str, ...]
    token_root: bytes
    made_at: int
    withdrawn_at: int = 0

    def token(self, onion: str, period: int) -> TokenKey:
        return period_token(self.token_root, onion, period)


class Book(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    version: int = FILE_VERSION
    contacts: list[Contact] = msgspec.field(default_factory=list)
    invitations: list[KeptInvitation] = msgspec.field(default_factory=list)
    requests: list[IntroductionRequest] = msgspec.field(default_factory=list)
    listing: OwnListing | None = None
    openpgp: str = ""
    """The fingerprint of the owner's own OpenPGP key, by which calls are signed; empty where none are.  It names a
    person, and so stands nowhere else."""


class _AnyVersion(msgspec.Struct):
    """As much as all versions have in common."""

    contacts: list[dict[str, msgspec.Raw]]
    version: int = 1


def read_book(content: bytes) -> Book:
    """Raises `ConfigurationError` in one sentence: damaged, or of another version."""
    try:
        version = msgspec.json.decode(content, type=_AnyVersion).version
        if OLDEST_VERSION <= version <= FILE_VERSION:
            if version < _RANDOM_VERSION:
                content = _without_offers(content)
            book = msgspec.json.decode(content, type=Book)
            book.version = FILE_VERSION
            return book
    except UNREADABLE:
        raise ConfigurationError(
            f"{CONTACTS_FILE} in the state directory is damaged; restore it, or move it away to begin anew"
        ) from None
    if version > FILE_VERSION:
        raise ConfigurationError(
            f"{CONTACTS_FILE} in the state directory was written by a newer version of this program; use that one"
        )
    raise ConfigurationError(
        f"{CONTACTS_FILE} in the state directory is of an earlier version, whose secrets and invitations are of no "
        "use any more; move it away and invite your contacts anew"
    )


def _without_offers(content: bytes) -> bytes:
    book = msgspec.json.decode(content)
    for contact in book["contacts"]:
        if isinstance(introducing := contact.get("introducing"), dict):
            introducing.pop("offers", None)
    return msgspec.json.encode(book)


def write_book(book: Book) -> bytes:
    return msgspec.json.encode(book)


def reachable_at(onion: str, token: TokenKey) -> ReachableAt:
    """As records and introductions write it."""
    return ReachableAt.named(onion, token.token)


def _places(reachable: tuple[ReachableAt, ...]) -> tuple[Place, ...]:
    return tuple(Place(at.onion_name, at.token_name) for at in reachable)


def _last_use(period: int) -> int:
    return (period + 1) * PERIOD + _AFTER_PERIOD
