"""What counts of what contact points say: signed by who is accepted, where it is accepted, in time, and later."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from relay.agent.accepted import Accepted
from relay.agent.kept import PlainFiles
from relay.agent.known_descriptors import FILE, KnownDescriptors, authentic, candidates
from relay.media_reflector import ReflectorReference
from relay.media_reflector.descriptor import SignedDescriptor
from relay.media_reflector.descriptor_entry import DescriptorEntry
from relay.wire import decode, encode
from tests.agent.ticket_services import CLOCK, Service
from tests.agent.virtual_time import in_virtual_time


@pytest.fixture
def state(tmp_path: Path) -> PlainFiles:
    made = PlainFiles(tmp_path)
    return made


def accepting(*services: Service) -> Accepted:
    return Accepted({service.reference.identity: service.reference for service in services})


def heard(known: KnownDescriptors, accepted: Accepted, *entries: DescriptorEntry) -> int:
    """How many of these were news."""
    return len(known.take(authentic(entries, accepted, CLOCK.wall())))


def forged(entry: DescriptorEntry, by: DescriptorEntry) -> DescriptorEntry:
    """What `entry` says, with the signature of something else."""
    content = decode(entry.signed, SignedDescriptor, limit=4080).descriptor
    signature = decode(by.signed, SignedDescriptor, limit=4080).signature
    return DescriptorEntry.of(encode(SignedDescriptor(content, signature)))


@in_virtual_time
async def test_the_latest_counts_in_whatever_order_they_come(state: PlainFiles) -> None:
    one = Service("a" * 56)
    accepted, known = accepting(one), KnownDescriptors(state)
    old, middle, new = one.entry(hours=2), one.entry(1), one.entry(2, draining=True)
    assert heard(known, accepted, middle) == 1
    assert heard(known, accepted, old, middle) == 0
    assert heard(known, accepted, old, new, middle) == 1
    said = known.of([one.reference], CLOCK.wall())
    assert said is not None
    assert said.draining


Lie = Callable[[Service, Service], DescriptorEntry]
LIES: dict[str, Lie] = {
    "forged": lambda one, _: forged(one.entry(9, draining=True), one.entry(0)),
    "signed by another": lambda one, other: forged(one.entry(9, draining=True), other.entry(9)),
    "another identity": lambda _, other: other.entry(9),
    "elsewhere": lambda one, _: one.entry(9, onion="z" * 56),
    "expired": lambda one, _: one.entry(9, hours=25),
    "from a later day": lambda one, _: one.entry(9, hours=-2),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_no_lie_counts(lie: Lie, tmp_path: Path) -> None:
    @in_virtual_time
    async def scenario() -> None:
        state = PlainFiles(tmp_path)
        one, other = Service("a" * 56), Service("b" * 56)
        accepted, known = accepting(one), KnownDescriptors(state)
        assert heard(known, accepted, one.entry(1)) == 1
        assert heard(known, accepted, lie(one, other)) == 0
        said = known.of([one.reference], CLOCK.wall())
        assert said == one.entry(1).descriptor
        assert known.of([other.reference], CLOCK.wall()) is None

    scenario()


@in_virtual_time
async def test_a_reader_that_checks_nothing_would_believe_the_lies(state: PlainFiles) -> None:
    """The control: every lie is one that changes something where nobody looks."""
    one, other = Service("a" * 56), Service("b" * 56)
    believed = {}
    for name, lie in LIES.items():
        known = KnownDescriptors(state)
        known.take([one.entry(hours=30)])
        believed[name] = len(known.take([lie(one, other)]))
    assert set(believed.values()) == {1}


@in_virtual_time
async def test_where_lists_name_several_places_each_counts(state: PlainFiles) -> None:
    one = Service("a" * 56)
    there = ReflectorReference("b" * 56, one.reference.identity)
    accepted = Accepted({one.reference.identity: one.reference}, elsewhere={one.reference.identity: (there,)})
    known = KnownDescriptors(state)
    assert heard(known, accepted, one.entry(1)) == 1
    assert heard(known, accepted, one.entry(2, onion=there.onion)) == 1
    said = known.of(accepted.places(there.identity), CLOCK.wall())
    assert said is not None
    assert said.reference == there
    known.review(accepting(one), CLOCK.wall())
    assert known.of([one.reference], CLOCK.wall()) is None, "a place that is accepted no more"


@in_virtual_time
async def test_it_is_there_again_after_a_restart_and_believed_no_more_than_before(
    state: PlainFiles,
) -> None:
    one, other, gone = Service("a" * 56), Service("b" * 56), Service("c" * 56)
    known = KnownDescriptors(state)
    heard(known, accepting(one, other, gone), one.entry(2), other.entry(hours=23), gone.entry(1))
    known.keep(known.kept(CLOCK.wall(), 3))
    again = KnownDescriptors(state)
    assert (again.pulled_at, again.pages) == (CLOCK.wall(), 3)
    again.review(accepting(one, other), CLOCK.wall() + 2 * 3600)
    assert again.of([one.reference], CLOCK.wall()) == one.entry(2).descriptor
    assert again.of([other.reference], CLOCK.wall()) is None, "out of date by then"
    assert again.of([gone.reference], CLOCK.wall()) is None, "not accepted any more"
    assert heard(again, accepting(one), one.entry(1)) == 0, "what is older is no news after a restart either"


@in_virtual_time
async def test_a_damaged_or_a_forged_file_counts_for_nothing(state: PlainFiles) -> None:
    one, other = Service("a" * 56), Service("b" * 56)
    lies = [forged(one.entry(9), other.entry(9)).signed, b"no descriptor", b""]
    for content in (b"damaged", b"", msgspec.msgpack.encode([CLOCK.wall(), 1, lies])):
        state.write(FILE, content)
        known = KnownDescriptors(state)
        known.review(accepting(one), CLOCK.wall())
        assert known.of([one.reference], CLOCK.wall()) is None
        assert heard(known, accepting(one), one.entry(0)) == 1


@in_virtual_time
async def test_only_what_says_it_is_accepted_is_worth_a_signature(state: PlainFiles) -> None:
    one, other = Service("a" * 56), Service("b" * 56)
    entries = [one.entry(1), other.entry(1), one.entry(1, onion="z" * 56)]
    assert candidates(entries, accepting(one)) == entries[:1]
