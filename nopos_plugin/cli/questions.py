"""nopos-make-task's questions and answers: text, a dictionary and a data-bin."""

import argparse
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
from fairseq.data import Dictionary

from nopos_plugin.cli import arguments
from nopos_plugin.cli.preparing import printed
from nopos_plugin.data import reasoning
from nopos_plugin.data.reasoning import scratchpad
from nopos_plugin.data.reasoning.border import parted, vocabulary
from nopos_plugin.data.reasoning.published import Published
from nopos_plugin.prepare import dictionary, indexed, manifest
from nopos_plugin.prepare.disk import workspace, writing
from nopos_plugin.prepare.tokenizers import build
from nopos_plugin.prepare.tokenizers.base import UNKNOWN
from nopos_plugin.prepare.tokenizers.coder import Coder

SPLITS = ("train", "valid", "test")


def add_parsers(tasks):
    """One for each task; tasks: the subparsers of nopos-make-task."""
    for name in reasoning.names():
        task = reasoning.get(name)
        one = tasks.add_parser(
            name,
            help=f"questions of the length generalization study, by {task.unit}",
            description="Questions and answers as --task length_generalization has them: DIR holds "
            "text, lines of JSON; a dictionary; and a data-bin. Lengths are counted in "
            f"{task.unit}. (Kazemnejad et al., 2023; but each digit and symbol is a token)",
        )
        add_options(one.add_argument, task)


def add_options(add, task):
    add("--out", required=True, metavar="DIR", help="which must not be there yet")
    if issubclass(task, Published):
        add("--files", nargs="+", required=True, metavar="FILE", help="as they were published")
    if len(task.variants) > 1:
        said = f"of {', '.join(task.variants)} (default: {task.variants[0]})"
        add("--variant", choices=task.variants, default=task.variants[0], help=said)
    for split, which in (("train", "trained on and validated with"), ("test", "tested with")):
        add(
            f"--{split}-lengths",
            type=span,
            metavar="MIN:MAX",
            help=f"{which} (default: the study's)",
        )
    if task.forbids != scratchpad.COMPONENTS:
        add(
            "--scratchpad",
            default="none",
            metavar="WHICH",
            help="none, full, minimal, no-input, no-computation, ..., or five digits, 1 for each "
            "shown of input, computation, output, variables, remaining (default: none)",
        )
    add(
        "--tokenizer",
        choices=("pieces", "characters", "json"),
        default="pieces",
        help="words, digits and symbols with the blanks before them, single characters, or "
        "--tokenizer-json (default: pieces)",
    )
    add("--tokenizer-json", metavar="FILE", help="of the library tokenizers, for --tokenizer json")
    add("--dict", metavar="FILE", help="a dict.txt to take (default: what the task needs, sorted)")
    for split in SPLITS:
        said = "the study's" if not issubclass(task, Published) else "all"
        kind = arguments.count
        add(f"--{split}-size", type=kind, metavar="N", help=f"questions (default: {said})")
    add("--seed", type=int, default=1, metavar="N", help="(default: 1)")


def span(text):
    """MIN:MAX, whole numbers from 1 on, both in it, as a range."""
    low, colon, high = text.partition(":")
    numbers = low.isdecimal() and high.isdecimal()
    if not (colon and numbers and 1 <= int(low) <= int(high)):
        raise argparse.ArgumentTypeError(f"{text!r} is no MIN:MAX such as 2:20")
    return range(int(low), int(high) + 1)


def write(options, made_by):
    """Make the data-bin, whole or not at all. Raises ValueError for options that cannot be."""
    folder = Path(options.out)
    if folder.exists():
        raise ValueError(f"--out {folder} is there already: name another, or move it away")
    task, components = asked(options)
    coder = coder_of(options, task, components)
    with workspace(folder) as work:
        made = work / "data-bin"
        made.mkdir()
        with writing(folder):
            coder.dictionary.save(str(made / "dict.txt"))
            splits = {
                split: write_split(made / split, task, components, coder, split, options)
                for split in SPLITS
            }
            for path in coder.tokenizer.taken_along():
                shutil.copy(path, made)
        manifest.write(
            made,
            made_by=made_by,
            options={"seed": options.seed},
            tokenizer=coder.tokenizer.described(),
            separators=[],
            problem={
                "task": task.name,
                "variant": task.variant,
                "scratchpad": components,
                "unit": task.unit,
                "train_lengths": [task.train.start, task.train.stop - 1],
                "test_lengths": [task.test.start, task.test.stop - 1],
            },
            splits=splits,
        )
        made.rename(folder)
    print(printed(manifest.read(folder), folder))


def asked(options):
    """(task, components of the scratchpad)."""
    given = {name: getattr(options, name) for name in ("variant", "files") if name in options}
    lengths = {"train": options.train_lengths, "test": options.test_lengths}
    task = reasoning.build(options.task, **lengths, **given)
    return task, scratchpad.chosen(getattr(options, "scratchpad", "none"), task)


def coder_of(options, task, components):
    """The Coder of the options. Raises ValueError for a dictionary without what `task` needs."""
    tokenizer = build(options.tokenizer, tokenizer_json=options.tokenizer_json)
    if tokenizer.symbols is not None:
        if options.dict is not None:
            raise ValueError(f"--dict {options.dict}: a tokenizer.json has its own; leave it out")
        return Coder(tokenizer, dictionary.of_symbols(tokenizer.symbols))
    needed = vocabulary(
        task, components, lambda text: [t for p in tokenizer.split(text) for t in p]
    )
    if options.dict is None:
        return Coder(tokenizer, dictionary.of_symbols(needed))
    try:
        known = Dictionary.load(options.dict)
    except OSError:
        raise
    except Exception as error:  # fairseq's has no closer class for a file of something else
        said = str(error).splitlines()[0]
        raise ValueError(f"--dict {options.dict} is no dict.txt of fairseq's: {said}") from None
    lacking = [symbol for symbol in needed if symbol not in known]
    if lacking:
        raise ValueError(
            f"--dict {options.dict} lacks {len(lacking)} symbols of {task.name}, such as "
            f"{' '.join(lacking[:3])}: leave it out, or add them"
        )
    return Coder(tokenizer, known)


def write_split(prefix, task, components, coder, split, options):
    """PREFIX.bin, .idx and .jsonl; what the manifest says of the split."""
    counts: Counter[str] = Counter()
    items = indexed.IndexedWriter(prefix, indexed.dtype(len(coder.dictionary)))
    size = getattr(options, f"{split}_size")
    with Path(f"{prefix}.jsonl").open("w", encoding="utf-8") as file:
        for example in task.examples(split, size, options.seed):
            text, completion = example.source, example.completion(components)
            question, answer = parted(text, completion, coder.encode)
            tokens = [*question, *answer, coder.dictionary.eos()]
            if UNKNOWN in tokens:
                raise ValueError(
                    f"--tokenizer {options.tokenizer}: no token for a part of {text + completion!r}"
                )
            back = coder.decode(tokens)
            read = scratchpad.score(back, example.steps, components) if components else {}
            if not task.right(back, example.answer) or read.get("correct_steps", 1) < 1:
                raise ValueError(
                    f"--tokenizer {options.tokenizer} does not give {text + completion!r} back, so "
                    "no answer could be right"
                )
            record = {
                "question": text,
                "completion": completion,
                "answer": example.answer,
                "length": example.length,
                "category": example.category,
                "question_tokens": len(question),
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            items.add(np.asarray(tokens, items.dtype).tobytes())
            counts["documents"] += 1
            counts["words"] += len((text + completion).split())
            counts["bytes"] += len((text + completion).encode())
    items.close()
    if not counts:
        lengths = task.range_of(split)
        raise ValueError(
            f"--{'test' if split == 'test' else 'train'}-lengths {lengths.start}:"
            f"{lengths.stop - 1}: no question is left for {split}; give more lengths"
        )
    return {**counts, "tokens": items.tokens}
