#!/usr/bin/env bash
# libFuzzer, AddressSanitizer and their linker out of the Debian archive, where they are not there yet: installed by whoever
# may, else unpacked beneath .deps.  For `make fuzz` alone; nothing else needs them.
set -euo pipefail
exec </dev/null

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
deps=$root/.deps

there() {
    local llvm
    for llvm in /usr/lib/llvm-* "$deps"/root/usr/lib/llvm-*; do
        if [ -x "$llvm/bin/ld.lld" ] &&
            compgen -G "$llvm/lib/clang/*/lib/linux/libclang_rt.fuzzer-$(uname -m).a" >/dev/null; then return 0; fi
    done
    return 1
}

fail() {
    echo "setup: libFuzzer could not be had; install Debian's libclang-rt-19-dev and lld-19, or older ones, by hand." >&2
    exit 1
}

if there; then exit 0; fi
command -v apt-cache >/dev/null || fail
version=$(apt-cache search --names-only '^libclang-rt-[0-9]+-dev$' | sed -n 's/^libclang-rt-\([0-9]*\)-dev.*/\1/p' | sort -n | tail -n 1)
[ -n "$version" ] || fail
packages=(--no-install-recommends "libclang-rt-$version-dev" "lld-$version")
echo "setup: libFuzzer comes with libclang-rt-$version-dev ..."
if [ "$(id -u)" = 0 ] && [ "${BAYONNE_SETUP:-root}" = root ]; then
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${packages[@]}" >>"$deps/setup.log" 2>&1 || fail
elif [ "${BAYONNE_SETUP:-sudo}" = sudo ] && sudo -n true 2>/dev/null; then
    sudo -n env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${packages[@]}" >>"$deps/setup.log" 2>&1 || fail
else
    place=$(mktemp -d)
    trap 'rm -rf "$place"' EXIT
    # What a machine with a compiler lacks of what they depend on is LLVM's own library.
    (cd "$place" && apt-get download -q "${packages[@]:1}" "libllvm$version" >>"$deps/setup.log" 2>&1) || fail
    for package in "$place"/*.deb; do dpkg -x "$package" "$deps/root" || fail; done
fi
there || fail
