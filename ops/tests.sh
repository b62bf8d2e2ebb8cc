#!/bin/sh
# Every test, or those that are named: first those that can share the cores, then those that have the machine to
# themselves, because they hear real calls over real tors.
#
# A circuit of Tor fails now and then, as it does for everybody, and a tester of ten calls at a stretch meets that; and a
# machine that stands still for a second is late for a real socket.  So what failed is tried once more, by itself, and
# both outcomes stand in the output.  What fails twice has failed.
set -eu

FAILED=1   # pytest's status where a test failed
NOTHING=5  # and where no test was named, or none was left

# The tests of one kind, with the options that follow.
run() {
	kind=$1
	shift
	status=0
	python -m pytest -m "$kind" "$@" || status=$?
	[ $status -ne $NOTHING ] || status=0
}

# The same, and once more what failed, without the first so many options, which spread tests over the cores.
twice() {
	kind=$1 spread=$2
	shift 2
	run "$kind" "$@"
	[ $status -eq $FAILED ] || return $status
	echo "tests: what failed is tried once more, by itself"
	shift "$spread"
	run "$kind" --last-failed --last-failed-no-failures none "$@"
	return $status
}

twice "not alone" 6 -n auto --maxprocesses 4 --dist loadfile "$@"
twice alone 0 "$@"
