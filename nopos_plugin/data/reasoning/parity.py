"""Whether the ones of a sequence of bits are even.

    Is the number of 1's even in the sequence [ 0, 1, 1, 1 ] ? The answer is No.

The length is the number of bits. The scratchpad takes one at a time, `par` being the parity before
it, and `**` exclusive or:

    in 1 comp 1 ** par = 1 ** 0 out 1 [ par: 1 ] re [ 1, 1 ]
"""

from nopos_plugin.data.reasoning import extraction
from nopos_plugin.data.reasoning.base import Example
from nopos_plugin.data.reasoning.generated import Generated
from nopos_plugin.data.reasoning.registry import register
from nopos_plugin.data.reasoning.scratchpad import Step


@register("parity")
class Parity(Generated):
    """`example` takes the bits."""

    unit = "bits"
    train, test = range(4, 9), range(9, 17)
    forbids = ""

    def raw(self, length, random):
        return ([random.randrange(2) for _ in range(length)],)

    def example(self, bits):
        answer = "No" if sum(bits) % 2 else "Yes"
        return Example(
            prompt=f"Is the number of 1's even in the sequence {listed(bits)} ? ",
            separator="",
            target=f"The answer is {answer}.",
            answer=answer,
            length=len(bits),
            category=str(len(bits)),
            steps=tuple(step(bit, sum(bits[:i]) % 2, bits[i + 1 :]) for i, bit in enumerate(bits)),
        )

    def covering_raw(self):
        return [([0, 1],), ([1, 1],)]

    def space(self, length):
        return 2**length

    def extract(self, text):
        return extraction.phrase(text)

    def right(self, text, answer):
        """Letter case does not count."""
        return (self.extract(text) or "").lower() == answer.lower()


def listed(bits):
    return f"[ {', '.join(map(str, bits))} ]"


def step(bit, before, rest):
    after = bit ^ before
    return Step(
        input=str(bit),
        computation=f"{bit} ** par = {bit} ** {before}",
        output=str(after),
        variables=(f"par: {after}",),
        remaining=listed(rest),
    )
