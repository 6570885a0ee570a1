"""Copying and reversing sequences of tokens.

    copy     rsc    Copy: a a a [SEP] a a a                      one token, of 6052
             rsc2x  Copy: a a a [SEP] a a a a a a
             rdc    Replace 6 with b in 6 6 6 [SEP] b b b        two tokens, of 78
             cmc    Copy: a 7 Q a [SEP] a 7 Q a                  each of 100
             cmc2x  Copy: a 7 Q a [SEP] a 7 Q a [NEXT] a 7 Q a
    reverse  mc     Reverse: a 7 Q b [SEP] b Q 7 a               each of 100
             mc2x   Reverse: a 7 Q b [SEP] b Q 7 a [NEXT] b Q 7 a
             mcrv   Reverse: a 7 Q b [SEP] b Q 7 a [NEXT] a 7 Q b

The length is the number of tokens that are shown to be copied.
"""

from string import ascii_letters, ascii_lowercase, digits

from nopos_plugin.data.reasoning import extraction
from nopos_plugin.data.reasoning.base import Example
from nopos_plugin.data.reasoning.generated import Generated
from nopos_plugin.data.reasoning.registry import register

# DIFFERS from McGill-NLP/length-generalization@40f8a44 scripts/dataset_builders: the tokens are
# fixed ones, as many; those of the original hang on the order of a hash, and cannot be had again.
# No bracket, comma or full stop is one. Each is a piece of `words`.
REPEATED = tuple(f"w{number}" for number in range(1, 6053))
REPLACED = tuple(digits + ascii_letters + "!#$%&*+-/:;<=>?@")
MIXED = REPLACED + tuple(2 * letter for letter in ascii_lowercase[:22])
NEXT = "[NEXT]"


class Sequences(Generated):
    unit = "tokens"
    train, test = range(2, 21), range(21, 41)

    def extract(self, text):
        return extraction.after_separator(text)

    def made(self, prompt, target, length):
        return Example(
            prompt=prompt,
            separator=extraction.SEPARATOR,
            target=target,
            answer=target,
            length=length,
            category=str(length),
        )


@register("copy")
class Copy(Sequences):
    """`example` takes the tokens, and for rdc the one that replaces them.

    DIFFERS from McGill-NLP/length-generalization@40f8a44 scripts/dataset_builders: rsc and rdc are
    drawn with replacement, where a builder goes through all tokens, or pairs, of each length.
    """

    variants = ("rsc", "rsc2x", "rdc", "cmc", "cmc2x")

    def raw(self, length, random):
        if self.variant == "rdc":
            source = random.randrange(len(REPLACED))
            target = random.randrange(len(REPLACED) - 1)
            return [REPLACED[source]] * length, REPLACED[target + (target >= source)]
        if self.variant in ("rsc", "rsc2x"):
            return ([random.choice(REPEATED)] * length,)
        return ([random.choice(MIXED) for _ in range(length)],)

    def example(self, tokens, replacement=None):
        source, length = " ".join(tokens), len(tokens)
        if self.variant == "rdc":
            prompt = f"Replace {tokens[0]} with {replacement} in {source} "
            return self.made(prompt, " ".join([replacement] * length), length)
        between = {"rsc2x": " ", "cmc2x": f" {NEXT} "}.get(self.variant)
        target = source if between is None else source + between + source
        return self.made(f"Copy: {source} ", target, length)

    def covering_raw(self):
        if self.variant == "rdc":
            return [([token], token) for token in REPLACED]
        return [(REPEATED if self.variant in ("rsc", "rsc2x") else MIXED,)]

    def space(self, length):
        if self.variant in ("rsc", "rsc2x"):
            return len(REPEATED)
        if self.variant == "rdc":
            return len(REPLACED) * (len(REPLACED) - 1)
        return len(MIXED) ** length


@register("reverse")
class Reverse(Sequences):
    """`example` takes the tokens."""

    variants = ("mc", "mc2x", "mcrv")

    def raw(self, length, random):
        return ([random.choice(MIXED) for _ in range(length)],)

    def example(self, tokens):
        source, back = " ".join(tokens), " ".join(reversed(tokens))
        more = {"mc2x": f" {NEXT} {back}", "mcrv": f" {NEXT} {source}"}.get(self.variant, "")
        return self.made(f"Reverse: {source} ", back + more, len(tokens))

    def covering_raw(self):
        return [(MIXED,)]

    def space(self, length):
        return len(MIXED) ** length
