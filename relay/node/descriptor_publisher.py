"""Leaves a reflector's descriptor at contact points, over its own Tor, each time on a circuit of its own.

At two of the contact points that its operator names, drawn by lot each time, so that one that only pretends to keep it
does not keep it from everybody; they hand it on to the others.  When is decided in `relay.node.descriptor_times`.
Nothing that names a contact point is logged.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from functools import partial

from relay.core import BayonneError, Clock, Entropy, get_logger
from relay.forward_publish import PUT_ANSWER_SIZE, Entry, Put, grind, put_entry
from relay.media_reflector.descriptor_entry import DescriptorEntry
from relay.media_reflector.series import DescriptorSeries
from relay.node.descriptor_times import DescriptorTimes
from relay.node.peer_stream import RECORD_PORT
from relay.wire import OnionDialer, exchange

COPIES = 2
"""Contact points at which the descriptor is left each time."""
OVERTAKING = (1, 8, 64)
"""Seconds by which a descriptor is dated later, where a contact point has a later one of ours; then it is given up."""
TIMEOUT = 60.0
LOOK_EVERY = 1.0
STEP_PAUSE = 0.002
"""Seconds between two steps of the work, a fifth of a millisecond each: it shares a processor with cells."""

log = get_logger("descriptors")


class DescriptorPublisher:
    """Keeps what the reflector says of itself at contact points, where any are named.

    `signed` gives the signed descriptor as it is now, of the `series`, or None while there is none.
    """

    def __init__(
        self,
        signed: Callable[[], bytes | None],
        series: DescriptorSeries,
        dialer: OnionDialer,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._signed = signed
        self._series = series
        self._dialer = dialer
        self._clock = clock
        self._entropy = entropy
        self._points: tuple[str, ...] = ()
        self._times = DescriptorTimes(entropy)
        self._went_out = asyncio.Event()

    def aim(self, points: Sequence[str]) -> None:
        """Publish at these contact points from now on, or at none."""
        if set(points) != set(self._points):
            self._points = tuple(points)
            self._times.elsewhere()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if self._points and (entry := self._entry()) is not None:
                now = self._clock.monotonic()
                self._times.look(entry.descriptor, now)
                if self._times.due(now):
                    await self._publish(entry)
            await asyncio.sleep(LOOK_EVERY)

    async def wait_out(self) -> None:
        """Return once contact points have what the descriptor says now, or at once where none is named."""
        while (
            self._points and (entry := self._entry()) is not None and not self._times.is_out(entry.descriptor)
        ):
            self._went_out.clear()
            await self._went_out.wait()

    def _entry(self) -> DescriptorEntry | None:
        signed = self._signed()
        return None if signed is None else DescriptorEntry.of(signed)

    async def _publish(self, entry: DescriptorEntry) -> None:
        points, copies = self._points, 0
        for onion in self._entropy.draw(points):
            if copies == COPIES or points != self._points:
                break
            taken = await self._put(onion, entry)
            if taken is not None:
                entry, copies = taken, copies + 1
        if points != self._points:
            return
        if not copies:
            self._times.failed(self._clock.monotonic())
            return
        self._times.done(entry.descriptor, self._clock.monotonic())
        self._went_out.set()

    async def _put(self, onion: str, entry: DescriptorEntry) -> DescriptorEntry | None:
        """What was left there, `entry` or what overtakes it; None where nothing was."""
        try:
            for step in OVERTAKING:
                if await put_entry(entry, partial(self._ask, onion), find_work):
                    return entry
                # From before a restart that forgot its date, or a lie, which gains nothing but these few tries.
                self._series.overtake(step)
                overtaking = self._entry()
                if overtaking is None:
                    return None
                entry = overtaking
            log.info("a contact point has a later descriptor of ours, it says")
        except (BayonneError, OSError) as error:
            why = str(error) if isinstance(error, BayonneError) else "the connection broke"
            log.info("the descriptor was not left at a contact point", why=why)
        return None

    async def _ask(self, onion: str, request: Put) -> bytes:
        return await exchange(
            self._dialer,
            onion,
            RECORD_PORT,
            request.to_bytes(),
            isolation=f"descriptor-{self._entropy.token(16).hex()}",
            limit=PUT_ANSWER_SIZE,
            timeout=TIMEOUT,
        )


async def find_work(entry: Entry, bits: int) -> bytes:
    """The proof of work for `entry`, off the event loop, in steps so small that cells do not notice."""
    stop = threading.Event()
    try:
        return await asyncio.to_thread(_grind, entry, bits, stop)
    finally:
        stop.set()


def _grind(entry: Entry, bits: int, stop: threading.Event) -> bytes:
    """Ends early, with no work, once nobody waits for it."""
    for found in grind(entry, bits):
        if found is not None:
            return found
        if stop.wait(STEP_PAUSE):
            break
    return b""
