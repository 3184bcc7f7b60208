"""Tests of the Python client: python3 -m unittest, in this directory; no broker needed."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import struct
import threading
import unittest
from pathlib import Path

import command
import frames
import sluice
import transcript
from frames import Event, Frame, Malformed, Run
from ledger import Ledger, Refused

PROTOCOL = Path(__file__).resolve().parent.parent
TOKEN = bytes(range(16))


def decoded(data: bytes) -> Frame | None:
    length, type, flags, link = frames.read_header(data[: frames.HEADER_BYTES])
    body = data[frames.HEADER_BYTES :]
    if len(body) != length:
        raise AssertionError("the header's length is not the body's")
    return frames.decode(type, flags, link, body)


SAMPLES = [
    Frame(frames.HELLO, 0, 0, {
        "magic": frames.MAGIC, "min": 1, "max": 3, "keepalive_s": 10, "capabilities": 0,
        "max_frame": 65_536, "session": TOKEN, "auth_kind": 1, "auth": b"key", "name": "grüße",
    }),
    Frame(frames.WELCOME, 0, frames.RESUMED, {
        "version": 1, "keepalive_s": 10, "capabilities": 0, "max_frame": 1_048_576,
        "max_event": 1_048_000, "max_demand": 1_048_576, "max_demand_bytes": 1_073_741_824,
        "max_links": 10_000, "resume_window_ms": 30_000, "session": TOKEN, "name": "b",
    }),
    Frame(frames.PING, 0, frames.PONG, {"opaque": 2**64 - 1}),
    Frame(frames.OPEN, 7, 0, {
        "role": 1, "topic": "orders", "options": frames.options(
            group="g", start=("offset", 5), demand=(10, 1_000), name="n", available=3,
            resume={"position": 4, "asked": 10},
        ),
    }),
    Frame(frames.OPENED, 7, 0, dict.fromkeys(frames.LAYOUTS[frames.OPENED][1], 3)),
    Frame(frames.DEMAND, 7, frames.STOP, dict.fromkeys(frames.LAYOUTS[frames.DEMAND][1], 3)),
    Frame(frames.EVENTS, 7, 0, {
        "first_sequence": 4,
        "runs": [Run(1, Event(b"a").record(), 9, 8, 1), Run(2, Event(b"").record() * 2)],
    }),
    Frame(frames.EVENTS, 7, frames.GAP, {
        "next_sequence": 4, "from": 0, "to": 3, "count": 3, "reason": 1,
    }),
    Frame(frames.EVENTS, 7, frames.END, {"next_sequence": 4, "offset": 9}),
    Frame(frames.EVENTS, 7, frames.MARKER, {"next_sequence": 4, "offset": 9, "text": "m"}),
    Frame(frames.SETTLE, 7, 0, {"ranges": [(1, 5, 0, 0), (6, 1, 3, 39)]}),
    Frame(frames.STATUS, 7, frames.DRAINED, dict.fromkeys(frames.LAYOUTS[frames.STATUS][1], 3)),
    Frame(frames.CLOSE, 0, frames.GRACEFUL, {"code": 3, "retry_ms": 1_000, "reason": "bye"}),
]


class CodecTests(unittest.TestCase):
    def test_every_frame_comes_back(self):
        for frame in SAMPLES:
            with self.subTest(frames.TYPE_NAMES[frame.type]):
                self.assertEqual(decoded(frames.encode(frame)), frame)

    def test_every_frame_cut_at_every_byte_is_malformed_or_shorter(self):
        # What is read to its end may be whole again after a cut; it must never be the same.
        for frame in SAMPLES:
            data = frames.encode(frame)
            for end in range(len(data) - frames.HEADER_BYTES):
                body = data[frames.HEADER_BYTES :][:end]
                with self.subTest(frames.TYPE_NAMES[frame.type], end=end):
                    try:
                        cut = frames.decode(frame.type, frame.flags, frame.link, body)
                    except Malformed:
                        continue
                    self.assertIn(frame.type, (frames.OPEN, frames.EVENTS, frames.SETTLE))
                    self.assertNotEqual(cut, frame)

    def test_a_tail_is_ignored_where_frames_grow(self):
        for frame in SAMPLES:
            if frame.type in (frames.OPEN, frames.SETTLE):
                continue
            if frame.type == frames.EVENTS and not frame.flags:
                continue
            body = frames.encode(frame)[frames.HEADER_BYTES :] + b"later"
            self.assertEqual(frames.decode(frame.type, frame.flags, frame.link, body), frame)

    def test_a_plain_event_costs_four_bytes(self):
        self.assertEqual(Event(b"hi").record(), b"\0\0\0\x02hi")

    def test_unknown_types_and_flags(self):
        self.assertIsNone(frames.decode(99, frames.IGNORABLE, 0, b"any"))
        for type, flags, link in [(99, 0, 0), (frames.PING, 0x40, 0), (frames.EVENTS, 0x08, 1)]:
            with self.assertRaises(Malformed):
                frames.decode(type, flags, link, bytes(40))

    def test_records_fill_their_run_exactly(self):
        record = Event(b"abc").record()
        bad = [(2, record), (1, record + b"\0"), (1, record[:-1]), (1, b"\x04" + record[1:])]
        for count, records in bad:
            with self.assertRaises(Malformed):
                Run(count, records).events(1)

    def test_frames_on_the_wrong_kind_of_link(self):
        for type, link in [(frames.PING, 1), (frames.DEMAND, 0), (frames.OPEN, 0)]:
            with self.assertRaises(Malformed):
                frames.decode(type, 0, link, bytes(60))


class DocumentTests(unittest.TestCase):
    """The text's own examples and tables, read from the text."""

    def setUp(self):
        self.text = (PROTOCOL / "protocol.md").read_text()

    def hex_example(self, heading: str) -> bytes:
        block = self.text[self.text.index(heading) :].split("```")[1]
        lines = [re.split(r"\s{3,}|\"", line.strip())[0] for line in block.strip().splitlines()]
        return bytes.fromhex("".join(lines))

    def test_the_example_of_events(self):
        frame = decoded(self.hex_example("**Example.** An EVENTS frame"))
        (run,) = frame.runs
        first, second = run.events(frame.first_sequence)
        self.assertEqual((frame.link, first.sequence, first.offset, second.offset), (2, 4, 5, 6))
        self.assertEqual(run.time_us, 1_700_000_000_000_000)
        self.assertEqual((first.payload, first.key), (b"hi", None))
        self.assertEqual((second.key, second.payload), (b"k7", b"ok"))
        self.assertEqual(second.headers, [("t", b"x")])
        self.assertEqual([len(event.record()) for event in (first, second)], [6, 17])

    def test_the_example_of_demand(self):
        frame = decoded(self.hex_example("**The same DEMAND in bytes**"))
        self.assertEqual((frame.link, frame.n, frame.total, frame.received), (2, 5, 7, 2))

    def test_the_table_of_codes(self):
        rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", self.text, re.MULTILINE)
        rows = [row for row in rows if row[1] not in frames.TYPE_NAMES.values()]
        self.assertEqual({int(number): name for number, name in rows}, frames.CODES)

    def test_the_transcripts_keep_the_grammar(self):
        for block in re.findall(r"```\n((?:[CS].?: |-- ).*?)```", self.text, re.DOTALL):
            for line in block.strip().splitlines():
                if "…" not in line:
                    self.assertIsNotNone(transcript.LINE.fullmatch(line), line)

    def test_the_example_of_the_ledger(self):
        source, sink = Ledger(), Ledger()
        rows = []
        def demand(n, bytes, flags=0):
            source.apply(sink.ask(1, n, bytes, flags), 1 << 20, 1 << 30)
        demand(10, 1_000)
        source.deliver(3, 60)
        sink.receive(1, 3, 60)
        demand(0, 0, frames.DRAIN)
        source.forfeit()
        sink.book(source.status(1))
        rows.append((source.forfeited, source.forfeited_bytes, source.credit, source.byte_credit))
        demand(5, 200)
        demand(0, 0, frames.STOP | frames.DEMAND_ECHO)
        sink.book(source.status(1))
        rows.append((source.forfeited, source.forfeited_bytes, source.credit, source.byte_credit))
        self.assertEqual(rows, [(7, 940, 0, 0), (12, 1_140, 0, 0)])
        self.assertEqual((sink.credit, sink.byte_credit), (0, 0))


class LedgerTests(unittest.TestCase):
    def test_a_demand_is_refused_with_the_code_that_the_text_gives(self):
        cases = [
            ("BAD_DEMAND", {}, 0),
            ("CREDIT_MISMATCH", {"n": 5, "total": 16}, 0),
            ("CREDIT_MISMATCH", {"n": 5, "total": 15, "bytes": 9, "bytes_total": 8}, 0),
            ("CREDIT_MISMATCH", {"n": 5, "total": 15, "bytes": 9, "bytes_total": 9}, 0),
            ("CREDIT_MISMATCH", {"n": 5, "total": 15, "received": 1}, 0),
            ("LIMIT", {"n": 1_048_567, "total": 1_048_577}, 0),
        ]
        for code, fields, flags in cases:
            with self.subTest(code, fields=fields):
                source = Ledger(asked=10)
                zero = {"n": 0, "total": 10, "bytes": 0, "bytes_total": 0, "received": 0}
                with self.assertRaises(Refused) as refused:
                    source.apply(
                        Frame(frames.DEMAND, 1, flags, zero | fields), 1_048_576, 1 << 30
                    )
                self.assertEqual(frames.code_name(refused.exception.code), code)
                self.assertEqual(source, Ledger(asked=10))

    def test_a_sink_refuses_more_than_it_asked(self):
        for sequence, count, bytes, code in [
            (1, 3, 10, "CREDIT_OVERRUN"), (1, 2, 101, "CREDIT_OVERRUN"),
            (2, 1, 1, "CREDIT_MISMATCH"),
        ]:
            sink = Ledger(asked=2, asked_bytes=100)
            with self.assertRaises(Refused) as refused:
                sink.receive(sequence, count, bytes)
            self.assertEqual(frames.code_name(refused.exception.code), code)
            self.assertEqual(sink.delivered, 0)


class ConversationTests(unittest.TestCase):
    """Every conversation keeps the grammar, and both ledgers balance in it."""

    def test_conversations(self):
        paths = sorted((PROTOCOL / "conversations").glob("*.txt"))
        self.assertGreaterEqual(len(paths), 20)
        for path in paths:
            with self.subTest(path.name):
                self.check(transcript.parse(path))

    def check(self, lines: list[transcript.Line]) -> None:
        accounts, refused = transcript.Accounts(), None
        closed: set[int] = set()
        for line in lines:
            if line.event == "cut":
                accounts.cut()
            if line.frame is None:
                continue
            if line.frame.type == frames.CLOSE:
                # What a ledger refuses is answered with the code that it names.
                if refused is not None:
                    self.assertEqual(line.frame.code, refused.code)
                    refused = None
                closed.add(line.frame.link)
                continue
            if line.frame.link in closed or self.is_foreign(accounts, line):
                continue
            try:
                accounts.book(line)
            except Refused as error:
                self.assertEqual(line.mark, "!", f"{line}: {error}")
                refused = error
        self.assertIsNone(refused)

    @staticmethod
    def is_foreign(accounts: transcript.Accounts, line: transcript.Line) -> bool:
        """For a link never opened, or from the end that may not send it."""
        if line.frame.type not in (frames.DEMAND, frames.EVENTS, frames.STATUS):
            return False
        if line.frame.link not in accounts.roles:
            return True
        sink = "C" if accounts.roles[line.frame.link] == frames.SINK else "S"
        return (line.who == sink) != (line.frame.type == frames.DEMAND)


class FakeBroker:
    """A listener whose connections are served by a script, one thread for all."""

    def __init__(self, *scripts):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(scripts,), daemon=True)
        self.thread.start()

    def _run(self, scripts) -> None:
        try:
            for script in scripts:
                self.socket, _ = self.listener.accept()
                self.socket.settimeout(5)
                with self.socket:
                    script(self)
        except BaseException as error:
            self.failure = error
        finally:
            self.listener.close()

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self.socket.recv(count - len(data))
            if not chunk:
                raise AssertionError("the client closed")
            data += chunk
        return data

    def expect(self, type: int, link: int = 0, **fields) -> Frame:
        header = self.read(frames.HEADER_BYTES)
        length, found, flags, found_link = frames.read_header(header)
        frame = frames.decode(found, flags, found_link, self.read(length))
        assert (found, found_link) == (type, link), f"{frame}, expected {type} on {link}"
        for name, value in fields.items():
            assert frame.fields[name] == value, f"{name}: {frame}"
        return frame

    def say(self, type: int, link: int = 0, flags: int = 0, **fields) -> None:
        self.socket.sendall(frames.encode(Frame(type, link, flags, fields)))

    def greet(self, flags: int = 0) -> Frame:
        hello = self.expect(frames.HELLO)
        self.say(frames.WELCOME, 0, flags, session=TOKEN, name="fake")
        return hello

    def answer_ping(self) -> None:
        ping = self.expect(frames.PING)
        self.say(frames.PING, 0, frames.PONG, opaque=ping.opaque)

    def settle(self, link: int, *ranges: tuple[int, int, int, int]) -> None:
        """A client that waits for its settlements sends PING, and has them before the PONG."""
        ping = self.expect(frames.PING)
        self.say(frames.SETTLE, link, ranges=list(ranges))
        self.say(frames.PING, 0, frames.PONG, opaque=ping.opaque)

    def end(self, link: int) -> None:
        self.expect(frames.CLOSE, link, code=0)
        self.say(frames.CLOSE, link)

    def leave(self) -> None:
        """The client ends the session, and waits until we close."""
        self.expect(frames.CLOSE, 0, code=0)


class ClientTests(unittest.TestCase):
    def broker(self, *scripts) -> FakeBroker:
        broker = FakeBroker(*scripts)
        def join():
            broker.thread.join(10)
            if broker.failure is not None:
                raise broker.failure
        self.addCleanup(join)
        return broker

    def run_command(self, broker: FakeBroker, *words: str) -> tuple[int, list[dict]]:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = command.main([f"127.0.0.1:{broker.port}", *words, "--timeout", "5"])
        return status, [json.loads(line) for line in out.getvalue().splitlines()]

    def test_pub_sends_no_more_than_was_asked(self):
        def script(broker):
            broker.greet()
            opened = broker.expect(frames.OPEN, 1, role=frames.SOURCE)
            assert (6, struct.pack(">Q", 3)) in opened.options
            broker.say(frames.OPENED, 1, next_sequence=1)
            broker.say(frames.DEMAND, 1, n=2, total=2, bytes=100, bytes_total=100)
            first = broker.expect(frames.EVENTS, 1, first_sequence=1)
            assert [run.count for run in first.runs] == [2]
            broker.say(frames.DEMAND, 1, n=1, total=3, bytes=0, bytes_total=100, received=2)
            broker.expect(frames.EVENTS, 1, first_sequence=3)
            broker.settle(1, (1, 2, 0, 0), (3, 1, 3, 39))
            broker.end(1)
            broker.leave()
        status, lines = self.run_command(self.broker(script), "pub", "orders", "a", "b", "c")
        self.assertEqual(status, command.EXIT_OK)
        self.assertEqual(lines[0]["accepted"], 2)
        self.assertEqual(lines[0]["rejected"], [{"sequence": 3, "code": "DISCARDED"}])
        self.assertEqual((lines[1]["ledger"]["delivered"], lines[1]["ledger"]["credit"]), (3, 0))

    def test_a_producer_says_how_many_bytes_it_needs(self):
        def script(broker):
            broker.greet()
            broker.expect(frames.OPEN, 1)
            broker.say(frames.OPENED, 1, next_sequence=1)
            broker.say(frames.DEMAND, 1, n=1, total=1, bytes=8, bytes_total=8)
            broker.expect(frames.STATUS, 1, blocked_by=3, need_bytes=14)
            broker.say(frames.DEMAND, 1, n=0, total=1, bytes=6, bytes_total=14)
            broker.expect(frames.EVENTS, 1, first_sequence=1)
            broker.settle(1, (1, 1, 0, 0))
            broker.end(1)
            broker.leave()
        status, _ = self.run_command(self.broker(script), "pub", "orders", "0123456789")
        self.assertEqual(status, command.EXIT_OK)

    def test_a_recall_is_answered_and_new_demand_counts_after_it(self):
        def script(broker):
            broker.greet()
            broker.expect(frames.OPEN, 1)
            broker.say(frames.OPENED, 1, next_sequence=1)
            broker.say(frames.DEMAND, 1, n=4, total=4, bytes=3, bytes_total=3)
            broker.expect(frames.STATUS, 1, need_bytes=5)
            broker.say(frames.DEMAND, 1, frames.STOP, total=4, bytes_total=3)
            status = broker.expect(
                frames.STATUS, 1, forfeited=4, forfeited_bytes=3, stopped_to=4, available=1
            )
            assert status.has(frames.DRAINED)
            broker.say(frames.DEMAND, 1, n=1, total=5, bytes=5, bytes_total=8)
            broker.expect(frames.EVENTS, 1, first_sequence=1)
            broker.settle(1, (1, 1, 0, 0))
            broker.end(1)
            broker.leave()
        status, lines = self.run_command(self.broker(script), "pub", "orders", "a")
        self.assertEqual((status, lines[-1]["ledger"]["forfeited"]), (command.EXIT_OK, 4))

    def test_overrun_is_refused_and_the_connection_lives(self):
        def script(broker):
            broker.greet()
            broker.expect(frames.OPEN, 1)
            broker.say(frames.OPENED, 1, next_sequence=1)
            broker.say(frames.DEMAND, 1, n=2, total=2, bytes=100, bytes_total=100)
            events = broker.expect(frames.EVENTS, 1)
            assert sum(run.count for run in events.runs) == 3
            broker.say(frames.CLOSE, 1, code=19, reason="3 events for a credit of 2")
            # The client waits for settlements until it hears of it, and then asks whether we live.
            broker.answer_ping()
            broker.expect(frames.CLOSE, 1)
            broker.answer_ping()
            broker.leave()
        status, lines = self.run_command(self.broker(script), "overrun", "orders")
        self.assertEqual(status, command.EXIT_OK)
        self.assertEqual([line.get("refused") for line in lines], [None, "CREDIT_OVERRUN", None])

    def test_sub_asks_for_exactly_n(self):
        def script(broker):
            broker.greet()
            broker.expect(frames.OPEN, 1, role=frames.SINK)
            broker.say(frames.OPENED, 1, next_sequence=1)
            broker.expect(frames.DEMAND, 1, n=2, total=2, received=0)
            run = Run(2, Event(b"a").record() + Event(b"b", key=b"k").record(), 5, 1, 1)
            broker.say(frames.EVENTS, 1, first_sequence=1, runs=[run])
            stop = broker.expect(frames.DEMAND, 1, n=0, total=2, received=2)
            assert stop.has(frames.STOP)
            broker.say(frames.STATUS, 1, frames.DRAINED, asked=2, delivered=2, stopped_to=2)
            broker.end(1)
            broker.leave()
        status, lines = self.run_command(self.broker(script), "sub", "orders", "-n", "2")
        self.assertEqual(status, command.EXIT_OK)
        self.assertEqual([line["payload"] for line in lines[:2]], ["a", "b"])
        self.assertEqual((lines[1]["offset"], lines[1]["key"]), (6, "k"))

    def test_a_consumer_closes_a_broker_that_sends_too_much(self):
        def script(broker):
            broker.greet()
            broker.expect(frames.OPEN, 1)
            broker.say(frames.OPENED, 1, next_sequence=1)
            broker.expect(frames.DEMAND, 1, n=1)
            run = Run(2, Event(b"a").record() * 2)
            broker.say(frames.EVENTS, 1, first_sequence=1, runs=[run])
            broker.expect(frames.CLOSE, 1, code=19)
            broker.leave()
        status, lines = self.run_command(self.broker(script), "sub", "orders", "-n", "1")
        self.assertEqual((status, lines), (command.EXIT_REFUSED, [
            {"refused": "CREDIT_OVERRUN", "link": 1, "reason": "2 events for a credit of 1"},
        ]))

    def test_a_consumer_resumes_with_a_gap(self):
        def first(broker):
            broker.greet()
            broker.expect(frames.OPEN, 1)
            broker.say(frames.OPENED, 1, next_sequence=1)
            broker.expect(frames.DEMAND, 1, n=4, total=4)
            run = Run(1, Event(b"a").record())
            broker.say(frames.EVENTS, 1, first_sequence=1, runs=[run])
        def second(broker):
            hello = broker.greet(frames.RESUMED)
            assert hello.session == TOKEN
            opened = broker.expect(frames.OPEN, 1)
            resume = dict(opened.options)[7]
            assert struct.unpack(">6Q", resume) == (1, 5, 4, 0, 0, 0), resume
            broker.say(
                frames.OPENED, 1, frames.RESUMED, next_sequence=2, asked=4, delivered_bytes=5,
                forfeited=2,
            )
            gap = {"next_sequence": 2, "from": 1, "to": 3, "count": 2, "reason": 1}
            broker.say(frames.EVENTS, 1, frames.GAP, **gap)
            run = Run(1, Event(b"d").record(), 3)
            broker.say(frames.EVENTS, 1, first_sequence=2, runs=[run])
            broker.expect(frames.DEMAND, 1, n=0, total=4, received=2)
            broker.say(
                frames.STATUS, 1, frames.DRAINED, asked=4, delivered=2, forfeited=2, stopped_to=4
            )
            broker.end(1)
            broker.leave()
        status, lines = self.run_command(
            self.broker(first, second), "sub", "orders", "-n", "4", "--cut-after", "1"
        )
        self.assertEqual(status, command.EXIT_OK)
        self.assertEqual([line.get("payload") for line in lines], ["a", None, "d", None, None])
        self.assertEqual(lines[3], {"gap": {"from": 1, "to": 3, "count": 2, "reason": "cut"}})
        self.assertEqual(lines[4]["ledger"]["forfeited"], 2)

    def test_a_consumer_says_how_many_gaps_it_has_had(self):
        def first(broker):
            broker.greet()
            broker.expect(frames.OPEN, 1)
            broker.say(frames.OPENED, 1, next_sequence=1)
            gap = {"next_sequence": 1, "from": 0, "to": 3, "count": 2, "reason": 2}
            broker.say(frames.EVENTS, 1, frames.GAP, **gap)
            broker.expect(frames.DEMAND, 1, n=2, total=2)
            run = Run(1, Event(b"a").record(), 3)
            broker.say(frames.EVENTS, 1, first_sequence=1, runs=[run])
        def second(broker):
            broker.greet(frames.RESUMED)
            resume = dict(broker.expect(frames.OPEN, 1).options)[7]
            assert struct.unpack(">7Q", resume) == (1, 5, 2, 0, 0, 0, 1), resume
            broker.say(
                frames.OPENED, 1, frames.RESUMED, next_sequence=2, asked=2, delivered_bytes=5,
            )
            run = Run(1, Event(b"d").record(), 4)
            broker.say(frames.EVENTS, 1, first_sequence=2, runs=[run])
            broker.expect(frames.DEMAND, 1, n=0, total=2, received=2)
            broker.say(frames.STATUS, 1, frames.DRAINED, asked=2, delivered=2, stopped_to=2)
            broker.end(1)
            broker.leave()
        status, lines = self.run_command(
            self.broker(first, second), "sub", "orders", "-n", "2", "--cut-after", "1"
        )
        self.assertEqual(status, command.EXIT_OK)
        gaps = [line["gap"] for line in lines if "gap" in line]
        self.assertEqual(gaps, [{"from": 0, "to": 3, "count": 2, "reason": "dropped"}])

    def test_a_producer_sends_again_what_never_arrived(self):
        def first(broker):
            broker.greet()
            broker.expect(frames.OPEN, 1)
            broker.say(frames.OPENED, 1, next_sequence=1)
            broker.say(frames.DEMAND, 1, n=3, total=3, bytes=99, bytes_total=99)
            broker.expect(frames.EVENTS, 1)
        def second(broker):
            broker.greet(frames.RESUMED)
            opened = broker.expect(frames.OPEN, 1)
            options = dict(opened.options)
            assert struct.unpack(">6Q", options[7])[:4] == (3, 15, 3, 99)
            assert options[6] == struct.pack(">Q", 3)
            broker.say(
                frames.OPENED, 1, frames.RESUMED, next_sequence=3, asked=3, asked_bytes=99,
                delivered_bytes=10, forfeited=1, forfeited_bytes=89, stopped_to=3,
            )
            broker.expect(frames.STATUS, 1, available=1, asked=3, delivered=2, forfeited=1)
            broker.say(frames.DEMAND, 1, n=1, total=4, bytes=50, bytes_total=149, received=2)
            again = broker.expect(frames.EVENTS, 1, first_sequence=3)
            assert again.runs[0].events(3)[0].payload == b"c"
            broker.settle(1, (3, 1, 0, 0))
            broker.leave()
        client = sluice.Client("127.0.0.1", self.broker(first, second).port)
        client.connect()
        producer = client.producer("orders", available=3)
        producer.publish(Event(b"a"), Event(b"b"), Event(b"c"))
        client.cut()
        self.assertTrue(client.resume())
        self.assertEqual(producer.publish_again(), 1)
        producer.wait_settled()
        self.assertEqual((producer.accepted, producer.ledger.credit), (3, 0))
        client.close()

    def test_a_refused_open_says_why_and_is_not_answered(self):
        def script(broker):
            broker.greet()
            broker.expect(frames.OPEN, 1)
            broker.say(frames.CLOSE, 1, code=34, reason="no such topic")
            broker.leave()
        status, lines = self.run_command(self.broker(script), "sub", "orders", "-n", "1")
        self.assertEqual((status, lines[0]["refused"]), (command.EXIT_REFUSED, "NOT_FOUND"))

    def test_an_answer_is_heard_though_that_to_a_sign_of_life_is_right_behind(self):
        def script(broker):
            broker.greet()
            ping = broker.expect(frames.PING)
            answers = [Frame(frames.PING, 0, frames.PONG, {"opaque": n}) for n in (ping.opaque, 0)]
            broker.socket.sendall(b"".join(frames.encode(answer) for answer in answers))
            broker.leave()
        status, lines = self.run_command(self.broker(script), "ping")
        self.assertEqual((status, lines[0]["broker"]), (command.EXIT_OK, "fake"))

    def test_nobody_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(command.main([f"127.0.0.1:{port}", "ping"]), command.EXIT_CONNECT)

    def test_what_cannot_be_is_wrong_usage(self):
        for words in (
            ["127.0.0.1:x", "ping"], ["127.0.0.1:99999", "ping"], ["ping"],
            ["127.0.0.1:1", "sub", "t", "-n", "0"], ["127.0.0.1:1", "sub", "t", "-n", "-3"],
            ["127.0.0.1:1", "sub", "t"], ["127.0.0.1:1", "overrun", "t", "--count", "0"],
        ):
            with self.subTest(words=words), contextlib.redirect_stderr(io.StringIO()):
                try:
                    status = command.main(words)
                except SystemExit as exit:
                    status = exit.code
                self.assertEqual(status, command.EXIT_USAGE)


if __name__ == "__main__":
    unittest.main()
