"""The data plane: open lines, their cells in, their cells out, at their pace (DESIGN.md sections 4 and 6).

Link SRTP per RFC 7714 and RFC 3711.  `native` is the fast one, `twin` the plain Python one that says what is right;
both stand behind `face.Forwarding`.  Must never learn an identity, a key of a call, or whether anyone speaks.
"""

from relay.media_reflector.forwarding.choice import load_forwarding

__all__ = ["load_forwarding"]
