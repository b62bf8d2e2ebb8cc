#!/bin/sh
# Every test, or those that are named: first those that can share the cores, then those that have the machine to
# themselves, because they hear real calls over real tors.
#
# A circuit of Tor fails now and then, as it does for everybody, and a tester of ten calls at a stretch meets that.  So
# what failed among the latter is tried once more, and both outcomes stand in the output.  What fails twice has failed.
set -eu

NOTHING=5  # pytest's status where no test was named or none was left

python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not alone" "$@" || [ $? -eq "$NOTHING" ]

status=0
python -m pytest -m alone "$@" || status=$?
case $status in
0 | "$NOTHING") ;;
1)
	echo "tests: what failed is tried once more"
	python -m pytest -m alone --last-failed --last-failed-no-failures none "$@"
	;;
*) exit "$status" ;;
esac
