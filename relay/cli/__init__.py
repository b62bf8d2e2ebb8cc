"""The command `bayonne`: each role and tool in a file of its own.

Implements no specification (DESIGN.md section 8 fixes the face).  Must never print a key, an address or a contact
into a log: what belongs to the owner goes to standard output, what happened goes, redacted, to standard error.
"""

from relay.cli.main import main

__all__ = ["main"]
