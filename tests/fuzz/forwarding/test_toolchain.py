"""That the fuzzer's target follows the native data plane: nobody builds it every day."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.fuzz.forwarding.toolchain import TARGET
from tests.native_code import compiler


@pytest.mark.parametrize("variant", ["sequences", "datagrams", "planted"])
def test_the_target_compiles(tmp_path: Path, variant: str) -> None:
    command = [compiler(), "--edition", "2021", "--emit=metadata", "--cfg", variant, str(TARGET)]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "target.rmeta")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "FORWARDING_SOURCES": "test"},
    )
    assert done.returncode == 0, done.stderr
