"""QR codes of invitations, read by a decoder that nobody of us wrote (zbar)."""

import shutil
import subprocess
from pathlib import Path

import pytest

from relay.core import SeededEntropy
from relay.identity import Identity, Invitation, InvitationKind, qr_png, qr_svg, qr_text
from relay.identity.qr import _code


@pytest.fixture
def invitation() -> Invitation:
    entropy = SeededEntropy(3)
    me = Identity.generate(entropy)
    return Invitation.generate(InvitationKind.ONCE, me.public_key, ("abcdefgh" * 7,) * 4, 500_000, entropy)


def test_it_is_small(tmp_path: Path, invitation: Invitation) -> None:
    """Capitals alone (alphanumeric mode): 61 modules a side with four contact points, plus a quiet zone of four."""
    code = _code(invitation.format())
    assert (code.mode, code.error, code.default_border_size) == ("alphanumeric", "M", 4)
    assert code.symbol_size(scale=1, border=0) == (61, 61)
    qr_png(invitation.format(), tmp_path / "code.png")
    heading = (tmp_path / "code.png").read_bytes()[16:24]
    assert [int.from_bytes(heading[:4]), int.from_bytes(heading[4:])] == [(4 + 61 + 4) * 6] * 2


def scanned(picture: Path) -> str:
    program = shutil.which("zbarimg")
    assert program, "zbarimg reads codes here: apt-get install zbar-tools"
    done = subprocess.run(
        [program, "--quiet", "--raw", str(picture)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, "no code was found"
    return done.stdout.strip()


def test_a_scanner_reads_it(tmp_path: Path, invitation: Invitation) -> None:
    """With four contact points: the largest there is."""
    picture = tmp_path / "code.png"
    qr_png(invitation.format(), picture)
    assert Invitation.parse(scanned(picture)) == invitation


def test_a_scanner_reads_it_from_a_stained_print(tmp_path: Path, invitation: Invitation) -> None:
    import matplotlib.image
    import numpy as np

    picture = tmp_path / "code.png"
    qr_png(invitation.format(), picture)
    pixels = np.array(matplotlib.image.imread(picture), dtype=float)
    grey = pixels if pixels.ndim == 2 else pixels[..., :3].mean(axis=2)
    side = grey.shape[0]
    grey[side // 2 : side // 2 + 20, side // 2 : side // 2 + 20] = 0.0
    small = grey[::2, ::2] + np.random.default_rng(1).normal(0, 0.15, grey[::2, ::2].shape)
    matplotlib.image.imsave(picture, small.clip(0, 1), cmap="gray", vmin=0, vmax=1)
    assert Invitation.parse(scanned(picture)) == invitation


def test_a_drawing_and_a_terminal_have_it_too(tmp_path: Path, invitation: Invitation) -> None:
    drawing = tmp_path / "code.svg"
    qr_svg(invitation.format(), drawing)
    assert b"<svg" in drawing.read_bytes()
    lines = qr_text(invitation.format()).splitlines()
    assert 30 < len(lines) < 60
