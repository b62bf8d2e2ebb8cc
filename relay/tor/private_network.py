"""A private Tor network of real tor processes: on loopback for demo, tests and research, or at an address of this
machine that others reach, as an island's.

Four relays are the least with which onion services work, one of them the authority.  The members vote the
first consensus seven seconds after the start, when every relay has introduced itself; a vote any earlier
costs a whole interval.
"""

import asyncio
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from relay.core import Clock, MisuseError, TransportUnavailable
from relay.tor.island import IslandFile, check_address, kept_island
from relay.tor.members import (
    VOTING_INTERVAL,
    LoopbackExit,
    Member,
    authority_keys,
    authority_options,
    free_port,
    relay_fingerprint,
    relay_options,
)
from relay.tor.network_file import NETWORK_FILE, NetworkFile, network_options
from relay.tor.process import TorProcess
from relay.tor.supervision import Claim, ProcessIdentity

FIRST_CONSENSUS = 7.0
UP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class NetworkStatus:
    """What `bayonne testnet status` shows."""

    running: bool
    relays: int
    pids: tuple[int, ...]


class PrivateNetwork:
    """The network in `directory`; `relays` counts the ones besides the authority.

    With `island`, an IPv4 address of this machine, its relays listen there and `island.json` tells other machines; a
    later start in the same directory is the same island again.  With `exits` the last relay leads out of the network,
    as far as that says.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        relays: int = 3,
        executable: str = "tor",
        island: str = "",
        exits: LoopbackExit | None = None,
    ) -> None:
        if relays < 3:
            raise MisuseError("a private network needs at least 3 relays: fewer reach no onion service")
        if island:
            check_address(island)
        self.directory = directory.absolute()
        self._clock = clock
        self._executable = executable
        self._exits = exits
        self._claim = Claim(self.directory)
        self._island = bool(island)
        self._kept = kept_island(self.directory, island) if island else None
        authority_at = island or "127.0.1.1"
        self._directory_port = self._kept.directory_port if self._kept else free_port(authority_at)
        or_port = self._kept.or_port if self._kept else free_port(authority_at)
        self._members = [self._member("authority", authority_at, or_port)]
        for number in range(1, relays + 1):
            address = island or f"127.0.2.{number}"
            self._members.append(self._member(f"relay{number}", address, free_port(address)))

    async def up(self, progress: Callable[[str], None] = lambda _stage: None) -> None:
        """Start it and wait for the first consensus.

        Raises `TransportUnavailable` or `ConfigurationError`; nothing is left running then.
        """
        self._claim.take()
        try:
            progress("making keys")
            authority = await asyncio.to_thread(self._prepare)
            progress("starting relays")
            self._start(authority.authority_line)
            progress("waiting for the relays' first vote")
            await self._wait_consensus()
            if self._island:
                authority.write(self.directory)
            self._network_file(authority.authority_line).write(self.directory)
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

    def _member(self, name: str, address: str, or_port: int) -> Member:
        process = TorProcess(self.directory / name, self._executable, self._clock)
        return Member(name, address, or_port, process)

    def _prepare(self) -> IslandFile:
        """Fresh directories and the authority's keys, or those of the island that it was before."""
        (self.directory / NETWORK_FILE).unlink(missing_ok=True)
        authority = self._members[0]
        for member in self._members:
            keep = ("keys",) if member is authority and self._kept else ()
            _empty(member.process.directory, keep)
            if self._exits and member is self._members[-1]:
                self._exits.prepare(member)
        directory = f"{authority.address}:{self._directory_port}"
        return IslandFile.of(
            nickname=authority.name,
            address=authority.address,
            or_port=authority.or_port,
            directory_port=self._directory_port,
            v3ident=authority_keys(authority, directory, self._executable),
            fingerprint=relay_fingerprint(authority, self._executable),
            relays=len(self._members) - 1,
        )

    def _start(self, line: str) -> None:
        first_vote = int(self._clock.wall() + FIRST_CONSENSUS + 0.999)
        offset = first_vote % VOTING_INTERVAL
        for member in self._members:
            exits = self._exits if member is self._members[-1] else None
            options = [*network_options(line, len(self._members) - 1), *relay_options(member, exits)]
            if member is self._members[0]:
                options += authority_options(f"{member.address}:{self._directory_port}", offset)
            member.process.start(options)

    async def _wait_consensus(self) -> None:
        # An exit refuses the streams of relays that it has not heard of yet.
        waiting = [self._members[0], *([self._members[-1]] if self._exits else [])]
        deadline = self._clock.monotonic() + UP_SECONDS
        while True:
            if all(self._knows_all(member) for member in waiting):
                return
            for member in self._members:
                if not member.process.running:
                    raise TransportUnavailable(f"{member.name} ended; its log is {member.name}/tor.log")
            if self._clock.monotonic() > deadline:
                raise TransportUnavailable("the relays agreed on no consensus; is this machine overloaded?")
            await asyncio.sleep(0.1)

    def _knows_all(self, member: Member) -> bool:
        consensus = member.process.directory / "cached-microdesc-consensus"
        return consensus.exists() and consensus.read_text().count("\nr ") >= len(self._members)

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
            island=self._island,
        )


def _empty(directory: Path, keep: tuple[str, ...]) -> None:
    """Make `directory` anew, but for the entries to `keep`."""
    directory.mkdir(mode=0o700, exist_ok=True)
    for entry in directory.iterdir():
        if entry.name in keep:
            continue
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
