#!/usr/bin/env bash
# All set-up of this project, from nothing to `bayonne demo`; quick when there is nothing left to do.
#
# Programs come from the Debian archive, in one of three ways that this script chooses itself:
#   root     apt-get install
#   sudo     sudo -n apt-get install
#   unpack   the same packages unpacked beneath ./.deps, nothing installed, no privilege needed
# BAYONNE_SETUP=root|sudo|unpack forces one; a forced `unpack` also sets aside the programs this machine has.
# Libraries for Python go into ./.venv, each version and hash as requirements.lock says.
set -euo pipefail
exec </dev/null
umask 022

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
deps=$root/.deps
venv=$root/.venv
log=$deps/setup.log
sounds=/usr/share/asterisk/sounds
mkdir -p "$deps"

# Two targets of one `make -j` must not set up at once.
exec 9>"$deps/lock"
if command -v flock >/dev/null; then flock 9; fi

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$1" >&2
    if [ $# -gt 1 ]; then printf '       %s\n' "${@:2}" >&2; fi
    exit 1
}

# step TEXT COMMAND...: runs it into the log; says what it does, and every ten seconds that it still does.
step() {
    local text=$1 began=$SECONDS ticks=0 worker
    shift
    say "$text ..."
    printf '\n== %s\n' "$text" >>"$log"
    # A process group of its own, so that Ctrl-C can end all of it.
    set -m
    "$@" >>"$log" 2>&1 9>&- &
    worker=$!
    set +m
    trap 'kill -- -$worker 2>/dev/null || true; echo "setup: stopped" >&2; exit 130' INT TERM
    while kill -0 "$worker" 2>/dev/null; do
        sleep 0.2
        if (((SECONDS - began) / 10 > ticks)); then
            ticks=$(((SECONDS - began) / 10))
            say "  still at it ($((SECONDS - began)) s)"
        fi
    done
    trap - INT TERM
    if ! wait "$worker"; then
        tail -n 12 "$log" | sed 's/^/    /' >&2
        return 1
    fi
    if ((SECONDS - began > 1)); then say "  done in $((SECONDS - began)) s"; fi
}

. "$root/ops/setup/programs.sh"
. "$root/ops/setup/unpack.sh"
. "$root/ops/setup/python.sh"
. "$root/ops/setup/environment.sh"
. "$root/ops/setup/native.sh"

obtain_packages() {
    if [ "$mode" = unpack ]; then unpack_packages; else install_packages; fi
}

choose_mode() {
    mode=${BAYONNE_SETUP:-}
    case $mode in
    root | sudo | unpack) chosen="because BAYONNE_SETUP says so" ;;
    '')
        chosen="chosen by itself; BAYONNE_SETUP=root, sudo or unpack forces another"
        if [ "$(id -u)" = 0 ]; then
            mode=root
        elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
            mode=sudo
        else
            mode=unpack
        fi
        ;;
    *) fail "BAYONNE_SETUP is neither root, sudo nor unpack." ;;
    esac
}

began=$SECONDS
choose_mode
if [ "$mode" = unpack ] && [ -n "${BAYONNE_SETUP:-}" ]; then aside=yes; else aside=no; fi
use_environment
missing_packages
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null && command -v dpkg >/dev/null ||
        fail "this machine lacks:$missing" "and has no apt-get; install them by its own means, then run 'make setup' again."
    : >"$log"
    case $mode in
    root) say "mode root: programs are installed with apt-get ($chosen)" ;;
    sudo) say "mode sudo: programs are installed with sudo apt-get ($chosen)" ;;
    unpack) say "mode unpack: programs are unpacked beneath .deps, nothing is installed ($chosen)" ;;
    esac
    say "needed:$missing"
    obtain_packages
    use_environment
    missing_packages
    [ -z "$missing" ] || fail "these are still not usable:$missing" \
        "Supported are Debian 12 and 13, Ubuntu 24.04 and later; $log holds the details."
elif [ ! -e "$deps/env.sh" ]; then
    say "every program needed is on this machine; only libraries for Python are missing"
fi
prepare_python
prepare_native
write_environment
if ((SECONDS - began > 1)); then say "ready after $((SECONDS - began)) s"; fi
