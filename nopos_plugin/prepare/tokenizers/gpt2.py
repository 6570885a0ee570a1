"""GPT-2's byte-level BPE, cut by tiktoken, in the order of fairseq's GPT-2 dictionary."""

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tiktoken
from fairseq.data import Dictionary
from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode

from nopos_plugin.prepare.tokenizers.base import (
    SPECIAL,
    Tokenizer,
    isolate_option,
    option,
    parts,
    valid,
)
from nopos_plugin.prepare.tokenizers.registry import flag, register
from nopos_plugin.provenance import digest

log = logging.getLogger(__name__)

SOURCE = "https://dl.fbaipublicfiles.com/fairseq/gpt2_bpe"
PUBLISHED = {
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}
BYTES = {piece: byte for byte, piece in bytes_to_unicode().items()}
NEWLINE = bytes_to_unicode()[ord("\n")]
# GPT-2's pattern, written so that it seldom tracks back; what never does is one group, which is
# the fastest to find.
PIECES = r"(?:'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+)|\s++$|\s+(?!\S)|\s"
# What it finds in each part of a text that is cut around every newline and full stop.
ISOLATED = (
    r"(?:[\n.]|'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}.]+)"
    r"|[^\S\n]++(?![^\n.])|[^\S\n]+(?![^\s.])|[^\S\n]"
)
# Without a special token tiktoken looks for the empty one, at every character.
SPECIAL_TOKEN = "<|endoftext|>"
# Over a million blanks in a row with something behind them are more than tiktoken's stack holds.
BLANK = r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
LONG = 2**16
LONG_BLANK = re.compile(f"(?<!{BLANK}){BLANK}{{{LONG},}}")


@register("gpt2")
@dataclass
class Gpt2(Tokenizer):
    r"""Symbols are GPT-2's ids, written out; their order is that of fairseq's dict.txt.

    Full stop is 13, newline 198. Otherwise merged, as GPT-2 has it: a full stop with the space
    before it (` .` is 764) or with other punctuation (`...`, `."`, `.)`), and newlines with one
    another (two are 628). `isolate_separators` leaves 13 and 198 alone.
    `<|endoftext|>` in a text is text.
    """

    gpt2_encoder_json: Path = option(None, "GPT-2's encoder.json")
    gpt2_vocab_bpe: Path = option(None, "GPT-2's vocab.bpe, if not beside encoder.json")
    gpt2_dict: Path = option(
        None, "fairseq's dict.txt over GPT-2's ids, if not beside encoder.json"
    )
    isolate_separators: bool = isolate_option()

    library = f"tiktoken {tiktoken.__version__}"
    merges = True

    def __post_init__(self):
        self.gpt2_encoder_json = self._file("gpt2_encoder_json", "encoder.json")
        self.gpt2_vocab_bpe = self._file("gpt2_vocab_bpe", "vocab.bpe")
        self.gpt2_dict = self._file("gpt2_dict", "dict.txt")
        dictionary = Dictionary.load(str(self.gpt2_dict))
        self.symbols = dictionary.symbols[len(SPECIAL) :]
        self.counts = dictionary.count[len(SPECIAL) :]
        symbols, ranks = self._read()
        self.separators = (symbols["."], symbols[NEWLINE])
        missing = [symbol for symbol in symbols.values() if symbol not in dictionary.indices]
        if missing:
            raise ValueError(
                f"--gpt2-dict {self.gpt2_dict}: has no symbol {missing[0]}, an id of "
                f"{self.gpt2_encoder_json}; fairseq's is at {SOURCE}/dict.txt"
            )
        self._rank_of = {symbol: rank for rank, symbol in enumerate(symbols.values())}
        indices = [dictionary.indices[symbol] for symbol in symbols.values()]
        self._indices = np.array(indices, dtype=np.int32)
        pattern = ISOLATED if self.isolate_separators else PIECES
        special = {SPECIAL_TOKEN: len(ranks)}  # in a text it is text all the same
        self._bpe = tiktoken.Encoding(
            "gpt2", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special
        )

    def encode(self, texts):
        return [self._indices[self._ranks(valid(text))] for text in texts]

    def decode(self, symbols):
        return self._bpe.decode([self._rank_of[s] for s in symbols if s in self._rank_of])

    def files(self):
        return [self.gpt2_encoder_json, self.gpt2_vocab_bpe, self.gpt2_dict]

    def _ranks(self, text):
        """(tokens,) uint32: GPT-2's tokens, numbered in the order of the merges."""
        each = [self._bpe.encode_to_numpy(part, disallowed_special=()) for part in self._cut(text)]
        return each[0] if len(each) == 1 else np.concatenate(each)

    def _cut(self, text):
        """`text`, cut where the pattern cuts as well: in parts, and around long blanks."""
        for part in parts(text):
            yield from self._around_blanks(part)

    def _around_blanks(self, text):
        start = 0
        some = any(char.isspace() for char in text[::LONG])  # as a long blank has at least one
        for blank in LONG_BLANK.finditer(text) if some else ():
            stop = blank.end()
            if stop < len(text) and not (self.isolate_separators and text[stop] == "."):
                stop -= 1  # the last one goes with what follows
            yield text[start : blank.start()]
            yield text[blank.start() : stop]
            start = stop
        yield text[start:]

    def _read(self):
        """{piece: GPT-2's id, written out} and {bytes: number}, both in the order of the merges."""
        try:
            encoder = json.loads(self.gpt2_encoder_json.read_text("utf-8"))
            merges = self.gpt2_vocab_bpe.read_text("utf-8").split("\n")[1:]
            pieces = [*BYTES, *("".join(merge.split()) for merge in merges if merge)]
            symbols = {piece: str(encoder[piece]) for piece in pieces}
            ranks = {
                bytes(BYTES[char] for char in piece): rank for rank, piece in enumerate(symbols)
            }
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"--gpt2-encoder-json {self.gpt2_encoder_json} and --gpt2-vocab-bpe "
                f"{self.gpt2_vocab_bpe} do not go together ({error!r}); both are at {SOURCE}/"
            ) from None
        return symbols, ranks

    def _file(self, option, published):
        """The path that `option` gives, or of the file beside encoder.json; it exists."""
        given = getattr(self, option)
        if not given and not self.gpt2_encoder_json:
            raise ValueError(
                f"--tokenizer gpt2 needs {flag(option)}, and vocab.bpe and dict.txt beside it or "
                f"named; the three are at {SOURCE}/"
            )
        path = Path(given or Path(self.gpt2_encoder_json).parent / published)
        if not path.is_file():
            raise ValueError(f"{flag(option)} {path}: no such file; get {SOURCE}/{published}")
        if published in PUBLISHED and digest(path) != PUBLISHED[published]:
            log.warning(f"{path} is not the {published} that GPT-2 was published with")
        return path
