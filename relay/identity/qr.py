"""An invitation as a QR code (ISO/IEC 18004): in capitals, so that the alphanumeric mode keeps it small."""

import io
from pathlib import Path

import segno

_QUIET_ZONE = 4
"""Modules around it, as the standard asks."""
_SCALE = 6
"""Pixels of a module's side."""


def _code(uri: str) -> segno.QRCode:
    # Capitals make no difference to an invitation, and halve the code.  A seventh of it may be unreadable (level M).
    return segno.make_qr(uri.upper(), error="m", boost_error=False)


def qr_png(uri: str, path: Path) -> None:
    """Write a picture to print or to show.  Raises `OSError`."""
    _code(uri).save(str(path), kind="png", scale=_SCALE, border=_QUIET_ZONE)


def qr_svg(uri: str, path: Path) -> None:
    """Write a drawing that any size suits.  Raises `OSError`."""
    _code(uri).save(str(path), kind="svg", scale=_SCALE, border=_QUIET_ZONE)


def qr_text(uri: str) -> str:
    """Lines for a terminal, two modules to a character."""
    text = io.StringIO()
    _code(uri).terminal(text, border=_QUIET_ZONE, compact=True)
    return text.getvalue()
