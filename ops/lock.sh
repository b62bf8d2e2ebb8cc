#!/usr/bin/env bash
# Write requirements.lock, and those of the build, of `make fuzz` and of `make quality`, from pyproject.toml: each version with
# the hashes of all its files.
# Ambient pip settings are set aside, so that the files hold what everybody gets.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q pip-tools

compile() {
    env -u PIP_FIND_LINKS -u PIP_EXTRA_INDEX_URL -u PIP_INDEX_URL PIP_CONFIG_FILE=/dev/null \
        "$work/venv/bin/pip-compile" --quiet --upgrade --resolver=backtracking --strip-extras --generate-hashes --allow-unsafe \
        --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --no-annotate "$@"
}

# What builds the project (hatchling) and the one dependency that comes as source (stem, by setuptools).
printf '%s\n' 'hatchling>=1.25' editables setuptools wheel >"$work/build.in"
compile -o "$work/build.lock" "$work/build.in"
compile --all-extras -c "$work/build.lock" -o "$work/run.lock" pyproject.toml
# The coverage-guided fuzzer: nothing else needs it, and it stays out of the virtual environment (ops/fuzzer.sh).
printf '%s\n' 'atheris>=3' >"$work/fuzz.in"
compile -o "$work/fuzz.lock" "$work/fuzz.in"
# What `make quality` alone needs, without what its metric's other modes and readers of files would: a compiler, libsndfile.
echo 'visqol-python[lattice]' >"$work/quality.in"
compile --no-allow-unsafe -c "$work/run.lock" -o "$work/quality.lock" "$work/quality.in" \
    --unsafe-package libsvm-official --unsafe-package soundfile --unsafe-package cffi --unsafe-package pycparser \
    --unsafe-package numpy --unsafe-package scipy --unsafe-package typing-extensions 2>/dev/null
for name in build run fuzz quality; do
    sed -i -e '/^$/d' -e '/^#/d' "$work/$name.lock"
    sed -i '1i # Written by "make lock": every version with the hashes of all its files. Not edited by hand.' "$work/$name.lock"
done
mv "$work/build.lock" requirements-build.lock
mv "$work/run.lock" requirements.lock
mv "$work/fuzz.lock" requirements-fuzz.lock
mv "$work/quality.lock" requirements-quality.lock
