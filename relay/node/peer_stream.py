"""A pull's questions as they travel: requests and answers on one stream, and the same questions to our own store."""

import asyncio

from relay.contact_cache import (
    Ask,
    AskDigests,
    AskPeers,
    AskSummary,
    AskWanted,
    Puller,
    SqlEntryStore,
    Summary,
)
from relay.core import PeerError, TransportUnavailable
from relay.forward_publish import (
    ANSWER_SIZE,
    PAGE_OF_SUMMARIES,
    Digests,
    EntryKind,
    Peers,
    Want,
    key_range,
    parse_digests,
    parse_peers,
    parse_slots,
    parse_summary,
)
from relay.forward_publish import Summary as SummaryRequest
from relay.wire import OnionDialer, frame, read_frame

RECORD_PORT = 7221
ANSWER_SECONDS = 60.0
"""For one answer of 256 KiB; the first one has as long again for the circuit."""

REQUESTS_PER_STREAM = 128
"""After so many a fresh stream is opened; a contact point takes 256 on one."""


MOST_OF_OURS = 16 * PAGE_OF_SUMMARIES
"""Summaries of ours that are compared with one page.  A part has no more than a page of them, but where somebody has
made keys that begin alike; what is beyond is fetched in vain at worst."""


class PeerSilent(TransportUnavailable):
    """The peer is out of reach or stopped answering; our own store may be unavailable as well, and is not this."""


class PeerStream:
    """Streams to one contact point, one after the other, all on one circuit that nothing else uses."""

    def __init__(self, dialer: OnionDialer, onion: str, own: str, isolation: str) -> None:
        self._dialer = dialer
        self._onion = onion
        self._own = own
        self._isolation = isolation
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._requests = 0

    async def put(self, puller: Puller, ask: Ask, store: SqlEntryStore, wall: float) -> None:
        """Ask the peer and our own store, and hand both answers over.

        Raises `PeerError` where the answer's form is wrong, `PeerSilent` where there is none, `TransportUnavailable`
        where our own store fails.
        """
        match ask:
            case AskPeers():
                asked = Peers(self._own)
                puller.take_peers(parse_peers(await self._exchange(asked.to_bytes()), asked))
            case AskDigests():
                digests = Digests(EntryKind(ask.kind))
                theirs = parse_digests(await self._exchange(digests.to_bytes()), digests)
                puller.take_digests(ask, theirs, store.digests(ask.kind))
            case AskSummary():
                summary = SummaryRequest(EntryKind(ask.kind), ask.bits, ask.prefix, ask.page)
                rows = parse_summary(await self._exchange(summary.to_bytes()), summary)
                first, last = key_range(ask.bits, ask.prefix)
                mine = await store.summaries(ask.kind, first, last, limit=MOST_OF_OURS)
                puller.take_summary(ask, [Summary(*row) for row in rows], mine)
            case AskWanted():
                want = Want(EntryKind(ask.kind), ask.keys)
                _, slots = parse_slots(await self._exchange(want.to_bytes()), want)
                puller.take_wanted(ask, slots, wall)

    def close(self) -> None:
        if self._stream is not None:
            self._stream[1].close()
            self._stream = None

    async def _exchange(self, request: bytes) -> bytes:
        if self._stream is not None and 0 < self._requests < REQUESTS_PER_STREAM:
            try:
                return await self._once(request)
            except PeerError as error:
                # A stream that ends is what a limit of the peer's, or a restart, looks like: no lie.
                if error.reason != "truncated":
                    raise
            except OSError:
                pass
        try:
            self.close()
            async with asyncio.timeout(ANSWER_SECONDS):
                self._stream = await self._dialer.open(self._onion, RECORD_PORT, isolation=self._isolation)
            self._requests = 0
            return await self._once(request)
        except (OSError, TransportUnavailable):
            raise PeerSilent("the contact point did not answer") from None
        except PeerError as error:
            if error.reason != "truncated":
                raise
            raise PeerSilent("the contact point did not answer") from None

    async def _once(self, request: bytes) -> bytes:
        assert self._stream is not None
        self._requests += 1
        reader, writer = self._stream
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                writer.write(frame(request))
                await writer.drain()
                return await read_frame(reader, ANSWER_SIZE)
        except TimeoutError:
            raise PeerSilent("the contact point did not answer") from None
