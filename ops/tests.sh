#!/bin/sh
# Every test, or those that are named: first those that can share the cores, then real calls over real tors, which mostly
# wait, two at a time, then those that have the machine to themselves.
#
# A circuit of Tor fails now and then, as it does for everybody, and a tester of ten calls at a stretch meets that; and a
# machine that stands still for a second is late for a real socket.  So what failed is tried once more, by itself, and
# both outcomes stand in the output.  What fails twice has failed.
set -eu

FAILED=1   # pytest's status where a test failed
NOTHING=5  # and where no test was named, or none was left

# The tests of one kind, over so many processes, one file to each at a time; and once more what failed, in one process.
twice() {
	kind=$1 processes=$2
	shift 2
	status=0
	python -m pytest -m "$kind" -n "$processes" --dist loadfile "$@" || status=$?
	[ $status -ne $NOTHING ] || status=0
	[ $status -eq $FAILED ] || return $status
	echo "tests: what failed is tried once more, by itself"
	python -m pytest -m "$kind" --last-failed --last-failed-no-failures none "$@" && return 0
	return $FAILED
}

# What fails in one kind keeps no other from running.
each() {
	status=0
	twice "$@" || status=$?
	[ $status -eq 0 ] || [ $status -eq $FAILED ] || exit $status
	[ $status -eq 0 ] || failed=$FAILED
}

# Many wait for a tor or a clock now and then: on two or three cores, one process more keeps those busy.
cores=$(nproc)
failed=0
each "not alone and not call" $((cores < 4 ? cores + 1 : 4)) "$@"
each call 2 "$@"
each alone 0 "$@"
exit $failed
