"""The cell: the fixed-size UDP payload that every packet on a line is, always (DESIGN.md section 4, profile
`voice`)."""

from enum import IntEnum

TICK = 0.020
"""Seconds between two cells of a line, each way."""

CELL_SIZE = 160
RTP_HEADER_SIZE = 12
LINK_TAG_SIZE = 16
LINK_PAYLOAD_SIZE = CELL_SIZE - RTP_HEADER_SIZE - LINK_TAG_SIZE
"""Bytes inside the link encryption: one of link type, the rest body."""

BODY_SIZE = LINK_PAYLOAD_SIZE - 1
COUNTER_SIZE = 4
END_TO_END_TAG_SIZE = 16
CONTENT_SIZE = BODY_SIZE - COUNTER_SIZE - END_TO_END_TAG_SIZE
"""Bytes inside the end-to-end encryption: length-prefixed datagrams and padding."""

TIMESTAMP_STEP = 960
"""RTP timestamp units (48 kHz) in one tick."""

assert (LINK_PAYLOAD_SIZE, BODY_SIZE, CONTENT_SIZE) == (132, 131, 111)


class LinkType(IntEnum):
    """The first byte inside the link encryption."""

    CHAFF = 0
    END_TO_END = 1
    CONTROL = 2
