"""What the papers found, and whether the study saw it: yes, no, or unclear, with the numbers.

A claim is a difference of ln perplexity (nats) that has to be above or below a limit; it is unclear
within twice the noise of that limit, the noise being that of single runs (Seen.noise).
"""

import math
from typing import NamedTuple

from seen import PLAIN, SLIDING, SLIDING_WINDOW, WHOLE, number

NOPOS = "NoPos (2203.16634)"
ALIBI = "ALiBi (2108.12409)"
KERPLE = "KERPLE (2205.09921)"
BIPE = "BiPE (2401.16421)"
DAPE = "DAPE's code"
CLOSE = math.log(1.05)
FLAT = math.log(1.02)
BREAK = math.log(1.2)


class Claim(NamedTuple):
    what: str
    who: str
    published: str
    verdict: str
    numbers: str


class Claims:
    """All that `seen` (a Seen) allows."""

    def __init__(self, seen):
        self.seen = seen
        self.first, self.last = seen.trained, seen.lengths()[-1]
        self.double = 2 * self.first
        self.noise = 2 * max(seen.noise(), 1e-3) if math.isfinite(seen.noise()) else math.log(1.03)

    def ln(self, encoding, measured, length):
        return math.log(self.seen.get(encoding, measured, length).mean)

    def curve(self, encoding, measured):
        """{length: ln perplexity}"""
        found = self.seen.values[encoding, measured]
        return {length: self.ln(encoding, measured, length) for length in sorted(found)}

    def below(self, value, limit):
        """yes, no or unclear: is `value` below `limit`?"""
        if abs(value - limit) < self.noise:
            return "unclear"
        return "yes" if value < limit else "no"

    def above(self, value, limit):
        return self.below(-value, -limit)

    def said(self, encoding, measured, *lengths):
        lengths = lengths or (self.first, self.double, self.last)
        values = [f"{self.seen.get(encoding, measured, n)} at {n}" for n in lengths]
        return f"{encoding} {', '.join(values)}"

    def all(self):
        for number_of in (self.learning, self.breaking, self.lasting, self.extending, self.reading):
            yield from number_of()

    def learning(self):
        as_trained = {name: self.ln(name, WHOLE, self.first) for name in self.seen.encodings()}
        said = {name: str(self.seen.get(name, WHOLE, self.first)) for name in as_trained}

        def both(one, other):
            return f"{one} {said[one]}, {other} {said[other]}"

        yield Claim(
            "without positions a model stays close to one with them (within 5 % of sinusoidal)",
            NOPOS,
            "20.97 and 20.16 (Table 1)",
            self.below(as_trained["nopos"] - as_trained["sinusoidal"], CLOSE),
            both("nopos", "sinusoidal"),
        )
        yield Claim(
            "NoPos is worse than learned positions, if little",
            NOPOS,
            "20.97 and 20.42 (Table 1)",
            self.above(as_trained["nopos"] - as_trained["learned"], 0),
            both("nopos", "learned"),
        )
        yield Claim(
            "as trained, ALiBi is better than sinusoidal positions",
            f"{NOPOS}, {ALIBI}",
            "19.71 and 20.16 (Table 1)",
            self.below(as_trained["alibi"] - as_trained["sinusoidal"], 0),
            both("alibi", "sinusoidal"),
        )
        yield Claim(
            "as trained, KERPLE's log is as good as ALiBi or better",
            KERPLE,
            "19.69 and 19.73 (Table 10)",
            self.below(as_trained["kerple_log"] - as_trained["alibi"], FLAT),
            both("kerple_log", "alibi"),
        )

    def breaking(self):
        for name, paper, published in (
            ("sinusoidal", ALIBI, "20.05 at 512, 43.54 at 1012 (Table 2)"),
            ("rope", KERPLE, "24.2 at 512, 32.8 at 1024, 269 at 16384 (Table 3)"),
            ("nopos", "len_gen_lm", "13.05 at 512, 167.8 at 1024, without overlap"),
        ):
            curve = self.curve(name, PLAIN)
            yield Claim(
                f"{name} breaks beyond the training length (20 % worse at twice that)",
                paper,
                published,
                self.above(curve[self.double] - curve[self.first], BREAK),
                self.said(name, PLAIN),
            )
        yield Claim(
            "RoPE breaks more slowly than sinusoidal positions",
            f"{ALIBI}, {KERPLE}",
            "79.25 and 406.01 at 30 times the length (Table 2)",
            self.below(
                self.ln("rope", PLAIN, self.last) - self.ln("sinusoidal", PLAIN, self.last), 0
            ),
            f"{self.said('rope', PLAIN, self.last)}, {self.said('sinusoidal', PLAIN, self.last)}",
        )

    def lasting(self):
        for name, paper, published in (
            ("alibi", ALIBI, "19.73 at 512, 18.31 at 15512 (Table 2)"),
            ("kerple_log", KERPLE, "23.9 at 512, 21.4 at 16384 (Table 3)"),
        ):
            curve = self.curve(name, PLAIN)
            worst = max(curve, key=lambda length: curve[length])
            yield Claim(
                f"{name} stays flat to {self.last // self.first} times the length "
                "(nowhere 2 % above where it was trained)",
                paper,
                published,
                self.below(curve[worst] - curve[self.first], FLAT),
                f"{self.said(name, PLAIN, self.first)}, at worst "
                f"{number(math.exp(curve[worst]))} at {worst}",
            )
        gap = self.ln("kerple_log", PLAIN, self.last) - self.ln("alibi", PLAIN, self.last)
        yield Claim(
            "at the longest length KERPLE's log is better than ALiBi",
            KERPLE,
            "21.4 and 22.5 at 32 times the length (Table 3)",
            self.below(gap, 0),
            f"{self.said('kerple_log', PLAIN, self.last)}, {self.said('alibi', PLAIN, self.last)}",
        )
        curves = [self.ln(name, PLAIN, self.last) for name in ("kerple_log", "t5", "rope")]
        yield Claim(
            "T5's bias is in between: worse than KERPLE's log at the longest length",
            KERPLE,
            "31.4 and 21.4 (Table 3)",
            self.above(curves[1] - curves[0], 0),
            f"{self.said('t5', PLAIN)}; {self.said('kerple_log', PLAIN, self.last)}",
        )
        yield Claim(
            "... and better than RoPE there",
            KERPLE,
            "31.4 and 269 (Table 3)",
            self.below(curves[1] - curves[2], 0),
            f"{self.said('t5', PLAIN, self.last)}, {self.said('rope', PLAIN, self.last)}",
        )

    def extending(self):
        for length in (self.double, self.last):
            gap = self.ln("bipe_rope", PLAIN, length) - self.ln("rope", PLAIN, length)
            yield Claim(
                f"BiPE extends RoPE: better at {length // self.first} times the length",
                BIPE,
                "19.67 and 158 at 4 times (second-hand)",
                self.below(gap, 0),
                f"{self.said('bipe_rope', PLAIN, length)}, {self.said('rope', PLAIN, length)}",
            )

    def reading(self):
        for name in ("alibi", "kerple_log"):
            blocks, sliding = self.curve(name, PLAIN), self.curve(name, SLIDING)
            gain = blocks[self.first] - min(blocks.values())
            left = sliding[self.first] - min(sliding.values())
            yield Claim(
                f"the early-token curse explains most of {name}'s gain of longer windows "
                "(sliding, less than half of it is left)",
                ALIBI,
                "19.73 to 18.40 without overlap, 17.98 to 17.92 sliding (Tables 5, 15)",
                self.below(left, gain / 2),
                f"gain {100 * gain:.1f} % without overlap, {100 * left:.1f} % sliding",
            )
        for name in ("sinusoidal", "rope", "nopos"):
            plain, window = self.curve(name, SLIDING), self.curve(name, SLIDING_WINDOW)
            yield Claim(
                f"a window of the training length is a strong baseline: {name} with it stays "
                "within 5 % of where it was trained",
                KERPLE,
                "a window is the strongest baseline there is (figure 5; for kerple_log)",
                self.below(window[self.last] - plain[self.first], CLOSE),
                f"{math.exp(plain[self.first]):.2f} at {self.first}; at {self.last} "
                f"{number(math.exp(window[self.last]))} with a window, "
                f"{number(math.exp(plain[self.last]))} without",
            )
        for name, word, test in (
            ("kerple_log", "better", self.below),
            ("alibi", "worse", self.above),
        ):
            plain, window = (
                self.ln(name, SLIDING, self.last),
                self.ln(name, SLIDING_WINDOW, self.last),
            )
            yield Claim(
                f"{name} without a window is {word} than with one, at the longest length",
                KERPLE,
                "figure 5",
                test(plain - window, 0),
                f"{math.exp(plain):.2f} without, {math.exp(window):.2f} with a window, sliding",
            )
        sliding = self.curve("kerple_log", SLIDING)
        yield Claim(
            "over the last tokens of each window KERPLE's log gets worse with length",
            DAPE,
            "4.57 at 512, 9.08 at 8192, on arXiv (second-hand)",
            self.above(sliding[self.last] - sliding[self.first], FLAT),
            self.said("kerple_log", SLIDING),
        )
