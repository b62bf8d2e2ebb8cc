"""Every log line of the process is redacted, also those of other libraries, also tracebacks."""

import errno
import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from relay.core import configure_logging, get_logger

ADDRESS = "198.51.100.7"
ONION = "b" * 56


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("as_json", [False, True])
def test_our_own_lines_are_redacted(as_json: bool) -> None:
    stream = io.StringIO()
    configure_logging(json=as_json, stream=stream)
    get_logger("reflector").info(f"from {ADDRESS}", onion=f"{ONION}.onion", peers=[ADDRESS], count=3)
    written = stream.getvalue()
    assert ADDRESS not in written
    assert ONION not in written
    assert "reflector" in written
    if as_json:
        assert json.loads(written)["count"] == 3


def test_a_traceback_is_redacted() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    try:
        raise RuntimeError(f"connection to {ONION}.onion from {ADDRESS}")
    except RuntimeError:
        get_logger("agent").exception("failed")
        logging.getLogger("some.library").exception("failed as well")
    written = stream.getvalue()
    assert "RuntimeError" in written
    assert ADDRESS not in written
    assert ONION not in written


def test_nested_values_are_redacted() -> None:
    stream = io.StringIO()
    configure_logging(json=True, stream=stream)
    get_logger("agent").info("event", inner={"peer": (ADDRESS, 5060)}, data=ONION.encode())
    assert ADDRESS not in stream.getvalue()
    assert ONION not in stream.getvalue()


def test_other_libraries_lines_are_redacted() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    logging.getLogger("some.library").warning("control connection to %s", f"{ONION}.onion:{ADDRESS}")
    assert "[name]" in stream.getvalue() or "[address]" in stream.getvalue()
    assert ADDRESS not in stream.getvalue()


class Full(io.StringIO):
    """On a disk that has no room; or nobody reads any more."""

    def __init__(self, error: OSError, at: str) -> None:
        super().__init__()
        self.error: OSError | None = error
        self.at = at

    def write(self, text: str) -> int:
        if self.at == "write" and self.error is not None:
            raise self.error
        return super().write(text)

    def flush(self) -> None:
        if self.at == "flush" and self.error is not None:
            raise self.error


@pytest.mark.parametrize("at", ["write", "flush"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), BrokenPipeError()], ids=["full", "gone"])
def test_a_log_that_cannot_be_written_ends_nothing(
    error: OSError, at: str, capfd: pytest.CaptureFixture[str]
) -> None:
    stream = Full(error, at)
    configure_logging(stream=stream)
    get_logger("reflector").warning("tor is lost")
    logging.getLogger("some.library").warning("so it is")
    assert capfd.readouterr().err == ""
    stream.error = None
    get_logger("reflector").warning("there is room again")
    assert "room again" in stream.getvalue()


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    configure_logging(level="warning", stream=stream)
    get_logger("agent").info("quiet")
    assert stream.getvalue() == ""
