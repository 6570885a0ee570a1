"""--attention-window and --document-mask, through models built from flags, and their evaluation."""

import copy
import functools

import attending
import pytest
import tiny
import torch
from attending import DIM, assert_all_close, case, in_chunks, ours, output, theirs, visited
from command import eval_lm, train
from fairseq import models
from formulas import END, FAMILIES, PAD, exact, order_of, visible
from tiny import built, logits

from nopos_plugin import positions

every_encoding = pytest.mark.parametrize("name", positions.names())
MASKS = [
    *({"window": window} for window in (1, 7, 29)),
    {"documents": True},
    {"window": 5, "documents": True},
]
every_mask = pytest.mark.parametrize("mask", MASKS, ids=str)


@functools.cache
def flagged(window, documents):
    """The config that fairseq-train makes of a mask's flags. (Parsing takes the most time.)"""
    flags = ["--attention-window", str(window)] if window else []
    return tiny.config("transformer_lm_nopos", *flags, *(["--document-mask"] if documents else []))


@functools.cache
def masked(name, window=None, documents=False):
    """The model of an encoding with the flags of a mask."""
    cfg = copy.deepcopy(flagged(window, documents))
    cfg.model.position_encoding = cfg.model.trained_position_encoding = name
    torch.manual_seed(1)
    return models.build_model(cfg.model, tiny.task(cfg)).eval()


def packed(rows, length, seed=0):
    """Tokens in which some row has documents of several lengths, and some an empty one."""
    tokens = tiny.tokens(rows, length, seed)
    tokens[0, [0, 3, 4, length // 2]] = END
    tokens[-1, length - 4] = END
    return tokens


def attentions(model, tokens):
    """(module, its input, its output), each (T, B, C), of the self-attention of every layer."""
    calls = []

    def keep(module, inputs, kwargs, result):
        calls.append((module, kwargs["query"], result[0]))

    hooks = [
        layer.self_attn.register_forward_hook(keep, with_kwargs=True)
        for layer in model.decoder.layers
    ]
    logits(model, tokens)
    for hook in hooks:
        hook.remove()
    return calls


def by_formula(name, encoding, attention, x, order, seen):
    """What the self-attention `attention` should give for `x` (T, B, C), in float64."""

    def linear(layer, inputs):
        return inputs @ layer.weight.detach().double().T + layer.bias.detach().double()

    x = x.double().transpose(0, 1)  # (B, T, C)
    q, k, v = (
        linear(layer, x).unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
        for layer in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    weights = {key: p.detach().double() for key, p in encoding.named_parameters()}
    out = exact(name, weights, q, k, v, order, seen)
    return linear(attention.out_proj, out.transpose(1, 2).flatten(2)).transpose(0, 1)


@every_mask
@pytest.mark.parametrize("name", FAMILIES)
def test_models_hide_what_their_flags_say(name, mask):
    model = masked(name, **mask)
    tokens = packed(3, 29)
    left = tiny.left_padded(tokens, (0, 4, 20))
    right = tokens.clone()
    right[1, 20:] = PAD
    for padded in (tokens, left, right):
        order, seen = order_of(name, padded), visible(padded, **mask)
        real = padded.ne(PAD).T
        calls = attentions(model, padded)
        assert len(calls) == 2
        for attention, x, found in calls:
            expected = by_formula(name, model.decoder.encoding, attention, x, order, seen)
            tiny.assert_close(found[real], expected[real], 1e-5)


@every_mask
@every_encoding
def test_every_kernel_hides_the_same(name, mask):
    encoding = tiny.encoding(name, num_heads=3, head_dim=DIM)
    for side in ("none", "both"):
        tokens, *vectors = case(3, 33, side, seed=4)
        tokens[0, [0, 7, 8, 21]] = END
        for new in (33, 6, 1):
            expected = theirs(encoding, tokens, *vectors, new=new, **mask)
            for kernel in (*attending.kernels(), "auto"):
                found = ours(encoding, kernel, tokens, *vectors, new=new, **mask)
                assert_all_close(found, expected, 1e-5)
            for kernel in attending.kernels(gradient=False):
                with torch.inference_mode():
                    found = output(encoding, kernel, tokens, *vectors, new=new, **mask)
                tiny.assert_close(found, expected[0], 1e-5)


@every_mask
@every_encoding
def test_in_chunks_is_the_full_pass(name, mask):
    model = masked(name, **mask)
    for pads in ((0, 0, 0), (0, 2, 21)):
        tokens = tiny.left_padded(packed(3, 24), pads)
        real = tokens.ne(PAD)
        expected = logits(model, tokens)[real]
        for sizes in ((1,) * 24, (5, 1, 1, 7, 10), (20, 4)):
            with torch.no_grad():
                tiny.assert_close(in_chunks(model.decoder, tokens, sizes)[real], expected, 1e-5)


@every_encoding
def test_a_window_as_wide_as_the_tokens_is_none(name):
    tokens = tiny.left_padded(tiny.tokens(3, 20), (0, 0, 6))
    expected = logits(built(name), tokens)
    for window in (20, 64, 10**9):
        tiny.assert_close(logits(masked(name, window=window), tokens), expected, 1e-6)
    narrow = logits(masked(name, window=19), tokens)
    tiny.assert_close(narrow[:, :19], expected[:, :19], 1e-6)
    assert (narrow[0, 19] - expected[0, 19]).abs().max() > 1e-5


@pytest.mark.parametrize("name", ["nopos", "alibi", "kerple_log", "kerple_power", "t5", "rope"])
def test_a_packed_block_is_its_documents_alone(name):
    model = masked(name, documents=True)
    tokens = packed(2, 40)
    found = logits(model, tokens)
    assert (found - logits(built(name), tokens)).abs().max() > 1e-3
    for row, begins in ((0, (0, 3, 4, 20, 40)), (1, (0, 36, 40))):
        for first, last in zip(begins, begins[1:], strict=False):
            alone = logits(built(name), tokens[row : row + 1, first:last])
            tiny.assert_close(found[row, first:last], alone[0], 1e-5)


@pytest.mark.parametrize("kernel", attending.kernels())
@pytest.mark.parametrize("name", ["rope", "alibi", "bipe_alibi"])
def test_keys_before_the_window_never_reach_a_kernel(name, kernel):
    encoding = tiny.encoding(name, num_heads=3, head_dim=DIM)
    for new in (1, 5):
        tokens, q, k, v = case(3, 30, "none")
        first = 30 - new - 6 + 1  # the oldest query sees it, and no query sees an older one
        expected = theirs(encoding, tokens, q, k, v, new=new, window=6)
        k[:, :, :first], v[:, :, :first] = torch.nan, torch.inf
        found = ours(encoding, kernel, tokens, q, k, v, new=new, window=6)
        assert_all_close(found, expected, 1e-5)
    if kernel != "sdpa":  # whose products are inside of PyTorch's kernel
        tensors = case(3, 30, "none")
        assert visited(encoding, kernel, *tensors, new=5, window=6) == 9 * 5 * 10


def score(data_bin, path, overrides=None, *flags, length=64):
    """Loss in bits of an evaluation in blocks of `length`."""
    typed = ("--model-overrides", str(overrides)) if overrides else ()
    return float(eval_lm(data_bin, path, "--tokens-per-sample", length, *typed, *flags)["loss"])


def test_a_window_for_evaluation_alone(data_bin, checkpoints, caplog):
    path = checkpoints("nopos")
    plain = score(data_bin, path)
    assert "attention window" not in caplog.text
    narrow = score(data_bin, path, {"attention_window": 8})
    assert "position encoding: nopos (no options), 0 parameters; attention window: 8" in caplog.text
    assert abs(narrow - plain) > 1e-4
    assert score(data_bin, path, {"attention_window": 64}) == pytest.approx(plain, abs=1e-6)
    # tokens that see only themselves know no more than blocks of a single token
    alone = score(data_bin, path, length=1)
    assert score(data_bin, path, {"attention_window": 1}) == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("name", ["nopos", "alibi", "rope", "t5"])
def test_documents_of_one_block_score_as_lines_alone(name, data_bin, checkpoints, caplog):
    lines = score(data_bin, checkpoints(name), None, "--sample-break-mode", "eos")
    caplog.clear()
    block = score(data_bin, checkpoints(name), {"document_mask": True}, length=1000)
    assert "; attention stays within documents" in caplog.text
    assert block == pytest.approx(lines, abs=1e-5)
    assert abs(block - score(data_bin, checkpoints(name), length=1000)) > 1e-4


def test_masks_of_the_training_stay_with_the_checkpoint(data_bin, tmp_path, caplog):
    flags = ("--attention-window", "5", "--document-mask")
    train(data_bin, "transformer_lm_alibi", tmp_path, *flags)
    path = tmp_path / "checkpoint_best.pt"
    caplog.clear()
    trained = score(data_bin, path)
    assert "; attention window: 5; attention stays within documents" in caplog.text
    overrides = {"attention_window": 5, "document_mask": True}
    assert score(data_bin, path, overrides) == trained
    wider = score(data_bin, path, {"attention_window": 64})
    assert abs(wider - trained) > 1e-4
    assert score(data_bin, path, {"attention_window": None}) == pytest.approx(wider, abs=1e-6)


def test_checkpoints_from_before_the_masks_load(data_bin, checkpoints, tmp_path):
    path = checkpoints("kerple_log")
    state = torch.load(path)
    for key in ("attention_window", "document_mask", "attention_kernel"):
        del state["cfg"]["model"][key]
    torch.save(state, tmp_path / "before.pt")
    assert score(data_bin, tmp_path / "before.pt") == score(data_bin, path)
