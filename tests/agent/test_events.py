"""What the owner is told: every event of a call has a sentence, or is JSON."""

import json
from pathlib import Path

import pytest

from relay.agent.events import _PROSE, JsonReporter, ProseReporter
from relay.agent.phone import HungUp
from relay.core import ManualClock
from tests.agent.people import open_world
from tests.agent.virtual_time import in_virtual_time


def test_json_has_the_moment_and_the_fields() -> None:
    lines: list[str] = []
    JsonReporter(ManualClock(12.5), lines.append)("ringing", contact='b"ob\n', delay=1.5)
    assert json.loads(lines[0]) == {"event": "ringing", "at": 12.5, "contact": 'b"ob\n', "delay": 1.5}
    assert "\n" not in lines[0]


def test_an_event_without_a_sentence_is_not_prose() -> None:
    lines: list[str] = []
    ProseReporter(lines.append)("softphone", user="me", server="x")
    assert lines == []


@pytest.mark.parametrize("event", ["domain-changed", "domain-withdrew", "domain-again"])
def test_what_domains_change_is_said_with_the_contact_or_the_account(event: str) -> None:
    lines: list[str] = []
    ProseReporter(lines.append)(event, contact="alice", account="alice@example.org")
    (line,) = lines
    assert "alice@example.org" in line
    assert "{" not in line


def test_alarms_are_red_where_a_terminal_can_and_nothing_else_is() -> None:
    for colour in (False, True):
        lines: list[str] = []
        prose = ProseReporter(lines.append, colour=colour)
        prose("voice-alarm", contact="bob", why="somebody else")
        prose("ringing")
        assert lines[0].startswith("\x1b[1;31mALARM: bob" if colour else "ALARM: bob")
        assert lines[0].endswith("\x1b[0m") is colour
        assert lines[1] == "your phone rings"


@in_virtual_time
async def test_every_event_of_calls_good_and_bad_can_be_said(tmp_path: Path) -> None:
    lines: list[str] = []
    prose = ProseReporter(lines.append)
    async with open_world(tmp_path) as world:
        _, rung = await world.talk()
        world.alice.dial("bob")
        await world.alice.wait("call-ended")
        world.bob.agent._phone_event(HungUp(rung.as_call))
        await world.quiet()
        world.alice.why_not = "Tor is not running"
        world.alice.dial("bob")
        told = [event for person in world.people.values() for event in person.told]
    for event in told:
        prose(event.name, **event.fields)
    assert {event.name for event in told} <= _PROSE.keys()
    assert len(lines) == len(told)
    assert all("{" not in line and "\n" not in line for line in lines)
