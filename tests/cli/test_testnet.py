"""`bayonne testnet` where no network need run: joining an island, and wrong options."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from relay.cli.testnet import command
from relay.core import ConfigurationError
from relay.tor import NetworkFile
from relay.tor.island import ISLAND_FILE, IslandFile

ISLAND = IslandFile.of(
    nickname="authority",
    address="192.168.1.5",
    or_port=5001,
    directory_port=5002,
    v3ident="AB" * 20,
    fingerprint="CD" * 20,
    relays=3,
)


def test_joining_an_island_says_what_it_is_and_how_to_use_it(tmp_path: Path) -> None:
    ISLAND.write(tmp_path)
    directory = tmp_path / "there"
    arguments = ["join", str(tmp_path / ISLAND_FILE), "--directory", str(directory)]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "has 4 relays, all on one machine" in result.output
    assert f'network_directory = "{directory}"' in result.output
    assert NetworkFile.read(directory).authority == ISLAND.authority_line
    status = CliRunner().invoke(
        command, ["status", "--json", "--directory", str(directory)], catch_exceptions=False
    )
    told = json.loads(status.output)
    assert (status.exit_code, told["event"], told["relays"]) == (0, "joined", 4)
    assert "192.168" not in result.output + status.output


@pytest.mark.parametrize("content", [None, b"", b"{}", b"DirAuthority x"])
def test_a_file_that_is_no_islands(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "file.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"'file\.json'"):
        CliRunner().invoke(
            command, ["join", str(file), "--directory", str(tmp_path / "x")], catch_exceptions=False
        )
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("arguments", [["--island"], ["--address", "127.0.0.1"]])
def test_an_island_needs_an_address_and_an_address_an_island(tmp_path: Path, arguments: list[str]) -> None:
    result = CliRunner().invoke(command, ["up", *arguments, "--directory", str(tmp_path / "x")])
    assert result.exit_code == 2
    assert "go together" in result.output
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("detach", [[], ["--detach"]])
@pytest.mark.parametrize("address", ["203.0.113.77", "0.0.0.0", "example.org"])
def test_an_address_that_is_not_this_machines(tmp_path: Path, address: str, detach: list[str]) -> None:
    arguments = ["up", "--island", "--address", address, *detach, "--directory", str(tmp_path / "x")]
    with pytest.raises(ConfigurationError, match="--address"):
        CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert not (tmp_path / "x").exists()
