"""IPv4 or IPv6: as `line_address` says, else as the routes of the machine allow."""

import msgspec
import pytest

from relay.agent.way_out import has_route, ip_versions, way_to
from relay.core import SeededEntropy
from relay.media_reflector import Descriptor, ReflectorKeys, ReflectorReference, verify_descriptor

KEYS = ReflectorKeys.generate(SeededEntropy(1))
V4, V6 = ("192.0.2.1", 7210), ("2001:db8::1", 7210)
BOTH = verify_descriptor(
    KEYS.signed_descriptor("a" * 56, [V4, V6], 1e9, capacity=10),
    ReflectorReference("a" * 56, KEYS.public_identity),
    1e9,
)


def only(*addresses: tuple[str, int]) -> Descriptor:
    return msgspec.structs.replace(BOTH, addresses=addresses)


def anywhere(host: str, port: int) -> bool:
    return True


def by_six_alone(host: str, port: int) -> bool:
    return ":" in host


def nowhere(host: str, port: int) -> bool:
    return False


@pytest.mark.parametrize(
    ("line_address", "versions"), [("", (4, 6)), ("192.0.2.7", (4,)), ("2001:db8::7", (6,)), ("::1", (6,))]
)
def test_the_line_address_decides(line_address: str, versions: tuple[int, ...]) -> None:
    assert ip_versions(line_address) == versions


@pytest.mark.parametrize(
    ("line_address", "routable", "expected"),
    [
        ("", anywhere, V4),
        ("", by_six_alone, V6),
        ("", nowhere, V4),
        ("192.0.2.7", anywhere, V4),
        ("192.0.2.7", by_six_alone, V4),
        ("2001:db8::7", anywhere, V6),
    ],
)
def test_of_two_addresses(line_address: str, routable: object, expected: tuple[str, int]) -> None:
    assert way_to(BOTH, line_address, routable) == expected  # type: ignore[arg-type]


def test_where_there_is_only_one() -> None:
    assert way_to(only(V6), "", nowhere) == V6
    assert way_to(only(V4), "", by_six_alone) == V4
    assert way_to(only(V6), "192.0.2.7", anywhere) is None
    assert way_to(only(V4), "2001:db8::7", anywhere) is None


def test_routes_of_this_machine_are_asked_without_sending() -> None:
    assert has_route("127.0.0.1", 9)
    assert not has_route("fe80::1", 9), "no link is named"
