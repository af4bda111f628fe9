#!/usr/bin/env bash
# The whole test suite, as two pytest sessions at the same time: the fault tests, which mostly wait
# for leases to run out and servers to come back, and all others, which compute.
#   tools/suite.sh --session-timeout=4000
# What the second session prints follows when the first one has ended.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

pytest=(.venv/bin/python -m pytest tests)
log=$(mktemp)
"${pytest[@]}" -m faults -p no:cacheprovider "$@" >"$log" 2>&1 &
faults=$!
trap 'kill "$faults" 2>/dev/null; rm -f "$log"' EXIT

"${pytest[@]}" -m "not faults" "$@"
others=$?
wait "$faults"
faulty=$?
printf '\nThe fault tests:\n\n'
cat "$log"
[ "$others" -eq 0 ] && [ "$faulty" -eq 0 ]
