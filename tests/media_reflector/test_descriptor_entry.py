"""Descriptors as entries: what is taken, in which order, and what is refused."""

import pytest

from relay.core import MisuseError, PeerError, SystemEntropy
from relay.forward_publish import CLOCK_SKEW, EntryKind, EntryParsers
from relay.media_reflector import ReflectorKeys
from relay.media_reflector.descriptor import VALIDITY, Descriptor, SignedDescriptor, sign_descriptor
from relay.media_reflector.descriptor_entry import ENTRY_KIND, SLOT_SIZE, DescriptorEntry
from relay.wire import decode, encode, pad
from tests.node.descriptors import any_descriptor, sign

NOW = 1_800_000_000.0
SLOT = EntryKind.DESCRIPTOR.slot_size
PARSERS = EntryParsers({EntryKind.DESCRIPTOR: DescriptorEntry.parse})


def test_it_is_what_contact_points_take_for_one() -> None:
    assert (EntryKind.DESCRIPTOR, EntryKind.DESCRIPTOR.slot_size) == (ENTRY_KIND, SLOT_SIZE)


def test_key_revision_and_expiry_are_the_descriptor_s_own() -> None:
    keys = ReflectorKeys.generate(SystemEntropy())
    entry = PARSERS.verify(EntryKind.DESCRIPTOR, DescriptorEntry.of(sign(NOW, keys)).body, NOW)
    assert isinstance(entry, DescriptorEntry)
    assert (entry.kind, entry.key, len(entry.body)) == (EntryKind.DESCRIPTOR, keys.public_identity, SLOT)
    assert entry.revision == entry.expires == entry.descriptor.valid_until
    later = DescriptorEntry.of(sign(NOW + 3600, keys))
    assert later.revision > entry.revision
    assert later.expires > entry.expires


def test_times_are_those_of_the_descriptor_with_half_an_hour_of_doubt() -> None:
    entry = any_descriptor(NOW)
    begins, ends = entry.descriptor.valid_from, entry.expires
    for now in (begins - CLOCK_SKEW, ends, ends + CLOCK_SKEW - 1):
        entry.check_time(now)
    with pytest.raises(PeerError, match="expired"):
        entry.check_time(ends + CLOCK_SKEW)
    with pytest.raises(PeerError, match="future-dated"):
        entry.check_time(begins - CLOCK_SKEW - 1)
    entry.check_time(begins - 2 * CLOCK_SKEW, ahead=2 * CLOCK_SKEW)


def test_what_another_signed_is_forged() -> None:
    entry = any_descriptor(NOW)
    other = decode(any_descriptor(NOW).signed, SignedDescriptor, limit=SLOT)
    mixed = SignedDescriptor(decode(entry.signed, SignedDescriptor, limit=SLOT).descriptor, other.signature)
    with pytest.raises(PeerError, match="forged"):
        PARSERS.verify(EntryKind.DESCRIPTOR, pad(encode(mixed), SLOT), NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"valid_from": -1},
        {"valid_until": 0},
        {"valid_until": 2**60},
        {"valid_from": 0, "valid_until": VALIDITY + 1},
        {"version": 1},
        {"identity": b"short"},
        {"addresses": ()},
    ],
)
def test_signed_nonsense_is_malformed(changes: dict[str, object]) -> None:
    keys = ReflectorKeys.generate(SystemEntropy())
    signed = decode(sign(NOW, keys), SignedDescriptor, limit=SLOT)
    fields = decode(signed.descriptor, Descriptor, limit=SLOT)
    values = {name: getattr(fields, name) for name in fields.__struct_fields__}
    wrong = sign_descriptor(Descriptor(**values | changes), keys.identity_key)
    with pytest.raises(PeerError, match="malformed"):
        PARSERS.verify(EntryKind.DESCRIPTOR, pad(wrong, SLOT), NOW)


def test_slots_have_one_size_and_one_filling() -> None:
    body = any_descriptor(NOW).body
    for slot in (b"", body[:-1], body + b"\0", body[:-1] + b"x", bytes(SLOT), b"\xff" * SLOT):
        with pytest.raises(PeerError):
            PARSERS.verify(EntryKind.DESCRIPTOR, slot, NOW)
    with pytest.raises(MisuseError):
        DescriptorEntry.of(b"no descriptor")
