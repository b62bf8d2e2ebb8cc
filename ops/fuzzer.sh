#!/usr/bin/env bash
# What `make fuzz` needs and nothing else does, where it is not there yet:
# - atheris (requirements-fuzz.lock), into .deps/fuzzer and not into the virtual environment;
# - libFuzzer, AddressSanitizer and their linker out of the Debian archive, installed by whoever may, else unpacked
#   beneath .deps.
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

# The same libraries as everywhere, and atheris beside them: on PYTHONPATH for the fuzzer's own process alone.
atheris() {
    local place=$deps/fuzzer state
    state=$(python -V && cat "$root/requirements-fuzz.lock")
    if [ -f "$place/.state" ] && [ "$(cat "$place/.state")" = "$state" ]; then return 0; fi
    echo "setup: atheris goes into .deps/fuzzer ..."
    rm -rf "$place"
    mkdir -p "$place"
    # Wheels alone: built from source it wants a clang of its own.
    if ! pip_of_project install -q --no-input --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        --target "$place" -r "$root/requirements-fuzz.lock" >>"$deps/setup.log" 2>&1; then
        echo "setup: atheris could not be had; it comes for CPython 3.11 to 3.13 on x86-64. $deps/setup.log holds more." >&2
        exit 1
    fi
    printf '%s\n' "$state" >"$place/.state"
}

# Debian without ensurepip: out of the wheel that ops/setup.sh unpacked.
pip_of_project() {
    local wheel
    wheel=$(find "$deps/root/usr/share/python-wheels" -name 'pip-*.whl' 2>/dev/null | head -n 1)
    if [ -n "$wheel" ]; then PYTHONPATH=$wheel python -m pip "$@"; else python -m pip "$@"; fi
}

. "$deps/env.sh"
atheris
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
