"""A real softphone without a head: baresip, configured, started, steered and listened to.

Steered over its `ctrl_tcp` module (JSON in netstrings), which also reports calls; microphone from a WAV
file, both directions dumped by its `sndfile` module (relay/lab/ear.py says what is made of them).  It dies
with this process.
"""

import asyncio
import json
import math
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from relay.core import Child, Clock, PeerError, TransportUnavailable, spawn
from relay.lab.audio import Sound
from relay.lab.ear import as_heard, as_spoken, dated_frames
from relay.lab.growth import Growth, GrowthWatch

OPUS, G722, PCMA, PCMU = "opus/48000/1", "G722/16000/1", "PCMA/8000/1", "PCMU/8000/1"

_USUAL_MODULES = "/usr/lib/baresip/modules"
_LONGEST_NETSTRING = 65536
_START_LIMIT = 10.0
_COMMAND_LIMIT = 5.0
_QUIT_LIMIT = 1.5


@dataclass(frozen=True, slots=True)
class Account:
    """How the softphone is known: registered at `server` ("host:port"), or (empty) reachable directly.

    A registered one sends all that it has to send to `server`, whatever host is dialled; another asks for that host and
    goes there.
    """

    user: str
    password: str = ""
    server: str = ""
    transport: Literal["udp", "tcp"] = "udp"
    answer: Literal["auto", "manual"] = "manual"
    codecs: tuple[str, ...] = (OPUS,)
    """All that it speaks, by baresip's names."""


@dataclass(frozen=True, slots=True)
class PhoneReport:
    """Something baresip reported, in its own word (CALL_ESTABLISHED, ...), and when (monotonic)."""

    at: float
    kind: str
    detail: str = ""


class Softphone:
    """One baresip process."""

    def __init__(
        self,
        account: Account,
        microphone: Path,
        directory: Path,
        clock: Clock,
        environment: Mapping[str, str],
        *,
        host: str = "127.0.0.1",
    ) -> None:
        self.account = account
        self.microphone = microphone
        self.sip_port = _free_port(host, socket.SOCK_DGRAM)
        self.reports: asyncio.Queue[PhoneReport] = asyncio.Queue()
        self.history: list[PhoneReport] = []
        self.host = host
        self._directory = directory
        self._clock = clock
        self._control_port = _free_port(host, socket.SOCK_STREAM)
        self._environment = dict(environment)
        self._child: Child | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._answers: dict[str, asyncio.Future[str]] = {}
        self._commands = 0
        self._sounds = directory / "sounds"
        self._sounds.mkdir(parents=True, exist_ok=True)
        self._watch = GrowthWatch(self._sounds, clock)
        modules = environment.get("BARESIP_MODULES") or _USUAL_MODULES
        (directory / "config").write_text(self._configuration(microphone, modules))
        (directory / "accounts").write_text(f"{account_line(account, host, self.sip_port)}\n")
        (directory / "contacts").write_text("")

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    async def start(self) -> None:
        """Start baresip and connect to its control port.  Raises `TransportUnavailable`."""
        with (self._directory / "baresip.log").open("wb") as log:
            environment = {**self._environment, "HOME": str(self._directory)}
            self._child = spawn(
                ["baresip", "-f", str(self._directory)], environment=environment, stdout=log, stderr=log
            )
        deadline = self._clock.monotonic() + _START_LIMIT
        while True:
            try:
                reader, self._writer = await asyncio.open_connection(self.host, self._control_port)
                break
            except OSError:
                if self._child.poll() is not None or self._clock.monotonic() > deadline:
                    raise TransportUnavailable(
                        "the softphone did not start; its baresip.log says why"
                    ) from None
                await asyncio.sleep(0.05)
        self._reading = asyncio.create_task(self._read(reader))

    async def command(self, name: str, parameters: str = "") -> str:
        """Run one of baresip's commands; returns what it printed."""
        if self._writer is None:
            raise TransportUnavailable("the softphone is not running")
        self._commands += 1
        token = str(self._commands)
        request = {"command": name, "params": parameters, "token": token}
        if not parameters:
            del request["params"]
        text = json.dumps(request).encode()
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answers[token] = answer
        self._writer.write(b"%d:%s," % (len(text), text))
        try:
            return await asyncio.wait_for(answer, _COMMAND_LIMIT)
        except TimeoutError:
            raise TransportUnavailable(f"the softphone did not answer the command '{name}'") from None
        finally:
            self._answers.pop(token, None)

    async def dial(self, whom: str) -> None:
        await self.command("dial", whom)

    async def accept(self) -> None:
        await self.command("accept")

    async def hang_up(self) -> None:
        await self.command("hangup")

    async def press(self, keys: str) -> None:
        """Press keys during a call, one after the other."""
        await self.command("sndcode", keys)

    async def wait_for(self, *kinds: str, timeout: float) -> PhoneReport:
        """The next report of one of these kinds; others before it are passed over.  Raises `TimeoutError`."""
        async with asyncio.timeout(timeout):
            while True:
                report = await self.reports.get()
                if report.kind in kinds:
                    return report

    def copy_log(self, target: Path) -> None:
        """Keep baresip's own log; an earlier copy is replaced."""
        log = self._directory / "baresip.log"
        if log.is_file():
            shutil.copyfile(log, target)

    def spoken(self, since: float = -math.inf) -> Sound | None:
        """What the microphone really said, dated; None before there was a call.

        Of several calls the longest counts, of those that began at `since` or later.
        """
        growth = self._longest("enc", since)
        return as_spoken(dated_frames(growth)) if growth else None

    def heard(self, since: float = -math.inf) -> Sound | None:
        """What the ear really heard, dated; None before there was sound.  `since` as for `spoken`."""
        growth = self._longest("dec", since)
        return as_heard(dated_frames(growth)) if growth else None

    async def close(self) -> None:
        """Quit baresip (which hangs up), or end it when it does not."""
        if self._writer is not None and self._child is not None and self._child.poll() is None:
            quitting = asyncio.ensure_future(self.command("quit"))
            try:
                await asyncio.to_thread(self._child.wait, _QUIT_LIMIT)
            except subprocess.TimeoutExpired:
                self._child.kill()
            finally:
                quitting.cancel()
                await asyncio.gather(quitting, return_exceptions=True)
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()
        self.kill()

    def kill(self) -> None:
        """End the process at once; for exits on which nothing may be awaited."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
        if self._child is not None:
            self._child.wait()
        self._watch.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                message = json.loads(await _netstring(reader))
                if message.get("event"):
                    report = PhoneReport(
                        self._clock.monotonic(), str(message.get("type", "")), str(message.get("param", ""))
                    )
                    self.history.append(report)
                    self.reports.put_nowait(report)
                elif (answer := self._answers.get(str(message.get("token")))) and not answer.done():
                    answer.set_result(str(message.get("data", "")))
        except (asyncio.IncompleteReadError, ConnectionError, PeerError, ValueError):
            self.reports.put_nowait(PhoneReport(self._clock.monotonic(), "GONE"))

    def _longest(self, direction: str, since: float) -> Growth | None:
        files = [
            entry
            for entry in self._watch.files()
            if entry.path.name.endswith(f"-{direction}.wav") and entry.seen and entry.seen[0][0] >= since
        ]
        return max(files, key=lambda entry: entry.seen[-1][1] if entry.seen else 0, default=None)

    def _configuration(self, microphone: Path, modules: str) -> str:
        return _CONFIGURATION.format(
            host=self.host,
            sip_port=self.sip_port,
            control_port=self._control_port,
            microphone=microphone,
            modules=modules,
            sounds=self._sounds,
            transport=self.account.transport,
        )


def account_line(account: Account, host: str, port: int) -> str:
    """The line of baresip's `accounts` file."""
    parameters = f"audio_codecs={','.join(account.codecs)};ptime=20;answermode={account.answer}"
    if not account.server:
        return f"<sip:{account.user}@{host}:{port}>;regint=0;{parameters}"
    transport = f"transport={account.transport}"
    uri = f"<sip:{account.user}@{account.server};{transport}>"
    way = f'outbound="sip:{account.server};{transport}"'
    return f"{uri};auth_user={account.user};auth_pass={account.password};{way};regint=60;{parameters}"


async def _netstring(reader: asyncio.StreamReader) -> bytes:
    digits = (await reader.readuntil(b":"))[:-1]
    if not digits.isdigit() or int(digits) > _LONGEST_NETSTRING:
        raise PeerError("not a netstring")
    return (await reader.readexactly(int(digits) + 1))[:-1]


def _free_port(host: str, kind: socket.SocketKind) -> int:
    """A port that is free now; baresip must be told a number."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


_CONFIGURATION = """\
poll_method epoll
sip_listen {host}:{sip_port}
sip_trans_def {transport}
net_interface {host}
call_max_calls 4
call_local_timeout 120
audio_source aufile,{microphone}
audio_player aubridge,ear
audio_alert aubridge,alert
ausrc_srate 48000
auplay_srate 48000
ausrc_channels 1
auplay_channels 1
audio_buffer 20-160
audio_level no
rtcp_mux no
jitter_buffer_delay 0-0
rtp_stats no
module_path {modules}
module opus.so
module g722.so
module g711.so
module sndfile.so
module aubridge.so
module aufile.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen {host}:{control_port}
snd_path {sounds}
opus_bitrate 24000
opus_cbr yes
opus_stereo no
opus_sprop_stereo no
opus_inbandfec no
opus_dtx no
opus_application voip
"""
