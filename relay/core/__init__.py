"""Clock, entropy, errors, counters, redaction, configuration: what every layer stands on.

Implements no specification and knows nothing of calls, people or networks.  Must never learn what it carries:
nothing here logs an argument it was given.
"""

from relay.core.child import Child, spawn
from relay.core.clock import Clock, ManualClock, SystemClock
from relay.core.configuration import load_configuration
from relay.core.counters import Counters
from relay.core.entropy import Entropy, SeededEntropy, SystemEntropy
from relay.core.errors import (
    BayonneError,
    ConfigurationError,
    MisuseError,
    PeerError,
    RefusedByPolicy,
    TransportUnavailable,
)
from relay.core.hardening import keep_from_swap, shield_process
from relay.core.logs import configure_logging, get_logger
from relay.core.private_files import (
    prepared_private,
    private_directory,
    rename_for_good,
    replace_private,
    synchronise,
)
from relay.core.redaction import redact
from relay.core.wiping import passing, wipe

__all__ = [
    "BayonneError",
    "Child",
    "Clock",
    "ConfigurationError",
    "Counters",
    "Entropy",
    "ManualClock",
    "MisuseError",
    "PeerError",
    "RefusedByPolicy",
    "SeededEntropy",
    "SystemClock",
    "SystemEntropy",
    "TransportUnavailable",
    "configure_logging",
    "get_logger",
    "keep_from_swap",
    "load_configuration",
    "passing",
    "prepared_private",
    "private_directory",
    "redact",
    "rename_for_good",
    "replace_private",
    "shield_process",
    "spawn",
    "synchronise",
    "wipe",
]
