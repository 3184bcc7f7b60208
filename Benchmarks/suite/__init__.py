"""The benchmark suite of Sluice; `Benchmarks/bench.py` runs it."""
