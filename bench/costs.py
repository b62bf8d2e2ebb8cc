"""What a cell costs: against the kernel's floor, and against what others wrote."""

from bench.peers import floor
from bench.relays import COTURN, NATIVE, PLAIN, RTPENGINE, Bench, cost, ratio
from bench.report import Report, at_least, at_most, not_run, reported
from relay.core import TransportUnavailable
from relay.lab.load.measure import Observation
from relay.media_reflector.forwarding.library import libcrypto

FLOOR_LINES = 2000
PEER_LINES = 500
"""About half of a core for the slower of the peers: full, they are woken less often and gain by it."""
MORE_LINES = 1000
PEER_GRAIN = 20e-6
"""Agents know nothing of one another: each packet comes at a moment of its own.  Relays that are woken by every packet
would gain by a coarser grain, ours would not."""
_FASTER_LIBCRYPTO = (3, 5)


def against_floor(bench: Bench, report: Report) -> None:
    """The native data plane and the plain one, against receiving and sending alone."""
    rounds, seconds = (2, 2.0) if bench.quick else (5, 4.0)
    found = bench.rounds((floor.SLOTTED, NATIVE, PLAIN), FLOOR_LINES, count=rounds, seconds=seconds)
    version = _libcrypto()
    limit = 1.4 if _version(version) >= _FASTER_LIBCRYPTO else 1.6
    how = f"CPU per cell through, {FLOOR_LINES} lines, {rounds} rounds of {seconds:g} s, ratio of the medians"
    for relay, most, with_what in ((NATIVE, limit, version), (PLAIN, 3.5, "cryptography's own libcrypto")):
        measure = f"{relay}: CPU per cell against the kernel's floor, times"
        if relay in found and floor.SLOTTED in found:
            value = ratio(found[relay], found[floor.SLOTTED])
            report.rows.append(
                at_most(measure, most, value, f"{how}; {with_what}; {_how_many(found[relay])}")
            )
        else:
            why = bench.missing.get(relay) or bench.missing.get(floor.SLOTTED, "")
            report.rows.append(not_run(measure, f"at most {most:g}", why))
    report.costs.update({f"{relay}, {FLOOR_LINES} lines": cost(seen) for relay, seen in found.items()})


def against_peers(bench: Bench, report: Report) -> None:
    """The native data plane against coturn and rtpengine: where they are half full, then with twice as many flows."""
    rounds, seconds = (1, 2.0) if bench.quick else (3, 4.0)
    what = {
        COTURN: "TURN ChannelData to a plain peer, encrypts nothing, forwards at once",
        RTPENGINE: "user space, AEAD_AES_128_GCM opened and sealed anew, forwards at once",
    }
    for lines in (PEER_LINES,) if bench.quick else (PEER_LINES, MORE_LINES):
        found = bench.rounds(
            (NATIVE, COTURN, RTPENGINE), lines, count=rounds, seconds=seconds, grain=PEER_GRAIN
        )
        how = (
            f"CPU per relayed packet, {lines} flows of 160 bytes each 20 ms, sent to within {PEER_GRAIN * 1e6:g} us "
            f"of their moments, {rounds} rounds of {seconds:g} s, ratio of the medians"
        )
        for relay, least in ((COTURN, 1.7), (RTPENGINE, 4.0)):
            measure = f"{relay}: CPU per packet against the native data plane's, times"
            if relay not in found or NATIVE not in found:
                why = bench.missing.get(relay) or bench.missing.get(NATIVE, "")
                report.rows.append(not_run(measure, f"at least {least:g}", why))
                continue
            value = ratio(found[relay], found[NATIVE])
            said = f"{what[relay]}; {how}; {_how_many(found[relay])}"
            if lines == PEER_LINES:
                report.rows.append(at_least(measure, least, value, said))
            else:
                report.rows.append(reported(f"{measure}, {lines} flows", value, said))
        report.costs.update({f"{relay}, {lines} lines": cost(seen) for relay, seen in found.items()})


def _how_many(observations: list[Observation]) -> str:
    """How full the relay's core was, and what got through: a relay that drops is no cheaper for it."""
    cpu = max(one.cpu for one in observations)
    cells = sum(one.cells for one in observations)
    return f"{cells} cells through, {cpu:.0%} of a core at most"


def _libcrypto() -> str:
    try:
        return libcrypto() or "no libcrypto"
    except TransportUnavailable:
        return "no native data plane"


def _version(name: str) -> tuple[int, ...]:
    """(3, 5) of "OpenSSL 3.5.1 1 Jul 2025"."""
    for word in name.split():
        parts = word.split(".")
        if len(parts) >= 2 and all(part.isdecimal() for part in parts[:2]):
            return int(parts[0]), int(parts[1])
    return (0,)
