"""Where a question ends and its answer begins, in tokens."""

from collections.abc import Callable

Split = Callable[[str], list[str]]  # a text to its tokens


def parted(source: str, completion: str, split: Split) -> tuple[list[str], list[str]]:
    """The tokens of a `source` and of the `completion` after it, which has the blank between them.

    They are those of the text of both: a tokenizer may have other ones for what begins a text.
    Raises ValueError if a token is of both: the loss would begin inside of it.
    """
    given = source.removesuffix(" ")
    question, tokens = split(given), split(source + completion)
    if tokens[: len(question)] != question:
        raise ValueError(
            f"{given[-20:]!r} and {(source + completion)[len(given) :][:20]!r}: a token is of "
            "both; name another --tokenizer"
        )
    return question, tokens[len(question) :]


def vocabulary(task, components: str, split: Split) -> list[str]:
    """All tokens that examples of `task`, with a scratchpad of `components`, can have; sorted.

    DIFFERS from McGill-NLP/length-generalization@40f8a44, which has T5's 32,100 pieces: with
    `split` by words, digits and symbols, or by characters, a vocabulary is what a task needs.
    """
    return sorted(
        {
            token
            for example in task.covering()
            for part in parted(example.source, example.completion(components), split)
            for token in part
        }
    )
