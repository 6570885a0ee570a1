"""Questions and their answers, of which the answers alone are in the loss."""

from functools import cached_property

import numpy as np

from nopos_plugin.data.collate import collate
from nopos_plugin.data.sized import SizedDataset


class AnswerDataset(SizedDataset):
    """A sample is a question, its answer and `</s>`; positions start at the question.

    items: an indexed dataset of samples. records: what is known of each, a dictionary, of which
    `question_tokens` says where its answer begins. A batch brings along "records", and as
    "questions" lists of indices. taken: which of the items, all unless given.
    """

    def __init__(self, items, records, pad, taken=None):
        self.items, self.records, self.pad = items, records, pad
        self.taken = np.arange(len(items)) if taken is None else taken
        self.sizes = np.asarray(items.sizes)[self.taken] - 1

    @cached_property
    def lengths(self):
        """Of all items, a set."""
        return {record["length"] for record in self.records}

    def evenly(self, most):
        """The same of `most` samples, evenly taken; all for None."""
        count = len(self)
        if most is None or most >= count:
            return self
        taken = self.taken[np.arange(most) * count // most]
        return AnswerDataset(self.items, self.records, self.pad, taken)

    def by_length(self, most):
        """[(length, indices of `most` samples, evenly taken)], shortest first."""
        found: dict[int, list[int]] = {}
        for index, place in enumerate(self.taken):
            found.setdefault(self.records[place]["length"], []).append(index)
        return [
            (length, [found[length][n * len(found[length]) // count] for n in range(count)])
            for length in sorted(found)
            for count in (min(most, len(found[length])),)
        ]

    def __getitem__(self, index):
        """source (N,), target (N,): what comes next, a pad up to the answer."""
        place = self.taken[index]
        item, record = self.items[place].long(), self.records[place]
        target = item[1:].clone()
        target[: record["question_tokens"] - 1] = self.pad
        return {"id": index, "source": item[:-1], "target": target, "record": record}

    def collater(self, samples):
        batch = collate(samples, self.pad)
        if samples:
            batch["records"] = records = [sample["record"] for sample in samples]
            batch["questions"] = [
                sample["source"][: record["question_tokens"]].tolist()
                for sample, record in zip(samples, records, strict=True)
            ]
        return batch
