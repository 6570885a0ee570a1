"""Where a question ends and its answer begins, in tokens."""

from collections.abc import Callable

Split = Callable[[str], list[str]]  # a text to its tokens


def parted(source: str, completion: str, split: Split) -> tuple[list[str], list[str]]:
    """The tokens of a `source` and of the `completion` after it, which has the blank between them.

    Raises ValueError if the text of both has others: the loss would begin inside of a token.
    """
    given = source.removesuffix(" ")
    whole = source + completion
    parts = split(given), split(whole[len(given) :])
    if parts[0] + parts[1] != split(whole):
        raise ValueError(
            f"{given[-20:]!r} and {whole[len(given) :][:20]!r}: a token is of both; "
            "a source that ends in a blank keeps them apart"
        )
    return parts


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
