"""The keeper of trunks, between two whole reflector apps over real UDP; Tor is a stand-in."""

import asyncio
from pathlib import Path

import pytest

from relay.core import MisuseError
from relay.media_reflector import (
    LineCrossed,
    ReflectorKeys,
    ReflectorReference,
    fetch_descriptor,
    fetch_ticket,
    server,
)
from relay.node import trunks as keeper
from relay.node.reflector_state import ReflectorState
from tests.native_code import native_plane
from tests.node.fake_tor import FakeTor, until
from tests.node.lines import Line
from tests.node.running import CLOCK, ENTROPY, Run, Start, settings_for

CODE = b"join code of 16 "


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "RETRY_FIRST", 0.05)
    monkeypatch.setattr(keeper, "RETRY_MOST", 0.2)
    monkeypatch.setattr(keeper, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(keeper, "OPENING_EXPIRY", 1.0)


def _identities(place: Path) -> list[bytes]:
    found = []
    for number in (1, 2):
        state = ReflectorState(place / f"state-{number}")
        state.prepare()
        found.append(state.keys(ENTROPY).public_identity)
    return found


async def _two(start: Start, place: Path, plane: str = "plain", slots: int = 3) -> list[Run]:
    """Two reflectors that list each other; what the one is called the other hears before both are there."""
    runs = []
    identities = _identities(place)
    for number in (1, 2):
        other = str(ReflectorReference("cb"[number - 1] * 56, identities[2 - number]))
        directory = str(place / f"state-{number}")
        trunks = [{"reference": other, "slots": slots}]
        runs.append(await start(state_directory=directory, trunks=trunks, data_plane=plane))
    return runs


def _up(run: Run) -> bool:
    settings = run.node._settings.trunk_references
    return bool(settings) and run.node.trunks.is_up(settings[0][0].identity)


async def _line(tor: FakeTor, run: Run, code: bytes, via: Run | None = None) -> Line:
    reference = await run.wait_ready()
    descriptor = await fetch_descriptor(tor, reference, isolation="x", wall=CLOCK.wall())
    ticket = await fetch_ticket(tor, descriptor, ENTROPY, isolation="y", now=CLOCK.monotonic())
    line = Line(descriptor, ticket, code)
    if via is not None:
        line.client.join(code, (await via.wait_ready()).identity)
    return line


@pytest.mark.parametrize("plane", ["plain", "native"])
async def test_a_trunk_comes_up_by_itself_carries_a_call_and_is_told(
    start: Start, tor: FakeTor, tmp_path: Path, plane: str
) -> None:
    if plane == "native":
        native_plane()
    first, second = await _two(start, tmp_path, plane)
    await until(lambda: _up(first) and _up(second))
    for run, other in ((first, second), (second, first)):
        reference = await run.wait_ready()
        told = await fetch_descriptor(tor, reference, isolation="x", wall=CLOCK.wall())
        assert told.trunks == (((await other.wait_ready()).identity, 3),)
    alice = await _line(tor, first, CODE, second)
    bob = await _line(tor, second, CODE)
    try:
        await until(lambda: alice.heard(LineCrossed) and bob.heard(LineCrossed))
        before = [line.client.counters["bodies_received"] for line in (alice, bob)]
        await asyncio.sleep(0.5)
        for line, count in zip((alice, bob), before, strict=True):
            assert line.client.counters["bodies_received"] > count + 15
    finally:
        await alice.close()
        await bob.close()


async def test_the_smaller_identity_begins(start: Start, tor: FakeTor, tmp_path: Path) -> None:
    runs = await _two(start, tmp_path)
    await until(lambda: all(_up(run) for run in runs))
    smaller, larger = sorted(runs, key=lambda run: run.node._keys.public_identity)
    assert smaller.node.trunks.counters["trunk_calls"] >= 1
    assert larger.node.trunks.counters["trunk_calls"] == 0


async def test_a_reflector_that_died_is_found_again(start: Start, tor: FakeTor, tmp_path: Path) -> None:
    first, second = await _two(start, tmp_path)
    await until(lambda: _up(first) and _up(second))
    second.task.cancel()
    await asyncio.gather(second.task, return_exceptions=True)
    await until(lambda: not _up(first))
    again = await start(
        state_directory=second.settings.state_directory,
        trunks=[{"reference": second.settings.trunks[0].reference, "slots": 3}],
    )
    await until(lambda: _up(first) and _up(again))


async def test_who_does_not_list_us_keeps_no_trunk_with_us(
    start: Start, tor: FakeTor, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    smaller, larger = sorted(_identities(tmp_path))
    by_identity = dict(zip(_identities(tmp_path), (1, 2), strict=True))
    await start(state_directory=str(tmp_path / f"state-{by_identity[larger]}"))
    lonely = await start(
        state_directory=str(tmp_path / f"state-{by_identity[smaller]}"),
        trunks=[{"reference": str(ReflectorReference("b" * 56, larger)), "slots": 3}],
    )
    await until(lambda: "does its operator list this reflector" in "".join(capfd.readouterr()))
    assert not _up(lonely)
    assert lonely.node.trunks.told(CLOCK.monotonic()) == []


async def test_who_is_asked_too_much_is_not_said_to_list_nobody(
    start: Start,
    tor: FakeTor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(server, "TICKET_STREAMS", 0)
    runs = await _two(start, tmp_path)
    said = ""

    def told() -> bool:
        nonlocal said
        said += "".join(capfd.readouterr())
        return said.count("too many ask it at once") >= 2

    await until(told)
    assert "does its operator list" not in said
    monkeypatch.setattr(server, "TICKET_STREAMS", 64)
    await until(lambda: all(_up(run) for run in runs))


async def test_a_trunk_comes_and_goes_with_the_configuration(
    start: Start, tor: FakeTor, tmp_path: Path
) -> None:
    first, second = await _two(start, tmp_path)
    await until(lambda: _up(first) and _up(second))
    listed = first.settings
    first.settings = settings_for(Path(listed.state_directory))
    first.node.reload()
    assert first.node.trunks.told(CLOCK.monotonic()) == []
    await until(lambda: not _up(second), 5.0)
    first.settings = listed
    first.node.reload()
    await until(lambda: _up(first) and _up(second))


async def test_too_many_slots_are_refused_by_name(tmp_path: Path) -> None:
    other = str(ReflectorReference("c" * 56, ReflectorKeys.generate(ENTROPY).public_identity))
    with pytest.raises(MisuseError, match="slots"):
        settings_for(tmp_path, trunks=[{"reference": other, "slots": 4097}]).check()
