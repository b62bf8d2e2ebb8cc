"""The hash of a ZRTP Hello in a session description (RFC 6189 section 8): what ties the voice's keys to who signalled.

Values are passed on as they are, checked for their form alone: what they mean is for `relay.zrtp`.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from relay.sip.sdp import Media

ATTRIBUTE = "zrtp-hash"
MOST_HASHES = 4
"""One for each version of the protocol that an end speaks; there is one."""
_VALUE = re.compile(r"1\.1[0-9] [0-9A-Fa-f]{64}")


def zrtp_hashes(media: Media) -> tuple[str, ...]:
    """The hashes of a media section that are for our version; whatever else there is under this name is passed over."""
    values = (value.strip(" ") for name, value in media.attributes if name == ATTRIBUTE and value is not None)
    return tuple(value for value in values if _VALUE.fullmatch(value))[:MOST_HASHES]


def with_zrtp_hashes(media: Media, hashes: Sequence[str]) -> Media:
    """`media`, announcing these."""
    return replace(
        media, attributes=(*media.attributes, *((ATTRIBUTE, value) for value in hashes[:MOST_HASHES]))
    )
