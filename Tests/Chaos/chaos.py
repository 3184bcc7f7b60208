#!/usr/bin/env python3
"""Both clients behind a network that cuts, stalls and splits, and books that have to balance.

  chaos.py path/to/sluice [--seconds 10] [--seed 7] [--shards 3]

The client in Swift is the one of the command line. Each client publishes and consumes through
the proxy; a witness consumes beside it. At the end, event by event and by content: what was
published is stored, once and in its order; what is stored was delivered to each consumer once, or
announced to it as a gap, and a gap counts exactly what did not come.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from typing import Iterator

from proxy import ChaosProxy

TOPIC = "ledger"
PYTHON = [sys.executable, str(pathlib.Path(__file__).with_name("python_client.py"))]
# How long all may take to come to rest once the network is well again.
REST_SECONDS_MAX = 60
LINES_PER_S = 600
# Who takes less is not given what it is behind with: it would have to take that at the end.
LINES_AT_ONCE_MAX = 60


class Miss(Exception):
    """A book that does not balance."""


class Worker:
    """A process with its output, line by line."""

    def __init__(self, name: str, words: list[str], environment: dict[str, str]):
        self.name = name
        self.child = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=environment,
        )
        self.lines: list[str] = []
        self.errors: list[str] = []
        self.threads = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in [
                (self.child.stdout, self.lines), (self.child.stderr, self.errors),
            ]
        ]
        for thread in self.threads:
            thread.start()

    def _read(self, stream, lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))

    def end(self, seconds: float = 30) -> int:
        """Until it ended by itself and all that it said was read."""
        with contextlib.suppress(OSError):
            self.child.stdin.close()
        try:
            code = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            raise Miss(f"{self.name} did not end: {self.errors[-3:]}") from None
        for thread in self.threads:
            thread.join()
        return code


class World:
    def __init__(self, sluice: str, seed: int, shards: int, stack: contextlib.ExitStack):
        self.sluice, self.seed, self.stack = sluice, seed, stack
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("SLUICE_")}
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ready = directory / "ready"
        self.workers: list[Worker] = []
        self.broker = Worker("the broker", [
            sluice, "serve", "--listen", "127.0.0.1:0", "--http", "none", "--ready-file",
            str(ready), "--shards", str(shards), "--keepalive", "2s", "--log-level", "error",
        ], self.environment)
        stack.callback(self.broker.child.kill)
        self.until("the broker is ready", lambda: ready.exists() and is_json(ready))
        self.address = json.loads(ready.read_text())["listen"][0]
        host, _, port = self.address.rpartition(":")
        self.proxy = ChaosProxy((host, int(port)), seed)
        stack.callback(self.proxy.end)

    def until(self, what: str, is_so, seconds: float = REST_SECONDS_MAX) -> None:
        end = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > end or self.broker.child.poll() is not None:
                said = [f"{w.name}: {w.errors[-2:]}" for w in self.workers if w.errors]
                raise Miss(f"never came true: {what}; {'; '.join(said)}")
            time.sleep(0.02)

    def start(self, name: str, words: list[str], address: str) -> Worker:
        environment = {**self.environment, "SLUICE_SERVER": address}
        worker = Worker(name, words, environment)
        self.workers.append(worker)
        self.stack.callback(worker.child.kill)
        return worker

    def verb(self, name: str, *words: str, direct: bool = False) -> Worker:
        address = self.address if direct else self.proxy.address
        return self.start(name, [self.sluice, *words], address)

    def python(self, verb: str) -> Worker:
        words = [*PYTHON, self.proxy.address, verb, TOPIC]
        return self.start(f"python {verb}", words, self.proxy.address)

    def facts(self) -> dict:
        outcome = subprocess.run(
            [self.sluice, "topic", "info", TOPIC, "-o", "jsonl"], capture_output=True, text=True,
            env={**self.environment, "SLUICE_SERVER": self.address}, check=False,
        )
        return json.loads(outcome.stdout) if outcome.returncode == 0 else {}


def is_json(path: pathlib.Path) -> bool:
    with contextlib.suppress(json.JSONDecodeError):
        return bool(json.loads(path.read_text()))
    return False


class Book:
    """What one consumer was told: events by offset, and gaps."""

    def __init__(self, name: str):
        self.name = name
        self.events: dict[int, str] = {}
        self.gaps: list[tuple[int, int, int]] = []

    def deliver(self, offset: int, payload: str) -> None:
        if offset in self.events:
            raise Miss(f"{self.name} got offset {offset} twice")
        self.events[offset] = payload

    def balance(self, stored: dict[int, str]) -> None:
        for offset, payload in self.events.items():
            if stored.get(offset) != payload:
                raise Miss(f"{self.name} got {payload!r} at {offset}, not {stored.get(offset)!r}")
        missing = sorted(set(stored) - set(self.events))
        covered: set[int] = set()
        for start, end, count in self.gaps:
            inside = missing[bisect_left(missing, start) : bisect_left(missing, end)]
            covered.update(inside)
            if count > len(inside):
                raise Miss(
                    f"{self.name}: a gap {start}..{end} of {count}, {len(inside)} are missing"
                )
        announced = sum(count for _, _, count in self.gaps)
        if announced != len(missing):
            raise Miss(
                f"{self.name}: {len(missing)} did not come, {announced} were announced: "
                f"{missing[:5]} {self.gaps[:5]}"
            )
        if uncovered := set(missing) - covered:
            raise Miss(f"{self.name}: {sorted(uncovered)[:5]} lie in no gap")


GAP = re.compile(r"gap in \S+: ([\d,]+) events? between offsets (\d+) and (\d+) ")


def gaps(worker: Worker) -> list[tuple[int, int, int]]:
    """Of each the first and the last offset around it, and how many it announces."""
    found = []
    for line in worker.errors:
        if line.startswith('{"gap"'):
            gap = json.loads(line)["gap"]
            found.append((gap["from"], gap["to"], gap["count"]))
        elif match := GAP.search(line):
            count, start, end = (int(text.replace(",", "")) for text in match.groups())
            found.append((start, end, count))
    return found


def book(worker: Worker) -> Book:
    made = Book(worker.name)
    for line in worker.lines:
        event = json.loads(line)
        made.deliver(event["offset"], event["payload"])
    made.gaps = gaps(worker)
    return made


def feed(workers: list[Worker], seconds: float, dice: random.Random) -> list[int]:
    """Gives each publisher numbered lines for so long; how many it got."""
    counts = [1] * len(workers)
    skipped = [0] * len(workers)
    start = time.monotonic()
    while (now := time.monotonic() - start) < seconds:
        for at, worker in enumerate(workers):
            due = int(now * LINES_PER_S) + 1 - counts[at] - skipped[at]
            skipped[at] += max(0, due - LINES_AT_ONCE_MAX)
            text = ""
            for _ in range(min(due, LINES_AT_ONCE_MAX)):
                filler = "x" * int(dice.expovariate(1 / 100))
                text += f"{at}:{counts[at]}:{filler}\n"
                counts[at] += 1
            try:
                worker.child.stdin.write(text)
                worker.child.stdin.flush()
            except BrokenPipeError:
                raise Miss(f"{worker.name} ended: {worker.errors[-3:]}") from None
        time.sleep(0.01)
    return counts


def play(world: World, seconds: float) -> str:
    witness = world.verb(
        "the witness", "sub", TOPIC, "--group", "witness", "--from", "first", "-o", "jsonl",
        direct=True,
    )
    consumers = [
        world.verb(
            "swift consume", "sub", TOPIC, "--group", "swift", "--from", "first", "-o", "jsonl",
            "--max-demand", "500", "--reconnect",
        ),
        world.python("consume"),
    ]
    world.until("all consume", lambda: world.facts().get("consumers") == 3)
    publishers = [
        world.verb("swift publish", "pub", TOPIC, "--reconnect"), world.python("publish"),
    ]
    # Whoever has nothing to publish has no link that could be cut.
    for at, worker in enumerate(publishers):
        worker.child.stdin.write(f"{at}:0:\n")
        worker.child.stdin.flush()
    world.until("both publish", lambda: world.facts()["head"] == 2)
    world.proxy.wild = True
    counts = feed(publishers, seconds, random.Random(world.seed))
    world.proxy.wild = False
    for worker in publishers:
        if code := worker.end(REST_SECONDS_MAX):
            raise Miss(f"{worker.name} ended with {code}: {worker.errors[-3:]}")
    total = sum(counts)
    world.until("all is stored", lambda: world.facts()["head"] >= total)
    world.until(
        "all was delivered",
        lambda: all(group["waiting"] == 0 for group in world.facts()["groups"]),
    )
    # What is on its way comes before the end of the process that asks for it.
    world.until("the witness has all", lambda: len(witness.lines) >= total)
    world.until(
        "the last event came, or its gap",
        lambda: all(has_end(worker, total) for worker in consumers),
    )
    for worker in [witness, consumers[0]]:
        worker.child.send_signal(2)
        if (code := worker.end()) != 130:
            raise Miss(f"{worker.name} ended with {code}: {worker.errors[-3:]}")
    if code := consumers[1].end():
        raise Miss(f"python consume ended with {code}: {consumers[1].errors[-3:]}")
    return balance(world, witness, publishers, consumers, counts)


def has_end(worker: Worker, total: int) -> bool:
    return len(worker.lines) + sum(count for *_, count in gaps(worker)) >= total


def balance(
    world: World, witness: Worker, publishers: list[Worker], consumers: list[Worker],
    counts: list[int],
) -> str:
    stored = book(witness)
    if stored.gaps or sorted(stored.events) != list(range(len(stored.events))):
        raise Miss("the witness missed something")
    for at, worker in enumerate(publishers):
        mine = [text for text in stored.events.values() if text.startswith(f"{at}:")]
        numbers = [int(text.split(":")[1]) for text in mine]
        if numbers != list(range(counts[at])):
            pairs = enumerate(numbers)
            wrong = next((n for n, number in pairs if n != number), len(numbers))
            raise Miss(f"{worker.name}: {counts[at]} sent, {len(mine)} stored, odd at {wrong}")
    told = json.loads(publishers[1].errors[-1])
    if told["accepted"] != counts[1] or told["rejected"]:
        raise Miss(f"python publish: {told} of {counts[1]}")
    if len(stored.events) != sum(counts):
        raise Miss(f"{len(stored.events)} stored, {sum(counts)} sent")
    books = [book(worker) for worker in consumers]
    for each in books:
        each.balance(stored.events)
    delivered = ", ".join(
        f"{each.name} {len(each.events)} + {sum(count for *_, count in each.gaps)} announced"
        for each in books
    )
    cuts = ", ".join(f"{count} {kind}" for kind, count in world.proxy.cuts.items())
    return (
        f"{len(stored.events)} stored; {delivered}; {cuts}, {world.proxy.silences} silences, "
        f"{world.proxy.singles} single bytes"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sluice")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--shards", type=int, default=1)
    return parser.parse_args()


@contextlib.contextmanager
def world(options: argparse.Namespace, seed: int) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        yield World(options.sluice, seed, options.shards, stack)


def main() -> int:
    options = arguments()
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    print(f"--seed {seed} --shards {options.shards} --seconds {options.seconds:g}", flush=True)
    try:
        with world(options, seed) as place:
            print(play(place, options.seconds))
    except Miss as miss:
        print(f"MISS: {miss}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
