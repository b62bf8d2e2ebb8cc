"""The watch over the log sees what it is there for."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from relay.core import get_logger
from tests.conftest import PROJECT, leaks

ONION = "abcdefgh" * 7


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from 198.51.100.7:5060", ["an address"]),
        ("from [2001:db8::7]:5060", ["an address"]),
        (f"to {ONION}.onion", ["an onion name"]),
        (f"service={ONION}", ["an onion name"]),
        ("From: <sip:alice@example.org>", ["a SIP URI"]),
        ("SIPS:bob", ["a SIP URI"]),
        (f"198.51.100.7 sip:{ONION}", ["an address", "an onion name", "a SIP URI"]),
        ("tor 0.4.9.11 at 127.0.2.1:9001, ::1 and 02:33:49; relay::core; gossip: no", []),
    ],
)
def test_what_a_log_must_not_hold(text: str, found: list[str]) -> None:
    assert leaks(text) == found


def test_a_test_whose_log_tells_fails_and_another_passes(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import _log_holds_no_address\n")
    (tmp_path / "test_it.py").write_text(
        "import logging\n"
        "from relay.core import get_logger\n"
        "def test_ours(): get_logger('x').info('hello', peer='198.51.100.7')\n"
        "def test_theirs(): logging.getLogger('x').warning('hello %s', '198.51.100.7')\n"
        "def test_clean(): get_logger('x').info('hello', peers=3)\n"
    )
    arguments = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        "--rootdir",
        str(tmp_path),
    ]
    done = subprocess.run(
        [sys.executable, *arguments, str(tmp_path)], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert "3 passed, 2 errors" in done.stdout
    assert "a log line of this test holds an address" in done.stdout


def test_harmless_lines_pass() -> None:
    get_logger("tor").info("ready", peers=3)
    logging.getLogger("other").warning("bound to 127.0.0.1")
