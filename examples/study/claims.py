"""What the papers found, and whether the study saw it: yes, no, or unclear, with the numbers.

A claim is a difference of ln perplexity that has to be below or above a limit. It is unclear where
the limit is in the interval of the difference (difference.py).
"""

import math

from claim import Claim
from difference import between, within
from seen import PLAIN, SLIDING, SLIDING_WINDOW, WHOLE, number

NOPOS, ALIBI = "NoPos (2203.16634)", "ALiBi (2108.12409)"
KERPLE, BIPE = "KERPLE (2205.09921)", "BiPE (2401.16421)"
DAPE, LEN_GEN = "DAPE's code (second-hand)", "len_gen_lm"
OURS, UNPUBLISHED = "asked here", "not published"
FLAT, CLOSE, BREAK = math.log(1.02), math.log(1.05), math.log(1.2)


class Claims:
    """All that `seen` (a Seen), and rows of probes and shuffles, allow."""

    def __init__(self, seen, probes=(), shuffles=()):
        self.seen = seen
        self.probes, self.shuffles = list(probes), list(shuffles)
        lengths = seen.lengths()
        self.first, self.double, self.last = seen.trained, 2 * seen.trained, lengths[-1]
        self.fourth = 4 * seen.trained

    def all(self):
        parts = (self.learning, self.places, self.breaking, self.lasting, self.extending)
        for part in (*parts, self.starving, self.windows):
            yield from part()

    def versus(self, one, other, measured, length):
        """ln of how many times the perplexity of `other` that of `one` is."""
        return between(
            self.seen.logs(one, measured, length), self.seen.logs(other, measured, length)
        )

    def growth(self, name, measured, length):
        """ln of how many times its perplexity as trained that at `length` is."""
        logs = self.seen.logs
        return within(logs(name, measured, length), logs(name, measured, self.first))

    def said(self, name, measured, *lengths):
        values = [f"{self.seen.get(name, measured, n)} at {n}" for n in lengths]
        return f"{name} {', '.join(values)}"

    def pair(self, one, other, measured, length):
        return f"{self.said(one, measured, length)}, {self.said(other, measured, length)}"

    def extreme(self, name, measured, choose):
        """The length at which its perplexity is, by `choose`, the lowest or highest."""
        lengths = self.seen.values[name, measured]
        return choose(lengths, key=lambda length: self.seen.get(name, measured, length).mean)

    def learning(self):
        for what, one, other, who, published, limit in (
            (
                "without positions a model stays close to one with them (within 5 % of sinusoidal)",
                "nopos",
                "sinusoidal",
                NOPOS,
                "20.97 and 20.16 (Table 1)",
                CLOSE,
            ),
            (
                "learned positions are better than none",
                "learned",
                "nopos",
                NOPOS,
                "20.42 and 20.97 (Table 1)",
                0,
            ),
            (
                "as trained, ALiBi is better than sinusoidal positions",
                "alibi",
                "sinusoidal",
                f"{NOPOS}, {ALIBI}",
                "19.71 and 20.16 (Table 1)",
                0,
            ),
            (
                "as trained, KERPLE's log is not worse than ALiBi (within 2 %)",
                "kerple_log",
                "alibi",
                KERPLE,
                "19.69 and 19.73 (Table 10)",
                FLAT,
            ),
        ):
            verdict = self.versus(one, other, WHOLE, self.first).below(limit)
            yield Claim(what, who, published, verdict, self.pair(one, other, WHOLE, self.first))

    def places(self):
        for row in self.probes:
            if row["position_encoding"] == "nopos":
                layers = row["layers"]
                best = min(layers, key=lambda layer: layer["error_tokens"])
                error, control = best["error_tokens"], best["control_error_tokens"]
                yield Claim(
                    "NoPos learns positions: a probe of its best layer is off by less than half of "
                    "what one of shuffled labels is",
                    NOPOS,
                    "16.46 of 341.33 (figure 2)",
                    "yes (one seed)" if error < control / 2 else "no (one seed)",
                    f"{error:.1f} and {control:.1f} tokens in layer {best['layer']}; random "
                    f"{row['random_error_tokens']:.1f}",
                )
        for row in self.shuffles:
            if row["position_encoding"] == "nopos":
                yield self.order(row)

    def order(self, row):
        """What a row of nopos-shuffle says of the longest prefix."""
        longest = row["by_prefix"][-1]
        cost = (longest["shuffled_nats"] - longest["nats"]) / longest["tokens"]
        half = 2 * longest["difference_standard_error_nats_per_token"]
        kept = row["kept_tokens"]
        what = f", the last {kept} tokens in place" if kept else ""
        verdict = "yes" if cost - half > 1 else "no" if cost + half < 1 else "unclear"
        return Claim(
            f"NoPos needs the order of words: another one costs over 1 nat a token{what}",
            OURS if kept else NOPOS,
            UNPUBLISHED if kept else "about 4 to 11 (appendix B)",
            verdict,
            f"{cost:.2f} ± {half:.2f} nats after {longest['prefix_tokens']} tokens",
        )

    def breaking(self):
        for name, who, published in (
            ("sinusoidal", ALIBI, "20.05 at 512, 43.54 at 1012, 406 at 15512 (Table 2)"),
            ("rope", ALIBI, "20.07 at 512, 21.37 at 1012, 79.25 at 15512 (Table 2)"),
            ("nopos", LEN_GEN, "13.05 at 512, 167.8 at 1024, 420.8 at 3072"),
        ):
            yield Claim(
                f"{name} breaks beyond the training length (over 20 % worse at the longest)",
                who,
                published,
                self.growth(name, PLAIN, self.last).above(BREAK),
                self.said(name, PLAIN, self.first, self.double, self.last),
            )
        yield Claim(
            "RoPE breaks less than sinusoidal positions",
            ALIBI,
            "79.25 and 406 at 15512 (Table 2)",
            self.versus("rope", "sinusoidal", PLAIN, self.last).below(0),
            self.pair("rope", "sinusoidal", PLAIN, self.last),
        )

    def lasting(self):
        for name, who, published in (
            ("alibi", ALIBI, "19.73 at 512, 18.31 at 15512 (Table 2)"),
            ("kerple_log", KERPLE, "23.9 at 512, 21.4 at 16384 (Table 3)"),
        ):
            worst = self.extreme(name, PLAIN, max)
            yield Claim(
                f"{name} stays flat (nowhere over 2 % above where it was trained)",
                who,
                published,
                self.growth(name, PLAIN, worst).below(FLAT),
                f"{self.said(name, PLAIN, self.first, self.last)}; highest at {worst}",
            )
        for what, one, other, who, published in (
            (
                "at the longest length KERPLE's log is better than ALiBi",
                "kerple_log",
                "alibi",
                KERPLE,
                "21.4 and 22.5 (Table 3); but 17.8 and 16.5 at 1.3B (Table 9)",
            ),
            (
                "T5's bias is in between: ALiBi is better at the longest length",
                "alibi",
                "t5",
                ALIBI,
                "18.31 and 64.94 at 12512 (Table 2)",
            ),
            (
                "... and RoPE is worse there",
                "t5",
                "rope",
                ALIBI,
                "64.94 and 69.70 at 12512 (Table 2)",
            ),
        ):
            verdict = self.versus(one, other, PLAIN, self.last).below(0)
            yield Claim(what, who, published, verdict, self.pair(one, other, PLAIN, self.last))

    def extending(self):
        for length in dict.fromkeys((self.fourth, self.last)):
            yield Claim(
                f"BiPE extends RoPE: better at {length // self.first} times the length",
                BIPE,
                "19.67 and 158 at 4 times (second-hand)",
                self.versus("bipe_rope", "rope", PLAIN, length).below(0),
                self.pair("bipe_rope", "rope", PLAIN, length),
            )

    def starving(self):
        """The early-token curse: longer windows without overlap have fewer starved tokens."""
        for name, published in (
            ("alibi", "19.73 to 18.40 without overlap, 17.98 to 17.92 sliding (Tables 5, 15)"),
            ("kerple_log", UNPUBLISHED),
        ):
            logs = self.seen.logs
            best = self.extreme(name, PLAIN, min)
            changes = {}
            for measured in (PLAIN, SLIDING):
                before, after = logs(name, measured, self.first), logs(name, measured, best)
                changes[measured] = {seed: before[seed] - after[seed] for seed in before}
            half = {seed: gain / 2 for seed, gain in changes[PLAIN].items()}
            gains = {way: sum(some.values()) / len(some) for way, some in changes.items()}
            yield Claim(
                f"the early-token curse explains most of what {name} gains by longer windows "
                "(sliding, less than half is left)",
                ALIBI if published != UNPUBLISHED else OURS,
                published,
                within(changes[SLIDING], half).below(0),
                f"to {best}: {100 * gains[PLAIN]:.1f} % without overlap, "
                f"{100 * gains[SLIDING]:.1f} % sliding",
            )
        yield Claim(
            "over the last tokens of each window KERPLE's log gets worse (over 2 %)",
            DAPE,
            "4.57 at 512, 9.08 at 8192 on ArXiv",
            self.growth("kerple_log", SLIDING, self.last).above(FLAT),
            self.said("kerple_log", SLIDING, self.first, self.last),
        )

    def windows(self):
        """An attention window of the training length, at evaluation alone, sliding."""
        logs = self.seen.logs
        baseline = logs("kerple_log", SLIDING_WINDOW, self.last)
        said = self.said("kerple_log", SLIDING_WINDOW, self.last)
        for name, word, verdict in (
            ("kerple_log", "better", lambda gap: gap.below(0)),
            ("alibi", "worse", lambda gap: gap.above(0)),
        ):
            compare = within if name == "kerple_log" else between
            yield Claim(
                f"the window baseline is strong: {name} without a window is {word} than KERPLE's "
                "log with one",
                KERPLE,
                f"{word} almost everywhere (figure 5)",
                verdict(compare(logs(name, SLIDING, self.last), baseline)),
                f"{self.said(name, SLIDING, self.last)}; with a window {said}",
            )
        for name in ("nopos", "rope", "sinusoidal"):
            trained = logs(name, SLIDING, self.first)
            gap = within(logs(name, SLIDING_WINDOW, self.last), trained)
            value = self.seen.get(name, SLIDING_WINDOW, self.last)
            yield Claim(
                f"with a window {name} is at the longest length within 5 % of where it was trained",
                OURS,
                UNPUBLISHED,
                gap.below(CLOSE),
                f"{self.said(name, SLIDING, self.first, self.last)}; with a window "
                f"{number(value.mean)}",
            )
