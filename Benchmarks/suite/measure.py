"""Runs cells: every repetition goes through all cells and all peers of a group once."""
import sys
import time

from . import processes
from .figures import ratio, spread


class Results:
    """The runs of every cell and peer, one for each repetition."""

    def __init__(self):
        self.runs = {}
        self.notes = []

    def add(self, cell, peer, run):
        self.runs.setdefault((cell.key, peer), []).append(run)

    def of(self, key, peer="sluice"):
        return self.runs.get((key, peer), [])

    def spread(self, key, figure, peer="sluice"):
        return spread(self.of(key, peer), figure)

    def ratio(self, key, figure, peer):
        """Sluice's figure ÷ the peer's in the same cell."""
        return ratio(self.of(key), self.of(key, peer), figure)

    def between(self, key, other, figure, peer="sluice"):
        """A peer's figure in one cell ÷ its figure in another."""
        return ratio(self.of(key, peer), self.of(other, peer), figure)


def peers_of(cell, there):
    ours = [name for name in there if name.startswith("sluice")]
    return ours + [name for name in cell.peers if name in there]


def run(groups, there, repetitions, seconds):
    results = Results()
    for group, cells in groups.items():
        # The goal of the windows asks for a median of seven at least.
        count = max(7, repetitions) if group == "windows" and repetitions >= 5 else repetitions
        began = time.monotonic()
        for repetition in range(count):
            say(f"{group}: {repetition + 1} of {count}")
            for cell in cells:
                for name in peers_of(cell, there):
                    results.add(cell, name, one(results, there[name], cell, seconds))
        say(f"{group}: {time.monotonic() - began:.0f} s")
    return results


def one(results, peer, cell, seconds):
    try:
        return peer.measure(cell, seconds)
    except processes.Failed as failed:
        note = f"{cell.key}, {peer.name}: {failed}"
        results.notes.append(note)
        say(note)
        return {}


def say(text):
    print(text, file=sys.stderr, flush=True)
