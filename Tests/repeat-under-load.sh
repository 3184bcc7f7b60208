#!/bin/bash
# Runs `make test` again and again while every processor has something else to do, and notes each
# run in Tests/load-runs.txt: commit, when, result, seconds, the first test that failed.
#
#   Tests/repeat-under-load.sh [RUNS]      # until so many in a row are green; 20 if nothing is said
#
# It may be stopped and begun again, at another commit too: what counts is the row of green runs at
# the end of the file, each of which names its commit. A red run begins the row anew. The lines are
# committed; a run that was stopped leaves none.
set -euo pipefail

cd "$(dirname "$0")/.."
wanted=${1:-20}
runs=Tests/load-runs.txt
log=$(mktemp)
load=
cleanup() {
    if [ -n "$load" ]; then kill "$load" 2>/dev/null || true; fi
    rm -f "$log"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

command -v stress >/dev/null || { echo "install the package stress first" >&2; exit 1; }
if [ -n "$(git status --porcelain -- . ":!$runs")" ]; then
    echo "commit first: a run tells of a commit" >&2
    exit 1
fi
# The commit that the code is of: one that adds lines to the file alone changes nothing of it.
commit=$(git log -1 --format=%h -- . ":!$runs")

green() {
    tac "$runs" | awk '$3 != "green" { exit } { n += 1 } END { print n + 0 }'
}

# Building is no part of what is tried.
make setup >/dev/null
swift build --build-tests --explicit-target-dependency-import-check error

count=$(green)
while [ "$count" -lt "$wanted" ]; do
    stress --quiet --cpu "$(nproc)" &
    load=$!
    began=$(date +%s)
    if make test >"$log" 2>&1; then result=green; else result=red; fi
    kill "$load"
    wait "$load" || true
    load=
    seconds=$(($(date +%s) - began))
    failed=
    if [ "$result" = red ]; then
        # Swift Testing's cross, or what unittest and make say.
        failed=$(grep -m 1 -aE '^(✘ |FAIL: |ERROR: )|recorded an issue' "$log" \
            || grep -m 1 -aE 'error: |\*\*\*' "$log" || echo "see the output")
        # What a program prints may have the paths of one machine in it.
        failed=$(sed -E 's#/[^ ]*/##g' <<<"$failed" | cut -c1-120)
        cp "$log" .build/last-red-run.txt
    fi
    printf '%s %s %-5s %5d s %s\n' "$commit" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$result" \
        "$seconds" "$failed" | sed 's/ *$//' | tee -a "$runs"
    count=$(green)
    echo "$count of $wanted green in a row"
    [ "$result" = green ] || { echo "its output: .build/last-red-run.txt"; exit 1; }
done
echo "$count green runs in a row under load, the last of $commit"
