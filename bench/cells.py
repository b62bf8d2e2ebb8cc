"""What one cell costs each role, in CPU time of this process, beside libsrtp doing the same link encryption.

`python -m bench.cells [--out bench-out] [--json]`.  Each figure is the median of several rounds; what travels between
machines is the ratio, not the microseconds.  The data plane proper has its benchmark with the fast reflector.
"""

import argparse
import json
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pylibsrtp

from relay.core import SystemClock
from relay.rtp import (
    AeadSrtp,
    ContentPacker,
    ContentUnpacker,
    EndToEndOpener,
    EndToEndSealer,
    derive_session_keys,
)
from relay.rtp.cell import LINK_PAYLOAD_SIZE
from relay.rtp.packet import pack_header

ROUNDS = 7
CELLS = 4000
KEY, SALT = bytes(range(16)), bytes(range(12))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the summary; `target` and `holds` stay empty where a figure is only reported."""

    measure: str
    target: str | None
    value: float
    holds: bool | None
    how: str


def microseconds(work: Callable[[], object]) -> float:
    """CPU time per cell of `work`, which handles `CELLS` of them: the median of `ROUNDS`."""
    found = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        found.append((time.process_time() - begun) / CELLS * 1e6)
    return statistics.median(found)


def ours() -> None:
    """Link encryption and decryption as the reflector and the agents do it."""
    keys = derive_session_keys(KEY, SALT)
    sealer, opener = AeadSrtp(keys), AeadSrtp(keys)
    payload = bytes(LINK_PAYLOAD_SIZE)
    for sequence in range(CELLS):
        opener.unprotect(sealer.protect(pack_header(96, sequence & 0xFFFF, 960 * sequence, 7), payload))


def libsrtp() -> None:
    """The same packets through libsrtp."""

    def session(kind: int) -> pylibsrtp.Session:
        policy = pylibsrtp.Policy(
            key=KEY + SALT, ssrc_type=kind, srtp_profile=pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM
        )
        return pylibsrtp.Session(policy)

    sealer = session(pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    opener = session(pylibsrtp.Policy.SSRC_ANY_INBOUND)
    payload = bytes(LINK_PAYLOAD_SIZE)
    for sequence in range(CELLS):
        opener.unprotect(sealer.protect(pack_header(96, sequence & 0xFFFF, 960 * sequence, 7) + payload))


def end_to_end() -> None:
    """What the two agents do to one voice frame: pack, seal, open, unpack."""
    packer, unpacker = ContentPacker(), ContentUnpacker()
    sealer, opener = EndToEndSealer(bytes(32)), EndToEndOpener(bytes(32))
    voice = bytes(72)
    for _ in range(CELLS):
        packer.offer_voice(voice)
        content = opener.open(sealer.seal(packer.next()))
        assert content is not None
        unpacker.receive(content, 0.0)


def measure() -> list[Row]:
    """All rows."""
    link, peer, voice = microseconds(ours), microseconds(libsrtp), microseconds(end_to_end)
    how = f"CPU time per cell, median of {ROUNDS} rounds of {CELLS}"
    return [
        Row("link encryption, there and back, us", None, round(link, 2), None, how),
        Row("the same by libsrtp, us", None, round(peer, 2), None, how),
        Row("ratio to libsrtp", None, round(link / peer, 2), None, "same run"),
        Row("voice frame, both agents' end-to-end layer, us", None, round(voice, 2), None, how),
    ]


def main() -> None:
    """Measure, print, and keep the summary."""
    parser = argparse.ArgumentParser(prog="bench.cells", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measure()
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    summary = {
        "commit": commit,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(SystemClock().wall())),
        "machine": _machine(),
        "rows": [asdict(row) for row in rows],
    }
    options.out.mkdir(exist_ok=True)
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    if options.json:
        print(json.dumps(summary))
    else:
        for row in rows:
            print(f"{row.measure:<50} {row.value:>8}")


def _machine() -> str:
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    return f"{len(models)} x {models[0].partition(':')[2].strip()}" if models else "unknown"


if __name__ == "__main__":
    main()
