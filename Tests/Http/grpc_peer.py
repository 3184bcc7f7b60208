"""What the gRPC cases share: the messages, made from the .proto files, and calls to talk by."""

from __future__ import annotations

import importlib
import pathlib
import queue
import sys
import tempfile
from itertools import repeat

import grpc
from grpc_tools import protoc

PROTOCOL = pathlib.Path(__file__).resolve().parents[2] / "Protocol"
PATIENCE = 20
EVENTS_PER_MESSAGE = 100


def load():
    """Makes the Python side of Protocol/sluice.proto and imports it."""
    with tempfile.TemporaryDirectory() as place:
        code = protoc.main(
            ["protoc", f"-I{PROTOCOL}", f"--python_out={place}", f"--grpc_python_out={place}",
             "sluice.proto"]
        )
        if code != 0:
            sys.exit("Protocol/sluice.proto cannot be compiled")
        sys.path.insert(0, place)
        try:
            return importlib.import_module("sluice_pb2"), importlib.import_module("sluice_pb2_grpc")
        finally:
            sys.path.remove(place)


pb, rpc = load()
Out = pb.PublishRequest
In = pb.SubscribeRequest


class Talk:
    """A call with messages both ways: says one after the other, and hears what comes."""

    def __init__(self, method, *first, timeout: float | None = PATIENCE, metadata=None):
        self.words: queue.SimpleQueue = queue.SimpleQueue()
        for word in first:
            self.words.put(word)
        self.call = method(iter(self.words.get, None), timeout=timeout, metadata=metadata)

    def say(self, *words) -> None:
        for word in words:
            self.words.put(word)

    def end(self) -> None:
        """Ends this side of the call."""
        self.words.put(None)

    def hear(self):
        return next(self.call)

    def rest(self) -> list:
        return list(self.call)

    def status(self) -> tuple[grpc.StatusCode, str]:
        """How the call ended, behind all that came."""
        try:
            for _ in self.call:
                pass
        except grpc.RpcError as error:
            return error.code(), error.details()
        return self.call.code(), self.call.details()


class Consumer(Talk):
    def __init__(self, broker, topic: str, demand: int = 0, group: str = "", **more):
        wish = In.Open(topic=topic, demand=demand, group=group)
        super().__init__(broker.Subscribe, In(open=wish), **more)
        self.waiting: list[tuple[int, object]] = []

    def ask(self, events: int = 0, then: int = In.THEN_GO_ON) -> None:
        self.say(In(demand=In.Demand(events=events, then=then)))

    def take(self, count: int) -> list[tuple[int, object]]:
        """So many events with their offsets; what else is said is skipped."""
        while len(self.waiting) < count:
            self.waiting += events_of(self.hear())
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken


class Producer(Talk):
    def __init__(self, broker, topic: str, **more):
        super().__init__(broker.Publish, Out(open=Out.Open(topic=topic)), **more)
        self.credit = 0
        self.granted = 0
        self.confirmed: list = []

    def send(self, events: list) -> None:
        """Sends what there is credit for; announces the rest, and waits for credit for it."""
        while events:
            if self.credit == 0:
                backlog = Out.Backlog(available=len(events), credit_total=self.granted)
                self.say(Out(backlog=backlog))
            while self.credit == 0:
                self.listen()
            count = min(self.credit, EVENTS_PER_MESSAGE)
            now, events = events[:count], events[count:]
            self.credit -= len(now)
            self.say(Out(batch=Out.Batch(events=now)))

    def listen(self) -> None:
        word = self.hear()
        if word.HasField("credit"):
            self.credit += word.credit.events
            self.granted = word.credit.total
        if word.HasField("confirm"):
            self.confirmed.append(word.confirm)

    def finish(self) -> int:
        """Ends the call; how many events the topic took."""
        self.end()
        for word in self.call:
            if word.HasField("confirm"):
                self.confirmed.append(word.confirm)
        assert self.call.code() == grpc.StatusCode.OK, self.call.details()
        return sum(confirm.count for confirm in self.confirmed if not confirm.code)


def events_of(word) -> list[tuple[int, object]]:
    return [
        (run.offset + index, event)
        for run in word.batch.runs
        for index, event in enumerate(run.events)
    ]


def event(payload: bytes | str, key: bytes | None = None, **headers: bytes):
    payload = payload.encode() if isinstance(payload, str) else payload
    return pb.Event(
        payload=payload, key=key,
        headers=[pb.Header(name=name, value=value) for name, value in headers.items()],
    )


def publish(broker, topic: str, payloads, keys=None) -> int:
    producer = Producer(broker, topic)
    producer.send([event(payload, key) for payload, key in zip(payloads, keys or repeat(None))])
    return producer.finish()
