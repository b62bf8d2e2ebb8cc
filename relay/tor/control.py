"""The control port, asyncio over stem (which is threaded): bootstrap, onion services, the loss of Tor."""

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stem
import stem.connection
import stem.control

from relay.core import Clock, ConfigurationError, TransportUnavailable
from relay.tor.onion import OnionKey, OnionService

ControlAddress = Path | tuple[str, int]
Target = tuple[str, int] | Path

ANSWER_SECONDS = 30.0
"""How long Tor may take for one command."""

UPLOADS_WANTED = 2
SETTLE_SECONDS = 5.0
"""A service counts as published when every directory asked has answered, for a client may ask any of them; after
this long, when `UPLOADS_WANTED` have taken a descriptor."""

_SERVICE = re.compile(r"ServiceID=([a-z2-7]{56})")
_KEY = re.compile(r"PrivateKey=(ED25519-V3:\S+)")
_PROGRESS = re.compile(r"PROGRESS=(\d+)")
_SILENT = "Tor's control port does not answer; is Tor running?"

# stem would write whole commands and answers, keys and onion names among them, into whatever log there is.
logging.getLogger("stem").setLevel(logging.CRITICAL + 1)


@dataclass(slots=True)
class _Uploads:
    """What became of a service's descriptors, counted over all directories."""

    asked: int = 0
    answered: int = 0
    taken: int = 0

    def note(self, action: str) -> None:
        if action == "UPLOAD":
            self.asked += 1
        else:
            self.answered += 1
            self.taken += action == "UPLOADED"

    @property
    def complete(self) -> bool:
        return self.taken >= UPLOADS_WANTED and self.answered >= self.asked


class ControlPort:
    """One authenticated control connection.  Everything raises `TransportUnavailable` once it is gone."""

    def __init__(self, controller: stem.control.Controller, clock: Clock) -> None:
        self._controller = controller
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._lost = asyncio.Event()
        self._uploads: dict[str, _Uploads] = {}
        self._uploaded = asyncio.Event()
        controller.add_status_listener(self._status)

    @classmethod
    async def connect(
        cls, address: ControlAddress, clock: Clock, *, password: str = "", cookie_file: str = ""
    ) -> "ControlPort":
        """Connect and authenticate: password, named cookie, or whatever the port itself proposes."""
        try:
            controller = await asyncio.to_thread(_open, address)
        except stem.SocketError:
            raise TransportUnavailable(_SILENT) from None
        port = cls(controller, clock)
        try:
            await port._call(_authenticate, controller, password, cookie_file)
            await port._call(controller.add_event_listener, port._hs_desc, "HS_DESC")
        except BaseException:
            await port.close()
            raise
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
            return host.strip("[]"), int(port)
        raise ConfigurationError("the running Tor has no SOCKS port; set SocksPort in its torrc")

    async def bootstrap_progress(self) -> int:
        """Percent of Tor's start."""
        found = _PROGRESS.search(str(await self._call(self._controller.get_info, "status/bootstrap-phase")))
        return int(found.group(1)) if found else 0

    async def add_onion(
        self,
        key: OnionKey | None,
        ports: Mapping[int, Target],
        *,
        proof_of_work: bool,
        timeout: float,
        streams: int = 0,
    ) -> OnionService:
        """Create a service and wait until its descriptor is with enough directories; `streams` as in
        `relay.tor.TorClient.publish`."""
        parts = [f"ADD_ONION {key.text if key else 'NEW:ED25519-V3'}"]
        if streams:
            parts.append(f"Flags=MaxStreamsCloseCircuit MaxStreams={streams}")
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
        self._uploads[onion] = _Uploads()
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
        uploads = self._uploads[onion]
        deadline = self._clock.monotonic() + timeout
        settled = deadline
        while not uploads.complete:
            now = self._clock.monotonic()
            if uploads.taken >= UPLOADS_WANTED:
                settled = min(settled, now + SETTLE_SECONDS)
                if now >= settled:
                    return
            if now >= deadline or self._lost.is_set():
                raise TransportUnavailable("the onion service could not be published; is Tor connected?")
            self._uploaded.clear()
            # Not wait_for: Python 3.11's loses a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(deadline - now, 0.5)):
                    await self._uploaded.wait()

    async def _message(self, text: str) -> Any:
        response = await self._call(self._controller.msg, text)
        # stem calls 252 a failure, and raises on none: look at the code itself.
        code = response.content()[-1][0]
        if not code.startswith("25"):
            raise TransportUnavailable("Tor refused a command on its control port")
        return response

    async def _call(self, function: Any, *arguments: Any) -> Any:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await asyncio.to_thread(function, *arguments)
        except stem.connection.AuthenticationFailure:
            raise ConfigurationError(
                "Tor's control port refuses us; set tor.password or tor.cookie_file"
            ) from None
        except (stem.ControllerError, TimeoutError):
            # Closing also frees the thread that still waits for an answer.
            await self.close()
            raise TransportUnavailable(_SILENT) from None

    def _hs_desc(self, event: Any) -> None:
        # FAILED also tells of descriptors that a client of this Tor could not get.
        if event.action in ("UPLOAD", "UPLOADED") or event.reason == "UPLOAD_REJECTED":
            self._soon(self._note_upload, str(event.address), str(event.action))

    def _note_upload(self, onion: str, action: str) -> None:
        uploads = self._uploads.get(onion)
        if uploads is not None:
            uploads.note(action)
            self._uploaded.set()

    def _status(self, _controller: Any, state: Any, _at: float) -> None:
        if state == stem.control.State.CLOSED:
            self._soon(self._lost.set)

    def _soon(self, function: Callable[..., object], *arguments: str) -> None:
        """From one of stem's threads into our loop, which may have ended before them."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)


def _open(address: ControlAddress) -> stem.control.Controller:
    if isinstance(address, Path):
        return stem.control.Controller.from_socket_file(str(address))
    return stem.control.Controller.from_port(*address)


def _authenticate(controller: stem.control.Controller, password: str, cookie_file: str) -> None:
    information = stem.connection.get_protocolinfo(controller)
    if cookie_file:
        information.auth_methods = (stem.connection.AuthMethod.SAFECOOKIE,)
        information.cookie_path = cookie_file
    controller.authenticate(password=password or None, protocolinfo_response=information)
