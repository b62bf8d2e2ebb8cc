"""Who somebody is: an Ed25519 key, the address made of it, and the invitation that introduces two people.

RFC 8032 keys, RFC 7748 agreement over them, RFC 9476 names.  Must never learn where anybody is, nor that a
call is on.
"""

from relay.identity.identity import ADDRESS_SIZE, Identity, format_address, parse_address
from relay.identity.invitation import Invitation

__all__ = ["ADDRESS_SIZE", "Identity", "Invitation", "format_address", "parse_address"]
