"""What a tokenizer answers: which dictionary it has, and what a text is in it."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fairseq.data import Dictionary

from nopos_plugin.prepare import manifest

SPECIAL = tuple(Dictionary().symbols)  # fairseq's own: <s> <pad> </s> <unk>, indices 0 to 3
UNKNOWN = SPECIAL.index("<unk>")
NEWLINE = "<0a>"  # the newline's symbol where the vocabulary brings none
PART = 2**20  # characters of a long text that are cut at a time, since tokens take much memory
MOST = 2**21  # characters that are cut at once even where there is no such place
# Where no token has both sides, of blanks neither.
BEFORE_SPACE = re.compile(r"(?<=\S)(?= \S)")
EITHER = re.compile(rf"(?<=\S\n)(?=\S)|{BEFORE_SPACE.pattern}")  # or behind a newline


def option(default, help):
    """A field of a tokenizer, which is an option on a command line."""
    return dataclasses.field(default=default, metadata={"help": help})


def isolate_option():
    return option(
        False,
        "cut at every newline and full stop, so that each is a token, as BiPE needs it "
        "(nopos-prepare-text: default for gpt2 and json; nopos-prepare-pile: not default)",
    )


class Tokenizer:
    """One way to cut text. Subclasses are dataclasses: their fields are their options.

    Closed ones know their dictionary and `encode`; open ones, whose `symbols` are None, `split`
    into words, and whoever has all of the words counts the dictionary. A pickle holds the options
    alone: a worker builds the tokenizer again.
    """

    name = ""
    library = ""  # that cuts the text, and its version
    symbols: list[str] | None = None  # of dict.txt in its order, without SPECIAL
    counts: list[int] | None = None  # of dict.txt, one a symbol, where they are known
    separators: tuple[str, ...] = ()  # symbols that are a newline or a full stop
    merges = False  # whether other tokens may hold those as well, unless they are isolated

    def encode(self, texts: list[str]) -> list[np.ndarray]:
        """Indices in fairseq's dictionary, integers, of each text; no `</s>` behind it."""
        raise NotImplementedError

    def split(self, text: str) -> Iterator[list[str]]:
        """The words of `text`, its newlines among them, some at a time."""
        raise NotImplementedError

    def decode(self, symbols: list[str]) -> str:
        """The text of `symbols`; those that are none of its own are left out."""
        raise NotImplementedError

    def files(self) -> list[Path]:
        """The files that the vocabulary was read from."""
        return []

    def taken_along(self) -> list[Path]:
        """Those of `files` that a data-bin gets a copy of, so that it can be decoded alone."""
        return []

    def described(self):
        """What a manifest says of it."""
        files = [{"name": path.name, **manifest.described(path)} for path in self.files()]
        options = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore
        kept = {key: value for key, value in options.items() if not isinstance(value, Path)}
        return {"name": self.name, "library": self.library, **kept, "files": files}

    @classmethod
    def options(cls):
        """Names of its options."""
        return [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]

    def __reduce__(self):
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return type(self), tuple(getattr(self, field.name) for field in fields)


def joined(words):
    """The text of `words`, newlines among them."""
    return re.sub(f" ?{NEWLINE} ?", "\n", " ".join(words))


def parts(text, between=EITHER, most=None):
    """`text` in parts of PART characters, and what is left to the next place of `between`.

    most: characters after which it is cut wherever that is; None: never.
    """
    start = 0
    while start + PART < len(text):
        end = len(text) if most is None else min(len(text), start + most)
        found = between.search(text, start + PART, end)
        stop = found.start() if found else end
        yield text[start:stop]
        start = stop
    if start < len(text) or not text:
        yield text[start:]


def valid(text):
    """`text` with U+FFFD for surrogates that stand alone: UTF-8 has none, nor have libraries."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
