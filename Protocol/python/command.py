"""The command line of the Python client: JSON lines on stdout, a meaning in the exit code."""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import sys

import frames
import sluice
from frames import Event

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_CONNECT, EXIT_REFUSED, EXIT_TIMEOUT = 0, 1, 2, 3, 4, 5


def say(**fields) -> None:
    print(json.dumps(fields, ensure_ascii=False), flush=True)


def text(data: bytes) -> dict:
    try:
        return {"payload": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"payload_base64": base64.b64encode(data).decode()}


def positive(word: str) -> int:
    number = int(word)
    if number < 1:
        raise ValueError(word)
    return number


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="sluice.py", description="a Sluice client")
    top.add_argument("address", metavar="HOST:PORT")
    verbs = top.add_subparsers(dest="verb", required=True)

    pub = verbs.add_parser("pub", help="publish each BODY, or each line of stdin")
    pub.add_argument("topic")
    pub.add_argument("body", nargs="*")
    pub.add_argument("--key")
    pub.add_argument("--unknown", action="store_true", help="announce no backlog")

    sub = verbs.add_parser("sub", help="ask for N events and print them")
    sub.add_argument("topic")
    sub.add_argument("-n", type=positive, required=True)
    sub.add_argument("--group")
    sub.add_argument("--start", choices=["new", "first"])
    sub.add_argument(
        "--bytes", type=positive, default=0, help="count bytes too, ask for this many"
    )
    sub.add_argument(
        "--cut-after", type=positive, help="break the connection after so many, resume"
    )

    overrun = verbs.add_parser("overrun", help="send one event more than was asked for")
    overrun.add_argument("topic")
    overrun.add_argument("--count", type=positive, default=3, help="events to announce")

    verbs.add_parser("ping", help="time one PING")
    for verb in verbs.choices.values():
        verb.add_argument("--timeout", type=float, default=10)
    return top


def pub(client: sluice.Client, arguments: argparse.Namespace) -> int:
    bodies = [body.encode() for body in arguments.body]
    if not bodies:
        bodies = [line.rstrip(b"\n") for line in sys.stdin.buffer]
    key = arguments.key.encode() if arguments.key is not None else None
    options = {} if arguments.unknown else {"available": len(bodies)}
    producer = client.producer(arguments.topic, arguments.timeout, **options)
    producer.publish(*(Event(body, key=key) for body in bodies), timeout=arguments.timeout)
    producer.wait_settled(arguments.timeout)
    say(
        published=len(bodies), accepted=producer.accepted,
        rejected=[{"sequence": sequence, "code": code} for sequence, code in producer.rejected],
    )
    return end(producer, arguments.timeout)


def sub(client: sluice.Client, arguments: argparse.Namespace) -> int:
    options = {"group": arguments.group} if arguments.group else {}
    if arguments.start:
        options["start"] = (arguments.start, 0)
    consumer = client.consumer(arguments.topic, arguments.timeout, **options)
    consumer.ask(arguments.n, arguments.bytes)
    count = 0
    # What a cut forfeits does not come: the account knows when to stop waiting.
    while consumer.events or consumer.ledger.credit:
        event = consumer.receive(arguments.timeout)
        count += 1
        key = {} if event.key is None else {"key": event.key.decode("utf-8", "replace")}
        headers = {name: value.decode("utf-8", "replace") for name, value in event.headers}
        say(
            sequence=event.sequence, offset=event.offset, time_us=event.time_us,
            attempt=event.attempt, **text(event.payload), **key,
            **({"headers": headers} if headers else {}),
        )
        if count == arguments.cut_after:
            client.cut()
            say(resumed=client.resume(arguments.timeout))
    consumer.stop(arguments.timeout)
    for gap in consumer.gaps:
        say(gap=gap)
    return end(consumer, arguments.timeout)


def end(link: sluice.Link, timeout: float) -> int:
    link.close(timeout=timeout)
    ledger = link.ledger.as_json()
    say(ledger=ledger)
    return EXIT_OK if ledger["balances"] else EXIT_FAILED


def overrun(client: sluice.Client, arguments: argparse.Namespace) -> int:
    producer = client.producer(arguments.topic, arguments.timeout, available=arguments.count)
    granted = producer.wait_credit(1, arguments.timeout)
    say(granted=granted)
    producer.force(*(Event(b"overrun %d" % index) for index in range(granted + 1)))
    try:
        producer.wait_settled(arguments.timeout)
    except sluice.SluiceError as error:
        say(refused=error.code, link=error.link, reason=error.reason, sent=granted + 1)
        client.ping(arguments.timeout)
        say(connection="lives")
        return EXIT_OK if error.code == "CREDIT_OVERRUN" else EXIT_FAILED
    say(accepted=producer.accepted, sent=granted + 1)
    return EXIT_FAILED


def ping(client: sluice.Client, arguments: argparse.Namespace) -> int:
    say(seconds=client.ping(arguments.timeout), broker=client.welcome.name)
    return EXIT_OK


VERBS = {"pub": pub, "sub": sub, "overrun": overrun, "ping": ping}


def main(words: list[str]) -> int:
    arguments = parser().parse_args(words)
    host, _, port = arguments.address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        print("sluice.py: the address is HOST:PORT", file=sys.stderr)
        return EXIT_USAGE
    client = sluice.Client(host.strip("[]"), int(port))
    try:
        client.connect(arguments.timeout)
        return VERBS[arguments.verb](client, arguments)
    except sluice.Disconnected as error:
        print(f"sluice.py: {error}", file=sys.stderr)
        return EXIT_FAILED
    except sluice.SluiceError as error:
        say(refused=error.code, link=error.link, reason=error.reason)
        return EXIT_REFUSED
    except ValueError as error:
        print(f"sluice.py: {error}", file=sys.stderr)
        return EXIT_USAGE
    except sluice.TimedOut:
        print("sluice.py: timed out; is anyone asking, or publishing?", file=sys.stderr)
        return EXIT_TIMEOUT
    except OSError as error:
        print(f"sluice.py: no broker at {arguments.address}: {error}", file=sys.stderr)
        return EXIT_CONNECT
    finally:
        with contextlib.suppress(sluice.SluiceError, sluice.TimedOut):
            client.close(arguments.timeout)
