"""The suite's own arithmetic and drawing: `python3 -m unittest discover Benchmarks/tests`."""
import json
import pathlib
import sys
import unittest
from xml.etree import ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from suite import cells, figures, goals, measure, peers, plot, report

META = {
    "date": "2026-01-01", "commit": "0123456789", "cores": 2, "cpu": "A <fast> one",
    "system": "Linux", "congestion_control": "bbr", "repetitions": 2, "seconds": 2,
    "repeat": "make bench", "peers": ["NATS"],
    "others_cores": 0.5,
}
THERE = {name: None for name in ("sluice", "cbroker", "nats")}


def results(rate=1e6, cpu=0.1):
    """Two repetitions of every throughput cell; ours has these figures and the others 1e6, 0.1."""
    found = measure.Results()
    for cell in cells.throughput():
        for name in measure.peers_of(cell, THERE):
            mine = name == "sluice"
            run = {
                "delivered_per_s": rate if mine else 1e6, "cpu_s_per_million": cpu if mine else 0.1,
            }
            found.add(cell, name, run)
            found.add(cell, name, run)
    return found


class Figures(unittest.TestCase):
    def test_an_ideal_makespan_is_that_of_workers_who_never_wait(self):
        self.assertEqual(figures.ideal_makespan(7, [1]), 7)
        # Three take 15 jobs of 1 s while the fourth takes one of 5 s.
        self.assertEqual(figures.ideal_makespan(16, [5, 1, 1, 1]), 5)
        # The slow one takes the last job, because it is free: greedy, and not the best there is.
        self.assertEqual(figures.ideal_makespan(4, [5, 1, 1, 1]), 5)
        self.assertEqual(figures.ideal_makespan(0, [1]), 0)

    def test_a_makespan_is_held_against_the_ideal_of_its_cell(self):
        cell = next(cell for cell in cells.makespan() if cell.flags["J"] == 10_000)
        ideal = figures.ideal_makespan(10_000, cells.services(cell))
        # Three fast ones and a fifth of one.
        self.assertAlmostEqual(ideal, 10_000 * 0.005 / 3.2, delta=0.02)
        for over, word in ((1.04, "met"), (1.06, "NOT MET")):
            found = measure.Results()
            found.add(cell, "sluice", {"over_ideal": over})
            self.assertEqual([v.word for v in goals.verdicts(found, False)], [word])

    def test_a_spread_is_the_median_with_the_least_and_the_most(self):
        runs = [{"x": 3}, {"x": 1}, {}, {"x": 10}]
        self.assertEqual(figures.spread(runs, "x"), figures.Spread(3, 1, 10))
        self.assertIsNone(figures.spread(runs, "y"))

    def test_a_ratio_pairs_what_ran_in_one_repetition(self):
        # The machine became ten times slower: the ratio did not.
        found = figures.ratio([{"x": 2}, {"x": 20}], [{"x": 1}, {"x": 10}], "x")
        self.assertEqual(found, figures.Spread(2, 2, 2))

    def test_a_ratio_leaves_out_what_one_side_lacks(self):
        self.assertIsNone(figures.ratio([{"x": 1}, {}], [{}, {"x": 1}], "x"))


    def test_who_runs_first_changes_with_each_repetition(self):
        self.assertEqual([measure.turned("abc", n) for n in range(4)], ["abc", "bca", "cab", "abc"])


class Goals(unittest.TestCase):
    def words(self, found):
        verdicts = goals.verdicts(found, with_unmeasured=False)
        return {verdict.goal: verdict.word for verdict in verdicts}

    def test_what_keeps_to_its_bound_is_met(self):
        words = self.words(results(rate=0.85e6, cpu=0.125))
        self.assertEqual(words["CPU per delivery ÷ C broker, 16 B, 1→1"], "met")
        self.assertEqual(words["deliveries/s ÷ C broker, 16 B, 1→4 shared"], "met")

    def test_what_does_not_is_not(self):
        words = self.words(results(rate=0.84e6, cpu=0.126))
        self.assertEqual(words["CPU per delivery ÷ C broker, 16 B, 1→1"], "NOT MET")
        self.assertEqual(words["deliveries/s ÷ C broker, 16 B, 1→1"], "NOT MET")
        self.assertEqual(words["deliveries/s ÷ nats, 128 B, 1→1"], "NOT MET")

    def test_what_was_not_measured_is_not_met_either(self):
        self.assertEqual({v.word for v in goals.verdicts(measure.Results())}, {"not measured"})

    def test_every_goal_asks_for_cells_that_exist(self):
        keys = {cell.key for make in cells.GROUPS.values() for cell in make()}

        class Asked(measure.Results):
            asked = set()

            def of(self, key, peer="sluice"):
                self.asked.add(key)
                return []

        list(goals.verdicts(Asked()))
        self.assertEqual(Asked.asked - keys, set())


class Output(unittest.TestCase):
    def test_the_picture_is_well_formed_and_names_who_is_in_it(self):
        picture = plot.svg(results(rate=9e6), META)
        words = " ".join(ElementTree.fromstring(picture).itertext())
        for word in ("Sluice", "NATS", "C broker", "A <fast> one", "2026-01-01", "make bench"):
            self.assertIn(word, words)
        self.assertNotIn("nan", picture)
        self.assertIsNone(plot.svg(measure.Results(), META))

    def test_the_report_and_the_document_tell_the_same(self):
        found, groups = results(rate=2e6), {"throughput": list(cells.throughput())}
        verdicts = goals.verdicts(found)
        text = report.markdown(found, groups, THERE, verdicts, META)
        self.assertIn("| 16 B, 1→1 | sluice | 2.000 [2.000–2.000] |", text)
        self.assertIn("NOT quiet", text)
        data = json.loads(report.document(found, groups, THERE, verdicts, META))
        rate = data["cells"][0]["peers"]["nats"]["delivered_per_s"]
        self.assertEqual((rate["median"], rate["sluice_ratio"]), (1e6, 2.0))
        self.assertEqual(len(data["goals"]), len(verdicts))

    def test_the_line_of_the_anchors_generator_is_read(self):
        line = "TP,,128,1,shared,pub/s=5,del/s=4,MBs=1.5,cpu_per_Mpub=9,cpu_per_Mdel=0.5,rss=2.0"
        self.assertEqual(peers.parse_anchor(line), {
            "published_per_s": 5, "delivered_per_s": 4, "mb_per_s": 1.5, "cpu_s_per_million": 0.5,
            "rss_kib": 2048,
        })


if __name__ == "__main__":
    unittest.main()
