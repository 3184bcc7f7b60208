#!/usr/bin/env python3
"""The HTTP face's speed, beside an anchor where there is one.

POSTs of single events over one HTTP/2 connection with 100 streams, beside nghttpd that serves a
file of that size, both asked by h2load; and a gRPC Subscribe with demand for a million, read by
nghttp, which looks at no event. Debian has them in nghttp2-client and nghttp2-server. One runs
after the other, so that whatever else the machine does meets all. It ends what it started.
"""
import argparse
import contextlib
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from suite import processes

ROOT = pathlib.Path(__file__).resolve().parent.parent
STREAMS = 100
PAYLOAD_BYTES = 128
SHARE_GOAL = 0.5
SUBSCRIBED_PER_S_GOAL = 500_000
# More than what h2load may ask for in a run: its consumer asks anew as it takes.
WINDOW_EVENTS = 200_000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--sluice", metavar="PATH", default=ROOT / ".build-static/release/sluice",
        help="the binary (.build-static/release/sluice)",
    )
    parser.add_argument("--requests", type=int, metavar="N", default=200_000, help="200,000 a run")
    # As many as one message may ask for, nearly.
    parser.add_argument(
        "--events", type=int, metavar="N", default=1_000_000, help="1,000,000 a run"
    )
    parser.add_argument("--repetitions", type=int, metavar="N", default=5, help="5")
    return parser.parse_args()


def load(url, requests, *more):
    """Requests a second of which every one was answered with 2xx."""
    command = ["h2load", "-n", str(requests), "-c", "1", "-m", str(STREAMS), *more, url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if f"status codes: {requests} 2xx" not in text:
        raise SystemExit(f"not all were answered with 2xx:\n{text}")
    return float(re.search(r"([\d.]+) req/s", text)[1])


@contextlib.contextmanager
def generator(port, broker, *flags):
    """The suite's producers and consumers, on a broker, for as long as the block."""
    command = [
        processes.program("generator"), "-p", str(port), "-P", str(broker), "-d", "3600",
        "-s", str(PAYLOAD_BYTES), *flags,
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, preexec_fn=processes.child(None)
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def varint(value):
    octets = bytearray()
    while value > 127:
        octets.append(value & 127 | 128)
        value >>= 7
    return bytes([*octets, value])


def wish(topic, demand):
    """A SubscribeRequest, framed, that opens `topic` with so much demand."""
    opening = b"\x0a" + varint(len(topic)) + topic.encode() + b"\x20" + varint(demand)
    message = b"\x0a" + varint(len(opening)) + opening
    return b"\0" + len(message).to_bytes(4, "big") + message


def subscribe(http, events, body, broker):
    """Events a second, and the broker's CPU seconds for a million: the call ends with the last."""
    body.write_bytes(wish("calls", events))
    command = [
        "nghttp", "-n", "-d", str(body), "-w", "20", "-W", "24", "-s",
        "-H", "content-type: application/grpc", "-H", "te: trailers", "-H", ":method: POST",
        f"http://127.0.0.1:{http}/sluice.v1.Broker/Subscribe",
    ]
    cpu, began = processes.cpu_seconds(broker), time.monotonic()
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    took = time.monotonic() - began
    cpu = processes.cpu_seconds(broker) - cpu
    size = re.search(r"\s200\s+([\d.]+)([KMG]?)\s+/sluice", text)
    units = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    came = float(size[1]) * units[size[2]] if size else 0
    if came < 0.9 * events * PAYLOAD_BYTES:
        raise SystemExit(f"the call did not bring {events} events:\n{text}")
    return events / took, cpu / events * 1e6


def measure_posts(options, http, static, file, broker):
    shares = []
    print(f"{'nghttpd GET/s':>16}{'sluice POST/s':>16}{'CPU s/M':>10}{'share':>10}")
    for _ in range(options.repetitions):
        base = load(f"http://127.0.0.1:{static}/file", options.requests)
        url = f"http://127.0.0.1:{http}/v1/topics/bench/events"
        cpu = processes.cpu_seconds(broker)
        rate = load(url, options.requests, "-d", str(file))
        cpu = (processes.cpu_seconds(broker) - cpu) / options.requests * 1e6
        shares.append(rate / base)
        print(f"{base:>16,.0f}{rate:>16,.0f}{cpu:>10.2f}{rate / base:>10.2f}", flush=True)
    share = statistics.median(shares)
    print(f"median {share:.2f}, goal {SHARE_GOAL}")
    return share >= SHARE_GOAL


def measure_calls(options, http, body, broker):
    rates = []
    print(f"{'gRPC events/s':>32}{'CPU s/M':>10}")
    for _ in range(options.repetitions):
        rate, cpu = subscribe(http, options.events, body, broker)
        rates.append(rate)
        print(f"{rate:>32,.0f}{cpu:>10.2f}", flush=True)
    rate = statistics.median(rates)
    print(f"median {rate:,.0f}, goal {SUBSCRIBED_PER_S_GOAL:,}")
    return rate >= SUBSCRIBED_PER_S_GOAL


def main():
    options = arguments()
    for name in ["h2load", "nghttp", "nghttpd"]:
        if not shutil.which(name):
            raise SystemExit(f"there is no {name}: install nghttp2-client and nghttp2-server")
    processes.build()
    binary, http, static = (processes.free_port() for _ in range(3))
    serve = [
        options.sluice, "serve", "--listen", f"127.0.0.1:{binary}", "--http", f"127.0.0.1:{http}",
    ]
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        file, body = (pathlib.Path(directory, name) for name in ["file", "body"])
        file.write_bytes(b"x" * PAYLOAD_BYTES)
        anchor = ["nghttpd", "--no-tls", "-a", "127.0.0.1", "-d", directory, str(static)]
        stack.enter_context(processes.running(anchor, static))
        broker = stack.enter_context(processes.running(serve, binary))
        window = ["-b", str(WINDOW_EVENTS)]
        with generator(binary, broker, "-N", "-t", "bench", *window):
            met = measure_posts(options, http, static, file, broker)
        with generator(binary, broker, "-f", "0", "-t", "calls"):
            met &= measure_calls(options, http, body, broker)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
