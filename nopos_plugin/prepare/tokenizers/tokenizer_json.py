"""Any tokenizer.json of the library tokenizers, SentencePiece-style ones (LLaMA) among them."""

import itertools
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers.decoders import ByteLevel
from tokenizers.pre_tokenizers import Sequence, Split

from nopos_plugin.prepare.tokenizers import base
from nopos_plugin.prepare.tokenizers.base import (
    BEFORE_SPACE,
    EITHER,
    SPECIAL,
    UNKNOWN,
    Tokenizer,
    isolate_option,
    option,
    parts,
    valid,
)
from nopos_plugin.prepare.tokenizers.registry import register

BYTE_LEVEL_NEWLINE = "Ċ"
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})|\\u([0-9a-f]{4})")
_TO_ESCAPE = re.compile(r"\s|\\(?=x[0-9a-f]{2}|u[0-9a-f]{4})")


@register("json")
@dataclass
class TokenizerJson(Tokenizer):
    r"""Symbols are the pieces in the order of their ids; white space in one is \x0a or \u3000.

    <s>, </s>, <unk> and <pad> of the file are fairseq's own four; ids without a piece are
    madeupword0000 ... No begin or end is added, nothing is truncated or padded, and a control
    symbol that stands in a text is text (<unk> where the model cannot spell it otherwise).
    Full stop and newline are separators where they are pieces of their own, the full stop also
    behind SentencePiece's space: `.`, `▁.` and `<0x0A>` in LLaMA, `.` and `Ċ` in byte-level
    vocabularies. Most vocabularies have longer pieces with a full stop in them (`...`, `).`), and
    byte-level ones with newlines; `isolate_separators` keeps text from becoming one of these. A
    tokenizer that drops newlines (BERT's, T5's) has none to isolate.
    """

    tokenizer_json: Path = option(None, "a tokenizer.json of the library tokenizers")
    isolate_separators: bool = isolate_option()

    library = f"tokenizers {tokenizers.__version__}"
    merges = True

    def __post_init__(self):
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # processes are ours
        self.tokenizer_json = Path(self.tokenizer_json or "")
        if not self.tokenizer_json.is_file():
            named = f" {self.tokenizer_json}: no such file" if self.tokenizer_json.name else ""
            raise ValueError(
                f"--tokenizer-json{named}: name the tokenizer.json for --tokenizer json"
            )
        try:
            content = self.tokenizer_json.read_text("utf-8")
            self._tokenizer = tokenizers.Tokenizer.from_str(content)
        except OSError:
            raise
        except Exception as error:  # the library raises nothing narrower
            raise ValueError(f"--tokenizer-json {self.tokenizer_json}: {error}") from None
        self.symbols, self._indices = self._vocabulary()
        seen = self._prepared("\n")
        byte_level = BYTE_LEVEL_NEWLINE in seen
        newlines = (BYTE_LEVEL_NEWLINE,) if byte_level else ("\n", "<0x0A>")
        stops = (".",) if byte_level else (".", "▁.")
        found = [symbol_of(piece) for piece in (*stops, *newlines)]
        self.separators = tuple(symbol for symbol in found if symbol in self.symbols)
        # what makes a newline a space makes it a part of the next word
        self._between = EITHER if byte_level or "\n" in seen else BEFORE_SPACE
        if self.isolate_separators:
            self._isolate(json.loads(content), newlines[0])
        if getattr(self._tokenizer.model, "dropout", None):
            self._tokenizer.model.dropout = None  # a text has one encoding
        if byte_level and self._tokenizer.decoder is None:
            self._tokenizer.decoder = ByteLevel()
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True

    def encode(self, texts):
        return [self._indices[np.concatenate(list(self._ids(valid(text))))] for text in texts]

    def decode(self, symbols):
        ids = (self._tokenizer.token_to_id(piece_of(symbol)) for symbol in symbols)
        known = [number for number in ids if number is not None]
        return self._tokenizer.decode(known, skip_special_tokens=False)

    def files(self):
        return [self.tokenizer_json]

    taken_along = files

    @property
    def pieces(self):
        """{id: piece}, of ids without one nothing."""
        return {i: piece for piece, i in self._tokenizer.get_vocab().items() if piece}

    @property
    def rows(self):
        """fairseq's index of each id, a list; that of a text is another only for SPECIAL."""
        known = self.pieces
        special = {i: SPECIAL.index(piece) for i, piece in known.items() if piece in SPECIAL}
        return [special.get(i, index) for i, index in enumerate(self._indices.tolist())]

    def _ids(self, text):
        """Ids of the parts of `text`. What a tokenizer puts before a text is before the first.

        Without white space the library would need 100 bytes of memory a character: then the text is
        cut every base.MOST characters, and the tokens there may be others.
        """
        each = parts(text, self._between, base.MOST)
        yield self._alone(next(each))
        before = self._alone("\n")
        for part in each:
            behind = self._alone("\n" + part)
            goes_on = np.array_equal(behind[: len(before)], before)
            yield behind[len(before) :] if goes_on else self._alone(part)

    def _alone(self, text):
        (made,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
        return np.array(made.ids, dtype=np.int32)

    def _vocabulary(self):
        """The symbols, and fairseq's index of each id, (ids,) int32."""
        pieces = self.pieces
        taken = set(pieces.values())
        names = (f"madeupword{hole:04d}" for hole in itertools.count())
        free = (name for name in names if name not in taken)
        symbols: list[str] = []
        indices = np.full(max(pieces) + 1, UNKNOWN, dtype=np.int32)
        for i in range(len(indices)):
            piece = pieces[i] if i in pieces else next(free)
            if piece not in SPECIAL:
                indices[i] = len(SPECIAL) + len(symbols)
                symbols.append(symbol_of(piece))
        return symbols, indices

    def _prepared(self, text):
        """`text` as the model gets to see it."""
        normalizer, cutter = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer
        text = normalizer.normalize_str(text) if normalizer else text
        return "".join(part for part, _ in cutter.pre_tokenize_str(text)) if cutter else text

    def _isolate(self, content, newline):
        """Cut last of all, where no prefix is put before the parts any more."""
        content["added_tokens"] = [
            token
            for token in content["added_tokens"]
            if len(token["content"]) == 1 or not {"\n", "."} & set(token["content"])
        ]
        self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(content))
        cut = Split(tokenizers.Regex(f"[.{newline}]"), "isolated")
        before = self._tokenizer.pre_tokenizer
        self._tokenizer.pre_tokenizer = Sequence([before, cut]) if before else cut


def symbol_of(piece):
    """`piece` as a line of dict.txt can hold it."""
    return _TO_ESCAPE.sub(lambda found: _code(ord(found[0])), piece)


def piece_of(symbol):
    """The inverse of `symbol_of`."""
    return _ESCAPED.sub(lambda found: chr(int(found[1] or found[2], 16)), symbol)


def _code(point):
    return f"\\x{point:02x}" if point < 256 else f"\\u{point:04x}"
