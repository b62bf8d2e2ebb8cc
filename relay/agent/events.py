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
    "introduced": "{contact} followed your invitation and is a contact now",
    "introduction": "somebody who says to be '{name}' asks to be your contact; 'bayonne contact accept {number} NAME'",
    "introductions-crowded": "more than {waiting} people ask to be your contact, and the earliest give way; refuse "
    "some, or withdraw the invitation or listing that they came by",
    "too-late": "{contact} cannot be reached by what you were given: {reason}",
    "inviter-silent": "{contact} was not found yet by what you were given: {reason}",
    "missed-call": "{contact} called at {when}, and you were not there",
    "domain-changed": "ALARM: {account} is somebody else than before; {contact} is not called until you decide: "
    "'bayonne contact accept-change {contact}'",
    "domain-withdrew": "{account} is not published at its domain any more; {contact} is called as before",
    "domain-again": "{account} is again at its domain who it was before",
    "domains-off": "names at domains are not checked: {why}",
    "locked": "locked: phones are told to wait, and nobody can ring you; 'bayonne vault unlock' opens it again",
    "unlocked": "unlocked",
    "wiped": "wiped; the agent ends",
    "not-kept": "what is new is not kept, and is forgotten when the agent ends: {why}",
    "kept-again": "what is new is kept again",
    "damaged": "{why}",
    "listings-off": "people cannot be searched for: {why}",
    "dialled": "calling {contact}",
    "ring-sent": "the ring to {contact} is on its way",
    "ring-received": "{contact} is ringing you",
    "ringing": "your phone rings",
    "missed": "{contact} rang while you were in a call",
    "out-of-hours": "{contact} rang outside the hours that you set",
    "answered": "answered; the line opens in {delay:.1f} s (random, so that nobody can match the two ends)",
    "line-opening": "opening the line",
    "line-open": "the line is open",
    "line-moving": "the reflector is not heard; opening a line {where}",
    "line-moved": "the line goes on {where}",
    "trunk-broke": "the way to the other side's reflector broke; waiting for the other side to come back",
    "crossed": "connected: both lines meet",
    "silence": "the other side is not heard just now",
    "heard-again": "the other side is heard again",
    "voice": "voice {direction}",
    "secured": "encrypted from end to end ({mode})",
    "phone-secured": "what your phone shows ({sas}) is between it and this agent; the words to compare with your "
    "contact are the agent's",
    "phone-alarm": "the encryption between your phone and this agent is not as it should be ({kind})",
    "phone-plain": "your phone and this agent did not agree on keys; between the two it goes on without",
    "transcoding": "your phone speaks {codec}, which the agent translates; inside it, what is said is in the clear",
    "voice-alarm": "ALARM: {contact}: {why}",
    "voice-alarm-open": "ALARM, still open: {contact}: {why}; compare words in a call and say so with "
    "'bayonne contact verify {contact}', or begin anew with '--undo' if you know of a change",
    "voice-verified": "this is {contact}, as when you compared words on {compared}",
    "compare": "read these words to {contact}, who has to see the same: {words} ({characters}); then 'bayonne contact "
    "verify {contact}'",
    "compare-on-phones": "both phones encrypt, and no agent can listen: compare with {contact} what they show",
    "compare-phone-with-agent": "your phone encrypts as far as {contact}'s agent, which can listen; this one cannot: "
    "compare what your phone shows with what {contact} is told by that agent",
    "words-same": "{contact} is verified",
    "openpgp-good": "{contact} signed the keys of this call with the OpenPGP key that you know",
    "openpgp-unchecked": "what {contact} signed the keys of this call with could not be checked",
    "openpgp-silent": "{contact} did not sign the keys of this call",
    "openpgp-off": "the keys of this call are not signed: {why}",
    "hang-up": "hung up by {by}",
    "line-lingering": "the line stays up {stagger:.1f} s more, full of chaff",
    "line-unopened": "the line is not opened any more",
    "line-closed": "the line is closed",
    "call-ended": "the call ended: {reason}",
    "failed": "the call failed: {reason}",
    "tor-lost": "Tor is gone: {reason}; calls fail until it is back",
    "tor-back": "Tor is back",
}

_ALARM = "ALARM"
_RED, _PLAIN = "\x1b[1;31m", "\x1b[0m"


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
    """One plain sentence a line, for people; with `colour`, alarms are red where a terminal can (ECMA-48, SGR)."""

    def __init__(self, write: Callable[[str], object], *, colour: bool = False) -> None:
        self._write = write
        self._colour = colour

    def __call__(self, event: str, /, **fields: Value) -> None:
        template = _PROSE.get(event)
        if template is not None:
            line = template.format(**fields)
            self._write(f"{_RED}{line}{_PLAIN}" if self._colour and line.startswith(_ALARM) else line)
