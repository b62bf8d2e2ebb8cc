"""Hours in which a contact may ring, over midnight too, and blocked contacts."""

from datetime import datetime

import msgspec
import pytest

from relay.agent.contact_file import Contact
from relay.agent.permissions import format_hours, may_ring, minute_of_day, parse_hours
from relay.core import MisuseError

ALICE = Contact("1", "alice", bytes(32), bytes(32), (), secret=bytes(32))


def at(hour: int, minute: int = 0) -> float:
    """A Unix time at which this machine's clock shows that."""
    return datetime(2026, 3, 3, hour, minute).timestamp()


@pytest.mark.parametrize("text", ["08:00-22:00", "22:00-06:00", "00:00-23:59", "always"])
def test_hours_are_written_as_they_are_read(text: str) -> None:
    assert format_hours(parse_hours(f" {text} ")) == text


@pytest.mark.parametrize(
    "text", ["", "8-22", "08:00", "24:00-06:00", "08:60-09:00", "08:00-08:00", "08:00-22:00x", "never"]
)
def test_other_hours_are_one_sentence(text: str) -> None:
    with pytest.raises(MisuseError, match="hours"):
        parse_hours(text)


@pytest.mark.parametrize(
    ("text", "hour", "minute", "allowed"),
    [
        ("08:00-22:00", 8, 0, True),
        ("08:00-22:00", 7, 59, False),
        ("08:00-22:00", 21, 59, True),
        ("08:00-22:00", 22, 0, False),
        ("22:00-06:00", 23, 0, True),
        ("22:00-06:00", 5, 59, True),
        ("22:00-06:00", 6, 0, False),
        ("22:00-06:00", 12, 0, False),
        ("always", 3, 0, True),
    ],
)
def test_who_may_ring_when(text: str, hour: int, minute: int, allowed: bool) -> None:
    contact = msgspec.structs.replace(ALICE, hours=parse_hours(text))
    assert may_ring(contact, at(hour, minute)) is allowed


def test_a_blocked_contact_never_may() -> None:
    assert not may_ring(msgspec.structs.replace(ALICE, blocked=True), at(12))


def test_the_minute_of_the_day_is_this_machines() -> None:
    assert minute_of_day(at(13, 37)) == 13 * 60 + 37
