"""Pieces from which a text comes back as it was, with each digit and symbol a token."""

import platform
import re
from dataclasses import dataclass

from nopos_plugin.prepare.tokenizers.base import NEWLINE, Tokenizer, parts, valid
from nopos_plugin.prepare.tokenizers.registry import register

BLANK = "\u2581"
# With the blank before it, if any: a word, a mark such as [SEP], any other character. Else a blank.
PIECE = re.compile(r" ?(?:\[[A-Z]+\]|[A-Za-z_][A-Za-z_0-9]*|[^ ])| ")
UNWRITTEN = re.compile(rf"[^\S ]|{BLANK}")  # what a line of dict.txt cannot have, or means a blank
WRITTEN = re.compile("<([0-9a-f]{2,6})>")  # which is no piece: < is one


class Lossless(Tokenizer):
    """A blank is U+2581, as in T5's pieces, and other white space its number, a newline <0a>."""

    library = f"python {platform.python_version()}"
    separators = (NEWLINE, ".")

    def split(self, text):
        for part in parts(valid(text)):
            yield [written(piece) for piece in self.pieces(part)]

    def decode(self, symbols):
        said = (symbol.replace(BLANK, " ") for symbol in symbols)
        return "".join(WRITTEN.sub(lambda found: chr(int(found[1], 16)), one) for one in said)

    def pieces(self, text):
        """What joined is `text`."""
        raise NotImplementedError


def written(piece):
    """As the dictionary has it."""
    return UNWRITTEN.sub(lambda found: f"<{ord(found[0]):02x}>", piece).replace(" ", BLANK)


@register("pieces")
@dataclass
class Pieces(Lossless):
    """Words, digits and symbols, and the blanks before them: Compute ▁5 ▁3 ▁+ ▁1 ▁?"""

    def pieces(self, text):
        return PIECE.findall(text)


@register("characters")
@dataclass
class Characters(Lossless):
    """Each character, a blank too."""

    def pieces(self, text):
        return list(text)
