"""Texts as pieces, the tokens of a model, and back, without a loss.

    words       Compute 5 3 + 1 ? -> Compute ▁5 ▁3 ▁+ ▁1 ▁?
    characters  Compute 5 ...     -> C o m p u t e ▁ 5 ...

words: a word, a digit, any other character, [SEP] and [NEXT], each with the blank before it, if
any; more blanks are pieces of their own. A blank is written as U+2581, as in T5's pieces.

DIFFERS from McGill-NLP/length-generalization@40f8a44, which has T5's 32,100 pieces: here every
digit and symbol is a piece, and a vocabulary is what a task needs.
"""

import re
from collections.abc import Callable, Iterable

BLANK = "\u2581"
WORD = re.compile(r" ?\[SEP\]| ?\[NEXT\]| ?[A-Za-z_][A-Za-z_0-9]*| ?[^ ]| ")

Split = Callable[[str], list[str]]


def words(text: str) -> list[str]:
    return [piece.replace(" ", BLANK) for piece in WORD.findall(checked(text))]


def characters(text: str) -> list[str]:
    return list(checked(text).replace(" ", BLANK))


KINDS: dict[str, Split] = {"words": words, "characters": characters}


def checked(text: str) -> str:
    """`text`; ValueError if a character is not of printable ASCII: no task has others, and a data-
    bin could not keep all of them."""
    if found := re.search(r"[^ -~]", text):
        around = text[max(0, found.start() - 10) : found.end() + 10]
        raise ValueError(f"{around!r}: {found[0]!r} is not printable ASCII, and has no piece")
    return text


def join(pieces: Iterable[str]) -> str:
    """The text that was split into `pieces`."""
    return "".join(pieces).replace(BLANK, " ")


def border(source: str, target: str, split: Split) -> tuple[list[str], list[str]]:
    """The pieces of a `source` and of the `target` after it, which has the blank between them.

    Raises ValueError if the text of both has others: the loss would begin inside of a piece.
    """
    given = source.removesuffix(" ")
    whole = source + target
    parts = split(given), split(whole[len(given) :])
    if parts[0] + parts[1] != split(whole):
        raise ValueError(
            f"{given[-20:]!r} and {whole[len(given) :][:20]!r}: a piece is of both; "
            "a source that ends in a blank keeps them apart"
        )
    return parts


def vocabulary(task, components: str, split: Split) -> list[str]:
    """All pieces that examples of `task`, with a scratchpad of `components`, can have; sorted."""
    return sorted(
        {
            piece
            for example in task.covering()
            for part in border(example.source, example.completion(components), split)
            for piece in part
        }
    )
