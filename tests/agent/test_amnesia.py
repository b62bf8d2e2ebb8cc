"""An amnesic agent's things: in memory, sealed with a key that is nowhere else, gone with the agent."""

import os
from pathlib import Path

import pytest

from relay.agent.amnesia import amnesic_directory, amnesic_places, in_memory, is_in_memory, is_ours
from relay.agent.state import StateDirectory
from relay.core import ConfigurationError
from tests.agent.vaults import ENTROPY, everything_in

SECRET = b"nobody must read this on a disk"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "memory"


def test_what_is_kept_is_sealed_and_gone_afterwards(place: Path) -> None:
    with in_memory(place, ENTROPY) as files:
        files.write("contacts.json", SECRET)
        assert files.read("contacts.json") == SECRET
        assert SECRET not in everything_in(place)
        assert place.stat().st_mode & 0o777 == 0o700
        key = files.vault.key
        assert bytes(key) not in everything_in(place)
    assert not place.exists()
    assert key == bytes(32)


def test_it_goes_whatever_happens(place: Path) -> None:
    def fail() -> None:
        with in_memory(place, ENTROPY) as files:
            files.write("contacts.json", SECRET)
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert not place.exists()


def test_what_a_killed_one_left_is_gone_at_the_next_start(place: Path) -> None:
    (place / "tor").mkdir(parents=True)
    (place / "tor" / "state").write_text("x")
    (place / "left").write_text("x")
    with in_memory(place, ENTROPY):
        assert {path.name for path in place.iterdir()} == {"vault", ".agent.lock"}


def test_no_second_one_takes_the_place_of_one_that_runs(place: Path) -> None:
    with in_memory(place, ENTROPY) as files:
        running = StateDirectory(place)
        running.claim()
        files.write("contacts.json", SECRET)
        with pytest.raises(ConfigurationError, match="another agent"), in_memory(place, ENTROPY):
            pass
        assert files.read("contacts.json") == SECRET
        running.release()


def test_a_place_that_somebody_else_made_is_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="belongs to somebody else"), in_memory(place, ENTROPY):
        pass


MOUNTS = """\
22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
25 22 0:22 / /run/user/1000 rw - tmpfs tmpfs rw
26 22 0:23 / /dev/shm rw - tmpfs tmpfs rw
27 26 8:2 / /dev/shm/disk rw - ext4 /dev/sdb1 rw
28 22 0:9 / /with\\040space rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("where", "memory"),
    [
        ("/run/user/1000", True),
        ("/run/user/1000/deep", True),
        ("/run/user", False),
        ("/dev/shm", True),
        ("/dev/shm/disk/x", False),
        ("/with space/x", True),
        ("/home", False),
    ],
)
def test_memory_is_told_from_a_disk(where: str, memory: bool) -> None:
    assert is_in_memory(Path(where), MOUNTS) is memory


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The user's own place in memory, and everybody's."""
    owns, everybodys = tmp_path / "run" / str(os.geteuid()), tmp_path / "shm"
    owns.mkdir(parents=True)
    everybodys.mkdir()
    monkeypatch.setattr("relay.agent.amnesia._USERS", owns.parent)
    monkeypatch.setattr("relay.agent.amnesia._EVERYBODYS", everybodys)
    monkeypatch.setattr("relay.agent.amnesia.is_in_memory", lambda place: True)
    return owns, everybodys


def test_its_place_is_one_for_each_state_directory_and_says_nothing_of_it(
    tmp_path: Path, memory: tuple[Path, Path]
) -> None:
    one, other = (amnesic_directory(tmp_path / name) for name in ("alice", "bob"))
    assert one.parent == other.parent == memory[0]
    assert one != other
    assert "alice" not in one.name


def test_where_it_is_does_not_hang_on_who_asks(
    tmp_path: Path, memory: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that was started on a desktop is found by a wipe from cron, which has none of its variables."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(memory[1]))
    begun = amnesic_directory(tmp_path)
    begun.mkdir(mode=0o700)
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert amnesic_directory(tmp_path) == begun
    assert begun in amnesic_places(tmp_path)


def test_one_that_began_without_a_session_is_found_when_there_is_one(
    tmp_path: Path, memory: tuple[Path, Path]
) -> None:
    owns, everybodys = memory
    owns.rmdir()
    begun = amnesic_directory(tmp_path)
    assert begun.parent == everybodys
    begun.mkdir(mode=0o700)
    owns.mkdir()
    assert amnesic_directory(tmp_path) == begun, "and no second one begins beside it"
    assert begun in amnesic_places(tmp_path)


def test_where_no_memory_is_it_is_refused(
    tmp_path: Path, memory: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.agent.amnesia.is_in_memory", lambda place: False)
    with pytest.raises(ConfigurationError, match="--amnesic"):
        amnesic_directory(tmp_path)


def test_nobody_answers_from_a_place_that_others_can_have_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, link = tmp_path / "place", tmp_path / "link"
    assert not is_ours(place)
    place.mkdir(mode=0o700)
    assert is_ours(place)
    link.symlink_to(place)
    assert not is_ours(link)
    place.chmod(0o755)
    assert not is_ours(place)
    place.chmod(0o700)
    owner = place.stat().st_uid
    monkeypatch.setattr("relay.agent.amnesia.os.geteuid", lambda: owner + 1)
    assert not is_ours(place)


def test_whoever_searches_for_another_user_finds_that_users_and_nobody_elses(
    tmp_path: Path, memory: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root does."""
    place = amnesic_directory(tmp_path)
    place.mkdir(mode=0o700)
    user = os.geteuid()
    monkeypatch.setattr("relay.agent.amnesia.os.geteuid", lambda: user + 1)
    assert place not in amnesic_places(tmp_path)
    assert [found for found in amnesic_places(tmp_path, user) if is_ours(found, user)] == [place]
    assert not is_ours(place)
