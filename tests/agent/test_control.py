"""The door for commands: who asks, what is said meanwhile, what comes of it, and what does no harm."""

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.agent import control
from relay.agent.control import (
    SOCKET,
    ControlServer,
    Handler,
    Request,
    Stage,
    agent_process,
    ask,
    read_request,
)
from relay.agent.state import StateDirectory
from relay.core import (
    BayonneError,
    ConfigurationError,
    MisuseError,
    PeerError,
    RefusedByPolicy,
    TransportUnavailable,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Longer than the kernel lets the path of a socket be."""
    found = tmp_path / ("d" * 120)
    found.mkdir(mode=0o700)
    return found


@contextlib.asynccontextmanager
async def open_door(directory: Path, **handlers: Handler) -> AsyncIterator[None]:
    task = asyncio.create_task(ControlServer(directory, handlers).run())
    await asyncio.sleep(0.01)
    assert not task.done()
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def greet(arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
    stage("looking up")
    await asyncio.sleep(0)
    stage("nearly there")
    return {"greeting": f"hello {arguments['name']}"}


async def raw(directory: Path, sent: bytes) -> bytes:
    with control._short(directory) as path:
        reader, writer = await asyncio.open_unix_connection(path)
    writer.write(sent)
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_a_command_hears_what_goes_on_and_what_comes_of_it(directory: Path) -> None:
    heard: list[str] = []
    async with open_door(directory, greet=greet):
        assert stat.S_IMODE((directory / SOCKET).stat().st_mode) == 0o600
        answer = await ask(directory, "greet", {"name": "bob"}, heard.append)
    assert answer == {"greeting": "hello bob"}
    assert heard == ["looking up", "nearly there"]
    assert not (directory / SOCKET).exists()


@pytest.mark.parametrize(
    "error",
    [
        MisuseError("wrongly called"),
        ConfigurationError("key: wrong"),
        TransportUnavailable("Tor is away"),
        RefusedByPolicy("no"),
        PeerError("bad answer", "RFC 1 section 2"),
    ],
)
async def test_what_the_agent_raises_the_command_raises(directory: Path, error: BayonneError) -> None:
    async def fail(arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
        raise error

    async with open_door(directory, fail=fail):
        with pytest.raises(type(error)) as raised:
            await ask(directory, "fail", {}, print)
    assert type(raised.value) is type(error)
    assert str(raised.value) == str(error)


async def test_without_an_agent_the_next_step_is_said(directory: Path) -> None:
    for place in (directory, directory / "nowhere"):
        with pytest.raises(TransportUnavailable, match="start 'bayonne agent'"):
            await ask(place, "greet", {}, print)


async def test_the_socket_of_a_killed_agent_makes_room(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left, control._short(directory) as path:
        left.bind(path)
    with pytest.raises(TransportUnavailable, match="no agent runs"):
        await ask(directory, "greet", {}, print)
    async with open_door(directory, greet=greet):
        assert await ask(directory, "greet", {"name": "bob"}, lambda _: None)


async def test_who_gives_up_ends_the_work(directory: Path) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work(arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return {}

    async with open_door(directory, work=work):
        asking = asyncio.create_task(ask(directory, "work", {}, print))
        await begun.wait()
        asking.cancel()
        async with asyncio.timeout(5):
            await ended.wait()


async def test_an_agent_that_ends_breaks_off(directory: Path) -> None:
    begun = asyncio.Event()

    async def work(arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
        begun.set()
        await asyncio.Event().wait()
        return {}

    async with open_door(directory, work=work):
        asking = asyncio.create_task(ask(directory, "work", {}, print))
        await begun.wait()
    with pytest.raises(TransportUnavailable, match="broke off"):
        await asking
    async with open_door(directory, work=work):
        with pytest.raises(TransportUnavailable, match="in time"):
            await ask(directory, "work", {}, print, seconds=0.05)


async def test_a_fault_of_ours_says_nothing_of_what_was_asked(
    directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def broken(arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
        raise RuntimeError(arguments["name"])

    async with open_door(directory, broken=broken, greet=greet):
        with pytest.raises(TransportUnavailable, match="see its log"):
            await ask(directory, "broken", {"name": "bob-at-the-harbour"}, print)
        assert await ask(directory, "greet", {"name": "bob"}, lambda _: None)
    output = "".join(capfd.readouterr())
    assert "RuntimeError" in output
    assert "harbour" not in output


@pytest.mark.parametrize(
    "sent", [b"\n", b"{}\n", b"[]\n", b"\xff\n", b'{"command": 1}\n', b"[" * 9000 + b"\n", b"a" * 40000]
)
async def test_nonsense_is_one_sentence(directory: Path, sent: bytes) -> None:
    async with open_door(directory, greet=greet):
        assert b"bad request" in await raw(directory, sent)
        assert b"another version" in await raw(directory, b'{"command": "x"}\n')


async def test_another_user_gets_nothing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_door(directory, greet=greet):
        users = iter([os.geteuid(), os.geteuid() + 1])
        monkeypatch.setattr(control, "_user_at", lambda _: next(users))
        with pytest.raises(RefusedByPolicy, match="its own user alone"):
            await ask(directory, "greet", {"name": "bob"}, print)


async def test_another_user_in_the_agents_place_is_told_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []

    async def hear(arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
        heard.append(arguments)
        return {}

    async with open_door(directory, hear=hear):
        monkeypatch.setattr(control, "_user_at", lambda _: os.geteuid() + 1)
        with pytest.raises(RefusedByPolicy, match="another user's; nothing was asked of it"):
            await ask(directory, "hear", {"key": "secret"}, print)
        monkeypatch.undo()
        await ask(directory, "hear", {"key": "secret"}, print)
    assert heard == [{"key": "secret"}]


async def test_only_so_many_at_once(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MOST_AT_ONCE", 1)
    begun = asyncio.Event()

    async def work(arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
        begun.set()
        await asyncio.Event().wait()
        return {}

    async with open_door(directory, work=work):
        asking = asyncio.create_task(ask(directory, "work", {}, print))
        await begun.wait()
        with pytest.raises(RefusedByPolicy, match="too many"):
            await ask(directory, "work", {}, print)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_a_line_is_a_request_or_the_asker_s_fault(line: bytes) -> None:
    with contextlib.suppress(PeerError):
        assert isinstance(read_request(line), Request)


# -- who runs there ------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The door of an agent that takes nobody in, with as many before it as the kernel lets wait."""
    monkeypatch.chdir(directory)
    with contextlib.ExitStack() as open_:
        door = open_.enter_context(socket.socket(socket.AF_UNIX))
        door.bind(SOCKET)
        door.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting = open_.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(SOCKET)
        yield


@pytest.mark.usefixtures("stopped")
def test_an_agent_that_answers_nobody_is_found_all_the_same_and_at_once(directory: Path) -> None:
    state = StateDirectory(directory)
    state.claim()
    assert agent_process(directory) == os.getpid()
    state.release()
    with pytest.raises(TransportUnavailable, match="answers nobody"):
        agent_process(directory)


def test_an_agent_whose_socket_was_removed_is_found_by_its_claim(directory: Path) -> None:
    state = StateDirectory(directory)
    state.claim()
    assert agent_process(directory) == os.getpid()
    state.release()
    assert agent_process(directory) is None


def test_nobody_is_taken_for_an_agent_by_a_link_or_as_another_user(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks may be root, and about to kill it."""
    other = tmp_path / "other"
    other.mkdir()
    (other / SOCKET).symlink_to(directory / SOCKET)
    monkeypatch.chdir(directory)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(SOCKET)
        door.listen()
        assert agent_process(directory) == os.getpid()
        assert agent_process(other) is None
        found = list(directory.stat())
        found[4] += 1
        monkeypatch.setattr(Path, "stat", lambda path: os.stat_result(found))
        assert agent_process(directory) == os.getpid(), "it is ours"
        monkeypatch.setattr("relay.agent.control.os.geteuid", lambda: found[4])
        found[4] += 1
        with pytest.raises(RefusedByPolicy, match="another user's"):
            agent_process(directory)
