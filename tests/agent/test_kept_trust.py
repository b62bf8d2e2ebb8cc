"""What is known of a contact's voice: known at once, and written when the disk has room."""

from functools import partial
from pathlib import Path

import pytest

from relay.agent.behind import AtOnce, Behind
from relay.agent.contacts import ContactBook
from relay.agent.kept import NotKept, PlainFiles
from relay.agent.kept_trust import MOST_PENDING, KeptTrust
from relay.agent.voice_security import End
from relay.agent.voice_trust import Doubt, VoiceTrust
from relay.zrtp import AlarmKind
from tests.agent.voice_calls import DeskBench, FakeCall

WALL = 1e9


def doubt(trust: VoiceTrust) -> VoiceTrust:
    return trust.doubted(Doubt.TAMPERED, WALL)


class Full(PlainFiles):
    full = False

    def write(self, name: str, content: bytes) -> None:
        if self.full:
            raise NotKept("no space")
        super().write(name, content)


@pytest.fixture
def files(tmp_path: Path) -> Full:
    return Full(tmp_path)


def on_disk(files: Full) -> VoiceTrust:
    book = ContactBook(files)
    book.refresh()
    return book.named("bob").trust


async def test_it_holds_at_once_and_is_written_on_top_of_what_a_command_wrote_meanwhile(files: Full) -> None:
    behind = Behind()
    bench = DeskBench(files.path, files=files)
    trust = KeptTrust(bench.book, behind)
    trust.keep(bench.bob.id, doubt)
    assert on_disk(files).doubts == ()
    assert [one.doubt for one in trust.of(bench.bob).doubts] == [Doubt.TAMPERED]
    beside = ContactBook(files)
    beside.refresh()
    beside.judge(beside.named("bob"), partial(VoiceTrust.with_pgp, fingerprint="A" * 40))
    await trust.written()
    assert on_disk(files).pgp == "A" * 40
    assert [one.doubt for one in on_disk(files).doubts] == [Doubt.TAMPERED]
    assert trust.of(bench.bob) == on_disk(files)
    assert trust._pending == []


def test_what_finds_no_room_counts_and_is_written_with_the_next(files: Full) -> None:
    bench = DeskBench(files.path, files=files)
    trust = KeptTrust(bench.book, AtOnce())
    files.full = True
    trust.keep(bench.bob.id, doubt)
    trust.keep("nobody", doubt)
    assert [one.doubt for one in trust.of(bench.bob).doubts] == [Doubt.TAMPERED]
    assert on_disk(files).doubts == ()
    files.full = False
    trust.keep(bench.bob.id, lambda trust: trust.doubted(Doubt.OTHER_ZID, WALL))
    assert [one.doubt for one in on_disk(files).doubts] == [Doubt.TAMPERED, Doubt.OTHER_ZID]
    assert trust._pending == []


def test_a_disk_that_stays_full_fills_no_memory(files: Full) -> None:
    bench = DeskBench(files.path, files=files)
    trust = KeptTrust(bench.book, AtOnce())
    files.full = True
    for _ in range(MOST_PENDING + 10):
        trust.keep(bench.bob.id, doubt)
    assert len(trust._pending) == MOST_PENDING


async def test_the_next_call_knows_of_an_alarm_that_found_no_room(files: Full) -> None:
    bench = DeskBench(files.path, files=files)
    call = FakeCall()
    files.full = True
    bench.alarm(call, AlarmKind.CACHE_MISMATCH)
    bench.desk.ended(call)
    bench.events()
    bench.secured()
    assert "voice-alarm-open" in bench.events()
    words = await bench.desk.words({"name": "bob"}, lambda stage: None)
    assert words["alarm"]


async def test_a_book_that_is_damaged_meanwhile_ends_nothing(files: Full) -> None:
    behind = Behind()
    bench = DeskBench(files.path, files=files)
    trust = KeptTrust(bench.book, behind)
    (files.path / "contacts.json").write_bytes(b"{")
    trust.keep(bench.bob.id, lambda trust: trust.compared(End.AGENT, End.AGENT, WALL))
    await trust.written()
    assert trust.of(bench.bob).verified
