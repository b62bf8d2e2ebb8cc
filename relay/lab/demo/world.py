"""Everything that has to stand before anybody can dial, and its end on every way out."""

import asyncio
import contextlib
import functools
import json
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Mapping
from pathlib import Path
from types import TracebackType

from relay.core import Clock, Entropy
from relay.lab.audio import write_wav
from relay.lab.captures import Address
from relay.lab.demo import configuration
from relay.lab.demo.failure import DemoFailed
from relay.lab.demo.options import (
    LINE_ADDRESSES,
    PEOPLE,
    STAGGERED_TEARDOWN,
    START_DELAY,
    TAP_ADDRESSES,
    DemoOptions,
)
from relay.lab.demo.roles import Event, Role, Usage, ask, bayonne, peak_memory
from relay.lab.demo.stages import Stages
from relay.lab.observer import observer_command
from relay.lab.softphones import Account, Softphone
from relay.lab.speech import Speech, Voice, build_random_speech, sounds_directory
from relay.tor import PrivateNetwork

_VOICES: Mapping[str, Voice] = {"alice": "english", "bob": "french"}
_SPEECH_BEYOND = 90.0
"""Seconds of microphone beyond the speech asked for: people speak also while they wait to be connected."""

_TOR_LIMIT = 90.0
_READY_LIMIT = 90.0
_CONTACT_LIMIT = 90.0
_PHONE_LIMIT = 20.0


class World:
    """The private network, the operators' roles, the observer, both agents and both softphones."""

    def __init__(
        self,
        options: DemoOptions,
        stages: Stages,
        clock: Clock,
        entropy: Entropy,
        environment: Mapping[str, str],
    ) -> None:
        self.roles: dict[str, Role] = {}
        self.phones: dict[str, Softphone] = {}
        self.speech: dict[str, Speech] = {}
        self.accounts: dict[str, Account] = {}
        self.taps: list[Address] = []
        self.captures: list[Path] = []
        self._options = options
        self._stages = stages
        self._clock = clock
        self._entropy = entropy
        # What configures the demo's roles is in their files alone.
        self._environment = {
            key: value for key, value in environment.items() if not key.startswith("BAYONNE_")
        }
        self._sounds = sounds_directory(environment)
        self._directory = Path(tempfile.mkdtemp(prefix="bayonne-demo-"))
        self._network_directory = self._directory / "net"
        self._network: PrivateNetwork | None = None
        self._configurations: dict[str, Path] = {}
        self._onion = ""
        self._references: list[str] = []
        self._phone_usage: dict[str, Usage] = {}

    async def __aenter__(self) -> "World":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def build(self) -> None:
        """Come to the point at which alice can dial bob.  Raises `DemoFailed` or `TransportUnavailable`."""
        stages = self._stages
        with stages.stage("Private Tor network", "authority and relays on this machine"):
            speech = asyncio.create_task(self._record_microphones())
            self._network = PrivateNetwork(self._network_directory, clock=self._clock)
            await self._network.up(stages.note)
            stages.note("the relays have voted")
            await speech
        with stages.stage("Contact point, two reflectors", "each publishes an onion service of its own"):
            await together(self._contact_point(), *(self._reflector(number) for number in (1, 2)))
        with stages.stage("Agents alice and bob", "each starts a tor of its own"):
            await self._agents()
        with stages.stage("Softphones", "two baresips register at their agents"):
            await together(*(self._softphone(name) for name in PEOPLE))
        with stages.stage("Contacts", "bob follows alice's invitation over Tor") as stage:
            await self._contacts(stage)

    async def end_call_equipment(self) -> None:
        """End softphones and observers, so that recordings and captures are complete."""
        for role in self.roles.values():
            role.measure()
        for name, phone in self.phones.items():
            if phone.pid is not None:
                self._phone_usage[f"{name}-phone"] = Usage(phone.pid, peak_memory(phone.pid), 0)
        await together(*(phone.close() for phone in self.phones.values()))
        for name, phone in self.phones.items():
            phone.copy_log(self._options.logs / f"{name}-phone.log")
        if not self._options.keep_running:
            await together(*(role.stop() for name, role in self.roles.items() if name.startswith("observer")))
        else:
            # The observer writes to disk twice a second.
            await asyncio.sleep(1.0)

    def events(self) -> list[Event]:
        """Everything that every role reported so far, in order."""
        return sorted(
            (event for role in self.roles.values() for event in role.history), key=lambda one: one.at
        )

    def usage(self) -> dict[str, Usage]:
        """Each role's process number and peak memory."""
        return {name: role.usage for name, role in self.roles.items() if role.usage} | self._phone_usage

    async def close(self) -> None:
        """End every process and remove every temporary file; whatever fails, the rest is still done."""
        try:
            for name, phone in self.phones.items():
                phone.copy_log(self._options.logs / f"{name}-phone.log")
            # Phones first: they unregister at agents that are still there.
            await asyncio.gather(*(phone.close() for phone in self.phones.values()), return_exceptions=True)
            await asyncio.gather(*(role.stop() for role in self.roles.values()), return_exceptions=True)
            if self._network is not None:
                with contextlib.suppress(Exception):
                    await self._network.down()
        finally:
            for phone in self.phones.values():
                phone.kill()
            for role in self.roles.values():
                role.kill()
            shutil.rmtree(self._directory, ignore_errors=True)

    def _role(self, name: str, arguments: list[str]) -> Role:
        role = Role(name, arguments, self._options.logs, self._clock, self._environment)
        self.roles[name] = role
        return role

    async def _record_microphones(self) -> None:
        seconds = self._options.seconds + _SPEECH_BEYOND
        for name in PEOPLE:
            build = functools.partial(
                build_random_speech, _VOICES[name], seconds, self._sounds, self._entropy
            )
            self.speech[name] = await asyncio.to_thread(build)
            await asyncio.to_thread(write_wav, self._microphone(name), self.speech[name].sound)

    def _microphone(self, name: str) -> Path:
        return self._directory / f"{name}-microphone.wav"

    async def _contact_point(self) -> None:
        file = configuration.contact_point(self._directory, self._network_directory)
        role = self._role("contact-point", bayonne("contact-point", "--config", str(file), "--json"))
        await role.start()
        ready = await role.wait_for("ready", timeout=_TOR_LIMIT)
        self._onion = str(ready.fields["onion"])

    async def _reflector(self, number: int) -> None:
        name = f"reflector-{number}"
        listen = f"127.0.0.1:{free_port('127.0.0.1')}"
        advertise = await self._observer(number, listen)
        file = configuration.reflector(
            self._directory, self._network_directory, name, listen=listen, advertise=advertise
        )
        role = self._role(name, bayonne("reflector", "--config", str(file), "--json"))
        await role.start()
        ready = await role.wait_for("ready", timeout=_TOR_LIMIT)
        self._references.append(str(ready.fields["reference"]))

    async def _observer(self, number: int, reflector: str) -> str:
        """The tap in front of a reflector; returns the address that agents are told."""
        capture = self._directory / f"observer-{number}.pcap"
        command = observer_command(f"{TAP_ADDRESSES[number - 1]}:0", reflector, capture)
        role = self._role(f"observer-{number}", command)
        await role.start()
        address = str((await role.wait_for("ready", timeout=_PHONE_LIMIT)).fields["address"])
        host, _, port = address.rpartition(":")
        self.taps.append((host, int(port)))
        self.captures.append(capture)
        return address

    async def _agents(self) -> None:
        for name in PEOPLE:
            self._configurations[name] = configuration.agent(
                self._directory,
                self._network_directory,
                name,
                sip_listen=f"127.0.0.1:{free_port('127.0.0.1')}",
                line_address=LINE_ADDRESSES[name],
                contact_point=self._onion,
                reflectors=self._references,
                start_delay=START_DELAY,
                staggered_teardown=STAGGERED_TEARDOWN,
            )
        self._stages.note("alice invites bob")
        alice, bob = (str(self._configurations[name]) for name in PEOPLE)
        environment = self._environment
        invitation = await ask("contact", "invite", "bob", "--config", alice, environment=environment)
        await ask(
            "contact", "add", "alice", "--config", bob, environment=environment, typed=invitation + "\n"
        )
        self._stages.note("each starts a tor of its own and prefetches reflectors and tickets")
        for name in PEOPLE:
            role = self._role(name, bayonne("agent", "--config", str(self._configurations[name]), "--json"))
            await role.start()
        await together(*(self.roles[name].wait_for("ready", timeout=_READY_LIMIT) for name in PEOPLE))

    async def _softphone(self, name: str) -> None:
        file = str(self._configurations[name])
        answer = await ask("agent", "--softphone", "--json", "--config", file, environment=self._environment)
        try:
            shown = json.loads(answer)
            account = Account(str(shown["user"]), str(shown["password"]), str(shown["server"]))
        except (ValueError, KeyError, TypeError):
            raise DemoFailed(f"'bayonne agent --softphone' for {name} printed no account") from None
        self.accounts[name] = account
        directory = self._directory / f"{name}-phone"
        phone = Softphone(account, self._microphone(name), directory, self._clock, self._environment)
        self.phones[name] = phone
        try:
            await phone.start()
            await self.roles[name].wait_for("registered", timeout=_PHONE_LIMIT)
        finally:
            phone.copy_log(self._options.logs / f"{name}-phone.log")

    async def _contacts(self, stages: Stages) -> None:
        alice, bob = PEOPLE
        for name, other, why in (
            (alice, bob, "alice's invitation is published; bob's agent introduces him by it"),
            (bob, alice, "bob waits for alice's record for him"),
        ):
            stages.note(why)
            await self.roles[name].wait_for("contact-ready", timeout=_CONTACT_LIMIT, contact=other)


async def together(*jobs: Awaitable[object]) -> None:
    """Run jobs at once; the first failure ends the others and is raised as itself, not as a group."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def free_port(host: str) -> int:
    """A port that is free now for both UDP and TCP."""
    for _ in range(50):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
            stream.bind((host, 0))
            port = int(stream.getsockname()[1])
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram, contextlib.suppress(OSError):
                datagram.bind((host, port))
                return port
    raise DemoFailed("no port is free on this machine's loopback address")
