"""What is said to rtpengine, and what is read from it."""

import base64

import pytest

from bench.peers.rtpengine import description, port_and_key
from relay.core import TransportUnavailable

KEY = bytes(range(28))


def test_a_description_is_read_as_it_was_written() -> None:
    assert port_and_key(description(3, 4000, KEY)) == (4000, KEY)


def test_base64_without_padding_and_parameters_behind_the_key_are_read() -> None:
    encoded = base64.b64encode(KEY).decode().rstrip("=")
    said = f"m=audio 30000 RTP/SAVP 111\r\na=crypto:1 AEAD_AES_128_GCM inline:{encoded}|2^31\r\n"
    assert port_and_key(said) == (30000, KEY)


@pytest.mark.parametrize(
    "said",
    [
        "m=audio 1 RTP/AVP 0\r\n",
        "m=audio 1 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA\r\n",
        "m=audio 1 RTP/SAVP 0\r\na=crypto:1 AEAD_AES_128_GCM inline:AAAA\r\n",
    ],
)
def test_another_suite_is_not_taken_for_ours(said: str) -> None:
    with pytest.raises(TransportUnavailable):
        port_and_key(said)
