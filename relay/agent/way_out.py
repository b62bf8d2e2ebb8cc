"""By which of its addresses a reflector is reached: as `line_address` says, else as this machine's routes allow."""

import socket
from collections.abc import Callable

from relay.media_reflector import Descriptor

Routable = Callable[[str, int], bool]


def ip_versions(line_address: str) -> tuple[int, ...]:
    """The IP versions that lines may use, best first.  `line_address` is an address of this machine, or empty."""
    if not line_address:
        return (4, 6)
    return (6,) if ":" in line_address else (4,)


def has_route(host: str, port: int) -> bool:
    """Whether this machine knows a way to an address.  Nothing is sent: a UDP socket is connected and closed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, port))
    except OSError:
        return False
    return True


def way_to(
    descriptor: Descriptor, line_address: str, routable: Routable = has_route
) -> tuple[str, int] | None:
    """Host and port for the cells of a line; None when `line_address` is of an IP version that the reflector has not.

    Where no address has a route the first is as good as any: a machine that is offline now may be back a moment later.
    """
    found = [
        address
        for version in ip_versions(line_address)
        if (address := descriptor.address_for(version)) is not None
    ]
    return next((address for address in found if routable(*address)), found[0] if found else None)
