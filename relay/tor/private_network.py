"""A private Tor network on loopback: real tor processes for demo, tests and research.

Four relays are the least with which onion services work, one of them the authority.  The members vote the
first consensus seven seconds after the start, when every relay has introduced itself; a vote any earlier
costs a whole interval.
"""

import asyncio
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from relay.core import Clock, MisuseError, TransportUnavailable
from relay.tor.network_file import NETWORK_FILE, NetworkFile, network_options
from relay.tor.process import TorProcess, find_executable
from relay.tor.supervision import Claim, ProcessIdentity

FIRST_CONSENSUS = 7.0
VOTING_INTERVAL = 20
UP_SECONDS = 60.0

_V3IDENT = re.compile(r"^fingerprint (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class NetworkStatus:
    """What `bayonne testnet status` shows."""

    running: bool
    relays: int
    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    address: str
    or_port: int
    process: TorProcess


class PrivateNetwork:
    """The network in `directory`; `relays` counts the ones besides the authority."""

    def __init__(self, directory: Path, *, clock: Clock, relays: int = 3, executable: str = "tor") -> None:
        if relays < 3:
            raise MisuseError("a private network needs at least 3 relays: fewer reach no onion service")
        self.directory = directory.absolute()
        self._clock = clock
        self._executable = executable
        self._claim = Claim(self.directory)
        self._directory_port = free_port("127.0.1.1")
        self._members = [self._member("authority", "127.0.1.1")]
        self._members += [self._member(f"relay{n}", f"127.0.2.{n}") for n in range(1, relays + 1)]

    async def up(self, progress: Callable[[str], None] = lambda _stage: None) -> None:
        """Start it and wait for the first consensus.

        Raises `TransportUnavailable` or `ConfigurationError`; nothing is left running then.
        """
        self._claim.take()
        try:
            progress("making keys")
            line = await asyncio.to_thread(self._prepare)
            progress("starting relays")
            self._start(line)
            progress("waiting for the relays' first vote")
            await self._wait_consensus()
            self._network_file(line).write(self.directory)
        except BaseException:
            await self.down()
            raise

    async def down(self) -> None:
        """Stop every member.  May be called twice."""
        if self._claim.held:
            (self.directory / NETWORK_FILE).unlink(missing_ok=True)
        await asyncio.gather(*(member.process.stop() for member in self._members))
        self._claim.release()

    def status(self) -> NetworkStatus:
        pids = tuple(
            member.process.pid for member in self._members if member.process.running and member.process.pid
        )
        return NetworkStatus(len(pids) == len(self._members), len(self._members), pids)

    async def wait_lost(self) -> str:
        """Return the name of the first member that ended by itself."""
        watches = [
            asyncio.create_task(member.process.wait_ended(), name=member.name) for member in self._members
        ]
        try:
            done, _ = await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
            return min(watch.get_name() for watch in done)
        finally:
            for watch in watches:
                watch.cancel()

    def _member(self, name: str, address: str) -> _Member:
        process = TorProcess(self.directory / name, self._executable, self._clock)
        return _Member(name, address, free_port(address), process)

    def _prepare(self) -> str:
        """Fresh directories and the authority's keys; the DirAuthority line."""
        (self.directory / NETWORK_FILE).unlink(missing_ok=True)
        for member in self._members:
            shutil.rmtree(member.process.directory, ignore_errors=True)
            member.process.directory.mkdir(mode=0o700)
        authority = self._members[0]
        v3ident = self._authority_keys(authority)
        fingerprint = self._fingerprint(authority)
        return (
            f"DirAuthority {authority.name} orport={authority.or_port} no-v2 v3ident={v3ident} "
            f"{authority.address}:{self._directory_port} {fingerprint}"
        )

    def _authority_keys(self, authority: _Member) -> str:
        keys = authority.process.directory / "keys"
        keys.mkdir(mode=0o700)
        tor = Path(find_executable(self._executable))
        beside = tor.with_name("tor-gencert")
        gencert = str(beside) if beside.exists() else find_executable("tor-gencert")
        arguments = [gencert, "--create-identity-key", "-m", "24", "--passphrase-fd", "0"]
        arguments += ["-a", f"{authority.address}:{self._directory_port}"]
        for option, name in (("-i", "identity_key"), ("-s", "signing_key"), ("-c", "certificate")):
            arguments += [option, str(keys / f"authority_{name}")]
        _run(arguments, stdin=b"private network\n")
        found = _V3IDENT.search((keys / "authority_certificate").read_text())
        if found is None:
            raise TransportUnavailable("tor-gencert made no certificate")
        return found.group(1)

    def _fingerprint(self, member: _Member) -> str:
        directory = member.process.directory
        nothing = directory / "torrc-defaults"
        nothing.write_text("")
        # Keys are made with a stand-in authority line: the real one needs this very fingerprint.
        stand_in = "x 127.0.0.1:1 " + "F" * 40
        arguments = [find_executable(self._executable), "--list-fingerprint", "--quiet"]
        arguments += ["-f", str(nothing), "--defaults-torrc", str(nothing), "--DataDirectory", str(directory)]
        arguments += ["--ORPort", "1", "--Nickname", member.name, "--TestingTorNetwork", "1"]
        _run([*arguments, "--DirAuthority", stand_in])
        try:
            return (directory / "fingerprint").read_text().split()[1]
        except (OSError, IndexError):
            program = Path(self._executable).name
            raise TransportUnavailable(f"'{program}' made no relay's keys; is it tor?") from None

    def _start(self, line: str) -> None:
        first_vote = int(self._clock.wall() + FIRST_CONSENSUS + 0.999)
        offset = first_vote % VOTING_INTERVAL
        for member in self._members:
            options = [*network_options(line, len(self._members) - 1), *_relay_options(member)]
            if member is self._members[0]:
                options += _authority_options(f"{member.address}:{self._directory_port}", offset)
            member.process.start(options)

    async def _wait_consensus(self) -> None:
        authority = self._members[0]
        consensus = authority.process.directory / "cached-microdesc-consensus"
        deadline = self._clock.monotonic() + UP_SECONDS
        while True:
            if consensus.exists() and consensus.read_text().count("\nr ") >= len(self._members):
                return
            for member in self._members:
                if not member.process.running:
                    raise TransportUnavailable(f"{member.name} ended; its log is {member.name}/tor.log")
            if self._clock.monotonic() > deadline:
                raise TransportUnavailable("the relays agreed on no consensus; is this machine overloaded?")
            await asyncio.sleep(0.1)

    def _network_file(self, line: str) -> NetworkFile:
        return NetworkFile(
            authority=line,
            seed=str(self._members[0].process.directory),
            directory_host=self._members[0].address,
            directory_port=self._directory_port,
            relays=len(self._members) - 1,
            supervisor=ProcessIdentity.of(os.getpid()),
            members={member.name: ProcessIdentity.of(member.process.pid or 0) for member in self._members},
            started_at=self._clock.wall(),
        )


def _relay_options(member: _Member) -> list[str]:
    return [
        f"Nickname {member.name}",
        f"Address {member.address}",
        f"ORPort {member.address}:{member.or_port}",
        "SocksPort 0",
        "AssumeReachable 1",
        "ExitRelay 0",
        "ExitPolicy reject *:*",
    ]


def _authority_options(directory: str, offset: int) -> list[str]:
    return [
        f"DirPort {directory}",
        "ContactInfo private network on loopback",
        "AuthoritativeDirectory 1",
        "V3AuthoritativeDirectory 1",
        f"TestingV3AuthInitialVotingInterval {VOTING_INTERVAL}",
        "TestingV3AuthInitialVoteDelay 2",
        "TestingV3AuthInitialDistDelay 2",
        f"TestingV3AuthVotingStartOffset {offset}",
        f"V3AuthVotingInterval {VOTING_INTERVAL}",
        "V3AuthVoteDelay 2",
        "V3AuthDistDelay 2",
        "TestingDirAuthVoteExit *",
        "TestingDirAuthVoteGuard *",
        "TestingDirAuthVoteHSDir *",
        "TestingMinExitFlagThreshold 0",
        "AuthDirTestReachability 0",
    ]


def free_port(address: str) -> int:
    """A TCP port that is free on `address` right now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def _run(arguments: list[str], *, stdin: bytes = b"") -> None:
    done = subprocess.run(arguments, input=stdin, capture_output=True, timeout=60, check=False)
    if done.returncode:
        raise TransportUnavailable(f"{Path(arguments[0]).name} failed; is it the one that came with tor?")
