"""Two people's GnuPG, each in a directory of its own."""

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from relay.agent.openpgp import GnuPG, OpenPgpSettings


@dataclass(frozen=True)
class Keyring:
    """One person's; the path is to be short: GnuPG's agent listens on a socket in it."""

    home: Path

    @classmethod
    def make(cls, home: Path) -> "Keyring":
        home.chmod(0o700)
        return cls(home)

    def program(self, key: str = "") -> GnuPG:
        return GnuPG(OpenPgpSettings(str(self.home)), lambda: key)

    def gpg(self, *arguments: str, said: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", *arguments]
        return subprocess.run(command, input=said, capture_output=True, check=True).stdout

    def new_key(self, name: str, kind: str = "ed25519", passphrase: str = "") -> str:
        protect = ("--pinentry-mode", "loopback", "--passphrase", passphrase)
        self.gpg(*protect, "--quick-generate-key", name, kind, "sign", "never")
        listed = self.gpg("--with-colons", "--list-secret-keys", name).decode()
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))

    def learn(self, other: "Keyring", *names: str) -> None:
        self.gpg("--import", said=other.gpg("--export", *names))

    def verify_until(self, said: bytes, signature: Path, sign: Path) -> None:
        """As the user would, until `sign` is there: what comes of it takes long and is of no interest."""
        command = ["gpg", "--homedir", str(self.home), "--batch", "--verify", str(signature), "-"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as checking:
            assert checking.stdin is not None
            checking.stdin.write(said)
            checking.stdin.close()
            until = time.monotonic() + 20.0
            while not sign.exists() and time.monotonic() < until and checking.poll() is None:
                time.sleep(0.02)
            checking.kill()

    def end(self) -> None:
        """GnuPG's agent goes with the directory that it serves."""
        # It removes its sockets from there while we do.
        for _ in range(2):
            shutil.rmtree(self.home, ignore_errors=True)
        assert not self.home.exists()
