"""A network that behaves as badly as TCP allows: bytes one at a time, silence, and cuts.

What each connection suffers comes of the seed and of how many came before it.
"""

from __future__ import annotations

import random
import selectors
import socket
import struct
import threading
import time

READ_BYTES = 16_384
# RST instead of FIN: what the kernel has not passed on is thrown away.
LINGER_0 = struct.pack("ii", 1, 0)


class Way:
    """One direction of a connection."""

    def __init__(self, source: socket.socket, target: socket.socket):
        self.source, self.target = source, target
        self.waiting = bytearray()
        # Bytes that still pass one at a time, and until when nothing passes.
        self.singles = 0
        self.silent_until = 0.0


class Pair:
    def __init__(self, near: socket.socket, far: socket.socket, dice: random.Random):
        self.dice = dice
        self.ways = (Way(near, far), Way(far, near))
        # When it is cut, in bytes of both ways, and how.
        self.left = int(dice.expovariate(1 / 60_000))
        self.until = time.monotonic() + dice.expovariate(1 / 1.5)
        self.is_reset = dice.random() < 0.5
        self.is_half = dice.random() < 0.2


class ChaosProxy:
    """Listens on a port that the system picks; does no harm until it is told to."""

    def __init__(self, target: tuple[str, int], seed: int):
        self.target, self.seed = target, seed
        self.wild = False
        self.cuts = {"FIN": 0, "RST": 0}
        self.singles = self.silences = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.pairs: set[Pair] = set()
        self.accepted = 0
        self.is_over = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def end(self) -> None:
        self.is_over = True
        self.thread.join()

    def _run(self) -> None:
        while not self.is_over:
            for key, events in self.selector.select(0.002):
                if key.fileobj is self.listener:
                    self._accept()
                elif events & selectors.EVENT_READ and key.data[0] in self.pairs:
                    self._read(*key.data)
            now = time.monotonic()
            for pair in list(self.pairs):
                for way in pair.ways:
                    if pair in self.pairs and way.waiting and now >= way.silent_until:
                        self._pass_on(pair, way, now)
                if pair in self.pairs and self.wild and (now > pair.until or pair.left < 0):
                    self._cut(pair)

    def _accept(self) -> None:
        near, _ = self.listener.accept()
        dice = random.Random(self.seed * 1_000_003 + self.accepted)
        self.accepted += 1
        try:
            far = socket.create_connection(self.target, 5)
        except OSError:
            near.close()
            return
        pair = Pair(near, far, dice)
        self.pairs.add(pair)
        for way in pair.ways:
            way.source.setblocking(False)
            way.source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(way.source, selectors.EVENT_READ, (pair, way))

    def _read(self, pair: Pair, way: Way) -> None:
        if len(way.waiting) > 4 * READ_BYTES:
            return
        try:
            data = way.source.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            # Nothing that was on the way is to be lost by a clean end.
            if way.waiting and not self.wild:
                return
            self._close(pair)
            return
        way.waiting += data
        if not self.wild:
            return
        if way.singles == 0 and pair.dice.random() < 0.1:
            way.singles = pair.dice.randint(1, 200)
            self.singles += way.singles
        if pair.dice.random() < 0.05:
            way.silent_until = time.monotonic() + pair.dice.uniform(0.002, 0.25)
            self.silences += 1

    def _pass_on(self, pair: Pair, way: Way, now: float) -> None:
        try:
            while way.waiting:
                size = len(way.waiting)
                if self.wild:
                    size = 1 if way.singles else pair.dice.randint(1, size)
                    way.singles = max(0, way.singles - 1)
                sent = way.target.send(way.waiting[:size])
                del way.waiting[:sent]
                pair.left -= sent
                if self.wild and pair.left < 0:
                    return
        except BlockingIOError:
            pass
        except OSError:
            self._close(pair)

    def _cut(self, pair: Pair) -> None:
        """Ends both sides, or one alone: the other learns of it when it next says something."""
        self.cuts["RST" if pair.is_reset else "FIN"] += 1
        if pair.is_half:
            self._finish(pair.ways[pair.dice.randint(0, 1)].source, pair.is_reset)
            pair.is_half = False
            pair.until = time.monotonic() + 0.1
            pair.left = 1 << 30
            return
        self._close(pair, pair.is_reset)

    def _finish(self, s: socket.socket, is_reset: bool) -> None:
        if s.fileno() < 0:
            return
        try:
            self.selector.unregister(s)
        except KeyError:
            pass
        if is_reset:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        s.close()

    def _close(self, pair: Pair, is_reset: bool = False) -> None:
        self.pairs.discard(pair)
        for way in pair.ways:
            self._finish(way.source, is_reset)
