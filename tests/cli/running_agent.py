"""The door of an agent that runs beside a command, in a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from relay.agent.control import ControlServer, Handler


@contextlib.contextmanager
def answering(directory: Path, handlers: Mapping[str, Handler]) -> Iterator[None]:
    """As long as the block lasts."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    task = loop.create_task(ControlServer(directory, handlers).run())

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.call_later(0.02, ready.set)
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert ready.wait(10)
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
        loop.close()
