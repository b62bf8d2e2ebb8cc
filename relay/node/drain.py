"""Ending a reflector without ending calls: no new lines, then a wait, then the end.

The wish comes by SIGUSR1 or over a socket in the state directory (`bayonne reflector --drain`), which tells how far it
is.  Must never tell how many calls there are, nor let the moment of the end be the moment at which the last call ended.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from relay.core import Clock, Entropy

SOCKET_FILE = "control.sock"
WISH = b"drain\n"
CALLS_ROUNDED = 10

END_SOONEST = 20.0
END_LATEST = 60.0
"""Seconds between the last call's end and ours, drawn at random.  All lines end with us, at one moment that the network
sees, and it must not be that of a hang-up; they go on as those of a reflector that died, and none moves before (ADR 6).
What is told of the calls is as old as that: a figure that fell at once would tell when somebody hung up."""

_LOOK_EVERY = 0.25
_TELL_EVERY = 1.0
_WISH_TIMEOUT = 5.0


class Drainable(Protocol):
    """What is drained; `relay.media_reflector.Reflector` is one."""

    def drain(self) -> None:
        """Refuse new lines, and tell those that are there."""
        ...

    @property
    def drained(self) -> bool:
        """Whether no call is on any more, nor being made."""
        ...


class Drain:
    """One drain of one reflector.  `calls` counts crossings, `lines` lines of any kind."""

    def __init__(
        self,
        reflector: Drainable,
        calls: Callable[[], int],
        lines: Callable[[], int],
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._reflector = reflector
        self._calls = calls
        self._lines = lines
        self._clock = clock
        self._entropy = entropy
        self._wished = asyncio.Event()
        self._cut_off = False
        self._finished = False
        self._told_calls = 0
        self._tell_anew_at = 0.0

    @property
    def begun(self) -> bool:
        return self._wished.is_set()

    def begin(self) -> None:
        """From now on no new lines.  May be called again."""
        if not self._wished.is_set():
            self._reflector.drain()
            self._look(self._clock.monotonic())
            self._wished.set()

    async def wished(self) -> None:
        """Return once the wish is there."""
        await self._wished.wait()

    async def finish(self, limit: Callable[[], float]) -> None:
        """Return when the reflector may end; calls are waited for no longer than `limit` seconds, which may change
        meanwhile."""
        await self._wished.wait()
        begun = self._clock.monotonic()
        while not self._finished:
            while not self._reflector.drained:
                if self._clock.monotonic() - begun >= limit():
                    self._cut_off = True
                    return
                await asyncio.sleep(_LOOK_EVERY)
            if self._lines():
                # Drawn whether or not a call was up when the wish came: its length must not tell that either.
                await asyncio.sleep(self._entropy.uniform(END_SOONEST, END_LATEST))
            # A call that is on after all is finished too, or said to be cut off.
            self._finished = self._reflector.drained

    def progress(self) -> dict[str, object]:
        """How far it is, for whoever asked, as often as they like: calls rounded down to tens, as they were some time
        ago; `finished` when `finish` returned, and not when the last call did."""
        now = self._clock.monotonic()
        if now >= self._tell_anew_at:
            self._look(now)
        return {"event": "draining", "calls": self._told_calls, "finished": self._finished}

    def _look(self, now: float) -> None:
        calls = self._calls()
        self._told_calls = calls - calls % CALLS_ROUNDED
        self._tell_anew_at = now + self._entropy.uniform(END_SOONEST, END_LATEST)

    def result(self) -> dict[str, object]:
        """The last word, when `finish` has returned."""
        return {"event": "drained", "calls_cut_off": self._cut_off}


class DrainDesk:
    """The socket at which the wish is taken; only this user (and root) can reach it."""

    def __init__(self, directory: Path, drain: Drain) -> None:
        self._directory = directory
        self._drain = drain
        self._server: asyncio.Server | None = None
        self._opened = contextlib.ExitStack()
        self._visits: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()

    async def open(self) -> None:
        """Listen; a socket that a crash left behind is replaced.  The caller holds the claim on the directory."""
        (self._directory / SOCKET_FILE).unlink(missing_ok=True)
        path = self._opened.enter_context(short_path(self._directory))
        self._server = await asyncio.start_unix_server(self._serve, path)
        path.chmod(0o600)

    async def close(self, *, drained: bool) -> None:
        """Tell who waits how it ended, and listen no more."""
        if self._server is None:
            return
        if drained:
            self._ended.set()
            if self._visits:
                await asyncio.wait([*self._visits], timeout=_TELL_EVERY)
        self._server.close()
        for visit in tuple(self._visits):
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)
        (self._directory / SOCKET_FILE).unlink(missing_ok=True)
        self._opened.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = asyncio.current_task()
        assert visit is not None
        self._visits.add(visit)
        try:
            async with asyncio.timeout(_WISH_TIMEOUT):
                wish = await reader.readline()
            if wish != WISH:
                return
            self._drain.begin()
            while not self._ended.is_set():
                await _tell(writer, self._drain.progress())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_TELL_EVERY):
                        await self._ended.wait()
            await _tell(writer, self._drain.result())
        except (OSError, TimeoutError, ValueError):
            pass  # Gone, or no command of ours; a drain that has begun goes on.
        except asyncio.CancelledError:
            pass  # Only `close` cancels; the stream machinery would report it as a failure.
        finally:
            self._visits.discard(visit)
            writer.close()


async def _tell(writer: asyncio.StreamWriter, event: dict[str, object]) -> None:
    writer.write(json.dumps(event).encode() + b"\n")
    await writer.drain()


@contextlib.contextmanager
def short_path(directory: Path) -> Iterator[Path]:
    """A name of the socket in `directory` that fits into a socket address, however deep the directory lies."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{descriptor}/{SOCKET_FILE}")
    finally:
        os.close(descriptor)
