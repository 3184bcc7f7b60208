"""Holds the broker's account of the demo against its own rules; exits 1 if one is broken."""

import json
import sys

links_path, topic_path, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(links_path) as file:
    links = [json.loads(line) for line in file]
with open(topic_path) as file:
    topic = json.load(file)
failed = False


def check(text, holds):
    global failed
    failed = failed or not holds
    print(f"  {'ok' if holds else 'WRONG'}  {text}")


def total(role, field):
    return sum(link[field] for link in links if link["role"] == role)


for link in links:
    asked, delivered = link["asked"], link["delivered"]
    forfeited, credit = link["forfeited"], link["credit"]
    text = f"{link['role']}: {asked} = {delivered} + {forfeited} + {credit}"
    check(text, asked == delivered + forfeited + credit)

sent, received = total("producer", "delivered"), total("consumer", "delivered")
check(f"{sent} events in, {topic['head']} in the topic, {received} out",
      0 < sent == topic["head"] == received)
peak = topic["peakBufferedEvents"]
check(f"the topic held {peak} events at most, of {limit} it may hold", 0 < peak <= limit)
check("no ledger was ever wrong, nothing was lost",
      topic["ledgerErrors"] == topic["discardedEvents"] == topic["cutEvents"] == 0)
sys.exit(failed)
