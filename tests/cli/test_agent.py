"""`bayonne agent`: what it does before anything starts, and what it says when nothing can."""

import gc
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner

from relay.agent.daemon import Daemon
from relay.agent.state import StateDirectory
from relay.cli.agent import _serve, command
from relay.core import ConfigurationError, SeededEntropy
from relay.media_reflector import ReflectorKeys, ReflectorReference, format_maker

REFERENCE = ReflectorReference("a" * 56, ReflectorKeys.generate(SeededEntropy(1)).public_identity)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(
        f'state_directory = "{tmp_path / "state"}"\nname = "me"\nsip_listen = "127.0.0.1:{free_port()}"\n'
        f'contact_points = ["{"a" * 56}"]\nreflectors = ["{REFERENCE}"]\n[tor]\nexecutable = "/no/such/tor"\n'
        "[vault]\nsealed = false\n"
    )
    return path


def bayonne(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command_line = [sys.executable, "-m", "relay.cli", *arguments]
    return subprocess.run(command_line, capture_output=True, text=True, timeout=30)


def test_a_good_configuration_is_said_to_be_good_and_nothing_is_made(config: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--config", str(config), "--check-config"])
    assert result.output == "agent.toml: ok\n"
    assert not (tmp_path / "state").exists()


def test_a_list_that_is_of_no_use_is_said_when_the_configuration_is_checked(config: Path) -> None:
    lists = f'reflector_lists = ["/no/friends.txt"]\nlist_makers = ["{format_maker(bytes(32))}"]\n'
    config.write_text(lists + config.read_text())
    done = bayonne("agent", "--config", str(config), "--check-config")
    assert done.returncode == 1
    assert (
        done.stderr == "bayonne: reflector_lists: friends.txt: cannot be read (No such file or directory)\n"
    )


def test_authorities_for_domains_that_are_of_no_use_are_said_when_the_configuration_is_checked(
    config: Path,
) -> None:
    config.write_text(config.read_text() + '[domains]\nca_file = "~/no/such/authority.pem"\n')
    result = CliRunner().invoke(command, ["--config", str(config), "--check-config"])
    assert isinstance(result.exception, ConfigurationError)
    assert str(result.exception).startswith("domains.ca_file: ")


def test_the_softphones_credentials_stay_the_same(config: Path) -> None:
    runner = CliRunner()
    prose = runner.invoke(command, ["--config", str(config), "--softphone"]).output
    shown = json.loads(runner.invoke(command, ["--config", str(config), "--softphone", "--json"]).output)
    assert shown.keys() == {"user", "password", "server", "outbound_proxy"}
    assert shown["user"] == "me"
    assert shown["password"] in prose
    assert shown["server"] in prose
    assert shown["outbound_proxy"] == f"sip:{shown['server']};lr"
    assert shown["outbound_proxy"] in prose


def test_an_unknown_key_is_one_sentence_and_exit_1(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace("executable", "executible"))
    done = bayonne("agent", "--config", str(config))
    assert done.returncode == 1
    assert done.stderr == "bayonne: agent.toml: line 7: unknown key 'executible'\n"
    assert done.stdout == ""
    assert not (tmp_path / "state").exists()


def test_a_tor_that_never_comes_up_ends_with_one_sentence(config: Path) -> None:
    done = bayonne("agent", "--config", str(config), "--json")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("bayonne: ")
    assert "tor" in last.lower()
    assert "Traceback" not in done.stderr
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["softphone", "starting"]


def test_a_second_agent_on_the_same_state_is_refused(config: Path, tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    state.claim()
    done = bayonne("agent", "--config", str(config))
    assert done.returncode == 1
    assert done.stderr == "bayonne: state_directory: another agent is running on it; stop that one first\n"


def test_no_search_for_garbage_stops_an_agent_for_what_was_imported() -> None:
    left: list[int] = []

    class Serving:
        async def run(self) -> None:
            left.append(len(gc.get_objects()))

    try:
        _serve(cast(Daemon, Serving()))
    finally:
        gc.unfreeze()
    assert left[0] < len(gc.get_objects()) / 10
