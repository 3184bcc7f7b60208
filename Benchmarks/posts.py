#!/usr/bin/env python3
"""POSTs of single events over one HTTP/2 connection, beside nghttpd that serves a file.

Both are asked by h2load with 100 streams, one after the other, so that whatever else the machine
does meets both. Debian has them in nghttp2-client and nghttp2-server. It ends what it started.
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

from suite import processes

ROOT = pathlib.Path(__file__).resolve().parent.parent
STREAMS = 100
PAYLOAD_BYTES = 128
SHARE_GOAL = 0.5
# More than what h2load may ask for in a run: its consumer asks anew as it takes.
WINDOW_EVENTS = 200_000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--sluice", metavar="PATH", default=ROOT / ".build-static/release/sluice",
        help="the binary (.build-static/release/sluice)",
    )
    parser.add_argument("--requests", type=int, metavar="N", default=200_000, help="200,000 a run")
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
def consumer(port, broker):
    """Who asks for all events, and steps over them: a POST goes only where there is demand."""
    command = [
        processes.program("generator"), "-N", "-p", str(port), "-P", str(broker), "-t", "bench",
        "-s", str(PAYLOAD_BYTES), "-b", str(WINDOW_EVENTS), "-d", "3600",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, preexec_fn=processes.child(None)
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main():
    options = arguments()
    for name in ["h2load", "nghttpd"]:
        if not shutil.which(name):
            raise SystemExit(f"there is no {name}: install nghttp2-client and nghttp2-server")
    processes.build()
    binary, http, static = (processes.free_port() for _ in range(3))
    serve = [
        options.sluice, "serve", "--listen", f"127.0.0.1:{binary}", "--http", f"127.0.0.1:{http}",
    ]
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        file = pathlib.Path(directory, "file")
        file.write_bytes(b"x" * PAYLOAD_BYTES)
        anchor = ["nghttpd", "--no-tls", "-a", "127.0.0.1", "-d", directory, str(static)]
        stack.enter_context(processes.running(anchor, static))
        broker = stack.enter_context(processes.running(serve, binary))
        stack.enter_context(consumer(binary, broker))
        shares = []
        print(f"{'nghttpd GET/s':>16}{'sluice POST/s':>16}{'share':>8}")
        for _ in range(options.repetitions):
            base = load(f"http://127.0.0.1:{static}/file", options.requests)
            url = f"http://127.0.0.1:{http}/v1/topics/bench/events"
            rate = load(url, options.requests, "-d", str(file))
            shares.append(rate / base)
            print(f"{base:>16,.0f}{rate:>16,.0f}{rate / base:>8.2f}", flush=True)
    share = statistics.median(shares)
    print(f"median {share:.2f}, goal {SHARE_GOAL}")
    return 0 if share >= SHARE_GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
