"""The value of a polynomial, modulo 10 and not negative.

    Evaluate at x = - 2 in - 2 * x ** 2 + 3 * x ** 0 ? The answer is 5.

The length is the number of terms: coefficients uniform in -3 to 3, degrees in 0 to 3, x in -2 to 2,
0 ** 0 being 1. The scratchpad adds one term at a time, to the `sum` modulo 10:

    in 3 * x ** 0 comp 3 * - 2 ** 0 = 3 * 1 out 3 [ sum: 2 + 3 = 5 ] re
"""

from nopos_plugin.data.reasoning import extraction
from nopos_plugin.data.reasoning.base import Example
from nopos_plugin.data.reasoning.digits import spaced
from nopos_plugin.data.reasoning.generated import Generated
from nopos_plugin.data.reasoning.registry import register
from nopos_plugin.data.reasoning.scratchpad import Step


@register("polynomial")
class Polynomial(Generated):
    """`example` takes coefficients, degrees and x."""

    unit = "terms"
    train, test = range(1, 9), range(9, 17)
    forbids = ""

    def raw(self, length, random):
        coefficients = [random.randrange(-3, 4) for _ in range(length)]
        degrees = [random.randrange(4) for _ in range(length)]
        return coefficients, degrees, random.randrange(-2, 3)

    def example(self, coefficients, degrees, x):
        terms = list(zip(coefficients, degrees, strict=True))
        answer = sum(a * x**n for a, n in terms) % 10
        return Example(
            prompt=f"Evaluate at x = {spaced(x)} in {written(terms)} ? ",
            separator="",
            target=f"The answer is {answer}.",
            answer=answer,
            length=len(terms),
            category=str(len(terms)),
            steps=steps(terms, x),
        )

    def covering_raw(self):
        ones = [([1] * n, [0] * n, 1) for n in range(1, 10)]
        return [*ones, ([-3, -2, 0, 2, 3], [0, 1, 2, 3, 0], -2)]

    def space(self, length):
        return 5 * 28**length

    def extract(self, text):
        return extraction.number(text)


def written(terms):
    return " + ".join(f"{spaced(a)} * x ** {n}" for a, n in terms)


def steps(terms, x):
    made, total = [], 0
    for number, (a, n) in enumerate(terms):
        product = a * x**n
        after = (total + product) % 10
        made.append(
            Step(
                input=written([(a, n)]),
                computation=f"{spaced(a)} * {spaced(x)} ** {n} = {spaced(a)} * {spaced(x**n)}",
                output=spaced(product),
                variables=(f"sum: {total} + {spaced(product)} = {after}",),
                remaining=written(terms[number + 1 :]),
            )
        )
        total = after
    return tuple(made)
