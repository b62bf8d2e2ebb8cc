"""Fuzz target for the SIP parsers; `python tests/fuzz/sip_message.py tests/vectors/sip/rfc4475`.

Needs atheris.  Whatever is not a `PeerError` is a finding, and so is a message that does not come
back as it went.
"""

import sys

import atheris  # type: ignore[import-untyped, unused-ignore]

with atheris.instrument_imports(include=["relay.sip"]):
    from relay.core import PeerError
    from relay.sip import MessageStream, parse_message
    from relay.sip.digest import Challenge, Credentials
    from relay.sip.sdp import SessionDescription


def one_input(data: bytes) -> None:
    try:
        message = parse_message(data)
        again = parse_message(message.to_bytes())
        if again.to_bytes() != message.to_bytes():
            raise AssertionError("not the same after writing and reading")
        for name in ("Authorization", "WWW-Authenticate"):
            for value in message.headers.all(name):
                (Credentials if name == "Authorization" else Challenge).parse(value)
        _ = message.via.rport, message.contacts, message.content_type
        SessionDescription.parse(message.body).to_bytes()
    except PeerError:
        pass
    stream = MessageStream()
    try:
        for start in range(0, len(data), 97):
            stream.receive(data[start : start + 97])
    except PeerError:
        pass


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
