"""The caller's daemon around the agent: its claim on the state, its door for commands, its lock.

    open      the agent runs, with the key of its vault in memory (or with plain files)
    locked    flows, lines and Tor are down, the key is wiped; phones are told 503, the door stays for `unlock`

Locking ends no call: while one is on it is refused.  A wipe asks nobody and waits for nothing.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from relay.agent.agent import Agent
from relay.agent.control import ControlServer, Handler, Stage
from relay.agent.events import Reporter
from relay.agent.kept import Damaged, Kept, PlainFiles
from relay.agent.phone import PhoneServer, PhoneSettings
from relay.agent.sealed_files import SealedFiles
from relay.agent.settings import AgentSettings, listen_address
from relay.agent.state import StateDirectory
from relay.agent.vault_directory import VAULT
from relay.core import BayonneError, Clock, Entropy, MisuseError, RefusedByPolicy
from relay.identity.vault import Vault

KEY, STATUS, LOCK, UNLOCK, WIPE = "vault-key", "vault-status", "vault-lock", "vault-unlock", "vault-wipe"
"""Commands at the agent's door."""
LOOK_EVERY = 5.0
"""Seconds, at most, between two looks at whether the agent is idle."""


class Daemon:
    """One caller's daemon.  `run` returns when it was told to stop (SIGINT, SIGTERM, or `stop`).

    `files` are those of an open vault; without, everything is in the clear in the state directory.  `directory` stands
    for the state directory, where there is another.  `lockable`: a passphrase opens the vault again.
    """

    def __init__(
        self,
        settings: AgentSettings,
        clock: Clock,
        entropy: Entropy,
        report: Reporter,
        *,
        files: SealedFiles | None = None,
        directory: Path | None = None,
        lockable: bool = True,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._entropy = entropy
        self._report = report
        self._files = files
        self._sealed = files is not None
        self._lockable = lockable and self._sealed
        self._directory = directory or settings.directory
        self._agent: Agent | None = None
        self._stop = asyncio.Event()
        self._to_lock = asyncio.Event()
        self._was_locked = asyncio.Event()
        self._unlocked = asyncio.Event()
        self._wiped = False
        self._active_at = clock.monotonic()
        self._handlers: dict[str, Handler] = {}

    def stop(self) -> None:
        """End `run` in order."""
        self._stop.set()

    @property
    def agent(self) -> Agent | None:
        """The agent that runs; None while it is locked."""
        return self._agent

    @property
    def locked(self) -> bool:
        return self._sealed and self._files is None

    async def run(self) -> None:
        """Serve until stopped.  Raises `ConfigurationError`, `TransportUnavailable`."""
        state = StateDirectory(self._directory)
        state.claim()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        self._handlers.update(self._own_handlers())
        door = asyncio.create_task(ControlServer(self._directory, self._handlers).run())
        try:
            while not self._stop.is_set():
                await self._either(door, self._locked() if self.locked else self._open())
        finally:
            door.cancel()
            await asyncio.gather(door, return_exceptions=True)
            if self._files is not None:
                self._files.vault.wipe()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
            state.release()

    async def _either(self, door: "asyncio.Task[None]", part: Awaitable[None]) -> None:
        doing = asyncio.ensure_future(part)
        try:
            done, _ = await asyncio.wait((door, doing), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)

    # -- open ----------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        """Until the agent is stopped or locked."""
        kept: Kept = PlainFiles(self._directory) if self._files is None else self._files
        self._active_at = self._clock.monotonic()
        if self._files is not None:
            self._files.tell = partial(self._tell_damage, asyncio.get_running_loop())
        agent = Agent(self._settings, self._clock, self._entropy, self._report, directory=self._directory)
        agent.build(kept)
        self._agent = agent
        self._handlers.update({name: self._noting(handler) for name, handler in agent.handlers.items()})
        serving = asyncio.create_task(agent.run())
        watches = [
            asyncio.create_task(wait)
            for wait in (self._stop.wait(), self._to_lock.wait(), self._watch_idleness(agent))
        ]
        try:
            await asyncio.wait((serving, *watches), return_when=asyncio.FIRST_COMPLETED)
            # An agent that ended by itself ends its daemon.
            locking = not serving.done() and not self._stop.is_set()
            if not locking:
                self._stop.set()
            if self._wiped:
                serving.cancel()
            agent.stop()
            with suppress(asyncio.CancelledError):
                await serving
        except BayonneError:
            # Without its key it stumbles as it falls.
            if not self._wiped:
                raise
        finally:
            for task in (serving, *watches):
                task.cancel()
            await asyncio.gather(serving, *watches, return_exceptions=True)
            self._agent = None
            for name in agent.handlers:
                del self._handlers[name]
        if locking and self._files is not None:
            self._files.vault.wipe()
            self._files = None
            self._to_lock.clear()
            self._unlocked.clear()
            self._was_locked.set()
            self._report("locked")

    def _tell_damage(self, loop: asyncio.AbstractEventLoop, sentence: str) -> None:
        """From whichever thread found it."""
        # One that writes behind the calls may outlive the loop, where its disk hangs.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(partial(self._report, "damaged", why=sentence))

    async def _watch_idleness(self, agent: Agent) -> None:
        """Return when there was neither a call nor a command for as long as the owner said."""
        after = 60.0 * self._settings.vault.lock_after
        if not after or not self._lockable:
            await asyncio.Event().wait()
        while (left := self._active_at + after - self._clock.monotonic()) > 0.0:
            await asyncio.sleep(min(left, LOOK_EVERY))
            if agent.in_call:
                self._active_at = self._clock.monotonic()

    # -- locked --------------------------------------------------------------------------------------------------

    async def _locked(self) -> None:
        """Until somebody unlocks it: phones hear that they have to wait."""
        host, port = listen_address(self._settings.sip_listen)
        closed = PhoneSettings("nobody", "nothing", host, port, closed=True)
        phones = PhoneServer(closed, self._clock, self._entropy, lambda event: None)
        await phones.start()
        waits = [asyncio.create_task(self._stop.wait()), asyncio.create_task(self._unlocked.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            await phones.close()

    # -- what commands ask ---------------------------------------------------------------------------------------

    def _own_handlers(self) -> Mapping[str, Handler]:
        return {
            KEY: self._noting(self._tell_key),
            STATUS: self._tell_status,
            LOCK: self._lock,
            UNLOCK: self._unlock,
            WIPE: self._wipe,
        }

    def _noting(self, handler: Callable[[Mapping[str, str], Stage], Awaitable[Mapping[str, str]]]) -> Handler:
        async def noted(arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
            self._active_at = self._clock.monotonic()
            return await handler(arguments, stage)

        return noted

    async def _tell_status(self, arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
        if not self._sealed:
            return {"state": "plain"}
        if not self._lockable:
            return {"state": "amnesic"}
        return {"state": "locked" if self.locked else "unlocked"}

    async def _tell_key(self, arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
        """The door is its owner's alone, who could ask for the passphrase as well (docs/threat-model.md)."""
        if self._files is None:
            raise RefusedByPolicy("the agent is locked" if self._sealed else "nothing is sealed here")
        return {"key": self._files.vault.key.hex()}

    async def _lock(self, arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
        if not self._lockable:
            raise MisuseError("there is no vault that a passphrase would open again; end the agent instead")
        if self._agent is not None and self._agent.in_call:
            raise RefusedByPolicy("a call is on; hang up first")
        if not self.locked:
            self._to_lock.set()
            await self._was_locked.wait()
        return {"state": "locked"}

    async def _unlock(self, arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
        if not self.locked:
            raise MisuseError("the agent is not locked")
        try:
            vault = Vault(bytearray.fromhex(arguments.get("key", "")))
        except ValueError:
            raise MisuseError("that is no key of a vault") from None
        files = SealedFiles(self._directory / VAULT, vault, self._entropy)
        if not files.opens:
            vault.wipe()
            raise RefusedByPolicy(
                "that key opens nothing in the agent's vault; 'bayonne vault status --check' says what is whole"
            )
        self._files = files
        self._was_locked.clear()
        self._unlocked.set()
        self._report("unlocked")
        try:
            files.names()
        except Damaged as error:
            # Whole parts open all the same, old ones too: that is for the owner to know.
            self._report("damaged", why=str(error))
        return {"state": "unlocked"}

    async def _wipe(self, arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
        if self._files is not None:
            self._files.vault.wipe()
        self._wiped = True
        self._report("wiped")
        self._stop.set()
        return {"state": "wiped"}
