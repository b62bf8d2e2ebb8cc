"""Who somebody is: an Ed25519 key, the address made of it, its blinded keys, the invitation that introduces two
people; and the vault that such secrets lie in.

RFC 8032 keys, RFC 7748 agreement over them, RFC 9476 names, rend-spec-v3 appendix A.2 blinding, RFC 9106 and RFC
8439 for the vault, whose passphrases are those of RFC 8265.  Must never learn where anybody is, nor that a call is on.
"""

from relay.identity.blinding import BlindedKey, blind_public_key
from relay.identity.identity import ADDRESS_SIZE, Identity, format_address, parse_address
from relay.identity.invitation import Invitation, InvitationKind
from relay.identity.qr import qr_png, qr_svg, qr_text

__all__ = [
    "ADDRESS_SIZE",
    "BlindedKey",
    "Identity",
    "Invitation",
    "InvitationKind",
    "blind_public_key",
    "format_address",
    "parse_address",
    "qr_png",
    "qr_svg",
    "qr_text",
]
