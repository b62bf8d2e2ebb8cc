"""Tor: streams to onion services and, for domain calling alone, through exits; services of ours; private networks.

rend-spec-v3, control-spec, RFC 1928.  Must never learn what its streams carry, look a name up, nor connect to anything
but Tor.
"""

from relay.tor.client import TorClient
from relay.tor.network_file import NetworkFile
from relay.tor.onion import OnionKey, OnionService
from relay.tor.private_network import NetworkStatus, PrivateNetwork
from relay.tor.proof import prove_reachable
from relay.tor.settings import TorSettings

__all__ = [
    "NetworkFile",
    "NetworkStatus",
    "OnionKey",
    "OnionService",
    "PrivateNetwork",
    "TorClient",
    "TorSettings",
    "prove_reachable",
]
