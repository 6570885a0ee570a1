"""Blocks with the tokens before them as context, for fairseq-eval-lm --context-window."""

import numpy as np
import torch
from fairseq.data import FairseqDataset, data_utils


class ContextDataset(FairseqDataset):
    """The blocks of a MonolingualDataset, each after the `context` source tokens before it.

    Fewer after a block of more than `size` tokens: block and context have size + context at most.
    What fairseq's LMContextWindowDataset makes with one worker and one shard, in order, for any
    number and order of them; and a block's size counts its context.
    """

    def __init__(self, dataset, size, context, pad):
        self.dataset, self.pad = dataset, pad
        sizes = dataset.sizes.astype(np.int64)
        self.contexts = (size + context - sizes).clip(0, context)
        self.before = sizes.cumsum() - sizes
        self.most = int(self.contexts.max(initial=0))
        self.latest = (
            -2,
            torch.empty(0, dtype=torch.long),
        )  # index of a block, and what ends with it

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        block, before = self.dataset[index], self.sources_before(index)
        source = torch.cat([before, block["source"]])
        self.latest = index, source
        skipped = min(len(before), int(self.contexts[index]))
        source = source[len(before) - skipped :]
        target = torch.cat([block["target"].new_full((skipped,), self.pad), block["target"]])
        return {"id": block["id"], "source": source, "target": target, "skipped": skipped}

    def sources_before(self, index):
        """The most tokens that are context of any block, before block `index`; fewer at the start.

        What was read last is used again: blocks come in order, and are short where context is long.
        """
        wanted = int(min(self.most, self.before[index]))
        latest, source = self.latest
        if latest == index - 1 and len(source) >= wanted:
            return source[len(source) - wanted :]
        sources, missing = [], wanted
        while missing > 0:
            index -= 1
            sources.append(self.dataset[index]["source"][-missing:])
            missing -= len(sources[-1])
        return torch.cat(sources[::-1]) if sources else torch.empty(0, dtype=torch.long)

    def collater(self, samples):
        """As MonolingualDataset's; `start_indices`: where in each row the block begins."""
        source, target = (
            data_utils.collate_tokens([sample[name] for sample in samples], self.pad)
            for name in ("source", "target")
        )
        lengths = torch.tensor([len(sample["source"]) for sample in samples])
        return {
            "id": torch.tensor([sample["id"] for sample in samples]),
            "nsentences": len(samples),
            "ntokens": sum(len(s["target"]) - s["skipped"] for s in samples),
            "net_input": {"src_tokens": source, "src_lengths": lengths},
            "target": target,
            "start_indices": [sample["skipped"] for sample in samples],
        }

    def num_tokens(self, index):
        return int(self.dataset.sizes[index] + min(self.contexts[index], self.before[index]))

    def size(self, index):
        return self.num_tokens(index)

    def ordered_indices(self):
        return np.arange(len(self))
