"""An event loop whose time jumps to the next timer, so that a minute of a call takes a moment of a test.

Sockets on loopback are real: what was sent is there at once, and time stands still until it was read.
"""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

START = 5000.0
WALL = 1_800_000_000.0


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: where there is nothing to read, the time that it should have waited is over."""

    now = START

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            return super().select(1.0)
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its `time` moves only when nothing else is left to do."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[..., R], *arguments: object
    ) -> asyncio.Future[R]:
        """Here and now: for a thread of its own, virtual time would not wait."""
        future: asyncio.Future[R] = self.create_future()
        try:
            future.set_result(func(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


class LoopClock:
    """A `relay.core.Clock` that goes with a virtual loop."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return WALL + self.monotonic() - START


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an asynchronous test on a virtual loop, and see that it leaves no task behind."""

    @functools.wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        loop = VirtualLoop()
        troubles: list[str] = []
        loop.set_exception_handler(lambda _, context: troubles.append(str(context)))
        try:
            loop.run_until_complete(asyncio.wait_for(test(*arguments, **named), 30 * 86400.0))
            left = [task.get_name() for task in asyncio.all_tasks(loop)]
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0.01))
            loop.close()
        assert not troubles
        assert not left

    return run
