"""What is made of the figures of several repetitions."""
import dataclasses
import heapq
import statistics


@dataclasses.dataclass(frozen=True)
class Spread:
    """A median with the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values):
        values = [value for value in values if value is not None]
        return cls(statistics.median(values), min(values), max(values)) if values else None


def spread(runs, key):
    """The spread of one figure over runs, None if no run has it."""
    return Spread.of([run.get(key) for run in runs])


def ratio(runs, others, key):
    """How many times the others' figure ours is: the spread of the ratios of each repetition.

    The machine under a benchmark drifts; what ran in one repetition ran side by side.
    """
    pairs = [(run.get(key), other.get(key)) for run, other in zip(runs, others)]
    return Spread.of([a / b for a, b in pairs if a is not None and b])


def ideal_makespan(jobs, services):
    """Seconds that jobs take workers who never wait while a job does; asking is free."""
    free = [(0, service) for service in services]
    end = 0
    for _ in range(jobs):
        now, service = heapq.heappop(free)
        heapq.heappush(free, (now + service, service))
        end = max(end, now + service)
    return end
