"""The members of a private network: what stands in their torrc, and the keys that name its authority."""

import re
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from relay.core import TransportUnavailable
from relay.tor.process import TorProcess, find_executable

VOTING_INTERVAL = 20

_V3IDENT = re.compile(r"^fingerprint (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Member:
    """One tor process of the network, a relay at `address`."""

    name: str
    address: str
    or_port: int
    process: TorProcess


@dataclass(frozen=True, slots=True)
class LoopbackExit:
    """Lets one relay be an exit to this machine itself and no further; only `nameserver` is asked for names."""

    nameserver: tuple[str, int]

    def prepare(self, member: Member) -> None:
        """Write what `options` refers to."""
        host, port = self.nameserver
        self._resolver_file(member).write_text(f"nameserver {host}:{port}\n")

    def options(self, member: Member) -> list[str]:
        return [
            "ExitRelay 1",
            "ExitPolicyRejectPrivate 0",
            "ExitPolicyRejectLocalInterfaces 0",
            # Clients learn a relay's policy in a summary that leaves out ports rejected for most addresses, so the
            # policy cannot say "loopback alone".  This can: from an address of loopback the kernel sends nothing out.
            f"OutboundBindAddress {member.address}",
            "ExitPolicy accept *:*",
            f"ServerDNSResolvConfFile {self._resolver_file(member)}",
            "ServerDNSDetectHijacking 0",
            "ServerDNSSearchDomains 0",
            "ServerDNSAllowBrokenConfig 1",
        ]

    def _resolver_file(self, member: Member) -> Path:
        return member.process.directory / "resolv.conf"


def relay_options(member: Member, exits: LoopbackExit | None = None) -> list[str]:
    """Torrc lines of a relay: no exit, unless told to be one."""
    return [
        f"Nickname {member.name}",
        f"Address {member.address}",
        f"ORPort {member.address}:{member.or_port}",
        "SocksPort 0",
        "AssumeReachable 1",
        *(exits.options(member) if exits else ["ExitRelay 0", "ExitPolicy reject *:*"]),
    ]


def authority_options(directory: str, offset: int) -> list[str]:
    """Torrc lines that make a relay the authority; `directory` is "address:port", `offset` when it votes."""
    return [
        f"DirPort {directory}",
        "ContactInfo private network",
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


def authority_keys(authority: Member, directory: str, executable: str) -> str:
    """Make the authority's signing keys, unless they are there; the fingerprint of its identity."""
    keys = authority.process.directory / "keys"
    certificate = keys / "authority_certificate"
    if not certificate.exists():
        keys.mkdir(mode=0o700, exist_ok=True)
        tor = Path(find_executable(executable))
        beside = tor.with_name("tor-gencert")
        gencert = str(beside) if beside.exists() else find_executable("tor-gencert")
        arguments = [gencert, "--create-identity-key", "-m", "24", "--passphrase-fd", "0", "-a", directory]
        for option, name in (("-i", "identity_key"), ("-s", "signing_key"), ("-c", "certificate")):
            arguments += [option, str(keys / f"authority_{name}")]
        _run(arguments, stdin=b"private network\n")
    found = _V3IDENT.search(certificate.read_text())
    if found is None:
        raise TransportUnavailable("tor-gencert made no certificate")
    return found.group(1)


def relay_fingerprint(member: Member, executable: str) -> str:
    """Make a relay's identity keys, unless they are there; their fingerprint."""
    directory = member.process.directory
    nothing = directory / "torrc-defaults"
    nothing.write_text("")
    # Keys are made with a stand-in authority line: the real one needs this very fingerprint.
    stand_in = "x 127.0.0.1:1 " + "F" * 40
    arguments = [find_executable(executable), "--list-fingerprint", "--quiet"]
    arguments += ["-f", str(nothing), "--defaults-torrc", str(nothing), "--DataDirectory", str(directory)]
    arguments += ["--ORPort", "1", "--Nickname", member.name, "--TestingTorNetwork", "1"]
    _run([*arguments, "--DirAuthority", stand_in])
    try:
        return (directory / "fingerprint").read_text().split()[1]
    except (OSError, IndexError):
        program = Path(executable).name
        raise TransportUnavailable(f"'{program}' made no relay's keys; is it tor?") from None


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
