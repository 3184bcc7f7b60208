"""The server under test: one that runs already, or a command that is started for the time."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Iterator

PR_SET_PDEATHSIG = 1
START_SECONDS = 20


def parser(text: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("address", nargs="?", metavar="HOST:PORT", help="a server that runs")
    parser.add_argument(
        "command", nargs="*", metavar="-- COMMAND",
        help="one to start; {port} is a free port, {ready} a file in which it tells its own",
    )
    parser.add_argument("--pid", type=int, help="the process of a server that runs")
    parser.add_argument(
        "--path", default="/livez", help="GET answers 200 and two bytes or more; /livez"
    )
    parser.add_argument(
        "--post", default="/v1/topics/t/events", metavar="PATH",
        help="POST of any bytes answers 200; /v1/topics/t/events",
    )
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    # By hand: argparse takes the first word of a command for the address.
    words = sys.argv[1:]
    at = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:at])
    options.command = words[at + 1 :]
    if bool(options.address) == bool(options.command):
        parser.error("either HOST:PORT or -- COMMAND")
    if options.address:
        host, _, port = options.address.rpartition(":")
        options.address = (host.strip("[]"), int(port))
    return options


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def die_with_us() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def running(options: argparse.Namespace) -> Iterator[None]:
    """Sets `address` and `pid` of a command, and ends it."""
    if not options.command:
        try:
            socket.create_connection(options.address, START_SECONDS).close()
        except OSError as error:
            raise SystemExit("no server at %s:%d: %s" % (*options.address, error)) from error
        yield
        return
    tells = any("{ready}" in word for word in options.command)
    # Between now and the server's start somebody else may take the port: a server that tells where
    # it listens picks one by itself.
    port = 0 if tells else free_port()
    options.address = ("127.0.0.1", port)
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile() as log:
        ready = pathlib.Path(directory, "ready")
        command = [
            word.replace("{port}", str(port)).replace("{ready}", str(ready))
            for word in options.command
        ]
        child = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_us)
        options.pid = child.pid
        try:
            if tells:
                options.address = wait_for_file(child, ready)
            wait_for(child, options.address)
            yield
        finally:
            code = child.poll()
            child.kill()
            child.wait()
            if code is not None:
                print(f"the server ended by itself, with {code}:", file=sys.stderr)
                log.seek(0)
                print(log.read()[-4_000:].decode(errors="replace"), file=sys.stderr)


def wait_for_file(child: subprocess.Popen, ready: pathlib.Path) -> tuple[str, int]:
    """Where the server says that it serves HTTP."""
    until = time.monotonic() + START_SECONDS
    while child.poll() is None and time.monotonic() < until:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            host, _, port = json.loads(ready.read_text())["http"].rpartition(":")
            return host, int(port)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0.02)
    raise SystemExit(f"the server did not start: {' '.join(child.args)}")


def wait_for(child: subprocess.Popen, address: tuple[str, int]) -> None:
    until = time.monotonic() + START_SECONDS
    while child.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(address, START_SECONDS).close()
            return
        except ConnectionRefusedError:
            # Nothing tells that a port was opened; the wait for the child's end paces the asking.
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.02)
    raise SystemExit(f"the server did not start: {' '.join(child.args)}")
