#!/bin/sh
# Ask ProVerif (2.04 or later, in the path or named by PROVERIF) what results/model.json says: minutes for the first three
# scenarios; with a stolen identity it had not ended after seven, and is given up then.
# No package of the distribution holds it, so that nothing of the project's own set-up or tests needs it.
cd "$(dirname "$0")" || exit 1

ask() {  # the parts that keys are made of, the scenario
    echo "$2, $1"
    timeout 420 "${PROVERIF:-proverif}" -lib primitives.pvl -lib "$1" -lib handshake.pvl "$2" | grep '^RESULT'
}

for scenario in secrecy liars stolen-later stolen-callee stolen-caller; do
    ask parts.pvl $scenario.pv
done
# Every query of these must be false: the attack is there, and is found.
ask mutant-no-fresh.pvl stolen-later.pv
ask mutant-no-to-prekey.pvl stolen-callee.pv
ask mutant-no-to-static.pvl stolen-caller.pv
