# Which programs are needed, which of them are there, and how apt-get installs the rest.  Sourced by ops/setup.sh.

# there PROGRAM: in .deps, or on this machine unless those are set aside.
there() {
    [ -x "$deps/bin/$1" ] || { [ "$aside" = no ] && command -v "$1" >/dev/null; }
}

# The onion services' proof of work came with tor 0.4.8.
tor_will_do() {
    there tor || return 1
    local version
    version=$(tor --version 2>/dev/null | sed -n 's/^Tor version \([0-9.]*[0-9]\).*/\1/p')
    [ -n "$version" ] && [ "$(printf '%s\n' 0.4.8 "$version" | sort -V | head -n 1)" = 0.4.8 ]
}

# Debian keeps a server's programs beside its version, outside of PATH.
postgres_is_there() {
    there initdb || { [ "$aside" = no ] && compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }
}

# Another implementation of ZRTP, for the tests.
bzrtp_is_there() {
    compgen -G "$deps/root/usr/lib/*/libbzrtp.so.0" >/dev/null ||
        { [ "$aside" = no ] && compgen -G '/usr/lib/*/libbzrtp.so.0' >/dev/null; }
}

sounds_are_there() {
    [ -d "$deps/root$sounds/$1" ] || { [ "$aside" = no ] && [ -d "${BAYONNE_SOUNDS:-$sounds}/$1" ]; }
}

# Sets `missing` to the Debian packages that are still needed, each after a space.
missing_packages() {
    missing=
    tor_will_do || missing+=" tor"
    there setpriv || missing+=" util-linux"
    there baresip || missing+=" baresip-core"
    there sipp || missing+=" sip-tester"
    there tshark || missing+=" tshark"
    bzrtp_is_there || missing+=" libbzrtp0"
    there linphonec || missing+=" linphone-cli"
    there zbarimg || missing+=" zbar-tools"
    { there gpg && there gpg-agent; } || missing+=" gpg gpg-agent"
    postgres_is_there || missing+=" postgresql"
    sounds_are_there en_US_f_Allison || missing+=" asterisk-core-sounds-en-wav"
    sounds_are_there fr_CA_f_June || missing+=" asterisk-core-sounds-fr-wav"
    [ -n "${PIP_CERT:-}${SSL_CERT_FILE:-}" ] || [ -s /etc/ssl/certs/ca-certificates.crt ] || missing+=" ca-certificates"
    find_python || missing+=" python3"
    python_has_pip || missing+=" $(pip_package)"
}

as_root() {
    if [ "$mode" = sudo ]; then sudo -n "$@"; else "$@"; fi
}

# Installed, not started: RUNLEVEL=1 for init scripts; systemd asks policy-rc.d, ours for the time of the installation.
install_packages() {
    local policy=/usr/sbin/policy-rc.d ours=no outcome=0
    if [ ! -e "$policy" ]; then
        ours=yes
        trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
        as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
    fi
    {
        step "reading the package lists" as_root apt-get update -q &&
            # shellcheck disable=SC2086 # package names are words
            step "installing the packages" as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
                apt-get install -y -q --no-install-recommends $missing
    } || outcome=$?
    if [ "$ours" = yes ]; then
        as_root rm -f "$policy"
        trap - EXIT
    fi
    [ "$outcome" = 0 ] || fail "the packages could not be installed." \
        "If this machine is offline, connect it; if another apt-get runs, wait for it. Then run 'make setup' again." \
        "$log holds the details."
}
