"""Losses of the targets that a batch scores, and nothing computed for the others but context."""

from itertools import pairwise

import torch
import torch.nn.functional as F

LOGITS = {"cpu": 2**25, "cuda": 2**28}  # of one chunk of the output layer, at most


def nats(model, sample, pad):
    """-ln p of the scored targets of a batch, (N,) float32, row by row.

    model: a language model of fairseq's, in eval mode. sample: a batch whose `target` (B, T) is
    `pad` where nothing is scored. Only scored positions reach the output layer; where the decoder
    knows `last`, its last layer makes no others after the first scored one.
    """
    target = sample["target"]
    scored = target != pad
    skipped = int(scored.any(0).int().argmax())
    features = last_features(model, sample["net_input"], target.size(1) - skipped)
    features, target = features[scored[:, skipped:]], target[scored]  # (N, C), (N,)
    return target_nats(model.decoder, features, target)


def last_features(model, net_input, count):
    """Features (B, count, C) of the last `count` positions."""
    if getattr(model.decoder, "knows_last", False):
        return model(**net_input, features_only=True, last=count)[0]
    return model(**net_input, features_only=True)[0][:, -count:]


def target_nats(decoder, features, target):
    """-ln p (N,) float32 of `target` (N,) after `features` (N, C)."""
    adaptive = getattr(decoder, "adaptive_softmax", None)
    one = full_nats if adaptive is None else adaptive_nats
    output = decoder.output_layer if adaptive is None else adaptive
    size = max(1, LOGITS.get(features.device.type, LOGITS["cpu"]) // widest(decoder))
    chunks = zip(features.split(size), target.split(size), strict=True)
    return torch.cat([one(output, *chunk) for chunk in chunks])


def widest(decoder):
    """Logits of a target, at most."""
    adaptive = getattr(decoder, "adaptive_softmax", None)
    if adaptive is None:
        return decoder.output_projection.weight.size(0)
    cutoff = adaptive.cutoff
    return max(cutoff[0] + len(cutoff) - 1, *(b - a for a, b in pairwise(cutoff)))


def full_nats(output_layer, features, target):
    logits = output_layer(features.unsqueeze(0)).squeeze(0)  # (N, V)
    return F.cross_entropy(logits.float(), target, reduction="none")


def adaptive_nats(adaptive, features, target):
    """Those of the head, and of each cluster for the targets within it alone."""
    logits, targets = adaptive(features, target)
    total = F.cross_entropy(logits[0].float(), targets[0], reduction="none")
    for number, (cluster, within) in enumerate(zip(logits[1:], targets[1:], strict=True)):
        if within is not None:
            rows = targets[0] == adaptive.cutoff[0] + number
            total[rows] += F.cross_entropy(cluster.float(), within, reduction="none")
    return total
