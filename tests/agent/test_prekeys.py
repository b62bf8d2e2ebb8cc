"""Prekeys: a new one every day, the old ones for a while, then gone."""

from pathlib import Path

import pytest

from relay.agent.kept import PlainFiles
from relay.agent.prekeys import PREKEY_KEPT, PREKEY_LIFE, PrekeyRing
from relay.core import SystemEntropy
from relay.forward_publish import CLOCK_SKEW, current_period, latest_expiry
from tests.agent.full_disk import FullDisk

NOW = 1_800_000_000.0


@pytest.fixture
def state(tmp_path: Path) -> PlainFiles:
    return PlainFiles(tmp_path)


def ring(state: PlainFiles) -> PrekeyRing:
    return PrekeyRing(state, SystemEntropy())


def files(state: PlainFiles) -> list[str]:
    return sorted(path.name for path in state.path.glob("prekey.*"))


def test_a_day_has_one_prekey_also_after_a_restart(state: PlainFiles) -> None:
    first = ring(state).current(NOW)
    again = ring(state)
    assert again.current(NOW + PREKEY_LIFE - 1).public == first.public
    assert files(state) == ["prekey.0"]
    assert again.current(NOW + PREKEY_LIFE).public != first.public
    assert files(state) == ["prekey.0", "prekey.1"]


def test_an_old_prekey_still_opens_rings_and_then_is_deleted_for_good(state: PlainFiles) -> None:
    keys = ring(state)
    old = keys.current(NOW).public
    keys.current(NOW + PREKEY_LIFE)
    assert [key.public for key in keys.usable(NOW + PREKEY_KEPT)][1:] == [old]
    assert old not in [key.public for key in keys.usable(NOW + PREKEY_KEPT + 1)]
    assert files(state) == ["prekey.0"]
    assert old not in [key.public for key in ring(state).usable(NOW)]


def test_an_agent_that_was_off_deletes_what_is_too_old_when_it_starts(state: PlainFiles) -> None:
    kept = ring(state).current(NOW).key.x25519.private_bytes_raw()
    assert any(kept in path.read_bytes() for path in state.path.iterdir())
    again = ring(state)
    again.expire(NOW + PREKEY_KEPT)
    assert files(state) == ["prekey.0"]
    again.expire(NOW + PREKEY_KEPT + 1)
    assert files(state) == []
    assert not any(kept in path.read_bytes() for path in state.path.iterdir())
    assert again.usable(NOW) == []


def test_a_prekey_is_there_for_as_long_as_a_record_may_name_it_and_a_day_at_the_most_longer() -> None:
    """It is published for a day; a record is good until the period after its own ends; clocks differ."""
    last_published = NOW + PREKEY_LIFE
    longest = max(
        latest_expiry(current_period(moment)) for moment in (last_published, last_published + CLOCK_SKEW)
    )
    needed = longest + CLOCK_SKEW - NOW
    assert needed <= PREKEY_KEPT
    whole_day_left = latest_expiry(0) + PREKEY_LIFE + 2 * CLOCK_SKEW
    assert PREKEY_KEPT - whole_day_left < 86400


def test_the_ring_is_bounded_over_a_month(state: PlainFiles) -> None:
    keys = ring(state)
    publics = {keys.current(NOW + day * PREKEY_LIFE).public for day in range(30)}
    assert len(publics) == 30
    assert len(keys.usable(NOW + 29 * PREKEY_LIFE)) <= 4
    assert len(files(state)) <= 4


def test_a_clock_that_was_wrong_and_went_back_gets_a_new_key(state: PlainFiles) -> None:
    keys = ring(state)
    ahead = keys.current(NOW + 10 * PREKEY_LIFE)
    assert keys.current(NOW).public != ahead.public


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, bytes(4000)])
def test_a_damaged_file_is_destroyed(state: PlainFiles, content: bytes) -> None:
    keys = ring(state)
    kept = keys.current(NOW)
    newest = keys.current(NOW + PREKEY_LIFE)
    state.write("prekey.0", content)
    again = ring(state)
    assert "prekey.0" not in files(state)
    assert [key.public for key in again.usable(NOW + PREKEY_LIFE)] == [kept.public]
    assert again.current(NOW + PREKEY_LIFE).public not in (kept.public, newest.public)


def test_a_crash_while_keys_move_loses_none(state: PlainFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ring(state)
    old = keys.current(NOW).public
    write = PlainFiles.write
    written = 0

    def crash(self: PlainFiles, name: str, content: bytes) -> None:
        nonlocal written
        written += 1
        if written > 1:
            raise OSError("the power fails")
        write(self, name, content)

    monkeypatch.setattr(PlainFiles, "write", crash)
    with pytest.raises(OSError, match="power"):
        keys.current(NOW + PREKEY_LIFE)
    assert old in [key.public for key in ring(state).usable(NOW + PREKEY_LIFE)]


def test_on_a_full_disk_new_keys_serve_and_old_ones_go_all_the_same(tmp_path: Path) -> None:
    disk = FullDisk(tmp_path)
    keys = ring(disk)
    keys.current(NOW)
    disk.full = True
    later = NOW + PREKEY_KEPT + 1
    new = keys.current(later)
    assert keys.usable(later) == [new]
    assert files(disk) == [], "the old key is not there any more"
    disk.full = False
    keys.expire(later)
    assert ring(disk).usable(later)[0].public == new.public
