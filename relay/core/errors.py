"""The one family of errors.

Our misuse, the peer's fault, a transport that is not there, a refusal by policy.  Hostile input can raise
only `PeerError`.  A message never holds a peer's bytes, an address, a name or a key.
"""


class BayonneError(Exception):
    """Whatever this project raises on purpose."""


class MisuseError(BayonneError):
    """This program was called wrongly: a bug or a wrong setting on our own side."""


class ConfigurationError(MisuseError):
    """A configuration cannot be used; the message names the key and the line, and the next step."""


class PeerError(BayonneError):
    """What came from outside broke a rule.

    `reason` is a short fixed word for counting, such as "truncated"; `section` names the rule, such as
    "RFC 3261 section 18.3".
    """

    def __init__(self, reason: str, section: str = "") -> None:
        super().__init__(f"{reason} ({section})" if section else reason)
        self.reason = reason
        self.section = section


class TransportUnavailable(BayonneError):
    """Tor, a contact point or a reflector is not there.  The call fails; nothing goes around it."""


class RefusedByPolicy(BayonneError):
    """Everything worked and the answer is no: a block, a limit, a missing consent."""
