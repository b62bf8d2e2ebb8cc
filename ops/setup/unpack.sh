# Debian packages beneath .deps, for a user without any privilege.  Sourced by ops/setup.sh.
#
#   .deps/apt    apt's lists and downloads while it works, checked against the archive's signatures as always
#   .deps/root   what the packages hold
#   .deps/bin    one small script for each program, which finds that program's libraries

apt_for_user() {
    apt-get -q \
        -o Dir::State="$deps/apt/state" -o Dir::State::status="$status" -o Dir::Cache="$deps/apt/cache" \
        -o Dir::Log="$deps/apt/log" -o Debug::NoLocking=true -o APT::Sandbox::User="$(id -un)" \
        -o APT::Update::Post-Invoke::=true -o Binary::apt::APT::Keep-Downloaded-Packages=true \
        "$@"
}

unpack_packages() {
    status=/var/lib/dpkg/status
    mkdir -p "$deps/apt/state/lists/partial" "$deps/apt/cache/archives/partial" "$deps/apt/log" "$deps/root"
    local packages=$missing
    step "reading the package lists" apt_for_user update ||
        fail "the package lists could not be read." "If this machine is offline, connect it, then run 'make setup' again."
    # --reinstall: a package may be installed here and its program set aside or broken all the same.
    # shellcheck disable=SC2086 # package names are words
    step "downloading the packages" apt_for_user install -y --download-only --no-install-recommends --reinstall $packages ||
        fail "the packages could not be downloaded." \
            "If this machine is offline, connect it, then run 'make setup' again." "$log holds the details."
    compgen -G "$deps/apt/cache/archives/*.deb" >/dev/null ||
        fail "no package could be downloaded." "If this machine is offline, connect it, then run 'make setup' again."
    step "unpacking" unpack_archives || fail "the packages could not be unpacked; is the disk full?"
    rm -rf "$deps/apt"
    write_wrappers
}

unpack_archives() {
    local archive
    for archive in "$deps"/apt/cache/archives/*.deb; do
        echo "${archive##*/}"
        dpkg -x "$archive" "$deps/root" && rm -f "$archive" || return 1
    done
}

# Each program runs with its unpacked libraries, and nothing else on the machine does.
write_wrappers() {
    local program path
    mkdir -p "$deps/bin"
    for program in usr/sbin/tor usr/bin/tor usr/bin/baresip usr/bin/sipp usr/bin/tshark usr/bin/dumpcap usr/bin/python3 usr/bin/rustc usr/bin/zbarimg usr/bin/gpg-agent; do
        if [ -x "$deps/root/$program" ]; then write_wrapper "${program##*/}" "$program"; fi
    done
    # It finds its grammars in ./share, where they are not in /usr/share.
    if [ -x "$deps/root/usr/bin/linphonec" ]; then
        # shellcheck disable=SC2016 # for the wrapper to expand
        write_wrapper linphonec usr/bin/linphonec '' 'cd "$here/root/usr"'
    fi
    for path in "$deps"/root/usr/lib/postgresql/*/bin/initdb "$deps"/root/usr/lib/postgresql/*/bin/postgres; do
        if [ -x "$path" ]; then write_wrapper "${path##*/}" "${path#"$deps/root/"}"; fi
    done
    # It would start the agent of the place that it was built for.
    if [ -x "$deps/root/usr/bin/gpg" ]; then
        # shellcheck disable=SC2016 # for the wrapper to expand
        write_wrapper gpg usr/bin/gpg '--agent-program "$here/bin/gpg-agent"'
    fi
    if [ -x "$deps/root/usr/bin/gcc" ]; then
        link_libraries
        # shellcheck disable=SC2016 # for the wrapper to expand
        write_wrapper cc usr/bin/gcc '--sysroot="$here/root" -B"$here/root/usr/bin/"'
    fi
}

# The Rust compiler links with cc, for which everything is below .deps/root.  The libraries that this machine runs on are
# not: they must be its own, so they are linked to from there.
link_libraries() {
    local triplet library
    triplet=$(uname -m)-linux-gnu
    for library in /lib/$triplet/libgcc_s.so.1 \
        $(cat "$deps/root/usr/lib/$triplet"/lib[cm].so 2>/dev/null | grep -a -o '/lib[^ ]*\.so\.[0-9]*'); do
        if [ -e "$library" ] && [ ! -e "$deps/root$library" ]; then
            mkdir -p "$deps/root${library%/*}"
            ln -sf "$library" "$deps/root$library"
        fi
    done
}

# write_wrapper NAME PROGRAM [ARGUMENTS [COMMAND BEFORE IT]]
write_wrapper() {
    local triplet
    triplet=$(uname -m)-linux-gnu
    cat >"$deps/bin/$1" <<WRAPPER
#!/bin/sh
here=\$(CDPATH='' cd -- "\$(dirname -- "\$0")/.." && pwd)
LD_LIBRARY_PATH="\$here/root/usr/lib/$triplet:\$here/root/usr/lib/$triplet/pulseaudio:\$here/root/lib/$triplet:\$here/root/usr/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
WIRESHARK_DATA_DIR="\$here/root/usr/share/wireshark"
export LD_LIBRARY_PATH WIRESHARK_DATA_DIR
${4:-:}
exec "\$here/root/$2" ${3:-} "\$@"
WRAPPER
    chmod 755 "$deps/bin/$1"
}
