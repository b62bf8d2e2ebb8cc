"""Keeps the configured trunks up: fetches what opens them over the other reflectors' onion services.

Both ends of a trunk fetch each other's descriptor, for the static key; the one with the smaller identity fetches a
trunk ticket as well, and opens the trunk.  Where that fails it is tried again, at growing distances.
"""

import asyncio
from collections.abc import Sequence

from relay.core import BayonneError, Clock, Entropy, RefusedByPolicy, TransportUnavailable, get_logger
from relay.media_reflector import (
    Descriptor,
    ReflectorKeys,
    ReflectorReference,
    fetch_descriptor,
    fetch_trunk_ticket,
)
from relay.media_reflector.forwarding.face import pack_address
from relay.media_reflector.opening import OPENING_EXPIRY
from relay.media_reflector.trunk import Trunks
from relay.wire import OnionDialer

RETRY_FIRST = 2.0
RETRY_MOST = 60.0
"""Seconds before another try: doubled each time."""
LOOK_EVERY = 0.25
KNOWN_FOR = 3600.0
"""Seconds after which the other one's descriptor is fetched again while its trunk is up."""

_SAY_WHY_AFTER = 3
"""Failures in a row after which the log says so: one or two are usual when both start together."""

log = get_logger("trunks")


class TrunkKeeper:
    """One task for each trunk."""

    def __init__(
        self, keys: ReflectorKeys, dialer: OnionDialer, trunks: Trunks, clock: Clock, entropy: Entropy
    ) -> None:
        self._keys = keys
        self._identity = keys.public_identity
        self._dialer = dialer
        self._trunks = trunks
        self._clock = clock
        self._entropy = entropy
        self._ends: dict[ReflectorReference, int] = {}
        self._aimed = asyncio.Event()
        self._versions: Sequence[int] = ()

    def aim(self, ends: Sequence[tuple[ReflectorReference, int]]) -> None:
        """Keep trunks to these reflectors, of so many slots, and to no others."""
        self._ends = dict(ends)
        self._trunks.aim({reference.identity: slots for reference, slots in ends})
        self._aimed.set()

    async def run(self, versions: Sequence[int]) -> None:
        """Keep them up, until cancelled.  `versions` are the IP versions that our cells can use."""
        self._versions = versions
        keepers: dict[ReflectorReference, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                self._aimed.clear()
                for gone in keepers.keys() - self._ends.keys():
                    keepers.pop(gone).cancel()
                for added in self._ends.keys() - keepers.keys():
                    keepers[added] = group.create_task(self._keep(added))
                await self._aimed.wait()

    async def _keep(self, reference: ReflectorReference) -> None:
        pause, failures, known = RETRY_FIRST, 0, False
        while True:
            why = await self._try(reference)
            if await self._is_up(reference, OPENING_EXPIRY if not why else 0.0):
                if not known:
                    log.info("a trunk is up")
                pause, failures = RETRY_FIRST, 0
                known = not await self._is_down(reference, KNOWN_FOR)
                if not known:
                    log.warning("a trunk is down; it is opened again")
                continue
            failures += 1
            if failures == _SAY_WHY_AFTER:
                log.warning("a trunk does not come up", why=why or "no answer to its first message")
            await self._is_up(reference, self._entropy.uniform(0.5, 1.0) * pause)
            pause = min(2 * pause, RETRY_MOST)

    async def _try(self, reference: ReflectorReference) -> str:
        """Know the other end, and begin where that is for us to do.  Why it cannot be, in a few words, or nothing."""
        descriptor: Descriptor | None = None
        try:
            descriptor = await fetch_descriptor(
                self._dialer, reference, isolation=self._isolation(), wall=self._clock.wall()
            )
            self._trunks.know(descriptor.identity, descriptor.static_key)
            if self._identity > descriptor.identity or self._trunks.is_up(descriptor.identity):
                return ""
            address = descriptor.address_for(*self._versions)
            if address is None:
                raise TransportUnavailable("it has no address of the kind that our cells can go to")
            now = self._clock.monotonic()
            ticket = await fetch_trunk_ticket(
                self._dialer,
                descriptor,
                self._keys.identity_key,
                self._entropy,
                isolation=self._isolation(),
                now=now,
            )
            if reference in self._ends:
                self._trunks.begin(
                    descriptor.identity, ticket, pack_address(*address), self._clock.monotonic()
                )
        except RefusedByPolicy:
            if descriptor is None:
                # That is for everybody: only who has no time for anybody keeps it back.
                return "too many ask it at once"
            # It gives no reason; this is the one that somebody can do something about.
            return "refused; does its operator list this reflector?"
        except (BayonneError, OSError) as error:
            return str(error) if isinstance(error, BayonneError) else "the connection broke"
        return ""

    async def _is_up(self, reference: ReflectorReference, seconds: float) -> bool:
        """Whether it is up, or comes up within that time."""
        return await self._turns(reference, seconds, up=True)

    async def _is_down(self, reference: ReflectorReference, seconds: float) -> bool:
        return await self._turns(reference, seconds, up=False)

    async def _turns(self, reference: ReflectorReference, seconds: float, *, up: bool) -> bool:
        until = self._clock.monotonic() + seconds
        while self._trunks.is_up(reference.identity) is not up:
            if self._clock.monotonic() >= until:
                return False
            await asyncio.sleep(LOOK_EVERY)
        return True

    def _isolation(self) -> str:
        return self._entropy.token(8).hex()
