"""Tor: streams to onion services and nothing else, services of ours, a private network to try it all on.

rend-spec-v3, control-spec, RFC 1928.  Must never learn what its streams carry, nor open one to anything but
an onion.
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
