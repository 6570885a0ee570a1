"""Words and punctuation by sacremoses, with WikiText's @-@ @,@ @.@, and newlines."""

import re
from dataclasses import dataclass
from importlib.metadata import version

from nopos_plugin.prepare.tokenizers.base import NEWLINE, Tokenizer, option, valid
from nopos_plugin.prepare.tokenizers.registry import register

NUMBER = re.compile(r"(?<!\S)[0-9]+(?:[.,][0-9]+)+(?!\S)")
MARK = re.compile(r"[.,]")


@register("moses")
@dataclass
class Moses(Tokenizer):
    """Moses' tokenizer, line by line; the newline between two lines is the symbol <0a>.

    A hyphen between letters or digits is `@-@`. A comma or point is `@,@` or `@.@` in a word that
    is a number and nothing else, as in WikiText (3.5 but not 12.2M). A full stop that ends a
    sentence is a word; that of an abbreviation stays with it, and `...` is one word.
    """

    moses_language: str = option("en", "language whose abbreviations --tokenizer moses knows")

    library = f"sacremoses {version('sacremoses')}"
    separators = (NEWLINE, ".")

    def __post_init__(self):
        import sacremoses  # takes a while, and most have another tokenizer
        from sacremoses.corpus import NonbreakingPrefixes

        known = sorted(set(NonbreakingPrefixes().available_langs.values()))
        if self.moses_language not in known:
            raise ValueError(
                f"--moses-language {self.moses_language}: unknown; known are {', '.join(known)}"
            )
        self._moses = sacremoses.MosesTokenizer(self.moses_language)

    def split(self, text):
        words = []
        for line in valid(text).split("\n"):
            words += self._line(line)
            words.append(NEWLINE)
        return words[:-1]

    def _line(self, line):
        cut = self._moses.tokenize(line, aggressive_dash_splits=True, escape=False, return_str=True)
        return NUMBER.sub(lambda found: MARK.sub(r" @\g<0>@ ", found[0]), cut).split()
