"""Holds filters and partitions against ../vectors/values; `python3 -m unittest` here."""

import unittest
from pathlib import Path

import frames
import values

VECTORS = Path(__file__).parent.parent / "vectors" / "values"

FILTERS = {
    "key exists": values.exists(),
    "header.trace exists": values.exists("trace"),
    'key = "a"': values.equals(b"a"),
    'key = ""': values.equals(b""),
    'key = "\\x00\\xff\\""': values.equals(b'\x00\xff"'),
    'header.kind = "größe"': values.equals("größe".encode(), "kind"),
    'header."a b" = "1"': values.equals(b"1", "a b"),
    'key ^= "eu-"': values.has_prefix(b"eu-"),
    'header.kind in ("x", "", "yz")': values.is_one_of([b"x", b"", b"yz"], "kind"),
    'not key = "a"': values.negated(values.equals(b"a")),
    "key exists and header.t exists": values.all_of(values.exists(), values.exists("t")),
    "key exists or header.t exists": values.any_of(values.exists(), values.exists("t")),
    'key = "a" and not (header.kind in ("x", "y") or header.trace exists)': values.all_of(
        values.equals(b"a"),
        values.negated(
            values.any_of(values.is_one_of([b"x", b"y"], "kind"), values.exists("trace"))
        ),
    ),
}


class Values(unittest.TestCase):
    def test_keys_fall_into_their_partitions(self):
        lines = (VECTORS / "keyhash.txt").read_text().splitlines()
        rows = [line.split() for line in lines if line and not line.startswith("#")]
        self.assertGreater(len(rows), 20)
        for key, hash_text, *partitions in rows:
            key = bytes.fromhex(key.replace("-", ""))
            self.assertEqual(values.key_hash(key), int(hash_text, 16))
            for entry in partitions:
                count, partition = map(int, entry.split(":"))
                self.assertEqual(values.partition(key, 7, count), partition)

    def test_names_are_judged_as_specified(self):
        lines = (VECTORS / "names.txt").read_text().splitlines()
        rows = [line.split("#")[0].split() for line in lines if line and not line.startswith("#")]
        self.assertGreater(len(rows), 20)
        for verdict, name in rows:
            text = bytes.fromhex(name.replace("-", "")).decode()
            self.assertEqual(frames.is_name(text), verdict == "good", ascii(text))

    def test_events_without_a_key_take_turns(self):
        turns = [values.partition(None, offset, 3) for offset in range(5)]
        self.assertEqual(turns, [0, 1, 2, 0, 1])

    def test_filters_are_written_as_specified(self):
        seen = set()
        encoded = b""
        for line in (VECTORS / "filter.txt").read_text().splitlines():
            if line.startswith("    "):
                encoded += bytes.fromhex(line)
            elif line.startswith("expect: "):
                text = line.removeprefix("expect: ")
                self.assertEqual(FILTERS[text], encoded, text)
                seen.add(text)
            elif line.startswith("vector: "):
                encoded = b""
        self.assertEqual(seen, set(FILTERS))

    def test_options_are_written_as_specified(self):
        vectors = (VECTORS.parent / "open.txt").read_text()
        cases = {
            "OPEN of a member of a fair group": {"dispatcher": "fair", "weight": 2, "priority": 5},
            "OPEN with a lag that blocks": {"lag": ("block", 0)},
            "OPEN with a lag that drops the newest": {"lag": ("drop-newest", 2**32 - 1)},
            "OPEN with partitions and claims": {
                "dispatcher": "partition", "partitions": 1024, "claim": (0, 3, 1023),
            },
            "OPEN with a filter": {
                "filter": values.all_of(
                    values.has_prefix(b"eu-"),
                    values.negated(values.is_one_of([b"x", b"y"], "kind")),
                ),
            },
            "OPEN with a sample, a batch and a rate": {
                "sample": 10, "batch": (100, 50), "rate": (1000, 100),
            },
            "OPEN of an ephemeral group with patience": {"ephemeral": 1, "patience": 5000},
        }
        for name, options in cases.items():
            lines = vectors.split(f"vector: {name}\n")[1].split("expect:")[0].splitlines()
            data = bytes.fromhex("".join(line.split("#")[0] for line in lines))
            fields = {"role": frames.SINK, "topic": "t", "options": frames.options(**options)}
            self.assertEqual(frames.encode(frames.Frame(frames.OPEN, 1, 0, fields)), data, name)


if __name__ == "__main__":
    unittest.main()
