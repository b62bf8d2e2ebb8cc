"""Names of onion services as they are written down: 56 characters, without ".onion" (rend-spec-v3, section 6)."""

import re

_ONION = re.compile(r"[a-z2-7]{56}")


def is_onion(text: str) -> bool:
    """Whether `text` has the form of one; its checksum is Tor's matter."""
    return _ONION.fullmatch(text) is not None
