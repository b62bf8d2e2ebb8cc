"""Via (RFC 3261 section 20.42, RFC 3581) and CSeq (section 20.16)."""

from dataclasses import dataclass

from relay.core import PeerError
from relay.sip.grammar import (
    Parameters,
    decimal,
    format_parameters,
    malformed,
    parameter,
    parse_host_port,
    parse_parameters,
    token,
    words,
)

MAGIC_COOKIE = "z9hG4bK"
"""What a branch of RFC 3261 starts with (section 8.1.1.7)."""

MAX_SEQUENCE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Via:
    """One hop: `transport` in capitals, sent-by `host` and `port`, parameters."""

    transport: str
    host: str
    port: int | None = None
    params: Parameters = ()

    @classmethod
    def parse(cls, text: str) -> "Via":
        """One element of a Via header."""
        section = "20.42"
        before, semicolon, parameters = text.strip(" \t").partition(";")
        pieces = before.split("/", 2)
        if len(pieces) != 3:
            raise malformed(section)
        if pieces[0].strip(" \t").upper() != "SIP" or pieces[1].strip(" \t") != "2.0":
            raise PeerError("unsupported version", f"RFC 3261 section {section}")
        found = words(pieces[2])
        if len(found) < 2:
            raise malformed(section)
        transport, place = token(found[0], section).upper(), " ".join(found[1:])
        host, port = parse_host_port(place, section)
        return cls(transport, host, port, parse_parameters(semicolon + parameters, section))

    def param(self, name: str) -> str | None:
        """A parameter's value: "" where it stands without one, None where it is absent."""
        return parameter(self.params, name)

    def with_param(self, name: str, value: str | None) -> "Via":
        """The same with one parameter set, in its old place where it was there."""
        if self.param(name) is None:
            return Via(self.transport, self.host, self.port, (*self.params, (name, value)))
        params = tuple((key, value if key == name else old) for key, old in self.params)
        return Via(self.transport, self.host, self.port, params)

    @property
    def branch(self) -> str | None:
        return self.param("branch")

    @property
    def received(self) -> str | None:
        return self.param("received")

    @property
    def rport(self) -> int | None:
        """The port that was filled in; None where there is none or it is still to be filled in."""
        value = self.param("rport")
        return decimal(value, 65535, "20.42") if value else None

    @property
    def wants_rport(self) -> bool:
        """Whether the sender asks for the response at its source port (RFC 3581 section 3)."""
        return self.param("rport") is not None

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {self.host}{port}{format_parameters(self.params)}"


@dataclass(frozen=True, slots=True)
class CSeq:
    """A sequence number below 2**31 and a method."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> "CSeq":
        pair = words(text)
        if len(pair) != 2:
            raise malformed("20.16")
        return cls(decimal(pair[0], MAX_SEQUENCE, "20.16"), token(pair[1], "20.16"))

    def __str__(self) -> str:
        return f"{self.number} {self.method}"
