"""Sorting a list.

    Sort the following list [ M, E, F ]. The sorted list is [ E, F, M ].
    Sort the following list [ 2 4 6 8, 8 8 1 ]. The sorted list is [ 8 8 1, 2 4 6 8 ].

single: items of one token, uniform among 50, in the order 0 to 9, a to z, A to N. multi: numbers,
uniform in 10 to 9999. The length is the number of items; some may be the same. The scratchpad swaps
the least of what is left with the item in front of it:

    in M comp The minimum of the unsorted portion out E re [ M, F ]
"""

from string import ascii_lowercase, ascii_uppercase, digits

from nopos_plugin.data.reasoning import extraction
from nopos_plugin.data.reasoning.base import Example
from nopos_plugin.data.reasoning.digits import integer, spaced
from nopos_plugin.data.reasoning.generated import Generated
from nopos_plugin.data.reasoning.registry import register
from nopos_plugin.data.reasoning.scratchpad import Step

ORDER = digits + ascii_lowercase + ascii_uppercase
TOKENS = ORDER[:50]


@register("sorting")
class Sorting(Generated):
    """`example` takes the items: tokens (single), or numbers (multi)."""

    variants = ("single", "multi")
    unit = "items"
    train, test = range(2, 9), range(9, 17)
    forbids = "v"

    def raw(self, length, random):
        if self.variant == "single":
            return ([random.choice(TOKENS) for _ in range(length)],)
        return ([random.randrange(10, 10_000) for _ in range(length)],)

    def example(self, items):
        single = self.variant == "single"
        show, rank = (str, ORDER.index) if single else (spaced, int)
        ordered = sorted(items, key=rank)
        return Example(
            prompt=f"Sort the following list {listed(items, show)}. ",
            separator="",
            target=f"The sorted list is {listed(ordered, show)}.",
            answer=ordered,
            length=len(items),
            category=str(len(items)),
            steps=swaps(items, show, rank),
        )

    def covering_raw(self):
        return [(TOKENS,)] if self.variant == "single" else [([1023, 4567, 8910],)]

    def space(self, length):
        return (50 if self.variant == "single" else 9990) ** length

    def extract(self, text):
        """A list of tokens, or of numbers."""
        found = extraction.items(text)
        if found is None or self.variant == "single":
            return found
        numbers = [integer(item) for item in found]
        return None if None in numbers else numbers


def listed(items, show):
    return f"[ {', '.join(map(show, items))} ]"


def swaps(items, show, rank):
    left, made = list(items), []
    while left:
        least = min(range(len(left)), key=lambda place: rank(left[place]))
        front, found = left[0], left[least]
        left[least] = front
        left = left[1:]
        made.append(
            Step(
                input=show(front),
                computation="The minimum of the unsorted portion",
                output=show(found),
                variables=(),
                remaining=listed(left, show),
            )
        )
    return tuple(made)
