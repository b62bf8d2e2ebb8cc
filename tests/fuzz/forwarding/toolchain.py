"""The fuzzer's tool chain: rustc with AddressSanitizer, and libFuzzer out of Debian's clang packages.

The coverage that libFuzzer follows is put in by LLVM's own pass; `RUSTC_BOOTSTRAP` opens the options of a stable rustc
that this takes.  rustc's own sanitizer runtime serves where it came with the compiler, else clang's.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from relay.media_reflector.forwarding.build import find_compiler

HERE = Path(__file__).parent
TARGET = HERE / "target.rs"
_PROJECT = HERE.parent.parent.parent

_UNPACKED = _PROJECT / ".deps" / "root" / "usr" / "lib"
_LLVM = (Path("/usr/lib"), _UNPACKED)
_SANITIZED = (
    *("--edition", "2021", "--crate-type", "bin", "-O", "-g", "-Zsanitizer=address", "-Cpanic=abort"),
    *("-Cdebug-assertions=on", "-Coverflow-checks=on", "-Ccodegen-units=1", "-Cpasses=sancov-module"),
    *("-Cllvm-args=-sanitizer-coverage-level=4", "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters"),
    "-Cllvm-args=-sanitizer-coverage-pc-table",
)


class ToolChainMissing(Exception):
    """The message says what to install."""


@dataclass(frozen=True, slots=True)
class ToolChain:
    """Where everything is, and what it calls itself."""

    compiler: str
    version: str
    fuzzer: Path
    sanitizer: Path | None
    """Clang's AddressSanitizer, where rustc brought none."""

    @property
    def llvm(self) -> str:
        """Which LLVM libFuzzer is from, such as "llvm-19"."""
        return self.fuzzer.parents[5].name

    @classmethod
    def find(cls) -> "ToolChain":
        """Raises `ToolChainMissing`."""
        compiler = find_compiler()
        if compiler is None:
            raise ToolChainMissing("rustc 1.70 or newer is needed (Debian 12: rustc-web, others: rustc)")
        version = _said([compiler, "--version"]).strip()
        sysroot = Path(_said([compiler, "--print", "sysroot"]).strip())
        fuzzers = [
            path
            for place in _LLVM
            for path in place.glob("llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a")
        ]
        fuzzers = [path for path in fuzzers if path.stem.endswith(os.uname().machine)]
        if not fuzzers:
            raise ToolChainMissing("libFuzzer is needed (Debian 12 and 13: libclang-rt-19-dev)")
        fuzzer = max(fuzzers, key=_llvm_version)
        own = list(sysroot.glob("lib/rustlib/*/lib/librustc*_rt.asan.a"))
        clangs = fuzzer.with_name(fuzzer.name.replace(".fuzzer-", ".asan-"))
        return cls(compiler, version, fuzzer, None if own else clangs)

    def build(self, output: Path, *, variant: str = "") -> None:
        """Compile the target, or its variant "planted" or "datagrams".

        Raises `ToolChainMissing` with the compiler's first complaint.
        """
        archives = ",".join(str(path) for path in (self.fuzzer, self.sanitizer) if path)
        command = [self.compiler, *_SANITIZED, str(TARGET), "-o", str(output)]
        command += ["--cfg", variant] if variant else []
        # The C++ library by its file: the name without a version would take a development package.
        command += [
            f"-Clink-arg=-Wl,--whole-archive,{archives},--no-whole-archive",
            "-Clink-arg=-l:libstdc++.so.6",
        ]
        if self.sanitizer:
            # Of the same LLVM: GNU's linker does not take what these archives do with thread-local storage.
            linker = [f"-Clink-arg=-B{self.fuzzer.parents[5] / 'bin'}", "-Clink-arg=-fuse-ld=lld"]
            command += ["-Zexternal-clangrt", "-Clink-arg=-Wl,--export-dynamic", "-Clink-arg=-lm", *linker]
        environment = os.environ | {"RUSTC_BOOTSTRAP": "1", "FORWARDING_SOURCES": "fuzzing"}
        if self.fuzzer.is_relative_to(_UNPACKED):
            environment["LD_LIBRARY_PATH"] = str(_UNPACKED / f"{os.uname().machine}-linux-gnu")
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            first = next(
                (line for line in done.stderr.splitlines() if line.startswith("error")), "rustc failed"
            )
            raise ToolChainMissing(f"the target cannot be built: {first}")


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _llvm_version(path: Path) -> int:
    found = re.search(r"llvm-(\d+)", str(path))
    return int(found[1]) if found else 0
