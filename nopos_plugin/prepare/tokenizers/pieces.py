"""Pieces from which a text comes back without a loss, so that each digit and symbol is a token."""

import platform
import re
from dataclasses import dataclass

from nopos_plugin.prepare.tokenizers.base import NEWLINE, Tokenizer, parts, valid
from nopos_plugin.prepare.tokenizers.registry import register

BLANK = "\u2581"
# With the blank before it, if any: a word, a mark such as [SEP], any other character. Else blanks.
PIECE = re.compile(r" ?(?:\[[A-Z]+\]|[A-Za-z_][A-Za-z_0-9]*|[^ ])| ")


class Lossless(Tokenizer):
    """Blanks are U+2581, as in T5's pieces, and newlines <0a>."""

    library = f"python {platform.python_version()}"
    separators = (NEWLINE, ".")

    def split(self, text):
        for part in parts(valid(text)):
            yield [named(piece) for piece in self.pieces(part)]

    def pieces(self, text):
        """What joined is `text`."""
        raise NotImplementedError

    def decode(self, symbols):
        return "".join(symbols).replace(BLANK, " ").replace(NEWLINE, "\n")


def named(piece):
    """As the dictionary has it."""
    return piece.replace(" ", BLANK).replace("\n", NEWLINE)


@register("pieces")
@dataclass
class Pieces(Lossless):
    """`Compute 5 3 + 1 ?` is Compute, ▁5, ▁3, ▁+, ▁1, ▁?: words, digits, symbols, and their blanks."""

    def pieces(self, text):
        return PIECE.findall(text)


@register("characters")
@dataclass
class Characters(Lossless):
    """Each character, a blank too."""

    def pieces(self, text):
        return list(text)
