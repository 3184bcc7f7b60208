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

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)
            say(text)

    def of(self, key, peer="sluice"):
        return self.runs.get((key, peer), [])

    def others(self):
        """How many cores others took, in the median of all runs: whether it was quiet."""
        found = spread([run for runs in self.runs.values() for run in runs], "others_cores")
        return round(found.median, 3) if found else None

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


def leave_out(groups, there, results):
    """The groups without the cells for which no binary here has the flag."""
    kept = {}
    ours = [peer for name, peer in there.items() if name.startswith("sluice")]
    for group, cells in groups.items():
        known = [cell for cell in cells if any(peer.knows(cell.needs) for peer in ours)]
        for flag in {cell.needs for cell in cells if cell not in known}:
            results.note(f"{group}: left out what needs {flag}: this binary does not know it.")
        if known:
            kept[group] = known
    return kept


def run(groups, there, repetitions, seconds, results):
    for group, cells in groups.items():
        # The goal of the windows asks for a median of seven at least.
        count = max(7, repetitions) if group == "windows" and repetitions >= 5 else repetitions
        began = time.monotonic()
        for repetition in range(count):
            say(f"{group}: {repetition + 1} of {count}")
            for cell in cells:
                for name in turned(peers_of(cell, there), repetition):
                    results.add(cell, name, one(results, there[name], cell, seconds))
        say(f"{group}: {time.monotonic() - began:.0f} s")


def turned(names, repetition):
    """Nobody always runs first, or always after the same one."""
    first = repetition % len(names)
    return names[first:] + names[:first]


def one(results, peer, cell, seconds):
    """One run, or an empty one and a note on why."""
    try:
        with processes.Foreign() as foreign:
            run = peer.measure(cell, seconds)
        return {**run, "others_cores": foreign.cores}
    except processes.Failed as failed:
        results.note(f"{cell.key}, {peer.name}: {failed}")
        return {}


def say(text):
    print(text, file=sys.stderr, flush=True)
