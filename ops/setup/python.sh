# Python, its virtual environment and its libraries.  Sourced by ops/setup.sh.

# Sets `python` to a CPython from 3.11 on: the program itself, not a virtual environment that leads to it.
find_python() {
    local candidate
    local real='import os, sys, venv
if not (3, 11) <= sys.version_info[:2] <= (3, 14): sys.exit(1)
print(os.path.realpath(sys._base_executable))'
    for candidate in ${BAYONNE_PYTHON:-} python3 python3.11 python3.12 python3.13 /usr/bin/python3; do
        if [ "$aside" = yes ] && [ -x "$deps/bin/python3" ]; then candidate=$deps/bin/python3; fi
        if python=$("$candidate" -c "$real" 2>/dev/null); then return 0; fi
    done
    python=
    return 1
}

pip_wheel() {
    find "$deps/root/usr/share/python-wheels" -name 'pip-*.whl' 2>/dev/null | head -n 1
}

# Debian keeps ensurepip out of python3 and in python3-venv; unpacked, pip's wheel alone is enough.
python_has_pip() {
    [ -n "$(pip_wheel)" ] && return 0
    if [ "$aside" = yes ]; then return 1; fi
    [ -n "$python" ] && "$python" -c 'import ensurepip' 2>/dev/null
}

pip_package() {
    if [ "$mode" = unpack ]; then echo python3-pip-whl; else echo python3-venv; fi
}

# pip ARGUMENTS...: the virtual environment's own, or out of the unpacked wheel.
pip() {
    local wheel
    wheel=$(pip_wheel)
    if [ -n "$wheel" ]; then
        PYTHONPATH=$wheel "$venv/bin/python" -m pip "$@"
    else
        "$venv/bin/python" -m pip "$@"
    fi
}

new_environment() {
    rm -rf "$venv"
    if [ -n "$(pip_wheel)" ]; then
        "$python" -m venv --without-pip "$venv"
    else
        "$python" -m venv "$venv"
    fi
}

install_libraries() {
    pip install -q --no-input --disable-pip-version-check --require-hashes -r requirements-build.lock &&
        pip install -q --no-input --disable-pip-version-check --no-build-isolation --require-hashes -r requirements.lock
}

install_project() {
    pip install -q --no-input --disable-pip-version-check --no-build-isolation --no-deps --no-index -e .
}

# What the libraries depend on, in one line; also where they stand, since an environment cannot be moved.
libraries_state() {
    {
        printf '%s\n' "$root" "$python"
        "$python" -V
        cat requirements.lock requirements-build.lock
    } | sha256sum
}

# up_to_date NAME STATE: whether that part was finished in that state.
up_to_date() {
    [ -f "$venv/.$1" ] && [ "$(cat "$venv/.$1")" = "$2" ]
}

prepare_python() {
    local libraries project
    libraries=$(libraries_state)
    project=$(sha256sum <pyproject.toml)
    if ! up_to_date libraries "$libraries" || ! "$venv/bin/python" -c '' 2>/dev/null; then
        say "libraries for Python go into .venv, from $("$python" -V)"
        step "making the virtual environment" new_environment ||
            fail "no virtual environment could be made." "$log holds the details."
        step "installing the libraries of requirements.lock" install_libraries ||
            fail "the libraries could not be installed." \
                "If this machine is offline, connect it, then run 'make setup' again." "$log holds the details."
        printf '%s\n' "$libraries" >"$venv/.libraries"
    fi
    if ! up_to_date project "$project"; then
        step "installing the project itself" install_project ||
            fail "the project could not be installed." "$log holds the details."
        printf '%s\n' "$project" >"$venv/.project"
    fi
}
