"""Reading entries of any kind, and judging what other contact points hand on."""

import msgspec
import pytest

from relay.core import PeerError
from relay.forward_publish import EntryKind, EntryParsers, ReadEntry
from relay.forward_publish.periods import CLOCK_SKEW, PERIOD
from tests.forward_publish.shelves import NOW, PERIOD_NOW, stored_listing, stored_record

PARSERS = EntryParsers()


def test_each_kind_has_its_parser() -> None:
    for entry in (stored_record(), stored_listing()):
        assert PARSERS.parse(entry.kind, entry.body) == entry
        assert PARSERS.verify(entry.kind, entry.body, NOW) == entry
    assert PARSERS.kinds == (EntryKind.RECORD, EntryKind.LISTING)


def test_descriptors_are_read_by_whoever_knows_them() -> None:
    with pytest.raises(PeerError, match="wrong kind"):
        PARSERS.parse(EntryKind.DESCRIPTOR, bytes(4080))
    record: ReadEntry = stored_record()
    parsers = EntryParsers({EntryKind.DESCRIPTOR: lambda body: record})
    assert parsers.parse(EntryKind.DESCRIPTOR, bytes(4080)) is record
    with pytest.raises(PeerError, match="truncated"):
        parsers.parse(EntryKind.DESCRIPTOR, bytes(4079))
    with pytest.raises(PeerError, match="wrong kind"):
        parsers.parse(99, bytes(4080))


def test_a_slot_of_another_kind_is_none() -> None:
    record, listing = stored_record(), stored_listing()
    with pytest.raises(PeerError, match="truncated"):
        PARSERS.parse(EntryKind.RECORD, listing.body)
    with pytest.raises(PeerError, match="oversized"):
        PARSERS.parse(EntryKind.LISTING, record.body)


def test_forged_and_stale_entries_are_told_apart() -> None:
    record = stored_record()
    forged = msgspec.structs.replace(record, signature=bytes(64))
    with pytest.raises(PeerError, match="forged"):
        PARSERS.verify(EntryKind.RECORD, forged.body, NOW)
    with pytest.raises(PeerError, match="expired"):
        PARSERS.verify(EntryKind.RECORD, record.body, NOW + 3 * PERIOD)
    with pytest.raises(PeerError, match="forged"):
        PARSERS.verify(EntryKind.RECORD, forged.body, NOW + 3 * PERIOD)


def test_two_honest_contact_points_do_not_call_each_other_liars() -> None:
    """The owner's clock is ahead of the first one's by half an hour, that one's of the second one's by as much."""
    record = stored_record()
    begins = PERIOD_NOW * PERIOD
    record.check_time(begins - CLOCK_SKEW)
    PARSERS.verify(EntryKind.RECORD, record.body, begins - 2 * CLOCK_SKEW)
    with pytest.raises(PeerError, match="future-dated"):
        PARSERS.verify(EntryKind.RECORD, record.body, begins - 2 * CLOCK_SKEW - 1)
