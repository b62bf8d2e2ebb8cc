"""A key of ours at the backup reflector, left anew every half hour: what opens its lines to those who lose ours.

Tickets are made here and handed to our lines in their cells; the other reflector opens them with the key, and hears
nothing of who holds one.
"""

import asyncio
import contextlib

from relay.core import BayonneError, Clock, Entropy, RefusedByPolicy, get_logger
from relay.media_reflector import (
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
        self._aimed = asyncio.Event()

    @property
    def identity(self) -> bytes:
        """Of the backup reflector; empty where none is set."""
        return b"" if self._reference is None else self._reference.identity

    def ticket(self, now: float) -> Ticket | None:
        """A ticket for one line there, or None while that reflector holds no key of ours."""
        return None if self._mint is None else self._mint.ticket(now)

    def aim(self, reference: ReflectorReference | None) -> None:
        """Use this reflector from now on, or none."""
        if reference != self._reference:
            self._reference, self._mint = reference, None
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
        key, before = self._entropy.token(_KEY_SIZE), self._clock.monotonic()
        try:
            descriptor = await fetch_descriptor(
                self._dialer, reference, isolation=self._isolation(), wall=self._clock.wall()
            )
            await leave_backup_key(
                self._dialer, descriptor, self._keys.identity_key, key, isolation=self._isolation()
            )
        except RefusedByPolicy:
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
        return True

    def _isolation(self) -> str:
        return self._entropy.token(8).hex()
