"""The daemon: one alone on its state, locked on demand and when idle, its key told to its owner, gone when wiped."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from relay.agent import AgentSettings
from relay.agent.agent import Agent
from relay.agent.contact_file import CONTACTS_FILE, Book, write_book
from relay.agent.control import NobodyThere, agent_process, ask
from relay.agent.daemon import KEY, LOCK, STATUS, UNLOCK, WIPE, Daemon
from relay.agent.domain_desk import RESOLVE
from relay.agent.events import Value
from relay.agent.flows import GROUPS_FILE
from relay.agent.sealed_files import ROLL, SealedFiles
from relay.agent.settings import VaultSettings
from relay.agent.state import StateDirectory
from relay.agent.zid_cache import ZidCache
from relay.core import (
    ConfigurationError,
    MisuseError,
    RefusedByPolicy,
    SeededEntropy,
    SystemClock,
    SystemEntropy,
)
from relay.media_reflector import ReflectorKeys, ReflectorReference
from relay.tor import TorClient
from tests.agent.vaults import ENTROPY, PASSPHRASE, directory_of, flip, new_vault

REFERENCE = str(ReflectorReference("a" * 56, ReflectorKeys.generate(SeededEntropy(1)).public_identity))
CLOCK = SystemClock()


class Bench:
    def __init__(self, directory: Path, port: int, vault: VaultSettings, *, sealed: bool = True) -> None:
        self.told: list[str] = []
        self.directory = directory
        self.settings = AgentSettings(
            str(directory),
            sip_listen=f"127.0.0.1:{port}",
            contact_points=("a" * 56,),
            reflectors=(REFERENCE,),
            vault=vault,
        )
        self.files = new_vault(directory) if sealed else None
        self.daemon = Daemon(self.settings, CLOCK, SystemEntropy(), self.report, files=self.files)

    def report(self, event: str, /, **fields: Value) -> None:
        self.told.append(event)

    async def until(self, event: str, times: int = 1) -> None:
        for _ in range(500):
            if self.told.count(event) >= times:
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"no {event}: {self.told}")

    async def ask(self, command: str, **arguments: str) -> dict[str, str]:
        return await ask(self.directory, command, arguments, lambda words: None, seconds=10.0)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        task = asyncio.create_task(self.daemon.run())
        try:
            await self.until("starting")
            yield task
        finally:
            self.daemon.stop()
            await asyncio.wait_for(task, 8.0)
        assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture(autouse=True)
def _no_tor(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*arguments: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(TorClient, "launch", never)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def bench(tmp_path: Path, port: int) -> Bench:
    return Bench(tmp_path / "state", port, VaultSettings())


async def answer_to_register(port: int) -> str:
    """What a REGISTER without credentials is answered with."""
    return await asyncio.to_thread(_register, port)


def _register(port: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.1", 0))
        phone.settimeout(5.0)
        local = f"127.0.0.1:{phone.getsockname()[1]}"
        lines = (
            "REGISTER sip:127.0.0.1 SIP/2.0",
            f"Via: SIP/2.0/UDP {local};branch=z9hG4bK{os.urandom(6).hex()}",
            "From: <sip:me@127.0.0.1>;tag=1",
            "To: <sip:me@127.0.0.1>",
            f"Call-ID: {os.urandom(6).hex()}",
            "CSeq: 1 REGISTER",
            f"Contact: <sip:me@{local}>",
            "Max-Forwards: 70",
            "Content-Length: 0",
        )
        phone.sendto("\r\n".join((*lines, "", "")).encode(), ("127.0.0.1", port))
        return phone.recv(4096).decode()


async def test_it_serves_until_a_signal_and_lets_the_next_one_have_the_state(bench: Bench) -> None:
    task = asyncio.create_task(bench.daemon.run())
    await bench.until("starting")
    assert bench.told == ["softphone", "starting"]
    with pytest.raises(ConfigurationError, match="another agent is running"):
        StateDirectory(bench.directory).claim()
    assert agent_process(bench.directory) == os.getpid()
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(task, 5.0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    state = StateDirectory(bench.directory)
    state.claim()
    state.release()
    assert agent_process(bench.directory) is None
    with pytest.raises(NobodyThere):
        await bench.ask(STATUS)


async def test_a_second_one_on_the_same_state_is_refused(bench: Bench) -> None:
    state = StateDirectory(bench.directory)
    state.claim()
    with pytest.raises(ConfigurationError, match="another agent"):
        await bench.daemon.run()
    assert not bench.told
    state.release()


async def test_its_owner_is_told_the_key_and_it_opens_the_vault(bench: Bench) -> None:
    async with bench.running():
        assert await bench.ask(STATUS) == {"state": "unlocked"}
        assert bench.files is not None
        assert (await bench.ask(KEY))["key"] == bench.files.vault.key.hex()


async def test_locked_it_has_no_key_no_agent_and_phones_have_to_wait_until_it_is_unlocked(
    bench: Bench, port: int
) -> None:
    async with bench.running():
        assert bench.files is not None
        key = bench.files.vault.key
        assert (await answer_to_register(port)).startswith("SIP/2.0 401")
        assert await bench.ask(LOCK) == {"state": "locked"}
        assert key == bytes(32)
        assert (bench.daemon.locked, bench.daemon.agent) == (True, None)
        assert await bench.ask(STATUS) == {"state": "locked"}
        assert await bench.ask(LOCK) == {"state": "locked"}
        with pytest.raises(RefusedByPolicy, match="locked"):
            await bench.ask(KEY)
        with pytest.raises(MisuseError, match="does not know that command"):
            await bench.ask(RESOLVE, account="a@example.org")
        for _ in range(50):
            answer = await answer_to_register(port)
            if "503" in answer:
                break
        assert answer.startswith("SIP/2.0 503")
        assert "Retry-After: 30" in answer
        for wrong in ("", "zz", "00" * 31):
            with pytest.raises(MisuseError):
                await bench.ask(UNLOCK, key=wrong)
        with pytest.raises(RefusedByPolicy, match="opens nothing"):
            await bench.ask(UNLOCK, key="00" * 32)
        assert bench.daemon.locked
        opened = directory_of(bench.directory).unlock(PASSPHRASE)
        assert await bench.ask(UNLOCK, key=opened.vault.key.hex()) == {"state": "unlocked"}
        await bench.until("starting", 2)
        assert (await answer_to_register(port)).startswith("SIP/2.0 401")
        assert await bench.ask(STATUS) == {"state": "unlocked"}
        with pytest.raises(MisuseError, match="not locked"):
            await bench.ask(UNLOCK, key=opened.vault.key.hex())
    assert [event for event in bench.told if "lock" in event] == ["locked", "unlocked"]


async def test_damage_to_the_list_of_parts_keeps_no_owner_out_of_a_locked_agent(bench: Bench) -> None:
    """Whole parts open without it, and whoever opens the vault is told."""
    async with bench.running():
        assert bench.files is not None
        # What a vault never had would be missing now, as at any start: nobody knows whether it had.
        bench.files.write(CONTACTS_FILE, write_book(Book()))
        bench.files.write(GROUPS_FILE, b"{}")
        ZidCache(bench.files, CLOCK, ENTROPY).own_phone()
        await bench.ask(LOCK)
        opened = directory_of(bench.directory).unlock(PASSPHRASE)
        for name in (ROLL, f"{ROLL}.copy"):
            flip(opened.path / opened.vault.file_name(name))
        with pytest.raises(RefusedByPolicy, match="opens nothing"):
            await bench.ask(UNLOCK, key="00" * 32)
        assert await bench.ask(UNLOCK, key=opened.vault.key.hex()) == {"state": "unlocked"}
        assert bench.told[-2:] == ["unlocked", "damaged"]
        await bench.until("starting", 2)
        assert await bench.ask(STATUS) == {"state": "unlocked"}


async def test_a_copy_of_the_list_that_is_put_aside_while_it_runs_is_told(bench: Bench) -> None:
    async with bench.running():
        assert bench.files is not None
        flip(bench.files.path / bench.files.vault.file_name(ROLL))
        bench.files.write("domains.json", b"{}")
        await bench.until("damaged")


async def test_a_call_is_not_ended_by_a_lock(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench.running():
        monkeypatch.setattr(Agent, "in_call", property(lambda self: True))
        with pytest.raises(RefusedByPolicy, match="a call is on"):
            await bench.ask(LOCK)
        assert not bench.daemon.locked


async def test_without_a_call_or_a_command_it_locks_itself(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path / "state", port, VaultSettings(lock_after=0.01))
    monkeypatch.setattr("relay.agent.daemon.LOOK_EVERY", 0.05)
    monkeypatch.setattr(Agent, "in_call", property(lambda self: True))
    async with bench.running():
        await asyncio.sleep(1.0)
        assert "locked" not in bench.told
        monkeypatch.setattr(Agent, "in_call", property(lambda self: False))
        for _ in range(4):
            await asyncio.sleep(0.25)
            await bench.ask(KEY)
        assert "locked" not in bench.told
        await bench.until("locked")


async def test_a_wipe_ends_it_at_once_and_leaves_no_key(bench: Bench) -> None:
    async with bench.running() as task:
        assert bench.files is not None
        key = bench.files.vault.key
        assert await bench.ask(WIPE) == {"state": "wiped"}
        assert key == bytes(32)
        await asyncio.wait_for(task, 3.0)
    assert bench.told[-1] == "wiped"


async def test_a_wipe_ends_a_locked_one(bench: Bench) -> None:
    async with bench.running() as task:
        await bench.ask(LOCK)
        await bench.ask(WIPE)
        await asyncio.wait_for(task, 3.0)


async def test_what_is_in_the_clear_has_no_key_and_no_lock(tmp_path: Path, port: int) -> None:
    bench = Bench(tmp_path / "state", port, VaultSettings(sealed=False), sealed=False)
    async with bench.running():
        assert await bench.ask(STATUS) == {"state": "plain"}
        for command in (LOCK, KEY, UNLOCK):
            with pytest.raises((MisuseError, RefusedByPolicy)):
                await bench.ask(command)
    assert (bench.directory / "identity.key").exists()


async def test_what_no_passphrase_opens_again_is_not_locked(tmp_path: Path, port: int) -> None:
    bench = Bench(tmp_path / "state", port, VaultSettings(lock_after=1.0))
    bench.daemon = Daemon(
        msgspec.structs.replace(bench.settings, vault=VaultSettings(lock_after=0.001)),
        CLOCK,
        ENTROPY,
        bench.report,
        files=bench.files,
        lockable=False,
    )
    async with bench.running():
        assert await bench.ask(STATUS) == {"state": "amnesic"}
        with pytest.raises(MisuseError, match="end the agent instead"):
            await bench.ask(LOCK)
        await asyncio.sleep(0.3)
        assert "locked" not in bench.told


async def test_a_damaged_part_ends_it_with_its_name(bench: Bench) -> None:
    assert isinstance(bench.files, SealedFiles)
    bench.files.write("contacts.json", b"{}")
    path = bench.files.path / bench.files.vault.file_name("contacts.json")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ConfigurationError, match=r"'contacts.json' of the vault is damaged"):
        await bench.daemon.run()
    assert bench.told == ["damaged"]
