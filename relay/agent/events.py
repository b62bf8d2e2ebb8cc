"""What an agent tells its owner while it runs: a line of JSON, or a line of prose.

This is the owner's own terminal and may name the owner's contacts; it is never a log.
"""

import json
from collections.abc import Callable
from typing import Protocol

from relay.core import Clock

Value = str | int | float | bool | None

_PROSE = {
    "starting": "starting: {stage}",
    "ready": "ready; register a softphone with what 'bayonne agent --softphone' shows",
    "registered": "a softphone registered",
    "unregistered": "the softphone is gone",
    "reflector-list": "a list of reflectors is not used: {why}",
    "contact-ready": "{contact} can be called",
    "dialled": "calling {contact}",
    "ring-sent": "the ring to {contact} is on its way",
    "ring-received": "{contact} is ringing you",
    "ringing": "your phone rings",
    "missed": "{contact} rang while you were in a call",
    "answered": "answered; the line opens in {delay:.1f} s (random, so that nobody can match the two ends)",
    "line-opening": "opening the line",
    "line-open": "the line is open",
    "line-moving": "the reflector is not heard; opening a line {where}",
    "line-moved": "the line goes on {where}",
    "crossed": "connected: both lines meet",
    "silence": "the other side is not heard just now",
    "heard-again": "the other side is heard again",
    "voice": "voice {direction}",
    "hang-up": "hung up by {by}",
    "line-lingering": "the line stays up {stagger:.1f} s more, full of chaff",
    "line-unopened": "the line is not opened any more",
    "line-closed": "the line is closed",
    "call-ended": "the call ended: {reason}",
    "failed": "the call failed: {reason}",
    "tor-lost": "Tor is gone: {reason}; calls fail until it is back",
    "tor-back": "Tor is back",
}


class Reporter(Protocol):
    """Takes events for the owner."""

    def __call__(self, event: str, /, **fields: Value) -> None: ...


class JsonReporter:
    """One JSON object a line, each with `at`: CLOCK_MONOTONIC seconds."""

    def __init__(self, clock: Clock, write: Callable[[str], object]) -> None:
        self._clock = clock
        self._write = write

    def __call__(self, event: str, /, **fields: Value) -> None:
        self._write(json.dumps({"event": event, "at": round(self._clock.monotonic(), 6), **fields}))


class ProseReporter:
    """One plain sentence a line, for people."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def __call__(self, event: str, /, **fields: Value) -> None:
        template = _PROSE.get(event)
        if template is not None:
            self._write(template.format(**fields))
