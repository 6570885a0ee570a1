"""The sum of digits, modulo 10.

    Compute: 3 + 9 + 1 + 8 .[SEP] The answer is 1 .

The length is the number of values, each uniform in 1 to 9. The scratchpad adds one at a time, to
the `sum` modulo 10; its outputs are not reduced:

    in 8 comp 8 + sum = 8 + 3 = out 1 1 [ sum: 1 1 = 1 ] re
"""

from nopos_plugin.data.reasoning import extraction
from nopos_plugin.data.reasoning.base import Example
from nopos_plugin.data.reasoning.digits import spaced
from nopos_plugin.data.reasoning.generated import Generated
from nopos_plugin.data.reasoning.registry import register
from nopos_plugin.data.reasoning.scratchpad import Step


@register("summation")
class Summation(Generated):
    """`example` takes the values."""

    unit = "values"
    train, test = range(2, 9), range(9, 17)
    forbids = ""

    def raw(self, length, random):
        return ([random.randrange(1, 10) for _ in range(length)],)

    def example(self, values):
        answer = sum(values) % 10
        return Example(
            prompt=f"Compute: {' + '.join(map(str, values))} .",
            separator=extraction.SEPARATOR,
            target=f"The answer is {answer} .",
            answer=answer,
            length=len(values),
            category=str(len(values)),
            steps=tuple(
                step(value, sum(values[:i]) % 10, values[i + 1 :]) for i, value in enumerate(values)
            ),
        )

    def covering_raw(self):
        return [(list(range(1, 10)),), ([5, 5],)]

    def space(self, length):
        return 9**length

    def extract(self, text):
        return extraction.number(text)


def step(value, before, rest):
    total = value + before
    return Step(
        input=str(value),
        computation=f"{value} + sum = {value} + {before} =",
        output=spaced(total),
        variables=(f"sum: {spaced(total)} = {total % 10}",),
        remaining=" + ".join(map(str, rest)),
    )
