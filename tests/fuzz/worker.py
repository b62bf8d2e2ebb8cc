"""The process that plays inputs: loads everything once, watched by atheris, and forks for each codec.

It is told what to do line by line on its standard input (`Task`, as JSON) and says after each how the fork ended.
"""

import hashlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

with atheris.instrument_imports(include=["relay", "tests.fuzz.planted"]):
    from tests.fuzz.codecs import CODECS
    from tests.fuzz.planted import PLANTED

from tests.fuzz.codec import Codec, Shape
from tests.fuzz.trees import changed

FOUND = "found after"
MOST_FOUND = 20
"""Places in one run."""


class Task(NamedTuple):
    """Play `codec` with `arguments` of libFuzzer's, write what it says to `log`, and inputs that went wrong to files
    whose names begin with `artefacts`."""

    codec: str
    log: str
    artefacts: str
    arguments: list[str]


class _Player:
    """Plays inputs, and goes on after one that went wrong: each place at which something does is told once."""

    def __init__(self, codec: Codec, task: Task) -> None:
        self._codec = codec
        self._task = task
        self._played = 0
        self._known: set[tuple[type, str, int]] = set()

    def play(self, data: bytes) -> None:
        self._played += 1
        try:
            self._codec.play(data)
        except Exception as error:
            self._found(data, error)

    def _found(self, data: bytes, error: Exception) -> None:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/relay/" in frame.filename]
        place = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
        kind = type(error), place.filename, place.lineno or 0
        if kind in self._known or len(self._known) == MOST_FOUND:
            return
        self._known.add(kind)
        path = Path(f"{self._task.artefacts}-{hashlib.sha256(data).hexdigest()[:16]}")
        path.write_bytes(data)
        print(f"{FOUND} {self._played}: {path.name}", flush=True)
        traceback.print_exception(error)
        if self._codec is PLANTED:
            os._exit(1)


def _fuzz(codec: Codec, task: Task) -> NoReturn:
    log = os.open(task.log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    options: dict[str, Any] = {}
    if codec.shape is not Shape.BYTES:
        options["custom_mutator"] = lambda data, size, seed: changed(
            data, size, seed, codec.shape, atheris.Mutate
        )
    atheris.Setup([codec.name, *task.arguments], _Player(codec, task).play, **options)
    atheris.Fuzz()
    # It has ended the process by now; whatever lets it come back is not to play on as a second parent.
    os._exit(70)


def main() -> None:
    by_name = {codec.name: codec for codec in (*CODECS, PLANTED)}
    print("ready", flush=True)
    for line in sys.stdin:
        task = Task(*json.loads(line))
        Path(task.log).parent.mkdir(parents=True, exist_ok=True)
        child = os.fork()
        if child == 0:
            _fuzz(by_name[task.codec], task)
        _, status = os.waitpid(child, 0)
        print(json.dumps([task.codec, os.waitstatus_to_exitcode(status)]), flush=True)


if __name__ == "__main__":
    main()
