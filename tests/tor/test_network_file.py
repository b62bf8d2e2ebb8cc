"""What a private network leaves for its clients, and that nobody joins one that is gone."""

import os
import stat
from pathlib import Path

import pytest

from relay.core import ConfigurationError
from relay.tor.network_file import NETWORK_FILE, SEED_FILES, NetworkFile, network_options, seed
from relay.tor.supervision import ProcessIdentity


def network(supervisor: ProcessIdentity | None, *, seed_directory: str = "nowhere") -> NetworkFile:
    return NetworkFile(
        authority="DirAuthority authority orport=1 no-v2 v3ident=AB 127.0.1.1:2 CD",
        seed=seed_directory,
        directory_host="127.0.1.1",
        directory_port=2,
        relays=3,
        supervisor=supervisor,
        members={"authority": supervisor} if supervisor else {},
        started_at=1_800_000_000.0,
    )


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written = network(ProcessIdentity.of(os.getpid()))
    written.write(tmp_path)
    assert NetworkFile.read(tmp_path) == written
    assert [path.name for path in tmp_path.iterdir()] == [NETWORK_FILE]


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"relays": 3}', b"\xff\xfe", b'{"\xff": 1}'])
def test_no_file_and_no_such_file_say_what_to_do(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / NETWORK_FILE).write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"network_directory.*'bayonne testnet up'"):
        NetworkFile.read(tmp_path)


@pytest.mark.parametrize("started", ["1", ""])
def test_a_network_whose_supervisor_is_gone_is_none(tmp_path: Path, started: str) -> None:
    network(ProcessIdentity(os.getpid(), started)).write(tmp_path)
    with pytest.raises(ConfigurationError, match="no private network is up"):
        NetworkFile.read(tmp_path)


def test_a_network_of_another_machine_is_taken_to_run_and_seeds_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = network(None, seed_directory="")
    joined.write(tmp_path)
    assert NetworkFile.read(tmp_path) == joined
    # Not even from wherever we happen to be.
    monkeypatch.chdir(tmp_path)
    (tmp_path / SEED_FILES[0]).write_text("")
    seed(joined, tmp_path / "client")
    assert list((tmp_path / "client").iterdir()) == []


def test_a_client_gets_the_authoritys_caches_and_nothing_secret(tmp_path: Path) -> None:
    source, target = tmp_path / "authority", tmp_path / "client"
    (source / "keys").mkdir(parents=True)
    (source / "keys" / "secret").write_text("secret")
    for name in SEED_FILES[:-1]:
        (source / name).write_text(name)
    seed(network(ProcessIdentity(1, "1"), seed_directory=str(source)), target)
    assert {path.name for path in target.iterdir()} == set(SEED_FILES[:-1])
    assert stat.S_IMODE(target.stat().st_mode) == 0o700


def test_only_a_large_network_has_guards() -> None:
    assert "UseEntryGuards 0" in network_options("DirAuthority x", 3)
    assert "UseEntryGuards 0" not in network_options("DirAuthority x", 40)
    assert "TestingTorNetwork 1" in network_options("DirAuthority x", 40)
