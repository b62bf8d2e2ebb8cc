"""The running agent's door for commands of its owner: a unix socket in the state directory.

One request a connection: a line of JSON in; then lines that say what is going on, and one last line with the outcome.
Whoever may read the state may ask, and nobody else: the directory is its owner's, and the kernel says who asks.
"""

import asyncio
import contextlib
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from relay.agent.state import claimant
from relay.core import (
    BayonneError,
    ConfigurationError,
    MisuseError,
    PeerError,
    RefusedByPolicy,
    TransportUnavailable,
    get_logger,
)

SOCKET = "agent.socket"
"""Its name in the state directory."""
MOST_AT_ONCE = 8
LINE_LIMIT = 16384
"""Bytes of a request or a reply."""
REQUEST_SECONDS = 10.0
"""How long somebody who connected takes to ask."""
ANSWER_SECONDS = 240.0
"""How long a command waits for what its agent does."""

_CREDENTIALS = struct.Struct("3i")
_FAMILY: dict[str, type[BayonneError]] = {
    "configuration": ConfigurationError,
    "misuse": MisuseError,
    "peer": PeerError,
    "transport": TransportUnavailable,
    "refused": RefusedByPolicy,
}

Stage = Callable[[str], None]
"""Takes a few words on what goes on now."""
Handler = Callable[[Mapping[str, str], Stage], Awaitable[Mapping[str, str]]]
"""Does what a command asks for; raises what the asker is to be told."""

_log = get_logger("control")


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be done."""

    command: str
    arguments: dict[str, str] = msgspec.field(default_factory=dict)


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line back: either what goes on (`stage`), or, at last, what came of it (`done`), or why not (`failed`, of
    the kind of error `kind`)."""

    stage: str = ""
    done: dict[str, str] | None = None
    failed: str = ""
    kind: str = ""


def read_request(line: bytes) -> Request:
    """Raises `PeerError`."""
    try:
        return msgspec.json.decode(line, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise PeerError("bad request") from None


class ControlServer:
    """Takes requests while the agent runs; `handlers` are by the name of the command."""

    def __init__(self, directory: Path, handlers: Mapping[str, Handler]) -> None:
        self._directory = directory
        self._handlers = handlers
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled; the socket goes with it.  Raises `ConfigurationError`."""
        server = await asyncio.start_unix_server(
            self._connected, sock=_listening(self._directory), limit=LINE_LIMIT
        )
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            (self._directory / SOCKET).unlink(missing_ok=True)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            reply = await self._answer(reader, writer)
            if reply is not None:
                writer.write(_line(reply))
                await writer.drain()
        except OSError:
            pass  # whoever asked is gone
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Reply | None:
        """What became of the request; None where nobody waits for it any more."""
        try:
            if _user_at(writer) != os.geteuid():
                raise RefusedByPolicy("an agent takes commands of its own user alone")
            if len(self._tasks) > MOST_AT_ONCE:
                raise RefusedByPolicy("the agent has too many commands at once; try again")
            request = await _read(reader)
            handler = self._handlers.get(request.command)
            if handler is None:
                raise MisuseError("the running agent does not know that command; is it of another version?")
            return await _unless_gone(
                reader, handler(request.arguments, lambda words: writer.write(_line(Reply(stage=words))))
            )
        except BayonneError as error:
            return _failure(error)
        except Exception as error:  # a fault of ours must neither end the agent nor show what was asked
            _log.error("a command failed", kind=type(error).__name__)
            return _failure(TransportUnavailable("the agent could not do that; see its log"))


class NobodyThere(TransportUnavailable):
    """No agent runs on that state."""


async def ask(
    directory: Path,
    command: str,
    arguments: Mapping[str, str],
    stage: Stage,
    *,
    seconds: float = ANSWER_SECONDS,
) -> dict[str, str]:
    """Have the agent that runs on the state in `directory` do `command`; `stage` hears what goes on.

    Raises what the agent raised, `NobodyThere` where none runs, and `RefusedByPolicy` where another user's answers.
    """
    try:
        with _short(directory) as path:
            reader, writer = await asyncio.open_unix_connection(path, limit=LINE_LIMIT)
    except OSError:
        raise NobodyThere(
            "no agent runs on this configuration; start 'bayonne agent' with it, and try again"
        ) from None
    try:
        if _user_at(writer) != os.geteuid():
            # A directory that others can write to: what is asked may hold a key.
            raise RefusedByPolicy(
                "what answers there in the agent's place is another user's; nothing was asked of it"
            )
        async with asyncio.timeout(seconds):
            writer.write(msgspec.json.encode(Request(command, dict(arguments))) + b"\n")
            return await _outcome(reader, stage)
    except TimeoutError:
        raise TransportUnavailable("the agent did not answer in time; try again") from None
    except (OSError, ValueError, msgspec.DecodeError):
        raise TransportUnavailable("the agent broke off; see what it says, and try again") from None
    finally:
        writer.close()


def agent_process(directory: Path) -> int | None:
    """The number of the process of the agent that runs on the state in `directory`; None where none does.

    Waits for nobody: one that is stopped answers no more, and whoever asks may be about to kill it.  Raises
    `TransportUnavailable` where one runs whose number nobody tells, `RefusedByPolicy` where what answers is neither
    ours nor the directory's owner's.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            with _short(directory) as path:
                # A link would lead to who knows whose.
                if not stat.S_ISSOCK(os.lstat(path).st_mode):
                    return claimant(directory)
                probe.connect(path)
        except BlockingIOError:
            # More wait to be answered than the kernel lets.
            found = claimant(directory)
            if found is None:
                raise TransportUnavailable("an agent that answers nobody runs there; end it") from None
            return found
        except OSError:
            return claimant(directory)
        credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(credentials)
    if user not in (os.geteuid(), directory.stat().st_uid):
        raise RefusedByPolicy("what answers there in an agent's place is another user's, and goes on")
    if not process:
        raise TransportUnavailable("the agent that runs there is in another container; end it there")
    return int(process)


async def _outcome(reader: asyncio.StreamReader, stage: Stage) -> dict[str, str]:
    while True:
        reply = msgspec.json.decode(await reader.readline(), type=Reply)
        if reply.done is not None:
            return reply.done
        if reply.failed:
            raise _FAMILY.get(reply.kind, TransportUnavailable)(reply.failed)
        stage(reply.stage)


async def _read(reader: asyncio.StreamReader) -> Request:
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            return read_request(await reader.readline())
    except (TimeoutError, ValueError):
        raise PeerError("bad request") from None


async def _unless_gone(reader: asyncio.StreamReader, work: Awaitable[Mapping[str, str]]) -> Reply | None:
    """Do `work` as long as somebody waits for it."""
    doing = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait((doing, gone), return_when=asyncio.FIRST_COMPLETED)
        return Reply(done=dict(doing.result())) if doing.done() else None
    finally:
        for task in (doing, gone):
            task.cancel()
        await asyncio.gather(doing, gone, return_exceptions=True)


def _failure(error: BayonneError) -> Reply:
    kind = next((name for name, family in _FAMILY.items() if isinstance(error, family)), "")
    return Reply(failed=str(error), kind=kind)


def _line(reply: Reply) -> bytes:
    return msgspec.json.encode(reply) + b"\n"


def _user_at(writer: asyncio.StreamWriter) -> int:
    """The user at the other end, as the kernel has it (unix(7), SO_PEERCRED)."""
    found = writer.get_extra_info("socket").getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
    )
    return int(_CREDENTIALS.unpack(found)[1])


def _listening(directory: Path) -> socket.socket:
    """The socket in its place; one that a killed agent left makes room: its directory was claimed before."""
    (directory / SOCKET).unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(directory) as path:
            made.bind(path)
        (directory / SOCKET).chmod(0o600)
    except OSError as error:
        made.close()
        raise ConfigurationError(
            f"state_directory: cannot hold a socket ({error.strerror}); choose another"
        ) from None
    return made


@contextlib.contextmanager
def _short(directory: Path) -> Iterator[str]:
    """The socket's path, however long its directory's is: the kernel takes 107 bytes (unix(7))."""
    opened = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{opened}/{SOCKET}"
    finally:
        os.close(opened)
