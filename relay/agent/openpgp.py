"""The user's own GnuPG: signs what a call is keyed by, and checks what the other side signed.

Two commands, run without a shell, read by their status channel, each with a limit of time; the passphrase is between
the user and GnuPG's agent.  Nothing is written to disk, and GnuPG is told to ask nobody: a key server would learn whom
the user talks to, outside of Tor.
"""

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from relay.agent.openpgp_status import Signature, read_check, read_signing
from relay.agent.voice_trust import read_fingerprint
from relay.core import Child, RefusedByPolicy, TransportUnavailable, spawn

MOST_SIGNATURE = 2048
"""Bytes: an RSA key of 8,192 bits makes 1,100."""
SIGN_SECONDS = 90.0
"""The user may have to find the passphrase, or the card."""
CHECK_SECONDS = 20.0

_QUIETLY = (
    *("--batch", "--no-tty", "--quiet", "--logger-file", os.devnull),
    *("--disable-dirmngr", "--no-auto-key-retrieve", "--no-auto-key-locate", "--no-auto-check-trustdb"),
)


class OpenPgpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[openpgp]`: `home` is the directory of GnuPG's keyring where that is not the usual one.

    Whose key it is stands with the contacts (`relay.agent.contact_file.Book`): it names a person.
    """

    home: str = ""


def _no_key() -> str:
    return ""


class GnuPG:
    """`program`; `home` as `[openpgp]` has it; `key` tells the fingerprint of the user's own key, which may change.

    The keyring is the user's own.
    """

    def __init__(
        self, settings: OpenPgpSettings, key: Callable[[], str] = _no_key, program: str = "gpg"
    ) -> None:
        self._key = key
        self._program = program
        self._environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        if settings.home:
            self._environment["GNUPGHOME"] = str(Path(settings.home).expanduser())

    async def sign(self, data: bytes) -> bytes:
        """A detached signature of the user's.  Raises `TransportUnavailable`, `RefusedByPolicy`, `MisuseError`."""
        key = read_fingerprint(self._key())
        how = ["--local-user", key, "--digest-algo", "SHA256", "--disable-signer-uid", "--no-armor"]
        command = [*how, "--detach-sign", "--output", "-"]
        signature, status = await self._run(["--status-fd", "2", *command], data, SIGN_SECONDS)
        if not read_signing(status) or not 0 < len(signature) <= MOST_SIGNATURE:
            raise RefusedByPolicy("GnuPG did not sign; is the key there, and its passphrase known?")
        return signature

    async def check(self, data: bytes, signature: bytes, fingerprint: str) -> Signature:
        """Whether `signature` is over `data` and by the key `fingerprint`."""
        with _in_memory(data, signature) as (data_file, signature_file):
            files = (f"-&{signature_file}", f"-&{data_file}")
            arguments = ["--status-fd", "1", "--enable-special-filenames", "--verify", "--", *files]
            try:
                status, _ = await self._run(arguments, b"", CHECK_SECONDS, keep=(signature_file, data_file))
            except TransportUnavailable:
                return Signature.UNCHECKED
        return read_check(status, fingerprint)

    async def knows(self, fingerprint: str) -> bool:
        """Whether that key is in the keyring.  Raises `TransportUnavailable`."""
        arguments = ["--with-colons", "--list-keys", "--", f"0x{fingerprint}"]
        listed, _ = await self._run(arguments, b"", CHECK_SECONDS)
        return any(line.split(b":")[9:10] == [fingerprint.encode()] for line in listed.splitlines())

    async def _run(
        self, arguments: Sequence[str], said: bytes, seconds: float, keep: Sequence[int] = ()
    ) -> tuple[bytes, bytes]:
        """Both outputs, whatever the exit status: what matters is on the status channel."""
        child = spawn(
            [self._program, *_QUIETLY, *arguments],
            environment=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            keep=keep,
        )
        try:
            return await asyncio.to_thread(child.communicate, said, seconds)
        except subprocess.TimeoutExpired:
            raise TransportUnavailable("GnuPG did not answer in time") from None
        finally:
            # Cancelled, or too slow: the thread that waits for it ends with it.
            _end(child)


def _end(child: Child) -> None:
    if child.poll() is None:
        child.kill()
        child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()


@contextmanager
def _in_memory(*contents: bytes) -> Iterator[list[int]]:
    """Files that are nowhere on disk, ready to be read."""
    files: list[int] = []
    try:
        for content in contents:
            files.append(os.memfd_create("openpgp"))
            os.write(files[-1], content)
            os.lseek(files[-1], 0, os.SEEK_SET)
        yield files
    finally:
        for file in files:
            os.close(file)
