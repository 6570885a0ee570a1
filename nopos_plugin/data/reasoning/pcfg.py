"""PCFG SET: functions of strings (Hupkes et al., 2020).

    Solve: append reverse A1 B2 , C3 D4[SEP] B2 A1 C3 D4

Files are those of i-machine-think/am-i-compositional: the lines of a `.src` file are paired with
those of the `.tgt` file beside it. The length is the number of functions; the study trains on up to
8, the productivity split.
"""

from pathlib import Path
from string import ascii_uppercase

from nopos_plugin.data.reasoning.published import Published, lines, malformed, words
from nopos_plugin.data.reasoning.registry import register

FUNCTIONS = (
    *("append", "copy", "echo", "prepend", "remove_first", "remove_second"),
    *("repeat", "reverse", "shift", "swap_first_last"),
)
STRINGS = tuple(f"{letter}{number}" for letter in ascii_uppercase for number in range(1, 21))
SOURCE = (*FUNCTIONS, ",", *STRINGS)


@register("pcfg")
class Pcfg(Published):
    """`example` takes the two sides of a pair. files: those that end in .src."""

    unit = "functions"
    train, test = range(1, 9), range(9, 36)

    def read(self, path):
        source, target = Path(path), Path(path).with_suffix(".tgt")
        if source.suffix != ".src":
            raise ValueError(f"--files {path}: name the .src file; the .tgt beside it is read too")
        pairs = list(lines(source)), list(lines(target))
        if len(pairs[0]) != len(pairs[1]):
            raise ValueError(
                f"{target}, line {min(map(len, pairs)) + 1}: it has {len(pairs[1])} lines, "
                f"{source.name} {len(pairs[0])}; a line for each of the other file was expected"
            )
        for number, pair in enumerate(zip(*pairs, strict=True), 1):
            if not words(pair[0], SOURCE):
                raise malformed(source, number, pair[0], "functions and strings of PCFG SET")
            if not words(pair[1], STRINGS):
                raise malformed(target, number, pair[1], "strings of PCFG SET")
            yield pair

    def example(self, source, target):
        return self.made(source, target, sum(word in FUNCTIONS for word in source.split(" ")))

    def covering(self):
        return [self.example(" ".join(SOURCE), " ".join(STRINGS))]
