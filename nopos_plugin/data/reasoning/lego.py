"""LEGO: a chain of signs, and the value of one of its variables.

    If q = -1, t = - q, c = + t, f = - c. Then, what is the value of f? The answer is -1.

The length is the number of clauses; variables are letters, values +1 or -1. One of the latter half
of the chain is asked for. permuted: the clauses are shuffled. The scratchpad goes along the chain:

    in t comp - q = - -1 out +1 re c = + t, f = - c
"""

from math import perm
from string import ascii_lowercase

from nopos_plugin.data.reasoning import extraction
from nopos_plugin.data.reasoning.base import Example
from nopos_plugin.data.reasoning.generated import Generated
from nopos_plugin.data.reasoning.registry import register
from nopos_plugin.data.reasoning.scratchpad import Step
from nopos_plugin.data.reasoning.splits import SIZES


@register("lego")
class Lego(Generated):
    """`example` takes the chain, [(letter, 1 or -1)], the place in it that is asked for, and the
    places in the order of the clauses, the chain's unless given.

    DIFFERS from McGill-NLP/length-generalization@40f8a44 scripts/dataset_builders: each example has
    a chain of its own, where a builder asks each for its whole latter half.
    """

    variants = ("plain", "permuted")
    unit = "clauses"
    lengths = range(2, 27)  # a letter each; of one clause there is no latter half
    train, test = range(4, 9), range(9, 17)
    sizes = {**SIZES, "test": 15_000}
    forbids = "v"

    def raw(self, length, random):
        letters = list(ascii_lowercase)
        random.shuffle(letters)
        chain = [(letter, random.choice((-1, 1))) for letter in letters[:length]]
        query = random.randrange((length + 1) // 2, length)
        order = list(range(length))
        if self.variant == "permuted":
            random.shuffle(order)
        return chain, query, order

    def example(self, chain, query, order=None):
        clauses = [clause(chain, place) for place in range(len(chain))]
        shown = list(range(len(chain))) if order is None else order
        letter, value = chain[query]
        return Example(
            prompt=f"If {listed(clauses, shown)}. Then, what is the value of {letter}? ",
            separator="",
            target=f"The answer is {value:+}.",
            answer=f"{value:+}",
            length=len(chain),
            category=f"[{len(chain)}, {query}]",
            steps=tuple(step(chain, clauses, place, shown) for place in range(query + 1)),
        )

    def covering_raw(self):
        chain = [(letter, (1, 1, -1)[i % 3]) for i, letter in enumerate(ascii_lowercase)]
        return [(chain, 24), (chain, 23)]

    def space(self, length):
        """Orders of the clauses aside."""
        return perm(26, length) * 2**length * (length // 2)

    def extract(self, text):
        return extraction.phrase(text)


def clause(chain, place):
    letter, value = chain[place]
    if place == 0:
        return f"{letter} = {value:+}"
    return f"{letter} = {relation(chain, place)} {chain[place - 1][0]}"


def relation(chain, place):
    """The sign between a variable and the one before it."""
    return "+" if chain[place][1] == chain[place - 1][1] else "-"


def listed(clauses, order):
    return ", ".join(clauses[place] for place in order)


def step(chain, clauses, place, order):
    letter, value = chain[place]
    name, before = chain[place - 1]
    sign = relation(chain, place)
    return Step(
        input=letter,
        computation=f"{sign} {name} = {sign} {before:+}" if place else "",
        output=f"{value:+}",
        variables=(),
        remaining=listed(clauses, [other for other in order if other > place]),
    )
