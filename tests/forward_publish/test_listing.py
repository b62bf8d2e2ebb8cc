"""Standing listings: public, signed by whom they name, one size."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError
from relay.forward_publish import (
    LISTING_SECRET,
    EntryKind,
    Listing,
    StoredListing,
    check_listing,
    latest_expiry,
    listing,
    record_key,
    seal_listing,
)
from relay.forward_publish.listing import LISTING_SIZE
from relay.forward_publish.plain_text import is_plain
from relay.identity import Identity
from tests.forward_publish.shelves import ENTROPY, NOW, OWNER, PERIOD_NOW, listing_of, stored_listing

NAMES = st.text(max_size=48).filter(lambda text: is_plain(text, 48))
TAGS = st.text(max_size=20).filter(lambda text: is_plain(text, 20))
LISTINGS = st.builds(
    Listing,
    identity=st.just(OWNER.public_key),
    name=NAMES,
    organisation=st.just("") | NAMES,
    tags=st.lists(TAGS, max_size=8, unique=True).map(tuple),
    languages=st.lists(st.sampled_from(["de", "en", "pt-BR", "zh-Hant"]), max_size=4, unique=True).map(tuple),
    revision=st.integers(0, 2**17 - 1),
    expires=st.just(0),
    period=st.integers(0, 2**36 - 1),
)
_SLOT = stored_listing().to_bytes()


@settings(max_examples=60, deadline=None)
@given(LISTINGS)
def test_every_sound_listing_comes_back_from_a_slot_of_one_size(said: Listing) -> None:
    said = msgspec.structs.replace(
        said, revision=said.period * 2**17 + said.revision, expires=latest_expiry(said.period)
    )
    stored = seal_listing(said, OWNER)
    slot = stored.to_bytes()
    assert len(slot) == LISTING_SIZE == 510
    again = StoredListing.parse(slot)
    again.verify()
    assert again == stored
    assert again.listing == said
    assert again.body == slot


def test_the_longest_listing_fits() -> None:
    longest = listing_of(
        name="N" * 48,
        organisation="é" * 24,
        tags=tuple(f"{number}".ljust(20, "x") for number in range(8)),
        languages=tuple(f"zh-Han{number}1" for number in range(6)),
        revision=2**53 - 1,
        expires=latest_expiry(2**36 - 1),
        period=2**36 - 1,
    )
    stored = seal_listing(longest, OWNER)
    assert StoredListing.parse(stored.to_bytes()) == stored


def test_it_lies_where_the_standing_record_lies_and_reads_as_what_it_says() -> None:
    stored = stored_listing()
    assert stored.key == stored.listing.key == record_key(OWNER.public_key, LISTING_SECRET, PERIOD_NOW)
    said = stored.listing
    for name in ("identity", "name", "organisation", "tags", "languages", "period", "revision", "expires"):
        assert getattr(stored, name) == getattr(said, name)
    assert stored.kind is EntryKind.LISTING


def test_nobody_lists_somebody_else() -> None:
    thief = Identity.generate(ENTROPY)
    with pytest.raises(MisuseError):
        seal_listing(listing_of(), thief)
    theirs = stored_listing(thief)
    renamed = msgspec.structs.replace(theirs.listing, identity=OWNER.public_key)
    blinded = thief.blinded(LISTING_SECRET, PERIOD_NOW)
    signed = msgspec.structs.replace(
        theirs, listing=renamed, signature=blinded.sign(listing._signed(renamed))
    )
    with pytest.raises(PeerError, match="forged"):
        signed.verify()
    with pytest.raises(PeerError, match="forged"):
        msgspec.structs.replace(signed, key=stored_listing().key).verify()
    nobody = msgspec.structs.replace(renamed, identity=bytes(31) + b"\x01")
    with pytest.raises(PeerError, match="forged"):
        msgspec.structs.replace(
            theirs, listing=nobody, signature=blinded.sign(listing._signed(nobody))
        ).verify()


def test_every_byte_is_signed_or_has_one_form() -> None:
    for position in range(LISTING_SIZE):
        changed = _SLOT[:position] + bytes([_SLOT[position] ^ 0x21]) + _SLOT[position + 1 :]
        with pytest.raises(PeerError):
            StoredListing.parse(changed).verify()


UNSOUND: list[dict[str, Any]] = [
    {"name": ""},
    {"name": "x" * 49},
    {"name": "Ali\u202ece"},
    {"organisation": "x" * 49},
    {"organisation": "a\nb"},
    {"tags": tuple(f"{number}" for number in range(9))},
    {"tags": ("x" * 25,)},
    {"tags": ("",)},
    {"tags": ("a", "a")},
    {"tags": tuple(f"{number}".ljust(24, "x") for number in range(7))},
    {"languages": tuple(f"a{letter}" for letter in "abcdefg")},
    {"languages": ("klingonese",)},
    {"languages": ("de", "de")},
]


@pytest.mark.parametrize("changes", UNSOUND)
def test_an_unsound_listing_is_neither_made_nor_read(changes: dict[str, Any]) -> None:
    said = listing_of(**changes)
    with pytest.raises(MisuseError) as error:
        check_listing(said.name, said.organisation, said.tags, said.languages)
    assert str(error.value).count(".") == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "_fault", lambda *_: "")
        stored = seal_listing(said, OWNER)
    with pytest.raises(PeerError, match="malformed"):
        stored.verify()
    with pytest.raises(PeerError, match=r"malformed|oversized"):
        StoredListing.parse(stored.to_bytes())


@pytest.mark.parametrize(
    "changes", [{"revision": 7}, {"expires": latest_expiry(PERIOD_NOW) - 1}, {"period": PERIOD_NOW + 1}]
)
def test_numbers_outside_the_period_are_not_signed(changes: dict[str, Any]) -> None:
    with pytest.raises(MisuseError):
        stored_listing(**changes)


def test_a_listing_has_its_time() -> None:
    stored = stored_listing()
    stored.check_time(NOW)
    with pytest.raises(PeerError, match="expired"):
        stored.check_time(NOW + 3 * 86400)
    with pytest.raises(PeerError, match="future-dated"):
        stored.check_time(NOW - 86400)


@settings(max_examples=300)
@given(st.binary(max_size=LISTING_SIZE + 1), st.integers(0, LISTING_SIZE))
def test_garbage_raises_only_peer_error(data: bytes, length: int) -> None:
    for slot in (data, (length.to_bytes(4) + data).ljust(LISTING_SIZE, b"\0")):
        with pytest.raises(PeerError):
            StoredListing.parse(slot)


@settings(max_examples=200)
@given(st.integers(0, LISTING_SIZE - 1), st.binary(min_size=1, max_size=32))
def test_a_listing_that_is_patched_raises_only_peer_error(start: int, patch: bytes) -> None:
    torn = (_SLOT[:start] + patch + _SLOT[start + len(patch) :])[:LISTING_SIZE]
    if torn != _SLOT:
        with pytest.raises(PeerError):
            StoredListing.parse(torn).verify()
