#!/bin/bash
# The pipeline of the GenStage article over TCP: the broker, a producer and a consumer, each a
# process of its own, on what is known of this machine's packages. Ends by itself with the
# statistics, the account of every link, and the topic's peak against its limit.
set -euo pipefail

cd "$(dirname "$0")/../.."
topic=user-activity
limit=500
bin=$(swift build --show-bin-path)
for product in sluice user-activity-producer user-activity-consumer; do
    [ "${1:-}" = --built ] || swift build --product "$product"
done

directory=$(mktemp -d)
pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$directory"
}
trap cleanup EXIT

# Runs a command until it succeeds, for ten seconds at most.
await() {
    for _ in $(seq 200); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.05
    done
    echo "demo: gave up waiting for: $*" >&2
    cat "$directory"/*.log >&2
    return 1
}

sluice() { "$bin/sluice" "$@"; }
step() { printf '\n== %s\n' "$*"; }

"$bin/sluice" serve --listen 127.0.0.1:0 --http none --ready-file "$directory/ready" \
    2>"$directory/broker.log" &
broker=$!
pids+=("$broker")
await test -s "$directory/ready"
SLUICE_SERVER=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["listen"][0])' \
    "$directory/ready")
export SLUICE_SERVER
step "broker $broker at $SLUICE_SERVER; topic $topic may hold $limit events"
sluice topic create "$topic" --buffer "$limit"

"$bin/user-activity-consumer" "$SLUICE_SERVER" "$topic" \
    >"$directory/statistics" 2>"$directory/consumer.log" &
consumer=$!
pids+=("$consumer")
"$bin/user-activity-producer" "$SLUICE_SERVER" "$topic" 2>"$directory/producer.log" &
producer=$!
pids+=("$producer")
echo "producer $producer, consumer $consumer (max demand 100)"

# The producer has sent everything, and the consumer has all of it.
finished() {
    sluice topic info "$topic" -o json | python3 -c '
import json, sys
topic = json.load(sys.stdin)
sys.exit(not (topic["groups"] and all(g["waiting"] == 0 for g in topic["groups"])))'
}
for _ in $(seq 600); do
    kill -0 "$producer" "$consumer" || { cat "$directory"/*.log >&2; exit 1; }
    if grep -q 'the source is empty' "$directory/producer.log"; then break; fi
    sleep 0.1
done
await grep -q 'the source is empty' "$directory/producer.log"
await finished
cat "$directory/producer.log"

sluice producer ls "$topic" -o table >"$directory/producers"
sluice consumer ls "$topic" -o table >"$directory/consumers"
{ sluice producer ls "$topic" -o jsonl; sluice consumer ls "$topic" -o jsonl; } \
    >"$directory/links"
sluice topic info "$topic" -o jsonl >"$directory/topic"

kill -TERM "$consumer"
wait "$consumer"
step "statistics"
cat "$directory/statistics"

step "the account of every link: asked = delivered + forfeited + credit"
cat "$directory/producers"
echo
cat "$directory/consumers"
echo
python3 Examples/UserActivity/balance.py "$directory/links" "$directory/topic" "$limit"

kill -TERM "$producer"
wait "$producer"
kill -TERM "$broker"
wait "$broker"
step "the broker stopped on SIGTERM with exit code 0"
