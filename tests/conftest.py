"""For every test: a private Tor network on demand, and a log that holds nobody's address."""

import ipaddress
import json
import logging
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog

from relay.core import Child, spawn

# How long a test takes says what else the machine does; benches are for speed.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

PROJECT = Path(__file__).resolve().parent.parent

_NETWORK_SECONDS = 60.0

_IPV4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)")
_IPV6 = re.compile(r"(?<![\w:])[0-9a-fA-F:]*:[0-9a-fA-F:]*:[0-9a-fA-F:]*(?![\w:])")
_ONION = re.compile(r"(?<![A-Za-z0-9])[a-z2-7]{56}(?![A-Za-z0-9])")
_URI = re.compile(r"\bsips?:[^\s\"'<>]*", re.IGNORECASE)

_ABOUT_REDACTION = ("test_logs.py",)
"""Tests that log such things on purpose, to see them taken out further down."""


def leaks(text: str) -> list[str]:
    """The addresses other than loopback's, onion names and SIP URIs in `text`, by kind and never by value."""
    found = []
    # Versions (0.4.9.11) look like addresses of a network that does not exist.
    addresses = [match for match in _IPV4.findall(text) if not match.startswith(("127.", "0."))]
    if addresses or any(_is_foreign_ipv6(match) for match in _IPV6.findall(text)):
        found.append("an address")
    if _ONION.search(text):
        found.append("an onion name")
    if _URI.search(text):
        found.append("a SIP URI")
    return found


def _is_foreign_ipv6(text: str) -> bool:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)


@pytest.fixture(autouse=True)
def _log_holds_no_address(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test whose log tells who, where or with whom, whatever way the line took."""
    lines: list[str] = []
    configured = structlog.get_config() if structlog.is_configured() else None
    # Whoever configures logging in a test replaces handlers and processors: so stand where every line passes.
    with pytest.MonkeyPatch.context() as patch:
        _listen_to_structlog(patch, lines)
        _listen_to_logging(patch, lines)
        yield
    # The next test, whichever that is, logs as if this one had not been.
    structlog.reset_defaults()
    if configured is not None:
        structlog.configure(**configured)
    if request.path.name not in _ABOUT_REDACTION:
        found = sorted({leak for line in lines for leak in leaks(line)})
        assert not found, f"a log line of this test holds {' and '.join(found)}"


def _listen_to_structlog(patch: pytest.MonkeyPatch, lines: list[str]) -> None:
    original = structlog.PrintLogger.msg

    def listening(logger: structlog.PrintLogger, message: str) -> None:
        lines.append(str(message))
        original(logger, message)

    for name, method in list(vars(structlog.PrintLogger).items()):
        if method is original:
            patch.setattr(structlog.PrintLogger, name, listening)


def _listen_to_logging(patch: pytest.MonkeyPatch, lines: list[str]) -> None:
    original = logging.Logger.callHandlers
    formatter = logging.Formatter()

    def listening(logger: logging.Logger, record: logging.LogRecord) -> Any:
        lines.append(formatter.format(record))
        return original(logger, record)

    patch.setattr(logging.Logger, "callHandlers", listening)


@pytest.fixture(scope="session")
def private_network() -> Iterator[Path]:
    """The directory of a private Tor network that is up: for `TorSettings.network_directory`."""
    # Not pytest's own directories: their paths are too long for a unix socket.
    place = Path(tempfile.mkdtemp(prefix="bvr-"))
    directory = place / "net"
    arguments = ["testnet", "up", "--json", "--no-check", "--directory", str(directory)]
    with (place / "stdout").open("wb") as output, (place / "stderr").open("wb") as errors:
        child = spawn(
            [sys.executable, "-m", "relay.cli", *arguments], directory=PROJECT, stdout=output, stderr=errors
        )
    try:
        _wait_ready(child, place)
        yield directory
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(20)
        finally:
            child.kill()
            shutil.rmtree(place, ignore_errors=True)


def _wait_ready(child: Child, place: Path) -> None:
    deadline = time.monotonic() + _NETWORK_SECONDS
    while not any(_event(line) == "ready" for line in (place / "stdout").read_text().splitlines()):
        if child.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the private Tor network does not come up: {(place / 'stderr').read_text()}")
        time.sleep(0.1)


def _event(line: str) -> str:
    try:
        return str(json.loads(line)["event"])
    except (ValueError, KeyError):
        return ""
