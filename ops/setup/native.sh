# The native data plane of a reflector, and the Rust compiler that builds it.  Sourced by ops/setup.sh.
#
# It is a convenience: without a compiler everything works, and a reflector serves fewer lines.  So nothing here ends the
# set-up.  BAYONNE_NATIVE=no leaves it out.

native=relay/media_reflector/forwarding

# Of Debian 12 the ordinary rustc is too old.
compiler_package() {
    if grep -qs '^VERSION_CODENAME=bookworm$' /etc/os-release; then echo rustc-web; else echo rustc; fi
}

compiler_will_do() {
    there "${RUSTC:-rustc}" || return 1
    local version
    version=$("${RUSTC:-rustc}" --version 2>/dev/null | sed -n 's/^rustc \([0-9.]*\).*/\1/p')
    [ -n "$version" ] && [ "$(printf '%s\n' 1.70 "$version" | sort -V | head -n 1)" = 1.70 ]
}

# Whoever has no archive within reach shall not wait for it at every `make`: it is asked again after a day.
was_refused_lately() {
    [ -n "$(find "$deps/no-compiler" -mmin -1440 2>/dev/null)" ]
}

obtain_compiler() {
    if was_refused_lately; then return 1; fi
    missing=" $(compiler_package)"
    say "needed to build the native data plane:$missing"
    # In a process of its own, because these end the set-up when they fail.
    if command -v apt-get >/dev/null && command -v dpkg >/dev/null && (obtain_packages); then
        use_environment
        if compiler_will_do; then return 0; fi
    fi
    touch "$deps/no-compiler"
    return 1
}

build_native() {
    "$venv/bin/python" -m relay.media_reflector.forwarding.build
}

native_state() {
    cat "$native"/native/*.rs "$native/build.py" "$native/library.py" "$native"/built/forwarding-*.so 2>/dev/null | sha256sum
}

prepare_native() {
    if up_to_date native "$(native_state)" || [ "${BAYONNE_NATIVE:-}" = no ]; then return 0; fi
    if { compiler_will_do || obtain_compiler; } && step "building the native data plane" build_native; then
        native_state >"$venv/.native"
    else
        say "without the native data plane: a reflector on this machine runs the plain one, with fewer lines to a core"
    fi
}
