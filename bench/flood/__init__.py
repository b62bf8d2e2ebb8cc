"""What strangers throw at a reflector, from a process of its own and at this machine's loopback alone.

`material` is what an attacker has seen, `generator` throws it (native/flood.rs), `victim` is the reflector's process.
"""
