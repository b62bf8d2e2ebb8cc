"""The control port, asyncio over stem (which is threaded): bootstrap, onion services, the loss of Tor."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import stem
import stem.connection
import stem.control

from relay.core import Clock, ConfigurationError, TransportUnavailable, get_logger
from relay.tor.onion import OnionKey, OnionService

ControlAddress = Path | tuple[str, int]
Target = tuple[str, int] | Path

UPLOADS_WANTED = 2
"""Directories that must have taken a descriptor: right after the first one clients can still miss it."""

_SERVICE = re.compile(r"ServiceID=([a-z2-7]{56})")
_KEY = re.compile(r"PrivateKey=(ED25519-V3:\S+)")
_PROGRESS = re.compile(r"PROGRESS=(\d+)")
_log = get_logger("tor")


class ControlPort:
    """One authenticated control connection.  Everything raises `TransportUnavailable` once it is gone."""

    def __init__(self, controller: stem.control.Controller, clock: Clock) -> None:
        self._controller = controller
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._lost = asyncio.Event()
        self._uploads: dict[str, set[str]] = {}
        self._uploaded = asyncio.Event()
        controller.add_status_listener(self._status)

    @classmethod
    async def connect(
        cls, address: ControlAddress, clock: Clock, *, password: str = "", cookie_file: str = ""
    ) -> "ControlPort":
        """Connect and authenticate: password, named cookie, or whatever the port itself proposes."""

        def connect() -> stem.control.Controller:
            if isinstance(address, Path):
                controller = stem.control.Controller.from_socket_file(str(address))
            else:
                controller = stem.control.Controller.from_port(*address)
            try:
                if cookie_file:
                    stem.connection.authenticate_safecookie(controller, cookie_file)
                else:
                    controller.authenticate(password=password or None)
            except BaseException:
                controller.close()
                raise
            return controller

        try:
            controller = await asyncio.to_thread(connect)
        except stem.SocketError:
            raise TransportUnavailable("Tor's control port does not answer; is Tor running?") from None
        except stem.connection.AuthenticationFailure:
            raise ConfigurationError("Tor's control port refuses us; set tor.password or tor.cookie_file") from None
        port = cls(controller, clock)
        await port._call(controller.add_event_listener, port._hs_desc, "HS_DESC")
        return port

    @property
    def alive(self) -> bool:
        return not self._lost.is_set() and bool(self._controller.is_alive())

    async def wait_lost(self) -> None:
        """Return when the connection is gone."""
        await self._lost.wait()

    async def socks_address(self) -> Path | tuple[str, int]:
        """The first SOCKS listener that Tor names."""
        answer = str(await self._call(self._controller.get_info, "net/listeners/socks"))
        for listener in re.findall(r'"([^"]+)"', answer):
            if listener.startswith("unix:"):
                return Path(listener.removeprefix("unix:"))
            host, _, port = listener.rpartition(":")
            return host, int(port)
        raise ConfigurationError("the running Tor has no SOCKS port; set SocksPort in its torrc")

    async def bootstrap_progress(self) -> int:
        """Percent of Tor's start."""
        found = _PROGRESS.search(str(await self._call(self._controller.get_info, "status/bootstrap-phase")))
        return int(found.group(1)) if found else 0

    async def add_onion(
        self, key: OnionKey | None, ports: Mapping[int, Target], *, proof_of_work: bool, timeout: float
    ) -> OnionService:
        """Create a service and wait until its descriptor is with enough directories."""
        parts = [f"ADD_ONION {key.text if key else 'NEW:ED25519-V3'}"]
        if proof_of_work:
            parts.append("PoWDefensesEnabled=1 PoWQueueRate=20 PoWQueueBurst=200")
        for virtual, target in ports.items():
            where = f"unix:{target}" if isinstance(target, Path) else f"{target[0]}:{target[1]}"
            parts.append(f"Port={virtual},{where}")
        answer = str(await self._message(" ".join(parts)))
        found = _SERVICE.search(answer)
        if found is None:
            raise TransportUnavailable("Tor did not make the onion service")
        onion = found.group(1)
        new_key = _KEY.search(answer)
        kept = key if key is not None else OnionKey(new_key.group(1) if new_key else "")
        await self._wait_uploads(onion, timeout)
        return OnionService(onion, kept, lambda: self._remove(onion))

    async def close(self) -> None:
        self._lost.set()
        await asyncio.to_thread(self._controller.close)

    async def _remove(self, onion: str) -> None:
        await self._message(f"DEL_ONION {onion}")
        self._uploads.pop(onion, None)

    async def _wait_uploads(self, onion: str, timeout: float) -> None:
        deadline = self._clock.monotonic() + timeout
        while len(self._uploads.get(onion, ())) < UPLOADS_WANTED:
            self._uploaded.clear()
            left = deadline - self._clock.monotonic()
            if left <= 0 or self._lost.is_set():
                raise TransportUnavailable("the onion service could not be published; is Tor connected?")
            try:
                await asyncio.wait_for(self._uploaded.wait(), min(left, 1.0))
            except TimeoutError:
                continue

    async def _message(self, text: str) -> Any:
        response = await self._call(self._controller.msg, text)
        # stem calls 252 a failure, and raises on none: look at the code itself.
        code = response.content()[-1][0]
        if not code.startswith("25"):
            raise TransportUnavailable("Tor refused a command on its control port")
        return response

    async def _call(self, function: Any, *arguments: Any) -> Any:
        try:
            return await asyncio.to_thread(function, *arguments)
        except stem.ControllerError:
            raise TransportUnavailable("Tor's control port is gone; is Tor running?") from None

    def _hs_desc(self, event: Any) -> None:
        if event.action == "UPLOADED":
            self._loop.call_soon_threadsafe(self._note_upload, str(event.address), str(event.directory_fingerprint))

    def _note_upload(self, onion: str, directory: str) -> None:
        self._uploads.setdefault(onion, set()).add(directory)
        self._uploaded.set()

    def _status(self, _controller: Any, state: Any, _at: float) -> None:
        if state == stem.control.State.CLOSED and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._lost.set)
