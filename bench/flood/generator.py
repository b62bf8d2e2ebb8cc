"""The native generator of hostile datagrams: built, started in a process of its own, and what it says that it sent."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from relay.core import TransportUnavailable
from relay.lab.load.processes import pin
from relay.media_reflector.forwarding.build import find_compiler

SOURCE = Path(__file__).parent / "native" / "flood.rs"

KINDS = ("garbage", "shaped", "known", "replayed", "half", "repeated", "wandering", "talkative")
"""See native/kinds.rs, where each is said in words."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Datagrams that left, that the kernel refused, and that a sender who came too late left out; seconds taken."""

    sent: int
    failed: int
    skipped: int
    seconds: float
    by: dict[str, int]


def build(output: Path) -> None:
    """Compile the generator.  Raises `TransportUnavailable`, with the compiler's first complaint, where that fails."""
    compiler = find_compiler()
    if compiler is None:
        raise TransportUnavailable("the flood is native code and needs rustc (Debian 12: package rustc-web)")
    command = [compiler, "--edition", "2021", "-O", "-o", str(output), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if line.startswith("error")), "rustc failed")
        raise TransportUnavailable(f"the flood cannot be built: {first}")


class Flood:
    """One flood under way; `wait` for what it sent."""

    def __init__(
        self,
        program: Path,
        port: int,
        home: int,
        *,
        rate: int,
        seconds: float,
        seed: int,
        material: Path,
        kinds: tuple[str, ...],
        cores: frozenset[int],
    ) -> None:
        words = [str(word) for word in (program, port, home, rate, seconds, seed, material, *kinds)]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        pin(self._process.pid, cores)
        self._patience = seconds + 20

    @property
    def over(self) -> bool:
        """Whether the generator has ended."""
        return self._process.poll() is not None

    def wait(self) -> Sent:
        """Raises `TransportUnavailable` when the generator failed."""
        out, errors = self._process.communicate(timeout=self._patience)
        if self._process.returncode:
            raise TransportUnavailable(errors.strip() or "the flood failed")
        return Sent(**json.loads(out))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, done or not."""
        self._process.kill()
        self._process.wait()
