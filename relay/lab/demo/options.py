"""What the demo is told, and the values it shortens so that nobody has to wait long."""

from dataclasses import dataclass
from pathlib import Path

START_DELAY = 5.0
STAGGERED_TEARDOWN = 15.0
"""Demo values, in seconds at most; the product's own are 60 and 120."""

PEOPLE = ("alice", "bob")
LINE_ADDRESSES = {"alice": "127.0.10.1", "bob": "127.0.10.2"}
TAP_ADDRESSES = ("127.0.20.1", "127.0.20.2")


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """`seconds` of speech both ways; `out` receives the results; `json` prints the summary as JSON."""

    seconds: float = 20.0
    out: Path = Path("demo-out")
    json: bool = False
    keep_running: bool = False

    @property
    def logs(self) -> Path:
        return self.out / "logs"
