"""Questions and answers of nopos-make-task, from short ones to long ones."""

import json
import os
from dataclasses import dataclass, field
from typing import Optional

from fairseq import utils
from fairseq.data import data_utils
from fairseq.tasks import register_task
from fairseq.tasks.language_modeling import LanguageModelingConfig, LanguageModelingTask

from nopos_plugin.data import reasoning
from nopos_plugin.data.answers import AnswerDataset
from nopos_plugin.prepare import manifest
from nopos_plugin.prepare.tokenizers.base import SPECIAL
from nopos_plugin.prepare.tokenizers.coder import Coder, of_data_bin

# options of --task language_modeling that say how a text becomes samples
OF_TEXT = (
    *("sample_break_mode", "shorten_method", "shorten_data_split_list", "add_bos_token"),
    *("self_target", "future_target", "past_target", "output_dictionary_size"),
    *("pad_to_fixed_length", "pad_to_fixed_bsz"),
)
# what a manifest says of them
PROBLEM = {"task", "variant", "scratchpad", "unit", "train_lengths", "test_lengths"}


@dataclass
class LengthGeneralizationConfig(LanguageModelingConfig):
    valid_questions: Optional[int] = field(
        default=None,
        metadata={"help": "how many of a validation split are asked, evenly taken (default: all)"},
    )


@register_task("length_generalization", dataclass=LengthGeneralizationConfig)
class LengthGeneralizationTask(LanguageModelingTask):
    """A sample is a question, its answer and `</s>`, with the loss on what follows the question.

    The data-bin is one of nopos-make-task. Batches are made by length, and positions start at the
    sample. `--criterion answer_accuracy` decodes answers in validation. (Kazemnejad et al., 2023)
    """

    def __init__(self, args, dictionary, output_dictionary=None, targets=None):
        super().__init__(args, dictionary, output_dictionary, targets)
        for name in OF_TEXT:
            value = getattr(args, name, None)
            if value not in (None, LanguageModelingConfig.__dataclass_fields__[name].default):
                option = "--" + name.replace("_", "-")
                raise ValueError(f"{option} has no effect on questions and answers: leave it out")
        if args.valid_questions is not None and args.valid_questions < 1:
            raise ValueError(f"--valid-questions {args.valid_questions}: ask at least 1")
        folder = utils.split_paths(args.data)[0]
        self.problem = problem(folder)
        self.coder = Coder(of_data_bin(folder), dictionary)

    def load_dataset(self, split, epoch=1, combine=False, **kwargs):
        """As `questions`, of a validation split as many as --valid-questions says."""
        made = self.questions(split, epoch)
        most = self.args.valid_questions if split.startswith("valid") else None
        self.datasets[split] = made.evenly(most)

    def questions(self, split, epoch=1):
        """The AnswerDataset of a split. Raises ValueError if it is not there."""
        paths = utils.split_paths(self.args.data)
        path = os.path.join(paths[(epoch - 1) % len(paths)], split)
        items = data_utils.load_indexed_dataset(path, self.source_dictionary, "mmap")
        if items is None or not os.path.exists(f"{path}.jsonl"):
            raise ValueError(f"{path}: there is no such split of nopos-make-task")
        with open(f"{path}.jsonl", encoding="utf-8") as file:
            records = [record(path, number, line) for number, line in enumerate(file, 1)]
        if len(records) != len(items):
            raise ValueError(f"{path}: {len(items):,} samples and {len(records):,} lines of text")
        for number, (one, size) in enumerate(zip(records, items.sizes, strict=True), 1):
            if not 0 < one["question_tokens"] < size:
                raise ValueError(
                    f"{path}.jsonl, line {number}: a question of {one['question_tokens']} tokens, "
                    f"of {size} with its answer"
                )
        return AnswerDataset(items, records, self.source_dictionary.pad())

    def lengths(self):
        """Those of all questions that were loaded, shortest first."""
        return sorted(set().union(*(dataset.lengths for dataset in self.datasets.values())))

    def are_right(self, questions, answers, records):
        """[bool] of answers, lists of indices, to questions, of which `records` say more.

        One with a special symbol of fairseq's, which no text shows, is wrong.
        """
        return [
            min(answer, default=len(SPECIAL)) >= len(SPECIAL)
            and self.problem.right(self.coder.decode(question + answer), record["answer"])
            for question, answer, record in zip(questions, answers, records, strict=True)
        ]


def record(path, number, line):
    """What a line of PATH.jsonl says. Raises ValueError if it is not one of nopos-make-task."""
    try:
        made = json.loads(line)
        if isinstance(made["length"], int) and isinstance(made["question_tokens"], int):
            made["answer"], made["completion"]
            return made
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(f"{path}.jsonl, line {number}: no question of nopos-make-task")


def problem(folder):
    """The task of data.reasoning that made the data-bin in `folder`. Raises ValueError if none."""
    made = manifest.read(folder).get("problem")
    if not isinstance(made, dict) or not made.keys() >= PROBLEM:
        raise ValueError(f"{folder}: no data-bin of nopos-make-task's questions and answers")
    return reasoning.build(made["task"], variant=made["variant"])
