"""A key of ours at the backup reflector, left anew every half hour: what opens its lines to those who lose ours.

Tickets are made here and handed to our lines in their cells; the other reflector opens them with the key, and hears
nothing of who holds one.

The other reflector holds our newest two keys.  Tickets are made under a key once it was confirmed there; until then the
same key is left again and again, because a fresh one for each answer that was lost would push out the one that is in
use.
"""

import asyncio
import contextlib

from relay.core import BayonneError, Clock, Entropy, RefusedByPolicy, get_logger
from relay.media_reflector import (
    Descriptor,
    ReflectorKeys,
    ReflectorReference,
    Ticket,
    fetch_descriptor,
)
from relay.media_reflector.fetch import leave_backup_key
from relay.media_reflector.resumption import BackupMint
from relay.wire import OnionDialer

LEAVE_EVERY = 1800.0
"""Seconds.  The other reflector holds the newest two, so that tickets outlive the next one by as long."""
RETRY_FIRST = 5.0
RETRY_MOST = 300.0
"""Seconds before another try: doubled each time."""

_KEY_SIZE = 32

log = get_logger("backup")


class BackupKeeper:
    """Tickets for the backup reflector, where one is set and holds a key of ours (a `BackupSource`)."""

    def __init__(self, keys: ReflectorKeys, dialer: OnionDialer, clock: Clock, entropy: Entropy) -> None:
        self._keys = keys
        self._dialer = dialer
        self._clock = clock
        self._entropy = entropy
        self._reference: ReflectorReference | None = None
        self._mint: BackupMint | None = None
        self._unconfirmed: tuple[bytes, float] | None = None
        """A key that may have got there, and when it was sent first: it lives there from then on."""
        self._aimed = asyncio.Event()

    @property
    def identity(self) -> bytes:
        """Of the backup reflector; empty where none is set."""
        return b"" if self._reference is None else self._reference.identity

    def ticket(self, now: float, again: bytes = b"") -> Ticket | None:
        """A ticket for one line there, that of the number `again` where it is of the present key; None while that
        reflector holds no key of ours."""
        return None if self._mint is None else self._mint.ticket(now, again)

    def aim(self, reference: ReflectorReference | None) -> None:
        """Use this reflector from now on, or none."""
        if reference != self._reference:
            self._reference, self._mint, self._unconfirmed = reference, None, None
            self._aimed.set()

    async def run(self) -> None:
        """Keep a key there, until cancelled."""
        pause = RETRY_FIRST
        while True:
            self._aimed.clear()
            wait: float | None = None
            if self._reference is not None:
                if await self._leave(self._reference):
                    wait, pause = LEAVE_EVERY, RETRY_FIRST
                else:
                    wait, pause = pause, min(2 * pause, RETRY_MOST)
                wait *= self._entropy.uniform(0.8, 1.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._aimed.wait()
                pause = RETRY_FIRST

    async def _leave(self, reference: ReflectorReference) -> bool:
        """One try."""
        descriptor: Descriptor | None = None
        try:
            descriptor = await fetch_descriptor(
                self._dialer, reference, isolation=self._isolation(), wall=self._clock.wall()
            )
            if reference != self._reference:
                return False
            key, before = self._next_key(self._clock.monotonic())
            await leave_backup_key(
                self._dialer, descriptor, self._keys.identity_key, key, isolation=self._isolation()
            )
        except RefusedByPolicy:
            if descriptor is None:
                # That is for everybody: only who has no time for anybody keeps it back.
                log.info("no key could be left at the backup reflector", why="too many ask it at once")
                return False
            # It gives no reason; this is the one that somebody can do something about.
            log.warning(
                "the backup reflector takes no key; does its operator name this reflector in 'peers'?"
            )
            return False
        except (BayonneError, OSError) as error:
            why = str(error) if isinstance(error, BayonneError) else "the connection broke"
            log.info("no key could be left at the backup reflector", why=why)
            return False
        if reference == self._reference:
            self._mint = BackupMint(key, reference.identity, self._entropy, before)
            self._unconfirmed = None
        return True

    def _next_key(self, now: float) -> tuple[bytes, float]:
        """The key to leave and when it was sent first.  One that was never confirmed gives way to a fresh one when it
        is old, and none that is in use is pushed out by that."""
        if self._unconfirmed is not None:
            in_use = self._mint is not None and now < self._mint.expires
            if in_use or now - self._unconfirmed[1] < LEAVE_EVERY:
                return self._unconfirmed
        self._unconfirmed = self._entropy.token(_KEY_SIZE), now
        return self._unconfirmed

    def _isolation(self) -> str:
        return self._entropy.token(8).hex()
