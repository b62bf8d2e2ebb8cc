"""What an agent keeps on disk: its identity, its prekeys, its softphone's password, its contacts, its guards.

Files of mode 0600 in a directory of mode 0700, in the clear: the vault that seals them under a passphrase is not built
yet, and docs/threat-model.md says so.  Nothing about any call is ever written.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from relay.agent.guards import Guard
from relay.core import ConfigurationError, Entropy, MisuseError
from relay.identity import Identity

_PASSWORD_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


class Softphone(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a softphone needs to register at this agent."""

    user: str
    password: str


class _KeptGuards(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    guards: tuple[Guard, ...]


class StateDirectory:
    """The one directory that holds an agent's state."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        """Make the directory, private to its owner.  Raises `ConfigurationError`."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            raise ConfigurationError(
                f"state_directory: cannot be used ({error.strerror}); choose another"
            ) from None

    def read(self, name: str) -> bytes | None:
        """A state file's content, or None where there is none."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Replace a state file at once and for good: either the old content or the new is there after a crash."""
        temporary = self.path / f".{name}.new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.path / name)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock `name` against other processes; waits."""
        with (self.path / f".{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def claim(self) -> None:
        """Make sure that one agent alone runs on this state.  Raises `ConfigurationError`."""
        self._claim = (self.path / ".agent.lock").open("w")
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                "state_directory: another agent is running on it; stop that one first"
            ) from None

    def release(self) -> None:
        """Let another agent have it."""
        self._claim.close()

    def identity(self, entropy: Entropy) -> Identity:
        """The agent's identity, made at the first start."""
        with self.locked("identity"):
            seed = self.read("identity.key")
            if seed is None:
                identity = Identity.generate(entropy)
                self.write("identity.key", identity.seed)
                return identity
        try:
            return Identity.from_seed(seed)
        except MisuseError:
            raise _damaged("identity.key") from None

    def softphone(self, user: str, entropy: Entropy) -> Softphone:
        """The credentials that a softphone registers with, made at the first start."""
        with self.locked("softphone"):
            content = self.read("softphone.json")
            if content is not None:
                try:
                    kept = msgspec.json.decode(content, type=Softphone)
                except msgspec.DecodeError:
                    raise _damaged("softphone.json") from None
                if kept.user == user:
                    return kept
            password = "".join(entropy.choice(_PASSWORD_ALPHABET) for _ in range(20))
            made = Softphone(user, password)
            self.write("softphone.json", msgspec.json.encode(made))
            return made

    def guards(self) -> tuple[Guard, ...]:
        """The guards that were drawn; none before the first draw.

        A damaged file is not passed over: who loses it chooses anew, and so shows its address to others.
        """
        content = self.read("guards.json")
        if content is None:
            return ()
        try:
            return msgspec.json.decode(content, type=_KeptGuards).guards
        except msgspec.DecodeError:
            raise _damaged("guards.json") from None

    def keep_guards(self, guards: Sequence[Guard]) -> None:
        self.write("guards.json", msgspec.json.encode(_KeptGuards(tuple(guards))))


def _damaged(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"{name} in the state directory is damaged; restore it, or move it away to begin anew"
    )
