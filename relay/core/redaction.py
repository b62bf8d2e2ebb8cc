"""Taking out of text whatever could tell who, where or with whom.

A last net, not a licence: callers must not put such things in a message in the first place.
"""

import re

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\bsips?:[^\s<>\"']+", re.IGNORECASE), "[sip-uri]"),
    (re.compile(r"\b[a-z2-7]{56}(?:\.onion|\.bayonne\.alt)?\b", re.IGNORECASE), "[name]"),
    (re.compile(r"\b[a-z0-9-]+\.(?:onion|bayonne\.alt)\b", re.IGNORECASE), "[name]"),
    (re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])(?::\d{1,5})?"), "[address]"),
    (re.compile(r"(?<![\w:])(?:[0-9a-f]{1,4}:){2,7}[0-9a-f]{0,4}(?![\w:])", re.IGNORECASE), "[address]"),
    (re.compile(r"(?<![\w:])::(?:[0-9a-f]{1,4}:){0,6}[0-9a-f]{1,4}(?![\w:])", re.IGNORECASE), "[address]"),
    (re.compile(r"\b[0-9a-f]{32,}\b", re.IGNORECASE), "[secret]"),
    (re.compile(r"(?<![\w/+=-])[A-Za-z0-9+/_-]{40,}={0,2}(?![\w/+=-])"), "[secret]"),
)


def redact(text: str) -> str:
    """`text` without network addresses, onion names, SIP URIs, Bayonne addresses and key-like strings."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
