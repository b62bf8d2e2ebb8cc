"""Settings refuse what cannot be used."""

import pytest

from relay.agent.phone import PhoneSettings, is_loopback
from relay.core import ConfigurationError


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_literals_are_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "localhost", "", "127.1", "::ffff:192.0.2.1"])
def test_all_else_is_not_names_included(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigurationError, match="loopback"):
        PhoneSettings("alice", "secret", host)


@pytest.mark.parametrize(
    "wrong", [{"port": 70000}, {"user": ""}, {"password": ""}, {"algorithms": ()}, {"algorithms": ("SHA-1",)}]
)
def test_unusable_settings_are_refused(wrong: dict[str, object]) -> None:
    values: dict[str, object] = {"user": "alice", "password": "secret", **wrong}
    with pytest.raises(ConfigurationError):
        PhoneSettings(**values)  # type: ignore[arg-type]


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(PhoneSettings("alice", "secret"))
