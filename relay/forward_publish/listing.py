"""Standing listings: name, organisation, tags and languages of somebody who wants to be found by everybody.

All of it is public, with the identity key: listings are synchronised whole and searched on each reader's own machine.
A listing lies under the owner's key blinded with `LISTING_SECRET`, like the standing record to which it leads, and is
signed under it.  So only the owner can list an identity; that the name is the owner's, nobody says.
"""

from collections.abc import Sequence

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from relay.core import MisuseError, PeerError
from relay.forward_publish.entries import KEY_SIZE, EntryKind, content_of
from relay.forward_publish.periods import CLOCK_SKEW, check_period, numbers_are_sound
from relay.forward_publish.plain_text import is_language, is_plain
from relay.forward_publish.records import LISTING_SECRET, record_key
from relay.identity import Identity
from relay.wire import decode, encode, pad

LISTING_SIZE = EntryKind.LISTING.slot_size
"""Bytes of a listing in its slot."""

MOST_NAME = 48
"""Bytes of UTF-8, of a name and of an organisation."""
MOST_TAGS = 8
MOST_TAG = 24
"""Bytes of UTF-8."""
MOST_TAG_BYTES = 160
"""All tags together."""
MOST_LANGUAGES = 6

_SIGNATURE_SIZE = 64
_SIGNATURE_DOMAIN = b"bayonne standing listing, version 1\x00"


class Listing(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What a listing says; `expires` is Unix seconds.  Organisation, tags and languages may be empty."""

    identity: bytes
    name: str
    organisation: str
    tags: tuple[str, ...]
    languages: tuple[str, ...]
    revision: int
    expires: int
    period: int

    @property
    def key(self) -> bytes:
        """The key under which it lies; computed anew each time.  Raises `PeerError` on a bad identity key."""
        return record_key(self.identity, LISTING_SECRET, self.period)


class StoredListing(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A listing as it is published.  It is a `ReadEntry`."""

    key: bytes
    listing: Listing
    signature: bytes

    @property
    def kind(self) -> EntryKind:
        return EntryKind.LISTING

    @property
    def body(self) -> bytes:
        return self.to_bytes()

    @property
    def identity(self) -> bytes:
        return self.listing.identity

    @property
    def name(self) -> str:
        return self.listing.name

    @property
    def organisation(self) -> str:
        return self.listing.organisation

    @property
    def tags(self) -> tuple[str, ...]:
        return self.listing.tags

    @property
    def languages(self) -> tuple[str, ...]:
        return self.listing.languages

    @property
    def period(self) -> int:
        return self.listing.period

    @property
    def revision(self) -> int:
        return self.listing.revision

    @property
    def expires(self) -> int:
        return self.listing.expires

    def to_bytes(self) -> bytes:
        """The listing in its slot, `LISTING_SIZE` bytes."""
        return pad(encode(self), LISTING_SIZE)

    @classmethod
    def parse(cls, slot: bytes) -> "StoredListing":
        """Read a slot; form alone: `verify` and `check_time` are the caller's.  Raises `PeerError`."""
        stored = decode(content_of(slot, EntryKind.LISTING), cls, limit=LISTING_SIZE)
        stored._check_form()
        return stored

    def verify(self) -> None:
        """Raises `PeerError` where the form is wrong, the key is not that of the identity, or it is not signed."""
        self._check_form()
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(self.signature, _signed(self.listing))
            owners = self.listing.key
        except (InvalidSignature, ValueError, PeerError):
            raise PeerError("forged") from None
        if owners != self.key:
            raise PeerError("forged")

    def check_time(self, now: float, *, ahead: float = CLOCK_SKEW) -> None:
        """As `ReadEntry.check_time`."""
        check_period(self.period, now, ahead=ahead)

    def _check_form(self) -> None:
        said = self.listing
        sizes = len(self.key), len(said.identity), len(self.signature)
        sound = numbers_are_sound(said.period, said.revision, said.expires)
        fault = _fault(said.name, said.organisation, said.tags, said.languages)
        if sizes != (KEY_SIZE, KEY_SIZE, _SIGNATURE_SIZE) or not sound or fault:
            raise PeerError("malformed")


def check_listing(name: str, organisation: str, tags: Sequence[str], languages: Sequence[str]) -> None:
    """Raises `MisuseError` with one sentence for the owner where contact points would refuse this."""
    if fault := _fault(name, organisation, tags, languages):
        raise MisuseError(fault)


def seal_listing(listing: Listing, me: Identity) -> StoredListing:
    """Sign my listing; it is not encrypted: everybody is to read it.  Raises `MisuseError`."""
    check_listing(listing.name, listing.organisation, listing.tags, listing.languages)
    if listing.identity != me.public_key:
        raise MisuseError("a listing of somebody else")
    if not numbers_are_sound(listing.period, listing.revision, listing.expires):
        raise MisuseError("a revision or an expiry outside the listing's period")
    blinded = me.blinded(LISTING_SECRET, listing.period)
    return StoredListing(blinded.public, listing, blinded.sign(_signed(listing)))


def _signed(listing: Listing) -> bytes:
    return _SIGNATURE_DOMAIN + encode(listing)


def _fault(name: str, organisation: str, tags: Sequence[str], languages: Sequence[str]) -> str:
    """What is wrong, for the owner to read; empty where nothing is."""
    if not is_plain(name, MOST_NAME):
        return f"a listing's name is one line of 1 to {MOST_NAME} bytes, without invisible characters"
    if not is_plain(organisation, MOST_NAME, least=0):
        return (
            f"a listing's organisation is one line of at most {MOST_NAME} bytes, without invisible characters"
        )
    if len(tags) > MOST_TAGS or len(set(tags)) < len(tags):
        return f"a listing has at most {MOST_TAGS} tags, each once"
    if not all(is_plain(tag, MOST_TAG) for tag in tags):
        return f"a tag is one line of 1 to {MOST_TAG} bytes, without invisible characters"
    if sum(len(tag.encode()) for tag in tags) > MOST_TAG_BYTES:
        return f"the tags of a listing have at most {MOST_TAG_BYTES} bytes together"
    if len(languages) > MOST_LANGUAGES or len(set(languages)) < len(languages):
        return f"a listing names at most {MOST_LANGUAGES} languages, each once"
    if not all(map(is_language, languages)):
        return "a language is a short code such as de, en, pt-BR"
    return ""
