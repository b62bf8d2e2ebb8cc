"""How many connections this process may hold open, as the system has it: every one of them is an open file."""

import resource

RESERVE = 512
"""Open files beside connections: databases, logs, Tor's control, and those of a connection that begins or ends."""


def room_for(connections: int) -> int:
    """Raise the soft limit of open files to the hard one; how many of `connections` fit.

    The soft limit is 1,024 almost everywhere, for the sake of programs that cannot count further (`select`).
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, hard - RESERVE))
