"""Which data plane is taken, and what is said about it."""

import pytest

from relay.core import MisuseError, TransportUnavailable
from relay.media_reflector.forwarding import choice, load_forwarding
from tests.media_reflector.forwarding.planes import make_forwarding


def unbuilt() -> None:
    raise TransportUnavailable("the native data plane is not built")


def test_takes_the_native_one_where_it_is() -> None:
    make_forwarding("native")
    assert load_forwarding().name == load_forwarding("native").name == "native"
    assert load_forwarding("plain").name == "plain"


def test_goes_without_it_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(choice, "NativeForwarding", unbuilt)
    assert load_forwarding().name == "plain"
    printed = capsys.readouterr()
    assert "not built" in printed.out + printed.err
    with pytest.raises(TransportUnavailable):
        load_forwarding("native")


def test_there_is_no_third() -> None:
    with pytest.raises(MisuseError):
        load_forwarding("fast")
