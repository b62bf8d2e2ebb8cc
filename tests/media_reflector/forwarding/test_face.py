"""What the two data planes share: addresses."""

import pytest

from relay.media_reflector.forwarding import face
from relay.media_reflector.forwarding.face import (
    pack_address,
    unpack_address,
)


class TestAddresses:
    @pytest.mark.parametrize("host", ["127.0.0.1", "::1", "2001:db8::7"])
    def test_pack_and_unpack(self, host: str) -> None:
        packed = pack_address(host, 50_000)
        assert len(packed) == face.ADDRESS_SIZE
        assert unpack_address(packed) == (host, 50_000)
