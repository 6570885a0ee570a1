"""nopos-evaluate-answers: which answers are right, at lengths that were trained on and beyond."""

import argparse
import sys
import time

import torch
from tqdm import tqdm

from nopos_plugin.cli import arguments, asking, checkpoint, preparing
from nopos_plugin.cli.analyse import analyse
from nopos_plugin.data.reasoning import scratchpad
from nopos_plugin.evaluation import losses
from nopos_plugin.evaluation.answers import by_length, share, tokens_right
from nopos_plugin.evaluation.decoding import greedy
from nopos_plugin.evaluation.results import ANSWERS
from nopos_plugin.evaluation.table import ANSWERED
from nopos_plugin.provenance import provenance

COMMAND = "nopos-evaluate-answers"
TOKENS = {"cpu": 8192, "cuda": 65536}  # of a batch, questions and answers, unless said
SHOWN = 1  # wrong answers of each length that a result has
STEPS = (*scratchpad.SCORES.values(), "correct_steps", "failed_steps")


def parser():
    made = argparse.ArgumentParser(
        prog=COMMAND,
        description="Exact match of answers that are decoded greedily, by length and overall, for "
        "models of --task length_generalization: what is read from a model's text is the task's to "
        "say (nopos_plugin/data/reasoning). Beside it, the share of the answers' tokens that "
        "are the most probable ones after the gold tokens before them, and with a scratchpad "
        "how much of its steps is right; of each length a result has sums over its questions. "
        "Each result is printed and added to a file, a line of JSON; one that is there already "
        "is not made again. nopos-plot draws accuracy against length.",
    )
    add = made.add_argument
    add("data", metavar="DATA", help="a data-bin of nopos-make-task")
    checkpoint.add_options(made)
    add(
        "--samples",
        type=arguments.count,
        metavar="N",
        help="questions of each split, evenly taken (default: all)",
    )
    add(
        "--max-tokens",
        type=arguments.count,
        metavar="N",
        help=f"tokens of a batch (default: {TOKENS['cpu']} on a CPU, else {TOKENS['cuda']})",
    )
    add("--output", default="answers.jsonl", metavar="FILE", help="default: answers.jsonl")
    return made


def main(typed=None):
    """The exit status: 0 if every result is there, else 1. (argparse exits with 2.)"""
    options = parser().parse_args(typed)
    return preparing.run(
        COMMAND, lambda: analyse(options, ANSWERS, ANSWERED, Answering), quiet=True
    )


class Answering:
    """What `subject` answers to the questions of the data-bin.

    Raises ValueError if it was trained on something else than questions.
    """

    def __init__(self, subject, options):
        self.subject, self.options, self.task = subject, options, subject.task
        asking.refuse_others(subject)
        self.asked = asking.described(options)

    def described(self):
        """What a result says of the questions."""
        return self.asked

    def measured(self):
        """What it says of the answers, and of how they were made."""
        start = time.monotonic()
        found = {
            split: self.answered(split, dataset.evenly(self.options.samples))
            for split, dataset in asking.questions([self.subject]).items()
        }
        buckets = {split: by_length(rows) for split, (rows, _) in found.items()}
        return {
            "accuracy": {split: share(its) for split, its in buckets.items()},
            "token_accuracy": {
                split: share(its, "tokens_right", "tokens") for split, its in buckets.items()
            },
            **self.scratchpads(buckets),
            "by_length": [{"split": s, **one} for s, its in buckets.items() for one in its],
            "wrong": [one for _, wrong in found.values() for one in wrong],
            "seconds": round(time.monotonic() - start, 3),
            **provenance(self.options.device),
        }

    def answered(self, split, dataset):
        """([row of a question], [wrong answers]) of a split, shortest questions first."""
        rows, wrong = [], []
        with torch.inference_mode(), self.progress(split, len(dataset)) as bar:
            for indices in self.batches(dataset):
                batch = dataset.collater([dataset[index] for index in indices])
                for row, text in self.of(batch):
                    rows.append(row)
                    shown = [one for one in wrong if one["length"] == row["length"]]
                    if not row["right"] and len(shown) < SHOWN:
                        wrong.append({"split": split, "length": row["length"], "text": text})
                bar.update(len(indices))
        return rows, wrong

    def of(self, batch):
        """(row, text) of each question of a batch."""
        batch = losses.on(batch, self.options.device)
        dictionary, model = self.task.source_dictionary, self.subject.model
        pad = dictionary.pad()
        logits, _ = model(**batch["net_input"])
        tokens = tokens_right(logits, batch["target"], pad).tolist()
        longest = max(tokens[0])
        answers = greedy(model, batch["questions"], 2 * longest, dictionary.eos(), pad)
        right = self.task.are_right(batch["questions"], answers, batch["records"])
        for place, record in enumerate(batch["records"]):
            text = self.task.coder.decode(batch["questions"][place] + answers[place])
            row = {
                "length": record["length"],
                "right": int(right[place]),
                "tokens": tokens[0][place],
                "tokens_right": tokens[1][place],
            }
            yield {**row, **self.steps(text, record)}, text

    def scratchpads(self, buckets):
        """The means of `steps` over all questions of a split."""
        if not self.asked["problem"]["scratchpad"]:
            return {}
        return {
            "scratchpad": {
                split: {name: share(its, name) for name in STEPS if name in its[0]}
                for split, its in buckets.items()
            }
        }

    def steps(self, text, record):
        """How much of the scratchpad is right."""
        components = self.asked["problem"]["scratchpad"]
        if not components:
            return {}
        return scratchpad.score(
            text, scratchpad.parse(record["completion"], components), components
        )

    def batches(self, dataset):
        """Lists of indices: of like lengths, as many as --max-tokens hold, an answer doubled."""
        most = self.options.max_tokens or TOKENS[self.options.device]
        left = dataset.sizes.argsort(kind="stable").tolist()
        while left:
            longest, count = 0, 0
            for index in left:
                longest = max(longest, 2 * int(dataset.sizes[index]))
                if count and longest * (count + 1) > most:
                    break
                count += 1
            yield left[:count]
            left = left[count:]

    def progress(self, split, count):
        return tqdm(
            total=count,
            desc=f"answers, {split}",
            unit=" questions",
            leave=False,
            mininterval=0.5 if sys.stderr.isatty() else 30,
        )


if __name__ == "__main__":
    sys.exit(main())
