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
from nopos_plugin.prepare.tokenizers.coder import Coder, of_data_bin


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
            records = [json.loads(line) for line in file]
        if len(records) != len(items):
            raise ValueError(f"{path}: {len(items):,} samples and {len(records):,} lines of text")
        return AnswerDataset(items, records, self.source_dictionary.pad())

    def are_right(self, questions, answers, records):
        """[bool] of answers, lists of indices, to questions, of which `records` say more."""
        return [
            self.problem.right(self.coder.decode(question + answer), record["answer"])
            for question, answer, record in zip(questions, answers, records, strict=True)
        ]


def problem(folder):
    """The task of data.reasoning that made the data-bin in `folder`. Raises ValueError if none."""
    made = manifest.read(folder).get("problem")
    if not made:
        raise ValueError(f"{folder}: no data-bin of nopos-make-task's questions and answers")
    return reasoning.get(made["task"])(made["variant"])
