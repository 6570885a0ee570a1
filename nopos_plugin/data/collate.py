"""Samples with a source and a target to a batch, as fairseq's models and criterions take it."""

import torch
from fairseq.data import data_utils


def collate(samples, pad):
    """`samples`: {"id", "source", "target"}. `ntokens` counts targets but for `pad`; {} of none."""
    if not samples:
        return {}
    target = data_utils.collate_tokens([sample["target"] for sample in samples], pad)
    return {
        "id": torch.tensor([sample["id"] for sample in samples]),
        "nsentences": len(samples),
        "ntokens": int((target != pad).sum()),
        "net_input": {
            "src_tokens": data_utils.collate_tokens([s["source"] for s in samples], pad),
            "src_lengths": torch.tensor([len(sample["source"]) for sample in samples]),
        },
        "target": target,
    }
