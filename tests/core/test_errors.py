"""One family of errors, told apart by whose fault it is."""

import pytest

from relay.core import (
    BayonneError,
    ConfigurationError,
    MisuseError,
    PeerError,
    RefusedByPolicy,
    TransportUnavailable,
)


@pytest.mark.parametrize(
    "kind", [ConfigurationError, MisuseError, PeerError, RefusedByPolicy, TransportUnavailable]
)
def test_all_are_of_the_family(kind: type[BayonneError]) -> None:
    assert issubclass(kind, BayonneError)


def test_a_wrong_setting_is_our_own_misuse() -> None:
    assert issubclass(ConfigurationError, MisuseError)
    assert not issubclass(PeerError, MisuseError)


def test_the_peers_fault_names_the_rule_it_broke() -> None:
    error = PeerError("truncated", "RFC 3261 section 18.3")
    assert error.reason == "truncated"
    assert error.section == "RFC 3261 section 18.3"
    assert str(error) == "truncated (RFC 3261 section 18.3)"
    assert str(PeerError("truncated")) == "truncated"
