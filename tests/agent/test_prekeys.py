"""Prekeys: a new one every day, the old ones for a while, then gone."""

import contextlib
from pathlib import Path

import pytest

from relay.agent.kept import PlainFiles
from relay.agent.prekeys import PREKEY_KEPT, PREKEY_LIFE, PrekeyRing
from relay.agent.put_aside import put_aside, put_aside_of
from relay.core import SystemEntropy
from relay.forward_publish import CLOCK_SKEW, current_period, latest_expiry
from tests.agent.full_disk import FullDisk
from tests.agent.vaults import PASSPHRASE, directory_of, flip, new_vault

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


@pytest.mark.parametrize("restart", [True, False])
def test_one_that_is_damaged_while_the_agent_runs_does_not_outlive_its_days_either(
    tmp_path: Path, restart: bool
) -> None:
    told: list[str] = []
    kept = new_vault(tmp_path)
    kept.tell = told.append
    keys = PrekeyRing(kept, SystemEntropy())
    keys.current(NOW)
    damaged = kept.path / kept.vault.file_name("prekey.0")
    flip(damaged)
    if restart:
        kept = directory_of(tmp_path).unlock(PASSPHRASE)
        keys = PrekeyRing(kept, SystemEntropy())
        assert not damaged.exists()
    with contextlib.nullcontext() if restart else damaged.open("rb") as block:
        keys.current(NOW + PREKEY_LIFE)
        assert block is None or set(block.read()) == {0}, "overwritten before it was gone"
    assert put_aside_of(kept.path) == []
    assert kept.damaged() == ()
    assert [sentence for sentence in told if "damaged" in sentence] == (
        [] if restart else ["what was damaged of the part 'prekey.0' of the vault is destroyed"]
    )


@pytest.mark.parametrize("when", ["unlocked", "written", "removed"])
def test_what_an_earlier_version_put_aside_of_a_prekey_is_destroyed(tmp_path: Path, when: str) -> None:
    kept = new_vault(tmp_path)
    kept.write("prekey.2", b"old")
    kept.write("guards.json", b"guards")
    for name in ("prekey.2", "guards.json"):
        put_aside(kept.path / kept.vault.file_name(name))
    match when:
        case "unlocked":
            directory_of(tmp_path).unlock(PASSPHRASE)
        case "written":
            kept.write("prekey.2", b"new")
        case _:
            kept.remove("prekey.2")
    (left,) = put_aside_of(kept.path)
    assert left.name.startswith(kept.vault.file_name("guards.json")), "its owner may want to mend it"
