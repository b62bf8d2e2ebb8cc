"""Prekeys: a new one every day, the old ones for a while, then gone."""

from pathlib import Path

import pytest

from relay.agent.prekeys import PREKEY_KEPT, PREKEY_LIFE, PrekeyRing
from relay.agent.state import StateDirectory
from relay.core import SystemEntropy

NOW = 1_800_000_000.0


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    made = StateDirectory(tmp_path)
    made.prepare()
    return made


def ring(state: StateDirectory) -> PrekeyRing:
    return PrekeyRing(state, SystemEntropy())


def files(state: StateDirectory) -> list[str]:
    return sorted(path.name for path in state.path.glob("prekey.*"))


def test_a_day_has_one_prekey_also_after_a_restart(state: StateDirectory) -> None:
    first = ring(state).current(NOW)
    again = ring(state)
    assert again.current(NOW + PREKEY_LIFE - 1).public == first.public
    assert files(state) == ["prekey.0"]
    assert again.current(NOW + PREKEY_LIFE).public != first.public
    assert files(state) == ["prekey.0", "prekey.1"]


def test_an_old_prekey_still_opens_rings_and_then_is_deleted_for_good(state: StateDirectory) -> None:
    keys = ring(state)
    old = keys.current(NOW).public
    keys.current(NOW + PREKEY_LIFE)
    assert [key.public for key in keys.usable(NOW + PREKEY_KEPT)][1:] == [old]
    assert old not in [key.public for key in keys.usable(NOW + PREKEY_KEPT + 1)]
    assert files(state) == ["prekey.0"]
    assert old not in [key.public for key in ring(state).usable(NOW)]


def test_the_ring_is_bounded_over_a_month(state: StateDirectory) -> None:
    keys = ring(state)
    publics = {keys.current(NOW + day * PREKEY_LIFE).public for day in range(30)}
    assert len(publics) == 30
    assert len(keys.usable(NOW + 29 * PREKEY_LIFE)) <= 4
    assert len(files(state)) <= 4


def test_a_clock_that_was_wrong_and_went_back_gets_a_new_key(state: StateDirectory) -> None:
    keys = ring(state)
    ahead = keys.current(NOW + 10 * PREKEY_LIFE)
    assert keys.current(NOW).public != ahead.public


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, bytes(4000)])
def test_a_damaged_file_is_put_aside(state: StateDirectory, content: bytes) -> None:
    keys = ring(state)
    kept = keys.current(NOW)
    newest = keys.current(NOW + PREKEY_LIFE)
    state.write("prekey.0", content)
    again = ring(state)
    assert [key.public for key in again.usable(NOW + PREKEY_LIFE)] == [kept.public]
    assert again.current(NOW + PREKEY_LIFE).public not in (kept.public, newest.public)


def test_a_crash_while_keys_move_loses_none(state: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ring(state)
    old = keys.current(NOW).public
    write = StateDirectory.write
    written = 0

    def crash(self: StateDirectory, name: str, content: bytes) -> None:
        nonlocal written
        written += 1
        if written > 1:
            raise OSError("the power fails")
        write(self, name, content)

    monkeypatch.setattr(StateDirectory, "write", crash)
    with pytest.raises(OSError, match="power"):
        keys.current(NOW + PREKEY_LIFE)
    assert old in [key.public for key in ring(state).usable(NOW + PREKEY_LIFE)]
