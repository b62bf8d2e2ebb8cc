"""The other end of a drain: `bayonne reflector --drain` asks the running reflector, and waits until it is gone."""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from relay.core import ConfigurationError, MisuseError, PeerError, TransportUnavailable
from relay.node.claim import claimed
from relay.node.drain import WISH, short_path

GONE_WITHIN = 30.0
"""Seconds for the process to let go of its state directory after its last word; its tor has to end, too."""

_LOOK_EVERY = 0.1

Tell = Callable[[Mapping[str, object]], None]


async def ask_to_drain(directory: Path, tell: Tell, timeout: float | None = None) -> bool:
    """Have the reflector that runs on `directory` finish its calls and end; `tell` hears how far it is.

    False when `timeout` seconds passed first: the drain goes on then.  Raises `TransportUnavailable` when none runs
    there, or it was ended before its calls were, and `MisuseError` when this user may not ask.
    """
    try:
        async with asyncio.timeout(timeout):
            tell(await _wait_drained(directory, tell))
            await _wait_gone(directory)
    except TimeoutError:
        return False
    return True


async def _wait_drained(directory: Path, tell: Tell) -> Mapping[str, object]:
    reader, writer = await _connect(directory)
    try:
        writer.write(WISH)
        await writer.drain()
        while True:
            event = _parse(await reader.readline())
            if event["event"] == "drained":
                return event
            tell(event)
    except (ConnectionError, ValueError):
        raise PeerError("no answer of a reflector") from None
    finally:
        writer.close()


async def _connect(directory: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        with short_path(directory) as path:
            return await asyncio.open_unix_connection(path)
    except PermissionError:
        raise MisuseError(
            "state_directory: not yours to enter; ask as the reflector's own user, or as root"
        ) from None
    except OSError:
        raise TransportUnavailable(
            "no reflector is running on this state directory; there is nothing to drain"
        ) from None


def _parse(line: bytes) -> Mapping[str, object]:
    if not line:
        raise TransportUnavailable("the reflector was ended before its calls were finished")
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        raise PeerError("no answer of a reflector") from None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        raise PeerError("no answer of a reflector")
    return event


async def _wait_gone(directory: Path) -> None:
    """Until the next one can start; a manager's own time-out ends one that hangs."""
    for _ in range(int(GONE_WITHIN / _LOOK_EVERY)):
        try:
            with claimed(directory):
                return
        except ConfigurationError:
            await asyncio.sleep(_LOOK_EVERY)
    raise TransportUnavailable("the reflector finished its calls and has not ended; end it with SIGTERM")
