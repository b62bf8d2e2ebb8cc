"""The state directory: private, replaced at once, for one agent alone."""

import stat
from pathlib import Path

import msgspec
import pytest

from relay.agent.guards import Guard
from relay.agent.state import StateDirectory
from relay.core import ConfigurationError, SeededEntropy

GUARD = Guard(bytes(range(32)), 86400 * 20000, 86400 * 20120, 86400 * 20000)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    made = StateDirectory(tmp_path / "deep" / "state")
    made.prepare()
    return made


def test_directory_and_files_are_the_owners_alone(state: StateDirectory) -> None:
    state.identity(SeededEntropy(1))
    state.softphone("me", SeededEntropy(1))
    state.keep_guards([GUARD])
    assert mode(state.path) == 0o700
    for name in ("identity.key", "softphone.json", "guards.json"):
        assert mode(state.path / name) == 0o600


def test_an_open_directory_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    StateDirectory(tmp_path).prepare()
    assert mode(tmp_path) == 0o700


def test_a_directory_that_cannot_be_is_refused_by_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="state_directory"):
        StateDirectory(tmp_path / "file" / "state").prepare()


def test_a_file_is_replaced_whole(state: StateDirectory) -> None:
    assert state.read("thing") is None
    state.write("thing", b"first")
    inode = (state.path / "thing").stat().st_ino
    with (state.path / "thing").open("rb") as reading:
        state.write("thing", b"second")
        assert reading.read() == b"first", "who reads meanwhile reads the old one to its end"
    assert state.read("thing") == b"second"
    assert (state.path / "thing").stat().st_ino != inode
    assert [path.name for path in state.path.iterdir()] == ["thing"]


def test_a_second_agent_is_refused_with_one_clear_sentence(state: StateDirectory) -> None:
    state.claim()
    with pytest.raises(ConfigurationError, match="another agent is running on it; stop that one first"):
        StateDirectory(state.path).claim()


def test_identity_and_password_stay(state: StateDirectory) -> None:
    first = state.identity(SeededEntropy(1)), state.softphone("me", SeededEntropy(1))
    again = state.identity(SeededEntropy(2)), state.softphone("me", SeededEntropy(2))
    assert again == first
    assert len(first[1].password) == 20
    other = state.softphone("you", SeededEntropy(3))
    assert other.user == "you"
    assert other.password != first[1].password


def test_guards_stay(state: StateDirectory) -> None:
    assert state.guards() == ()
    kept = (GUARD, msgspec.structs.replace(GUARD, identity=bytes(32), missed=3, missed_on=86400 * 20100))
    state.keep_guards(kept)
    assert StateDirectory(state.path).guards() == kept


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff", b'{"guards": [{"identity": "AA=="}]}', b'{"guards": 3}']
)
def test_damaged_guards_are_not_passed_over_for_new_ones(state: StateDirectory, content: bytes) -> None:
    state.write("guards.json", content)
    with pytest.raises(ConfigurationError, match=r"guards.json in the state directory is damaged"):
        state.guards()
    assert state.read("guards.json") == content


@pytest.mark.parametrize("content", [b"", b"short", b"{}", b"\xff\xfe", b'{"user": 5}', bytes(33)])
def test_damaged_files_are_named_in_one_sentence(state: StateDirectory, content: bytes) -> None:
    state.write("identity.key", content)
    state.write("softphone.json", content)
    with pytest.raises(ConfigurationError, match=r"identity.key in the state directory is damaged"):
        state.identity(SeededEntropy(1))
    with pytest.raises(ConfigurationError, match=r"softphone.json in the state directory is damaged"):
        state.softphone("me", SeededEntropy(1))
    assert state.read("identity.key") == content, "and left for its owner to look at"
