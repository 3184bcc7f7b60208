"""Starts what a measurement needs on 127.0.0.1, and ends it."""
import contextlib
import ctypes
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent.parent
# Beside the package's own products, so that `make clean` and .gitignore know it.
BUILD = HERE.parent / ".build" / "benchmarks"
PROGRAMS = {
    "generator": "generator/*.c",
    "cbroker": "anchors/cbroker.c",
    "lg": "anchors/lg.c",
    "relay": "anchors/relay.c",
}


LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """A measurement that did not come about, and why."""


def build():
    """Compiles the generator and the anchors."""
    compiler = shutil.which("cc") or shutil.which("clang")
    if not compiler:
        raise SystemExit("there is no C compiler")
    BUILD.mkdir(parents=True, exist_ok=True)
    for name, pattern in PROGRAMS.items():
        sources = sorted(HERE.glob(pattern))
        made = pathlib.Path(program(name))
        # The headers of the generator lie beside its sources.
        newest = max(p.stat().st_mtime for s in sources for p in [s, *s.parent.glob("*.h")])
        if made.exists() and made.stat().st_mtime > newest:
            continue
        # The anchors are as they were when the figures in the research were made.
        warnings = ["-Wall", "-Wextra"] if name == "generator" else ["-w"]
        subprocess.run(
            [compiler, "-O2", *warnings, "-o", made, *sources, "-lpthread"], check=True
        )


def program(name):
    return str(BUILD / name)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def raise_descriptors():
    """A descriptor is a connection; returns how many there may be."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def child(core):
    """What a child does first: it will die with us, and stays on its core if it has one."""

    def prepare():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if core is not None:
            os.sched_setaffinity(0, {core})

    return prepare


@contextlib.contextmanager
def running(command, port, core=None):
    """A broker that listens, for as long as the block; yields its process id."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=child(core),
    )
    try:
        await_listening(process, port)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_listening(process, port):
    """Asks the kernel's table, not the port: a connection would be the broker's first client."""
    sought = f"0100007F:{port:04X}"
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with open("/proc/net/tcp") as lines:
            if any(line.split()[1] == sought and line.split()[3] == "0A" for line in lines):
                return
        if process.poll() is not None:
            raise Failed(f"{process.args[0]} ended with {process.returncode}")
        time.sleep(0.02)
    raise Failed(f"{process.args[0]} does not listen on port {port}")


class Foreign:
    """How many cores everybody else used during the block, whose children it must have ended."""

    def __enter__(self):
        self.began = self.reading()
        return self

    def __exit__(self, *_):
        time_passed, used = (b - a for a, b in zip(self.began, self.reading()))
        self.cores = max(0.0, used / time_passed)

    @staticmethod
    def reading():
        with open("/proc/stat") as lines:
            user, nice, system = (int(field) for field in lines.readline().split()[1:4])
        used = (user + nice + system) / os.sysconf("SC_CLK_TCK")
        for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF):
            usage = resource.getrusage(who)
            used -= usage.ru_utime + usage.ru_stime
        return time.monotonic(), used


def cpu_seconds(pid):
    """What a process took of the processors so far, user and system."""
    with open(f"/proc/{pid}/stat") as line:
        # Behind the name in brackets, which may hold anything.
        fields = line.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid, key):
    """VmRSS or VmHWM of a process, in KiB."""
    with open(f"/proc/{pid}/status") as lines:
        for line in lines:
            if line.startswith(key):
                return int(line.split()[1])
    return None


def output(command, timeout, core=None):
    """What a load generator prints."""
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, preexec_fn=child(core)
        )
    except subprocess.TimeoutExpired as expired:
        raise Failed(f"{command[0]} did not end within {timeout} s") from expired
    if run.returncode or not run.stdout:
        said = run.stderr.strip() or f"ended with {run.returncode}, and nothing delivered"
        raise Failed(f"{os.path.basename(command[0])}: {said}")
    return run.stdout
