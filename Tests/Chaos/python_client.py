#!/usr/bin/env python3
"""The client in Python as one side of the proof: prints events, and on stderr what else it learns.

  python_client.py HOST:PORT publish TOPIC     publishes the lines of stdin, resuming as it must
  python_client.py HOST:PORT consume TOPIC     consumes as group `python` until stdin ends
"""

from __future__ import annotations

import json
import pathlib
import select
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "Protocol" / "python"))

from sluice import Client, Disconnected, Event, SluiceError, TimedOut  # noqa: E402

ASKED = 500
# A broken connection is found out by silence too, so nothing waits for long.
WAIT_SECONDS = 5.0


def tell(**fact: object) -> None:
    print(json.dumps(fact), file=sys.stderr, flush=True)


def resume(client: Client) -> None:
    """Until the session goes on: connections may break while they are made."""
    while True:
        client.cut()
        try:
            if not client.resume(WAIT_SECONDS):
                raise SystemExit("the session was lost")
            return
        except (Disconnected, TimedOut, OSError) as error:
            if isinstance(error, SluiceError) and error.code != "DISCONNECTED":
                raise
            time.sleep(0.02)


def publish(client: Client, topic: str) -> None:
    producer = client.producer(topic, available=0)
    for line in sys.stdin:
        event = Event(line.rstrip("\n").encode())
        known = producer.ledger.delivered + len(producer.to_resend)
        while True:
            try:
                producer.publish_again(WAIT_SECONDS)
                # What was on its way when the connection broke is sent again by itself.
                if producer.ledger.delivered + len(producer.to_resend) == known:
                    producer.publish(event, timeout=WAIT_SECONDS)
                break
            except (Disconnected, TimedOut):
                resume(client)
    while producer.unsettled or producer.to_resend:
        try:
            producer.publish_again(WAIT_SECONDS)
            producer.wait_settled(WAIT_SECONDS)
        except (Disconnected, TimedOut):
            resume(client)
    tell(accepted=producer.accepted, rejected=producer.rejected)


def consume(client: Client, topic: str) -> None:
    consumer = client.consumer(topic, group="python", start=("first", 0), demand=(ASKED, 0))
    is_over = False
    while not is_over:
        try:
            if consumer.ledger.credit < ASKED // 2:
                consumer.ask(ASKED - consumer.ledger.credit)
            while consumer.events:
                event = consumer.events.popleft()
                print(json.dumps({"offset": event.offset, "payload": event.payload.decode()}))
            sys.stdout.flush()
            while consumer.gaps:
                tell(gap=consumer.gaps.pop(0))
            ready, _, _ = select.select([client.socket, sys.stdin], [], [], 0.2)
            is_over = sys.stdin in ready and not sys.stdin.readline()
            client.wait(lambda: bool(consumer.events or consumer.gaps), 0.001, consumer)
        except TimedOut:
            pass
        except Disconnected:
            resume(client)


def main() -> int:
    address, verb, topic = sys.argv[1:]
    host, _, port = address.rpartition(":")
    client = Client(host, int(port), name=f"python-{verb}", keepalive=2)
    client.connect()
    {"publish": publish, "consume": consume}[verb](client, topic)
    return 0


if __name__ == "__main__":
    sys.exit(main())
