"""Every test of the shared face runs on both data planes; the native one only where it is built."""

import pytest

from relay.media_reflector.forwarding.face import Forwarding
from tests.media_reflector.forwarding.planes import Bed, make_forwarding


@pytest.fixture(params=["plain", "native"])
def forwarding(request: pytest.FixtureRequest) -> Forwarding:
    """A data plane without lines."""
    return make_forwarding(request.param)


@pytest.fixture
def bed(forwarding: Forwarding) -> Bed:
    return Bed(forwarding)
