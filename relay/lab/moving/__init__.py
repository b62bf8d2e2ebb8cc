"""What becomes of many lines at once when their reflector dies: whole reflector processes, agents without phones.

Only Tor is missing: tickets and backup keys, which travel over onion services, travel over sockets of this machine.
"""
