"""A reflector's app running in the background of a test, and a service manager that listens to it."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from relay.core import SystemClock, SystemEntropy
from relay.media_reflector import ReflectorReference
from relay.node.kept_keys import SEALING_KEYS
from relay.node.reflector import ReflectorNode
from relay.node.reflector_settings import ReflectorSettings
from relay.node.service_manager import ServiceManager
from tests.node.fake_tor import until

CLOCK, ENTROPY = SystemClock(), SystemEntropy()


def settings_for(directory: Path, **changes: object) -> ReflectorSettings:
    values: dict[str, object] = {
        "state_directory": str(directory),
        "udp_listen": "127.0.0.1:0",
        "capacity": 5,
        "workers": 1,
        "data_plane": "plain",
    }
    return msgspec.convert(values | changes, ReflectorSettings)


class Run:
    """One node running in the background."""

    def __init__(self, settings: ReflectorSettings, service: ServiceManager | None = None) -> None:
        self.settings = settings
        """What is in the file."""
        self.events: list[Mapping[str, object]] = []
        self.levels: list[str] = []
        self.unread: OSError | None = None
        """What telling an event raises, as long as it is set."""
        self.stop = asyncio.Event()
        self.node = ReflectorNode(
            settings,
            CLOCK,
            ENTROPY,
            self.take,
            service=service,
            read_again=self.read,
            set_log_level=self.levels.append,
        )
        self.task = asyncio.create_task(self.node.run(self.stop))

    def take(self, event: Mapping[str, object]) -> None:
        if self.unread is not None:
            raise self.unread
        self.events.append(event)

    def read(self) -> ReflectorSettings:
        self.settings.check()
        return self.settings

    def told(self, name: str) -> list[Mapping[str, object]]:
        return [event for event in self.events if event["event"] == name]

    async def wait_ready(self, count: int = 1) -> ReflectorReference:
        await until(lambda: len(self.told("ready")) >= count or self.task.done())
        return ReflectorReference.parse(str(self.told("ready")[-1]["reference"]))

    async def end(self) -> None:
        self.stop.set()
        async with asyncio.timeout(5):
            await self.task


Start = Callable[..., Awaitable[Run]]
"""Starts one, with a service manager or without, and with settings of its own; gives it when it is ready."""


class Manager:
    """Its notification socket, and what it was given to hold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[str] = []
        self.held: dict[str, int] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def read(self) -> list[str]:
        """Everything that was said up to now."""
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 4)
            except BlockingIOError:
                return self.said
            self.said += data.decode().splitlines()
            for descriptor in descriptors:
                assert not self.held, "one memory, handed over once"
                self.held[SEALING_KEYS] = descriptor

    def close(self) -> None:
        self._socket.close()
        for descriptor in self.held.values():
            os.close(descriptor)
