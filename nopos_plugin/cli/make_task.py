"""nopos-make-task: tasks that are made up, to train small models on."""

import argparse
import json
import os
import random
import sys
from pathlib import Path

from nopos_plugin.cli import arguments, preparing, questions
from nopos_plugin.evaluation import passkey

COMMAND = "nopos-make-task"


def parser():
    made = argparse.ArgumentParser(
        prog=COMMAND,
        description="Make up a task that small models can be trained on: texts with passkeys, or "
        "questions and answers that get longer.",
    )
    tasks = made.add_subparsers(dest="task", required=True, metavar="TASK")
    questions.add_parsers(tasks)
    one = tasks.add_parser(
        "passkey",
        help="prompts of nopos-passkey, with their answers",
        description="Prompts of nopos-passkey with their answers, so that small models learn to "
        "find a number in filler: DIR/train.jsonl and DIR/valid.jsonl, a document a line, of which "
        "nopos-prepare-text --documents json makes a data-bin, along with other text. Any "
        "--tokenizer of which digits are tokens will do; for words "
        "and moses, --spaced.",
    )
    add = one.add_argument
    add("--out", required=True, metavar="DIR", help="which must not hold these files yet")
    add("--documents", type=arguments.count, default=6000, metavar="N", help="(default: 6000)")
    add("--valid-documents", type=arguments.count, default=100, metavar="N", help="(default: 100)")
    add(
        "--filler",
        type=words,
        default=(0, 100),
        metavar="MIN:MAX",
        help="words of filler in a prompt, which has 50 others (default: 0:100)",
    )
    add("--spaced", action="store_true", help="put blanks around digits and punctuation")
    add("--seed", type=int, default=1, metavar="N", help="(default: 1)")
    return made


def words(text):
    """MIN:MAX, whole numbers that do not fall."""
    low, colon, high = text.partition(":")
    if not (colon and low.isdecimal() and high.isdecimal() and int(low) <= int(high)):
        raise argparse.ArgumentTypeError(f"{text!r} is no MIN:MAX such as 0:100")
    return int(low), int(high)


def main(typed=None):
    """The exit status: 0 if the texts are there, else 1. (argparse exits with 2.)"""
    options = parser().parse_args(typed)
    if options.task == "passkey":
        return preparing.run(COMMAND, lambda: write(options))
    return preparing.run(COMMAND, lambda: questions.write(options, COMMAND))


def write(options):
    """Raises ValueError, and writes nothing, if a file is there already."""
    folder = Path(options.out)
    sizes = {"train": options.documents, "valid": options.valid_documents}
    for split in sizes:
        if (folder / f"{split}.jsonl").exists():
            raise ValueError(f"--out {folder}: {split}.jsonl is there already; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for split, size in sizes.items():
        with part(folder, split).open("w", encoding="utf-8") as file:
            for number in range(size):
                draw = random.Random(f"{options.seed} {split} {number}")
                text = passkey.lesson(*options.filler, draw)
                json.dump({"text": passkey.spaced(text) if options.spaced else text}, file)
                file.write("\n")
    for split, size in sizes.items():
        path = folder / f"{split}.jsonl"
        os.replace(part(folder, split), path)
        print(f"{path}: {size:,} documents, {path.stat().st_size:,} bytes")


def part(folder, split):
    """The file of a split until all are whole."""
    return folder / f"{split}.jsonl.part"


if __name__ == "__main__":
    sys.exit(main())
