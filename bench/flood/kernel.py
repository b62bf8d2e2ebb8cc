"""What the kernel says of UDP sockets of this machine."""

import socket
from pathlib import Path


def dropped_datagrams(port: int) -> int:
    """Datagrams for a local IPv4 port that found its socket's buffer full (proc_net(5), /proc/net/udp)."""
    dropped = 0
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            dropped += int(fields[12])
    return dropped


def free_port() -> int:
    """A UDP port of this machine that nobody has just now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
