"""Addition of two numbers.

    Compute 5 3 7 2 6 + 1 9 ? The answer is 5 3 7 4 5.

The length is the digits of the longer number; each pair of digits is a category, `5-by-2`, and has
an equal share, so that a length L has one of 2 L - 1. Numbers are uniform among those of their
digits, 0 being one of one digit. The scratchpad adds columns from the right, one `carry` between:

    in 6, 9 comp 6 + 9 + carry = 15 + 0 = 15 out 5 [ carry: 1 ] re 5 3 7 2 + 1
"""

from nopos_plugin.data.reasoning import extraction
from nopos_plugin.data.reasoning.base import Example
from nopos_plugin.data.reasoning.digits import spaced
from nopos_plugin.data.reasoning.generated import Generated
from nopos_plugin.data.reasoning.registry import register
from nopos_plugin.data.reasoning.scratchpad import Step


@register("addition")
class Addition(Generated):
    """`example` takes the two numbers."""

    unit = "digits"
    train, test = range(1, 9), range(9, 17)
    forbids = ""

    def raw(self, length, random):
        other = random.randrange(1, 2 * length)
        digits = (length, other) if other <= length else (other - length, length)
        return tuple(random.randrange(10 ** (n - 1) if n > 1 else 0, 10**n) for n in digits)

    def example(self, a, b):
        digits = len(str(a)), len(str(b))
        return Example(
            prompt=f"Compute {spaced(a)} + {spaced(b)} ? ",
            separator="",
            target=f"The answer is {spaced(a + b)}.",
            answer=a + b,
            length=max(digits),
            category=f"{digits[0]}-by-{digits[1]}",
            steps=columns(a, b),
        )

    def covering_raw(self):
        return [(a, b) for a in range(10) for b in range(10)] + [(99, 99)]

    def space(self, length):
        return 100 if length == 1 else 99 * 100 ** (length - 1)

    def weight(self, length):
        return 2 * length - 1

    def extract(self, text):
        return extraction.number(text)


def columns(a, b):
    """The steps of a + b, and one more for a last carry."""
    width = max(len(str(a)), len(str(b)))
    x, y = str(a).zfill(width), str(b).zfill(width)
    made, carry = [], 0
    for place in reversed(range(width)):
        rest = f"{remaining(x[:place])} + {remaining(y[:place])}"
        made.append(column(int(x[place]), int(y[place]), carry, rest))
        carry = (int(x[place]) + int(y[place]) + carry) // 10
    if carry:
        made.append(column(0, 0, carry, " + "))
    return tuple(made)


def column(x, y, carry, rest):
    total = x + y + carry
    return Step(
        input=f"{x}, {y}",
        computation=f"{x} + {y} + carry = {x + y} + {carry} = {total}",
        output=str(total % 10),
        variables=(f"carry: {total // 10}",),
        remaining=rest,
    )


def remaining(digits):
    """Those left of the column, as a number: zeros before it vanish."""
    return spaced(int(digits)) if digits else ""
