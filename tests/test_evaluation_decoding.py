"""Greedy decoding with the cache, against the most likely token of whole passes, row by row."""

import pytest
import tiny
import torch
from fairseq import models

from nopos_plugin import positions
from nopos_plugin.evaluation.decoding import greedy

PAD, EOS = 1, 2
LENGTHS = (9, 30, 17)


def expected(model, prompt, count):
    """Token by token, each by a pass over all before it."""
    row = list(prompt)
    for _ in range(count):
        scores = tiny.logits(model, torch.tensor([row]))[0, -1].clone()
        scores[PAD] = -torch.inf
        row.append(int(scores.argmax()))
    found = row[len(prompt) :]
    return found[: found.index(EOS)] if EOS in found else found


def prompts():
    rows = tiny.tokens(len(LENGTHS), max(LENGTHS)).tolist()
    return [[EOS, *row[: length - 1]] for row, length in zip(rows, LENGTHS, strict=True)]


def sharpened(model):
    """Its answers, which are one token again and again otherwise, differ from step to step."""
    weight = model.decoder.output_projection.weight
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        weight.copy_(torch.randn(weight.shape, generator=generator))
    return model


SCALED = "scaling=dynamic_ntk,factor=4,original_length=8"


@pytest.mark.parametrize("name", [*positions.names(), "dynamic_ntk", "stock"])
def test_greedy_is_the_most_likely_token_of_whole_passes(name):
    if name == "stock":
        cfg = tiny.config("transformer_lm")
        torch.manual_seed(1)
        model = models.build_model(cfg.model, tiny.task(cfg)).eval()
    elif name == "dynamic_ntk":
        model = tiny.model("transformer_lm_rope", "--position-args", SCALED)
    else:
        model = tiny.model(f"transformer_lm_{name}")
    model = sharpened(model)
    found = greedy(model, prompts(), 8, EOS, PAD)
    assert found == [expected(model, prompt, 8) for prompt in prompts()]
    assert len({token for row in found for token in row}) > 4


def test_a_row_ends_before_its_end():
    model = sharpened(tiny.model("transformer_lm_rope"))
    full = greedy(model, prompts(), 8, -1, PAD)
    assert [len(row) for row in full] == [8, 8, 8]
    token = full[0][3]
    cut = greedy(model, prompts(), 8, token, PAD)
    assert cut == [row[: row.index(token)] if token in row else row for row in full]


def test_pads_are_never_said():
    model = sharpened(tiny.model("transformer_lm_nopos"))
    with torch.no_grad():
        weight = model.decoder.output_projection.weight
        weight[PAD] = 3 * weight[greedy(model, prompts(), 1, EOS, PAD)[0][0]]
    assert all(PAD not in row for row in greedy(model, prompts(), 8, EOS, PAD))


def test_only_new_tokens_are_run(monkeypatch):
    model = sharpened(tiny.model("transformer_lm_alibi"))
    seen = []
    layer = model.decoder.layers[0]
    forward = type(layer).forward
    monkeypatch.setattr(
        type(layer), "forward", lambda *a, **k: seen.append(a[1].size(0)) or forward(*a, **k)
    )
    greedy(model, prompts(), 4, EOS, PAD)
    assert seen == [30, 30, 1, 1, 1, 1, 1, 1]  # two layers
