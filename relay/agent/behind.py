"""What waits for a disk, done beside the event loop: one thing at a time, in its order.

While a call is on, the loop seals a cell every tick, 10 ms ahead of its departure, and a write that is to outlast a
crash takes longer than that.  Two agents whose call comes to keys write at the same moment: both their lines would be
late then, and whoever watches both would know that they belong together.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

from relay.core import BayonneError, get_logger

_T = TypeVar("_T")

_log = get_logger("behind")


class Later(Protocol):
    """Whoever has something to write takes one of these and need not know which."""

    def do(
        self, work: Callable[[], _T], then: Callable[[_T], None], failed: Callable[[BayonneError], None]
    ) -> None:
        """Have `work` done; what it returns or raises goes to `then` or `failed`.

        `work` may run in another thread, and shares nothing with its caller that either changes meanwhile; the other
        two run where the caller does.
        """
        ...

    @property
    def busy(self) -> bool:
        """Whether something is not done yet."""
        ...

    async def done(self) -> None:
        """Return once everything asked for until now is done."""
        ...


class AtOnce:
    """Before it returns: for commands, which have nothing else to do."""

    def do(
        self, work: Callable[[], _T], then: Callable[[_T], None], failed: Callable[[BayonneError], None]
    ) -> None:
        try:
            made = work()
        except BayonneError as error:
            failed(error)
        else:
            then(made)

    @property
    def busy(self) -> bool:
        return False

    async def done(self) -> None:
        """It is."""


class Behind:
    """In a thread of its own, one work after the other; of one event loop."""

    def __init__(self) -> None:
        # Not the loop's threads: GnuPG may wait in each of those for a passphrase.
        self._thread = ThreadPoolExecutor(1, "behind")
        self._waiting: deque[Callable[[], Callable[[], None]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    def do(
        self, work: Callable[[], _T], then: Callable[[_T], None], failed: Callable[[BayonneError], None]
    ) -> None:
        """See `Later`."""
        self._waiting.append(partial(_outcome, work, then, failed))
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())

    @property
    def busy(self) -> bool:
        return self._worker is not None

    async def done(self) -> None:
        """See `Later`.  Whoever is cancelled here cancels nothing of it."""
        while (worker := self._worker) is not None:
            await asyncio.wait((worker,))

    async def close(self, within: float) -> None:
        """As `done`, for so many seconds: a disk that hangs keeps nobody from locking a vault.  What still waits then
        is not done."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self.done()
        if self._worker is not None:
            self._waiting.clear()
            _log.error("the disk did not answer; what was not written down is lost")

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                try:
                    (await loop.run_in_executor(self._thread, self._waiting.popleft()))()
                except Exception as error:
                    # A fault of ours: what waits behind it is done all the same.
                    _log.error("something was not written down", kind=type(error).__name__)
        finally:
            self._worker = None


def _outcome(
    work: Callable[[], _T], then: Callable[[_T], None], failed: Callable[[BayonneError], None]
) -> Callable[[], None]:
    """Do it; returns whom to tell."""
    try:
        return partial(then, work())
    except BayonneError as error:
        return partial(failed, error)
