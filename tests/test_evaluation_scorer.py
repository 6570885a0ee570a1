"""Losses of scored targets equal those of all logits, for every model."""

import pytest
import tiny
import torch
import torch.nn.functional as F

from nopos_plugin import positions
from nopos_plugin.evaluation import scorer
from nopos_plugin.evaluation.scorer import nats

PAD = 1
ADAPTIVE = ("--criterion", "adaptive_loss", "--adaptive-softmax-cutoff", "12,30")
STOCK = ("--decoder-normalize-before",)


def batch(*scored, length=20):
    """Rows of `length` inputs; (begin, end) of what each scores, pads after it."""
    source, target = tiny.tokens(len(scored), length), tiny.tokens(len(scored), length, seed=1)
    for row, (begin, end) in enumerate(scored):
        target[row, :begin], target[row, end:], source[row, end:] = PAD, PAD, PAD
    return {"net_input": {"src_tokens": source}, "target": target}


def expected(model, sample):
    """From the probabilities of all positions."""
    with torch.no_grad():
        made = model(**sample["net_input"])
        probabilities = model.get_normalized_probs(made, log_probs=True, sample=sample)
    target = sample["target"]
    found = -probabilities.gather(2, target.unsqueeze(2)).squeeze(2)
    return found[target != PAD]


SAMPLES = (
    batch((0, 20), (0, 20)),
    batch((15, 20), (15, 20), (15, 20)),
    batch((19, 20)),
    batch((3, 9), (12, 20), (0, 1)),
)


@pytest.mark.parametrize("flags", [(), ADAPTIVE], ids=["full", "adaptive"])
@pytest.mark.parametrize(
    "arch", [*(f"transformer_lm_{n}" for n in positions.names()), "transformer_lm"]
)
def test_losses_are_those_of_all_logits(arch, flags):
    model = tiny.model(arch, *flags)
    for sample in SAMPLES:
        with torch.no_grad():
            found = nats(model, sample, PAD)
        assert found.dtype == torch.float32
        tiny.assert_close(found, expected(model, sample), 1e-5)


@pytest.mark.parametrize("flags", [(), ADAPTIVE], ids=["full", "adaptive"])
def test_chunks_of_the_output_layer_are_one(flags, monkeypatch):
    model = tiny.model("transformer_lm_rope", *flags)
    monkeypatch.setattr(scorer, "LOGITS", {"cpu": 150})
    for sample in SAMPLES:
        with torch.no_grad():
            tiny.assert_close(nats(model, sample, PAD), expected(model, sample), 1e-5)


@pytest.mark.parametrize("flags", [(), STOCK], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("name", positions.names())
def test_the_last_tokens_alone_are_those_of_all(name, flags):
    model = tiny.model(f"transformer_lm_{name}", *flags)
    tokens = tiny.tokens(3, 20)
    tokens[1, 14:] = PAD
    with torch.no_grad():
        every = model(tokens, features_only=True)[0]
        for last in (1, 7, 19, 20):
            found = model(tokens, features_only=True, last=last)[0]
            tiny.assert_close(found[:, :14], every[:, -last:][:, :14], 1e-5)


@pytest.mark.parametrize("option", [("--attention-window", "5"), ("--document-mask",)], ids=str)
def test_the_last_tokens_with_a_mask(option):
    model = tiny.model("transformer_lm_kerple_log", *option)
    tokens = tiny.tokens(2, 20)
    tokens[:, ::6] = 2
    with torch.no_grad():
        every = model(tokens, features_only=True)[0]
        tiny.assert_close(model(tokens, features_only=True, last=4)[0], every[:, -4:], 1e-5)


class Shapes(torch.utils._python_dispatch.TorchDispatchMode):
    """Rows of what is multiplied, of every linear layer."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in ("mm", "addmm"):
            self.rows.append((args[-2].size(0), args[-1].size(1)))
        return func(*args, **(kwargs or {}))


def test_only_scored_positions_reach_the_last_layer_and_the_output():
    model = tiny.model("transformer_lm_alibi")
    with torch.no_grad(), Shapes() as shapes:
        nats(model, batch((15, 20), (15, 20)), PAD)
    assert shapes.rows[-1] == (10, 64)  # logits: 2 rows of 5, 64 types
    assert shapes.rows.count((10, 96)) == 1  # feed-forward of the last layer
    assert shapes.rows.count((40, 96)) == 1  # and of the one before


def test_targets_outside_clusters_leave_them_alone():
    model = tiny.model("transformer_lm_alibi", *ADAPTIVE)
    sample = batch((15, 20), (15, 20))
    sample["target"][sample["target"] >= 12] = 11
    with torch.no_grad(), Shapes() as shapes:
        nats(model, sample, PAD)
    assert shapes.rows[-1] == (10, 12 + 2)  # the head only


def test_a_loss_is_float32_whatever_the_model():
    model = tiny.model("transformer_lm_alibi").to(torch.bfloat16)
    sample = SAMPLES[1]
    with torch.no_grad():
        found = nats(model, sample, PAD)
        logits = model(**sample["net_input"])[0].float()
    target = sample["target"]
    plain = F.cross_entropy(logits[target != PAD], target[target != PAD], reduction="none")
    assert found.dtype == torch.float32
    tiny.assert_close(found, plain, 3e-2)
