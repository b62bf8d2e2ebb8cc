"""Bayonne Voice Relay: telephone calls that nobody learns about.

The layers, lowest first: core, wire, identity rtp chaff, sip tor forward_publish contact_cache media_reflector,
agent node, cli lab.  Imports go downward only; `ops/import_rules.py` enforces it.
"""

__version__ = "0.1.0.dev0"
