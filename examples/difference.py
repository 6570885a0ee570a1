"""Differences between runs, and how sure they are: of numbers by training seed, {seed: number}.

An interval is that of Student's t at 95 %. A single run is taken to spread like what it is compared
with; where nothing has several seeds, nothing is known of the spread.
"""

import math
from statistics import mean, stdev
from typing import NamedTuple

# half the interval in standard errors, by degrees of freedom, from 1 on
STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)


class Difference(NamedTuple):
    """The mean, and half its interval; NaN where that is unknown. over: of what it is a mean."""

    mean: float
    half: float
    over: str = "seed"

    def below(self, limit):
        """yes, no or unclear: is it below? With `(one seed)` where no spread is known."""
        if self.mean == limit:
            return "unclear"
        answer = "yes" if self.mean < limit else "no"
        if math.isnan(self.half):
            return f"{answer} (one {self.over})"
        return answer if abs(self.mean - limit) > self.half else "unclear"

    def above(self, limit):
        return self._replace(mean=-self.mean).below(-limit)


def student(freedom):
    return STUDENT[min(freedom, len(STUDENT)) - 1]


def between(one, other):
    """one - other, of runs that have nothing to do with each other."""
    found = mean(one.values()) - mean(other.values())
    spreads = [stdev(some.values()) for some in (one, other) if len(some) > 1]
    freedom = sum(len(some) - 1 for some in (one, other))
    if not freedom:
        return Difference(found, math.nan)
    squares = [
        (stdev(some.values()) if len(some) > 1 else spreads[0]) ** 2 / len(some)
        for some in (one, other)
    ]
    return Difference(found, student(freedom) * math.sqrt(sum(squares)))


def within(one, other, over="seed"):
    """one - other, of the same runs: seed by seed, or whatever they are `over`."""
    found = [one[key] - other[key] for key in one]
    if len(found) == 1:
        return Difference(found[0], math.nan, over)
    half = student(len(found) - 1) * stdev(found) / math.sqrt(len(found))
    return Difference(mean(found), half, over)
