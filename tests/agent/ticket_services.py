"""Onion services of reflectors in memory: real offices and descriptors, no Tor."""

import asyncio
from typing import Any, cast

from relay.agent.reflectors import reflector_id
from relay.core import SeededEntropy, SystemEntropy
from relay.media_reflector import ReflectorKeys, ReflectorReference
from relay.media_reflector.descriptor_entry import DescriptorEntry
from relay.media_reflector.series import DescriptorSeries
from relay.wire.frames import frame
from tests.agent.virtual_time import LoopClock

CLOCK = LoopClock()


class OpenGate:
    """Nothing to keep closed: no cell ever comes."""

    def permit(self, ticket_id: bytes) -> None:
        pass

    def forbid(self, ticket_id: bytes) -> None:
        pass

    def check_keys(self, own: object, left: object) -> None:
        pass


class Writer:
    """The agent's half of a stream to a ticket office."""

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
    """One reflector's onion service; `says` is what its descriptor says beyond the usual."""

    def __init__(self, onion: str) -> None:
        self.keys = ReflectorKeys.generate(SystemEntropy())
        self.office = self.keys.office(100, SeededEntropy(onion), OpenGate())
        self.reference = ReflectorReference(onion, self.keys.public_identity)
        self.garbage = False
        self.says: dict[str, Any] = {}
        self.descriptors = 0

    @property
    def id(self) -> str:
        return reflector_id(self.reference.identity)

    def entry(self, number: int = 0, *, onion: str = "", hours: int = 0, **says: Any) -> DescriptorEntry:
        """What it left at contact points, so many `hours` ago, the `number`th that differed in that hour."""
        told: dict[str, Any] = {"addresses": [("127.0.0.1", 7210)], "capacity": 100} | says
        wall = CLOCK.wall() - hours * 3600
        series = DescriptorSeries(self.keys.sign, int(wall) // 3600 * 3600 + number - 1 if number else 0)
        return DescriptorEntry.of(
            series.signed(self.keys.descriptor(onion or self.reference.onion, wall=wall, **told))
        )

    def answer(self, request: bytes) -> bytes:
        return bytes(77) if self.garbage else self.office.answer(request, self._signed, CLOCK.monotonic())

    def _signed(self) -> bytes:
        self.descriptors += 1
        told: dict[str, Any] = {"addresses": [("127.0.0.1", 7210)], "capacity": 100} | self.says
        return self.keys.signed_descriptor(self.reference.onion, wall=CLOCK.wall(), **told)


class Dialer:
    """Opens streams to services in memory; keeps what was asked of it."""

    def __init__(self, *services: Service) -> None:
        self.services = {service.reference.onion: service for service in services}
        self.opened: list[tuple[str, str]] = []
        self.failure: Exception | None = None
        self.gone: set[str] = set()

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.opened.append((onion, isolation))
        await asyncio.sleep(0.1)
        if self.failure is not None:
            raise self.failure
        if onion in self.gone:
            raise OSError("no such service")
        reader = asyncio.StreamReader()
        return reader, cast(asyncio.StreamWriter, Writer(self.services[onion], reader))

    def asked(self, service: Service) -> int:
        return sum(onion == service.reference.onion for onion, _ in self.opened)
