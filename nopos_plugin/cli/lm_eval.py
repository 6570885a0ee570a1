"""nopos-lm-eval: checkpoints in the tasks of lm-evaluation-harness."""

import argparse
import json
import logging
import os
import sys

from nopos_plugin.cli import arguments, checkpoint, preparing
from nopos_plugin.cli.passkey import tokenizer
from nopos_plugin.cli.retrieve import TOKENS
from nopos_plugin.prepare.tokenizers import add_options as add_tokenizers
from nopos_plugin.prepare.tokenizers.coder import Coder
from nopos_plugin.provenance import provenance

COMMAND = "nopos-lm-eval"


def parser():
    made = argparse.ArgumentParser(
        prog=COMMAND,
        description="Tasks of lm-evaluation-harness (pip install lm-eval), its own or yours: "
        "log-probabilities of continuations and of whole texts, and greedy answers. Prints the "
        "harness' table for each checkpoint.",
    )
    add = made.add_argument
    add(
        "data",
        nargs="?",
        metavar="DATA",
        help="a data-bin with the checkpoint's dictionary and tokenizer (default: the one that it "
        "was trained on)",
    )
    checkpoint.add_options(made)
    add("--tasks", required=True, metavar="TASK,..", help="`lm_eval ls tasks` lists the harness'")
    add("--include-path", metavar="DIR", help="where yaml files of more tasks are")
    add(
        "--num-fewshot",
        type=shots,
        metavar="N",
        help="examples in a context, of tasks that do not fix it (default: as the task has it)",
    )
    add(
        "--limit",
        type=arguments.amount,
        default=0,
        metavar="N",
        help="so many documents a task, below 1 that share of them, to try it (default: 0, all)",
    )
    add(
        "--prefix",
        type=arguments.name("eos", "bos"),
        metavar="eos|bos",
        help="what opens a text: </s>, the end of the document before it, or <s>, as LLaMA has it "
        "(default: what its training had: eos, or bos of --add-bos-token and imported models)",
    )
    add(
        "--bare-contexts",
        action="store_true",
        help="open only what has no context and whole texts, as the harness does with GPT-2 and "
        "GPT-NeoX from Hugging Face",
    )
    add(
        "--max-length",
        type=arguments.count,
        metavar="N",
        help="tokens of an input; contexts are cut from the left, whole texts are scored in "
        "windows of so many (default: the learned positions, or else the length of the training)",
    )
    add(
        "--max-tokens",
        type=arguments.count,
        metavar="N",
        help=f"tokens of a batch (default: {TOKENS['cpu']} on a CPU, else {TOKENS['cuda']}, or one "
        "input if longer)",
    )
    add("--output", metavar="FILE", help="a new file for the results, a line of JSON a checkpoint")
    add_tokenizers(made, required=False, help="default: what manifest.json in the data-bin says")
    return made


def shots(text):
    """A whole number, 0 or more."""
    return 0 if text == "0" else arguments.count(text)


def main(typed=None):
    """The exit status: 0 if every result is there, else 1. (argparse exits with 2.)"""
    options = parser().parse_intermixed_args(typed)
    return preparing.run(COMMAND, lambda: evaluate(options))


def evaluate(options):
    """Print the table of each checkpoint, and write its results."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("runs in one process: leave torchrun out")
    paths = checkpoint.paths(options.path)
    check_output(options.output)
    try:
        from lm_eval import evaluator, utils
    except ModuleNotFoundError as error:
        if error.name != "lm_eval":
            raise
        raise ValueError("needs the harness: pip install 'lm-eval'") from None
    from nopos_plugin.cli.harness import Harness

    logging.getLogger().setLevel(logging.INFO)  # fairseq leaves it at DEBUG, which data sets heed
    names, manager = tasks(options)
    for path in paths:
        subject = checkpoint.Checkpoint(path, options.data, options)
        coder = Coder(tokenizer(options, subject.config.task.data), subject.task.source_dictionary)
        made = evaluator.simple_evaluate(
            Harness(subject, coder, options),
            tasks=[task for name in names for task in loaded(name, manager)],
            task_manager=manager,
            num_fewshot=options.num_fewshot,
            limit=options.limit or None,
            device=options.device,
            log_samples=False,
        )
        if options.output:
            row = {**subject.described(), **made, **provenance(options.device)}
            with open(options.output, "a", encoding="utf-8") as file:
                file.write(json.dumps(row, default=utils.handle_non_serializable) + "\n")
        print(f"{path}\n{utils.make_table(made)}", flush=True)
        if made.get("groups"):
            print(utils.make_table(made, "groups"), flush=True)
        if unknown := made["config"]["unknown_share"]:
            said = f"{path}: {100 * unknown:.3g} % of the tokens of these tasks are <unk>"
            print(f"{COMMAND}: {said}", file=sys.stderr)


def check_output(path):
    """Raises ValueError, before anything is evaluated, for a file that cannot be new."""
    if path and os.path.exists(path):
        raise ValueError(f"--output {path} is there already: name another file")
    if path and not os.path.isdir(os.path.dirname(path) or "."):
        raise ValueError(f"--output {path}: there is no such folder")


def tasks(options):
    """Names of tasks, groups and tags, and the harness' TaskManager, which knows them all.

    The tasks of the harness, whose index takes it seconds to make, are left out if none is named.
    Raises ValueError for a name, or a pattern such as mmlu_*, that stands for none.
    """
    from lm_eval.tasks import TaskManager

    where = options.include_path
    if where is not None and not os.path.isdir(where):
        raise ValueError(f"--include-path {where}: there is no such folder")
    asked = [name.strip() for name in options.tasks.split(",")]
    if not all(asked):
        raise ValueError(f"--tasks {options.tasks!r}: a name is missing")
    manager = TaskManager(include_path=where, include_defaults=False)
    if not set(asked) <= set(manager.all_subtasks):
        manager = TaskManager(include_path=where)
    for name in asked:
        if not manager.match_tasks([name]):
            raise ValueError(
                f"--tasks {name!r}: neither the harness nor --include-path has such a task"
            )
    return manager.match_tasks(asked), manager


def loaded(name, manager):
    """The group, or else the tasks, of that name. Raises ValueError if it cannot be loaded."""
    try:
        found = manager.load([name])
    except Exception as error:  # whatever a task's code, packages and data lead to
        reason = next((line for line in str(error).splitlines() if line.strip()), "")
        raise ValueError(f"--tasks {name}: {type(error).__name__}: {reason}") from error
    return [found["groups"][name]] if name in found["groups"] else found["tasks"].values()


if __name__ == "__main__":
    sys.exit(main())
