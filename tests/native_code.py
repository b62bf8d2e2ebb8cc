"""What a test does where native code is not there: it fails, because `make setup` builds that.

It is skipped only where native code was left out on purpose (`BAYONNE_NATIVE=no`): a build that broke must not look
like tests that passed.
"""

import os
from typing import NoReturn

import pytest

from relay.core import TransportUnavailable
from relay.media_reflector.forwarding.build import find_compiler
from relay.media_reflector.forwarding.native import NativeForwarding


def absent(why: str) -> NoReturn:
    """End the test that cannot go on."""
    if os.environ.get("BAYONNE_NATIVE") == "no":
        pytest.skip(why)
    pytest.fail(f"{why}; 'make setup' builds it, BAYONNE_NATIVE=no leaves it out", pytrace=False)


def compiler() -> str:
    """The Rust compiler."""
    found = find_compiler()
    if found is None:
        absent("no rustc that will do")
    return found


def native_plane() -> NativeForwarding:
    """A native data plane."""
    try:
        return NativeForwarding()
    except TransportUnavailable as error:
        absent(str(error))
