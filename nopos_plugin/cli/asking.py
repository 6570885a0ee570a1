"""What commands over questions of nopos-make-task have in common."""

from nopos_plugin.data.load import split_path
from nopos_plugin.prepare import manifest
from nopos_plugin.provenance import digest

SPLITS = ("valid", "test")  # at trained lengths, and beyond


def refuse_others(subject):
    """Raise ValueError for a checkpoint that was trained on something else than questions."""
    if not hasattr(subject.task, "are_right"):
        raise ValueError(f"{subject.path} was not trained with --task length_generalization")


def questions(subjects):
    """{split: AnswerDataset} of DATA. Raises ValueError for one of the `subjects`, Checkpoints,
    whose positions end before questions and answers do."""
    found = {split: subjects[0].task.questions(split) for split in SPLITS}
    longest = {split: int(dataset.sizes.max()) for split, dataset in found.items()}
    for subject in subjects:
        most = subject.ceiling()
        for split, tokens in longest.items():
            if most is not None and tokens > most:
                raise ValueError(
                    f"{subject.path} has positions for {most} tokens, and {split} has questions of "
                    f"{tokens}, with answers: train one with --tokens-per-sample {tokens}"
                )
    return found


def described(options):
    """What a result says of the questions of DATA."""
    prefixes = [split_path(options.data, split) for split in SPLITS]
    return {
        "problem": manifest.read(options.data)["problem"],
        "data": options.data,
        "data_sha256": digest(*(f"{p}{end}" for p in prefixes for end in (".bin", ".jsonl"))),
        "samples": options.samples,
        "trained_tokens": None,  # no windows: --tokens-per-sample says nothing of a sample
    }
