"""The agent's end of records: putting its own out, finding its contacts' (DESIGN.md section 5).

Every request has a circuit of its own, never one that rings or listens.  A contact point is asked for a
prefix, as short as it can do with, never for a key.
"""

import asyncio
from collections.abc import Sequence

from relay.core import Entropy, PeerError, TransportUnavailable
from relay.forward_publish import ANSWER_SIZE, Bucket, RecordRequest, RequestKind, StoredRecord
from relay.forward_publish.buckets import (
    MOST_PREFIX_BITS,
    PUT_ANSWER_SIZE,
    parse_put_answer,
    prefix_of,
)
from relay.wire import OnionDialer, exchange

RECORD_PORT = 7221


class Directory:
    """Reads and writes records at contact points."""

    def __init__(self, dialer: OnionDialer, entropy: Entropy, *, timeout: float = 60.0) -> None:
        self._dialer = dialer
        self._entropy = entropy
        self._timeout = timeout

    async def put(self, onion: str, record: StoredRecord) -> bool:
        """Leave `record` there.  False where a newer one is there already, or no room.

        Raises `TransportUnavailable`, also where the contact point talks nonsense.
        """
        answer = await self._ask(onion, RecordRequest(RequestKind.PUT, record=record), PUT_ANSWER_SIZE)
        try:
            return parse_put_answer(answer)
        except PeerError:
            raise _nonsense() from None

    async def fetch(self, onion: str, key: bytes) -> list[StoredRecord]:
        """The records under `key`: one, or none.  Raises `TransportUnavailable`."""
        return await self.fetch_any(onion, [key])

    async def fetch_any(self, onion: str, keys: Sequence[bytes]) -> list[StoredRecord]:
        """The records under any of `keys` (one contact's periods), highest revision first.

        Their signatures are good.  Keys that share a prefix share a request; others go by circuits of their
        own.  Raises `TransportUnavailable`.
        """
        found: dict[bytes, StoredRecord] = {}
        wanted = list(dict.fromkeys(keys))
        for bits in range(MOST_PREFIX_BITS + 1):
            incomplete: list[bytes] = []
            for prefix in dict.fromkeys(prefix_of(key, bits) for key in wanted):
                bucket = await self._bucket(onion, bits, prefix)
                sharing = [key for key in wanted if prefix_of(key, bits) == prefix]
                found.update({record.key: record for record in bucket.records if record.key in sharing})
                if not bucket.complete:
                    incomplete += [key for key in sharing if key not in found]
            wanted = incomplete
            if not wanted:
                break
        return sorted(found.values(), key=lambda record: record.revision, reverse=True)

    async def _bucket(self, onion: str, bits: int, prefix: int) -> Bucket:
        answer = await self._ask(onion, RecordRequest(RequestKind.FETCH, bits, prefix), ANSWER_SIZE)
        try:
            # Up to 64 signatures are checked: not where cells are sealed, or whoever served the bucket could see it.
            return await asyncio.to_thread(Bucket.parse, answer)
        except PeerError:
            raise _nonsense() from None

    async def _ask(self, onion: str, request: RecordRequest, limit: int) -> bytes:
        isolation = f"records-{self._entropy.token(16).hex()}"
        try:
            return await exchange(
                self._dialer,
                onion,
                RECORD_PORT,
                request.to_bytes(),
                isolation=isolation,
                limit=limit,
                timeout=self._timeout,
            )
        except (PeerError, OSError):
            raise _nonsense() from None


def _nonsense() -> TransportUnavailable:
    return TransportUnavailable("the contact point gave no usable answer; try another one")
