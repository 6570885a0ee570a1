"""Words and punctuation by sacremoses, with WikiText's @-@ @,@ @.@, and newlines."""

import re
from dataclasses import dataclass

import sacremoses
from sacremoses.corpus import NonbreakingPrefixes

from nopos_plugin.prepare.tokenizers.base import (
    NEWLINE,
    Tokenizer,
    joined,
    option,
    parts,
    valid,
)
from nopos_plugin.prepare.tokenizers.registry import register

NUMBER = re.compile(r"(?<!\S)[0-9]+(?:[.,][0-9]+)+(?!\S)")
MARK = re.compile(r"[.,]")
LINE = re.compile(r"(?<=\n)")


class Cutter(sacremoses.MosesTokenizer):
    """Asks sets that are made once, not for every word that ends with a full stop."""

    def __init__(self, language):
        super().__init__(language)
        self._lower, self._alpha = frozenset(self.IsLower), frozenset(self.IsAlpha)

    def islower(self, text):
        return self._lower.issuperset(text)

    def isanyalpha(self, text):
        return not self._alpha.isdisjoint(text)


@register("moses")
@dataclass
class Moses(Tokenizer):
    """Moses' tokenizer, line by line; the newline between two lines is the symbol <0a>.

    A hyphen between letters or digits is `@-@`. A comma or point is `@,@` or `@.@` in a word that
    is a number and nothing else, as in WikiText (3.5 but not 12.2M). A full stop that ends a
    sentence is a word; that of an abbreviation stays with it, and `...` is one word. Each Han
    character is a word unless the language is zh; in WikiText a run of them is one word.
    """

    moses_language: str = option("en", "language whose abbreviations --tokenizer moses knows")

    library = f"sacremoses {sacremoses.__version__}"
    separators = (NEWLINE, ".")

    def __post_init__(self):
        known = sorted(set(NonbreakingPrefixes().available_langs.values()))
        if self.moses_language not in known:
            raise ValueError(
                f"--moses-language {self.moses_language}: unknown; known are {', '.join(known)}"
            )
        self._cutter = Cutter(self.moses_language)

    def split(self, text):
        for part in parts(valid(text), LINE):
            words: list[str] = []
            for line in part.split("\n"):
                words += self._line(line) if line.strip() else []
                words.append(NEWLINE)
            yield words[:-1]

    def decode(self, symbols):
        """Words stay apart: what was cut is not joined again."""
        return joined(symbols)

    def _line(self, line):
        cut = self._cutter.tokenize(line, aggressive_dash_splits=True, escape=False)
        return NUMBER.sub(lambda found: MARK.sub(r" @\g<0>@ ", found[0]), " ".join(cut)).split()
