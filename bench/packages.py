"""The peers' programs, installed when they are not there: Debian's packages, and none of their services started."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

_POLICY = Path("/usr/sbin/policy-rc.d")
_SECONDS = 300


def find_or_install(program: str, package: str, say: Callable[[str], None]) -> str:
    """ "" when `program` can be run, installed just now if need be; else why not, in a few words."""
    if shutil.which(program):
        return ""
    if not shutil.which("apt-get"):
        return f"{program} is not installed, and there is no apt-get to install it with"
    prefix = [] if os.getuid() == 0 else ["sudo", "-n"]
    if prefix and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        return f"{program} is not installed; apt-get install {package} needs root"
    say(f"installing {package}")
    with _no_services(prefix) as environment:
        for arguments in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", package]):
            done = subprocess.run(
                [*prefix, "env", *environment, "apt-get", *arguments],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=_SECONDS,
                check=False,
            )
    if done.returncode or not shutil.which(program):
        return f"apt-get could not install {package}"
    return ""


class _no_services:
    """While packages are installed nothing of theirs is started: init scripts look at RUNLEVEL, systemd's asks
    policy-rc.d, which is ours for this long where there is none."""

    def __init__(self, prefix: list[str]) -> None:
        self._prefix = prefix
        self._ours = False

    def __enter__(self) -> list[str]:
        if not _POLICY.exists():
            with tempfile.NamedTemporaryFile("w", suffix=".sh") as script:
                script.write("#!/bin/sh\nexit 101\n")
                script.flush()
                self._run("install", "-m", "755", script.name, str(_POLICY))
            self._ours = True
        return ["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"]

    def __exit__(self, *_: object) -> None:
        if self._ours:
            self._run("rm", "-f", str(_POLICY))

    def _run(self, *arguments: str) -> None:
        subprocess.run([*self._prefix, *arguments], capture_output=True, check=True)
