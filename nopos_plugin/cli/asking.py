"""What commands over questions of nopos-make-task have in common."""

from nopos_plugin.data.load import split_path
from nopos_plugin.prepare import manifest
from nopos_plugin.provenance import digest

SPLITS = ("valid", "test")  # at trained lengths, and beyond


def refuse_others(subject):
    """Raise ValueError for a checkpoint that was trained on something else than questions."""
    if not hasattr(subject.task, "are_right"):
        raise ValueError(f"{subject.path} was not trained with --task length_generalization")


def described(options):
    """What a result says of the questions of DATA."""
    prefixes = [split_path(options.data, split) for split in SPLITS]
    return {
        "problem": manifest.read(options.data)["problem"],
        "data": options.data,
        "data_sha256": digest(*(f"{p}{end}" for p in prefixes for end in (".bin", ".jsonl"))),
        "samples": options.samples,
    }
