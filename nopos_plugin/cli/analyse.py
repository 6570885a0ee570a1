"""What analyses of checkpoints have in common: their options, their windows, their results."""

import os

from nopos_plugin.cli import arguments, checkpoint
from nopos_plugin.data.split import Split
from nopos_plugin.evaluation import results
from nopos_plugin.evaluation.allocator import keep_freed_memory
from nopos_plugin.evaluation.table import heading, line
from nopos_plugin.evaluation.windows import Sliding


def add_options(parser):
    """The checkpoints and the windows that they see."""
    add = parser.add_argument
    add("data", metavar="DATA", help="the data-bin")
    checkpoint.add_options(parser)
    add(
        "--length",
        type=arguments.count,
        metavar="L",
        help="tokens of a window (default: as many as the checkpoint was trained on)",
    )
    add("--seed", type=int, default=1, metavar="N", help="of all that is drawn (default: 1)")


def analyse(options, kind, columns, analysis):
    """Make every result of `kind` that the output lacks, and print all.

    analysis: of a checkpoint and the options, with what a result says before and after it is made,
    described() and measured().
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("runs in one process: leave torchrun out")
    keep_freed_memory()
    known, paths = results.read(options.output, kind), checkpoint.paths(options.path)
    results.mend(options.output)
    print(heading(columns), flush=True)
    for path in paths:
        subject = checkpoint.Checkpoint(path, options.data, options)
        asked = analysis(subject, options)
        row = {**subject.described(), **asked.described()}
        made = results.kept(options.output, row, known, kind, asked.measured)
        try:
            print(line(made, columns), flush=True)
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{options.output}: the result of {path} is not whole ({error!r}); remove its line"
            ) from None


def windows(subject, name, options):
    """The split `name`, and its windows of --length without overlap, the first of them whole.

    Raises ValueError if there is none such, or the model does not reach so far.
    """
    split = Split(options.data, name, subject.task, opener=subject.opener())
    length = options.length or subject.config.task.tokens_per_sample
    if len(split) < length:
        raise ValueError(f"--length {length}: {name} has {len(split):,} tokens, no whole window")
    dataset = split.windows(Sliding(length, length))
    most = subject.ceiling()
    if most is not None and dataset.num_tokens(0) > most:
        raise ValueError(
            f"--length {length}: {subject.path} has learned positions for {most} tokens only; name "
            "a shorter one"
        )
    return split, dataset
