"""Words as they stand between white space, as fairseq-preprocess has them, and newlines."""

import platform
from dataclasses import dataclass

from nopos_plugin.prepare.tokenizers.base import (
    NEWLINE,
    SPECIAL,
    UNKNOWN,
    Tokenizer,
    isolate_option,
    joined,
    parts,
    valid,
)
from nopos_plugin.prepare.tokenizers.registry import register

# `<unk>` in a text is meant (WikiText); the others would end or pad what goes on.
CONTROL = {symbol: rf"\x3c{symbol[1:]}" for symbol in SPECIAL if symbol != SPECIAL[UNKNOWN]}
WORD = {escaped: symbol for symbol, escaped in CONTROL.items()}


@register("words")
@dataclass
class Words(Tokenizer):
    r"""White space ends a word; a newline is the symbol <0a>, which a text rarely has otherwise.

    The words <s>, </s> and <pad> become \x3cs> and so on. A full stop at the end of a word is part
    of it: right for text that is tokenized already. `isolate_separators` makes it a word.
    """

    isolate_separators: bool = isolate_option()

    library = f"python {platform.python_version()}"
    separators = (NEWLINE, ".")

    def split(self, text):
        for part in parts(valid(text)):
            yield self._words(part.replace("\n", f" {NEWLINE} "))

    def decode(self, symbols):
        return joined(WORD.get(symbol, symbol) for symbol in symbols)

    def _words(self, text):
        if self.isolate_separators:
            text = text.replace(".", " . ")
        words = text.split()
        if any(symbol in text for symbol in CONTROL):
            return [CONTROL.get(word, word) for word in words]
        return words
