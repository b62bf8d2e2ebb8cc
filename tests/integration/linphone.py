"""A phone that speaks ZRTP: Debian's linphonec without a sound card, told what to do on its standard input."""

import asyncio
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from relay.core import Child, Clock, spawn
from relay.lab.audio import Sound, compare, read_wav

_SAS = re.compile(r"fully encrypted and auth token is (\S+)\.")
_QUIT_SECONDS = 3.0
_LONGEST_SPEECH = 60.0
_LEAST_SPEECH = 1.5

_CONFIGURATION = """\
[sip]
sip_port={sip_port}
sip_tcp_port={sip_port}
sip_tls_port=0
bind_address=127.0.0.1
use_ipv6=0
ipv6_migration_done=1
guess_hostname=0
default_proxy=0
media_encryption={encryption}
media_encryption_mandatory={mandatory:d}
[rtp]
audio_rtp_port={rtp_port}
[sound]
echocancellation=0
[video]
capture=0
display=0
[proxy_0]
reg_proxy=<sip:{server};transport={transport}>
reg_identity=sip:{user}@{server}
{route}reg_expires=60
reg_sendregister=1
publish=0
[auth_info_0]
username={user}
passwd={password}
"""
_WITHOUT_OPUS = """\
[audio_codec_0]
mime=PCMU
rate=8000
channels=1
enabled=1
[audio_codec_1]
mime=PCMA
rate=8000
channels=1
enabled=1
[audio_codec_2]
mime=opus
rate=48000
channels=2
enabled=0
"""


@dataclass(frozen=True, slots=True)
class LinphoneAccount:
    """How it registers, at `server` ("host:port"), and from which ports it talks.

    Without `opus` it has G.711 alone; with `mandatory` it has no call in the clear.  Not `routed`, as it comes, it goes
    by itself to whatever host is dialled.
    """

    user: str
    password: str
    server: str
    sip_port: int
    rtp_port: int
    encryption: str = "zrtp"
    mandatory: bool = False
    opus: bool = True
    routed: bool = True
    transport: str = "tcp"


def hears(ear: Sound, microphone: Path) -> float:
    """Correlation of what was heard with what was said into a microphone, whenever that was."""
    spoken = read_wav(microphone)
    found = compare(
        Sound(spoken.samples, spoken.rate, ear.start - _LONGEST_SPEECH),
        ear,
        longest_delay=2 * _LONGEST_SPEECH,
    )
    assert found is not None
    assert found.compared_seconds > _LEAST_SPEECH
    return found.correlation


class Linphone:
    """One linphonec process.  It says `microphone` and writes down what it hears; it takes a call by itself."""

    def __init__(self, account: LinphoneAccount, microphone: Path, directory: Path, clock: Clock) -> None:
        self.account = account
        self.microphone = microphone
        self.recording = directory / "heard.wav"
        self._directory = directory
        self._clock = clock
        self._child: Child | None = None
        # It makes neither of them itself, and does without what it would keep there.
        for place in (".local/share/linphone", ".config/linphone"):
            (directory / place).mkdir(parents=True)
        (directory / "rc").write_text(
            _CONFIGURATION.format(
                user=account.user,
                password=account.password,
                server=account.server,
                sip_port=account.sip_port,
                rtp_port=account.rtp_port,
                encryption=account.encryption,
                mandatory=account.mandatory,
                transport=account.transport,
                route=(
                    f"reg_route=<sip:{account.server};transport={account.transport};lr>\n"
                    if account.routed
                    else ""
                ),
            )
            + ("" if account.opus else _WITHOUT_OPUS)
        )

    async def start(self) -> None:
        """Start it; it registers by itself."""
        files = ["-c", str(self._directory / "rc"), "-d", "6", "-l", str(self._directory / "log")]
        with (self._directory / "out").open("wb") as out:
            self._child = spawn(
                ["linphonec", "-a", *files],
                environment={**os.environ, "HOME": str(self._directory)},
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
            )
        await self.wait_for("linphonec>", timeout=15)
        self.command("soundcard use files")
        self.command(f"record {self.recording}")
        self.command(f"play {self.microphone}")

    def command(self, line: str) -> None:
        """Type a line."""
        assert self._child is not None
        assert self._child.stdin is not None
        self._child.stdin.write(line.encode() + b"\n")
        self._child.stdin.flush()

    @property
    def printed(self) -> str:
        return (self._directory / "out").read_text(errors="replace")

    @property
    def log(self) -> str:
        return (self._directory / "log").read_text(errors="replace")

    async def wait_for(self, text: str, *, timeout: float) -> None:
        """Until it printed `text`."""
        deadline = self._clock.monotonic() + timeout
        while text not in self.printed:
            assert self._clock.monotonic() < deadline, f"linphonec never printed '{text}': {self.printed}"
            await asyncio.sleep(0.05)

    async def wait_sas(self, count: int, *, timeout: float) -> str:
        """What it shows its user to read out in call number `count`."""
        deadline = self._clock.monotonic() + timeout
        while len(shown := _SAS.findall(self.printed)) < count:
            assert self._clock.monotonic() < deadline, f"linphonec shows nothing to compare: {self.printed}"
            await asyncio.sleep(0.05)
        return str(shown[count - 1])

    def dial(self, whom: str) -> None:
        """Call a name at the agent, or a URI."""
        self.command(f"call {whom}")

    def hang_up(self) -> None:
        self.command("terminate")

    async def close(self) -> None:
        """Quit, which hangs up; or be ended."""
        if self._child is None or self._child.poll() is not None:
            return
        self.command("quit")
        try:
            await asyncio.to_thread(self._child.wait, _QUIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
