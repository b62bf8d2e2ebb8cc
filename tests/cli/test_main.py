"""The command `bayonne`: what it offers, and how it fails."""

import subprocess
import sys

import pytest

from relay import __version__
from relay.cli import main as entry
from relay.cli.main import _COMMANDS, bayonne, main
from relay.core import PeerError


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "relay.cli", *arguments], capture_output=True, text=True, timeout=30
    )


def test_help_lists_every_command_and_loads_none() -> None:
    done = run("--help")
    assert done.returncode == 0
    for name in ("agent", "contact", "contact-point", "demo", "reflector", "reflectors", "testnet"):
        assert f"  {name} " in done.stdout


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    bayonne.main([name, "--help"], standalone_mode=False)
    assert "Usage:" in capsys.readouterr().out


def test_version() -> None:
    assert __version__ in run("--version").stdout


def test_an_unknown_command_is_refused_without_a_traceback() -> None:
    done = run("telephone")
    assert done.returncode == 2
    assert "No such command" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [(PeerError("bad invitation"), 1, "bayonne: bad invitation\n"), (KeyboardInterrupt(), 130, "stopped\n")],
)
def test_failures_are_one_sentence(
    error: BaseException,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(bayonne, "invoke", fail)
    monkeypatch.setattr(sys, "argv", ["bayonne", "contact"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == status
    assert capsys.readouterr().err.lstrip("\n") == said
    assert entry is main
