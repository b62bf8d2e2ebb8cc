"""Tickets at hand before anybody calls: fetched apart, used once, replaced in time; at accepted reflectors alone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

import pytest

from relay.agent.reflectors import TICKET_MARGIN, TICKETS_AHEAD, ReflectorPool, reflector_id
from relay.core import MisuseError, SeededEntropy, SystemEntropy, TransportUnavailable
from relay.media_reflector import ReflectorKeys, ReflectorReference
from relay.media_reflector.tickets import LIFETIME
from relay.wire.frames import frame
from tests.agent.virtual_time import LoopClock, in_virtual_time

CLOCK = LoopClock()


class Writer:
    """The agent's half of a stream to a ticket office in memory."""

    def __init__(self, service: "Service", reader: asyncio.StreamReader) -> None:
        self._service = service
        self._reader = reader

    def write(self, data: bytes) -> None:
        self._reader.feed_data(frame(self._service.answer(data[4:])))
        self._reader.feed_eof()

    async def drain(self) -> None:
        pass

    def close(self) -> None:
        pass


class Service:
    """One reflector's onion service."""

    def __init__(self, onion: str) -> None:
        self.keys = ReflectorKeys.generate(SystemEntropy())
        self.office = self.keys.office(100)
        self.reference = ReflectorReference(onion, self.keys.public_identity)
        self.garbage = False

    @property
    def id(self) -> str:
        return reflector_id(self.reference.identity)

    def answer(self, request: bytes) -> bytes:
        if self.garbage:
            return bytes(77)
        signed = self.keys.signed_descriptor(self.reference.onion, "127.0.0.1", 7210, CLOCK.wall())
        return self.office.answer(request, lambda: signed, CLOCK.monotonic())


class Dialer:
    """Opens streams to services in memory; keeps what was asked of it."""

    def __init__(self, *services: Service) -> None:
        self.services = {service.reference.onion: service for service in services}
        self.opened: list[tuple[str, str]] = []
        self.failure: Exception | None = None

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.opened.append((onion, isolation))
        await asyncio.sleep(0.1)
        if self.failure is not None:
            raise self.failure
        reader = asyncio.StreamReader()
        return reader, cast(asyncio.StreamWriter, Writer(self.services[onion], reader))


@contextlib.asynccontextmanager
async def running(pool: ReflectorPool, dialer: Dialer) -> AsyncIterator[None]:
    task = asyncio.create_task(pool.run(dialer))
    try:
        yield
        assert not task.done(), "whatever happens, it goes on"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def pool_of(*services: Service) -> ReflectorPool:
    return ReflectorPool(tuple(str(service.reference) for service in services), CLOCK, SeededEntropy("pool"))


@in_virtual_time
async def test_tickets_are_there_before_anybody_calls_each_by_a_circuit_of_its_own() -> None:
    first, second = Service("a" * 56), Service("b" * 56)
    dialer, pool = Dialer(first, second), pool_of(first, second)
    assert pool.ready() == []
    async with running(pool, dialer):
        await asyncio.wait_for(pool.wait_ready(), 10.0)
        await asyncio.sleep(5.0)
        assert set(pool.ready()) == {first.id, second.id}
        assert len(first.office) == len(second.office) == TICKETS_AHEAD
        labels = [isolation for _, isolation in dialer.opened]
        assert len(labels) == len(set(labels)) == 2 * (1 + TICKETS_AHEAD)


@in_virtual_time
async def test_a_ticket_is_used_once_and_another_is_fetched() -> None:
    service = Service("a" * 56)
    pool = pool_of(service)
    async with running(pool, Dialer(service)):
        await asyncio.sleep(5.0)
        taken = [pool.take(service.id) for _ in range(TICKETS_AHEAD)]
        assert len({ticket.secret for _, ticket in taken}) == TICKETS_AHEAD
        assert {descriptor.identity for descriptor, _ in taken} == {service.keys.public_identity}
        assert pool.ready() == []
        with pytest.raises(TransportUnavailable):
            pool.take(service.id)
        await asyncio.sleep(30.0)
        assert pool.ready() == [service.id]
        assert pool.take(service.id)[1] not in [ticket for _, ticket in taken]


@in_virtual_time
async def test_over_a_day_there_is_always_a_ticket_that_outlives_a_ring() -> None:
    service = Service("a" * 56)
    pool, dialer = pool_of(service), Dialer(service)
    async with running(pool, dialer):
        await asyncio.sleep(10.0)
        for _ in range(24 * 60):
            await asyncio.sleep(60.0)
            assert pool.ready()
            assert pool._reflectors[service.id].tickets[0].expires - CLOCK.monotonic() > TICKET_MARGIN / 2
        fetched = len(dialer.opened)
        assert fetched < 24 * 3600 / (LIFETIME - TICKET_MARGIN) * TICKETS_AHEAD * 2.5, (
            "and no more than that needs"
        )


@in_virtual_time
async def test_failures_of_every_kind_are_tried_again_ever_more_slowly() -> None:
    service = Service("a" * 56)
    pool, dialer = pool_of(service), Dialer(service)
    dialer.failure = TransportUnavailable("Tor is not running")
    async with running(pool, dialer):
        await asyncio.sleep(3600.0)
        assert 20 < len(dialer.opened) < 100
        dialer.failure = OSError("no route")
        await asyncio.sleep(600.0)
        dialer.failure = None
        service.garbage = True
        await asyncio.sleep(600.0)
        assert pool.ready() == []
        service.garbage = False
        await asyncio.wait_for(pool.wait_ready(), 200.0)


@in_virtual_time
async def test_a_reflector_that_lies_about_its_identity_is_not_used() -> None:
    service, liar = Service("a" * 56), Service("a" * 56)
    pool = pool_of(service)
    async with running(pool, Dialer(liar)):
        await asyncio.sleep(600.0)
        assert pool.ready() == []
        assert not len(liar.office)


@in_virtual_time
async def test_after_a_line_that_did_not_open_all_is_asked_anew() -> None:
    service = Service("a" * 56)
    pool = pool_of(service)
    async with running(pool, Dialer(service)):
        await asyncio.sleep(5.0)
        old = pool._reflectors[service.id].tickets[0]
        pool.distrust(service.id)
        pool.distrust("0" * 32)
        assert pool.ready() == []
        await asyncio.sleep(30.0)
        assert pool.ready() == [service.id]
        assert pool.take(service.id)[1] != old


@in_virtual_time
async def test_only_accepted_reflectors_are_ever_used() -> None:
    service, other = Service("a" * 56), Service("b" * 56)
    pool, dialer = pool_of(service), Dialer(service, other)
    async with running(pool, dialer):
        await asyncio.sleep(1000.0)
        with pytest.raises(TransportUnavailable):
            pool.take(other.id)
        assert {onion for onion, _ in dialer.opened} == {service.reference.onion}


def test_a_wrong_reference_is_refused_at_once() -> None:
    with pytest.raises(MisuseError, match="reflector reference"):
        ReflectorPool(("bayonne-reflector:x/y",), CLOCK, SeededEntropy(1))


def test_the_id_in_offers_is_short_and_differs() -> None:
    names = {reflector_id(bytes([number]) * 32) for number in range(50)}
    assert len(names) == 50
    assert {len(name) for name in names} == {32}
