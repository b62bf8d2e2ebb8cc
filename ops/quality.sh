#!/usr/bin/env bash
# What `make quality` needs beyond `make setup`, beneath .venv and .deps: the metric, and recorded speech in a wide band.
set -euo pipefail
exec </dev/null

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
deps=$root/.deps
venv=$root/.venv
log=$deps/setup.log
package=asterisk-core-sounds-en-g722

. "$root/ops/setup/python.sh"

fail() {
    echo "setup: $1 $log holds the details." >&2
    exit 1
}

state=$(sha256sum <requirements-quality.lock)
if ! up_to_date quality "$state"; then
    echo "setup: ViSQOL goes into .venv ..."
    # Without dependencies: it names some for modes and files that are not used here.
    pip install -q --no-input --disable-pip-version-check --no-deps --require-hashes -r requirements-quality.lock \
        >>"$log" 2>&1 || fail "ViSQOL could not be installed; if this machine is offline, connect it."
    printf '%s\n' "$state" >"$venv/.quality"
fi

if [ ! -d "$deps/wideband/usr" ]; then
    echo "setup: recorded speech comes with Debian's $package ..."
    place=$(mktemp -d)
    trap 'rm -rf "$place"' EXIT
    (cd "$place" && apt-get download -q "$package" >>"$log" 2>&1) ||
        fail "$package could not be downloaded; run 'apt-get update', or unpack it into .deps/wideband by hand."
    dpkg -x "$place"/*.deb "$deps/wideband.new" && mv "$deps/wideband.new" "$deps/wideband" || fail "it could not be unpacked."
fi
