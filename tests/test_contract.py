"""What every registered position encoding owes to its users, through models built from flags."""

import copy

import attending
import pytest
import tiny
import torch
from attending import in_chunks
from tiny import built, logits

from nopos_plugin import positions

PAD = 1
NAMES = positions.names()
every_encoding = pytest.mark.parametrize("name", NAMES)


def gradients(model):
    """By name, after the backward of a training step whose dropout draws from one seed."""
    torch.manual_seed(0)
    tokens = tiny.left_padded(tiny.tokens(3, 40), (0, 3, 17))
    model.train()(tokens)[0].logsumexp(-1).sum().backward()
    return {key: p.grad for key, p in model.named_parameters() if p.grad is not None}


@every_encoding
@pytest.mark.parametrize("token", [4, 9])  # a full stop, which ends BiPE's segments, and a word
def test_causal(name, token):
    tokens = tiny.tokens(2, 30)
    before = logits(built(name), tokens)
    for changed in (0, 7, 28, 29):
        other = tokens.clone()
        other[1, changed] = token if tokens[1, changed] != token else 10
        after = logits(built(name), other)
        assert torch.equal(after[1, :changed], before[1, :changed])
        assert not torch.equal(after[1, changed], before[1, changed])
        assert torch.equal(after[0], before[0])


@every_encoding
@pytest.mark.parametrize("pads", [(0, 0, 0), (0, 2, 11)])
@pytest.mark.parametrize("sizes", [(1,) * 24, (5, 1, 1, 7, 10), (24,)])
def test_step_by_step_is_the_full_pass(name, sizes, pads):
    tokens = tiny.left_padded(tiny.tokens(3, 24), pads)
    with torch.no_grad():
        stepped = in_chunks(built(name).decoder, tokens, sizes)
    real = tokens.ne(PAD)
    tiny.assert_close(stepped[real], logits(built(name), tokens)[real], 1e-5)


@every_encoding
def test_caches_follow_the_beams(name):
    decoder = built(name).decoder
    tokens = tiny.left_padded(tiny.tokens(4, 24), (0, 5, 0, 2))
    cache = {}
    with torch.no_grad():
        for seen in (6, 7, 8):
            decoder(tokens[:, :seen], incremental_state=cache)
        # beams permuted, doubled and dropped; then one row more
        for order in map(torch.tensor, ([2, 0, 0, 3], [3, 1, 0, 1, 2])):
            decoder.reorder_incremental_state_scripting(cache, order)
            tokens = tokens[order]
            for _ in range(2):
                seen += 1
                tokens[:, seen:] = tiny.tokens(len(tokens), 24 - seen, seed=seen)  # beams part
                stepped = decoder(tokens[:, :seen], incremental_state=cache)[0]
                full = logits(built(name), tokens[:, :seen])
                tiny.assert_close(stepped[:, 0], full[:, -1], 1e-5)


@every_encoding
def test_padded_rows_are_the_rows_alone(name):
    tokens = tiny.tokens(3, 30)
    left = logits(built(name), tiny.left_padded(tokens, (0, 4, 29)))
    right = tokens.clone()
    right[1, 20:], right[2, 1:] = PAD, PAD
    right = logits(built(name), right)
    for row, pads, kept in ((0, 0, 30), (1, 4, 20), (2, 29, 1)):
        alone = logits(built(name), tokens[row : row + 1])[0]
        tiny.assert_close(left[row, pads:], alone[: 30 - pads], 1e-5)
        tiny.assert_close(right[row, :kept], alone[:kept], 1e-5)


@every_encoding
@pytest.mark.parametrize("kernel", ["auto", *attending.kernels(gradient=False)[1:]])
def test_kernels_give_the_reference(name, kernel):
    reference, other = (copy.deepcopy(built(name)) for _ in range(2))
    assert other.decoder.kernel == "auto"
    reference.decoder.kernel, other.decoder.kernel = "reference", kernel
    for tokens in (tiny.tokens(2, 50), tiny.left_padded(tiny.tokens(3, 50), (0, 1, 30))):
        tiny.assert_close(logits(other, tokens), logits(reference, tokens), 1e-5)
    if kernel not in ("auto", *attending.kernels()):
        return
    expected, found = gradients(reference), gradients(other)
    assert found.keys() == expected.keys()
    for key, grad in found.items():
        tiny.assert_close(grad, expected[key], 2e-5)  # sums over 103 tokens


@every_encoding
def test_beyond_the_trained_length_it_runs_or_says_why_not(name):
    model, tokens = built(name), tiny.tokens(2, 100)
    trained = logits(model, tokens[:, :64])
    ceiling = model.decoder.encoding.max_positions
    if ceiling is None:
        longer = logits(model, tokens)
        assert longer.isfinite().all()
        tiny.assert_close(longer[:, :64], trained, 1e-5)
    else:
        assert ceiling == 64 and trained.isfinite().all()
        with pytest.raises(ValueError, match=f"{name} ends at 64 tokens, and a sequence has 100"):
            model(tokens)


@every_encoding
@pytest.mark.parametrize("flag", ["--checkpoint-activations", "--offload-activations"])
def test_recomputed_activations_give_the_same_gradients(name, flag):
    plain = tiny.model(f"transformer_lm_{name}", dropout=0.1, attention_dropout=0.1)
    thrifty = tiny.model(f"transformer_lm_{name}", flag, dropout=0.1, attention_dropout=0.1)
    made = []
    for times, model in ((1, plain), (2, thrifty)):
        calls = []
        model.decoder.layers[1].fc1.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        made.append(gradients(model))
        assert len(calls) == times
    expected, recomputed = made
    assert recomputed.keys() == expected.keys()
    for key, grad in recomputed.items():
        torch.testing.assert_close(grad, expected[key], rtol=1e-5, atol=1e-6)
    for key, _ in plain.decoder.encoding.named_parameters():
        assert recomputed[f"decoder.encoding.{key}"].any()


@pytest.mark.parametrize("kernel", attending.kernels(dropout=0.5))
def test_attention_dropout_is_for_training(kernel):
    model = tiny.model("transformer_lm_alibi", "--attention-kernel", kernel, attention_dropout=0.5)
    assert model.decoder.kernel == kernel
    tokens = tiny.tokens(2, 20)
    trained, again = (logits(model.train(), tokens) for _ in range(2))
    assert (trained - again).abs().max() > 1e-3
    tiny.assert_close(logits(model.eval(), tokens), logits(built("alibi"), tokens), 1e-5)


@every_encoding
@pytest.mark.parametrize("precision", ["half", "bfloat16", "autocast"])
def test_low_precision_trains(name, precision):
    """As exactly as with the reference kernel, and with float32 gradients of learned biases."""
    exact = gradients(copy.deepcopy(built(name)))
    errors = {}
    for kernel in ("reference", "auto"):
        model = copy.deepcopy(built(name))
        model.decoder.kernel = kernel
        if precision == "autocast":
            with torch.autocast("cpu", torch.bfloat16):
                found = gradients(model)
        else:
            found = gradients(model.to(getattr(torch, precision)))
        assert found.keys() == exact.keys()
        assert all(grad.isfinite().all() for grad in found.values())
        if model.decoder.encoding.float32_parameters:
            kept = [grad for key, grad in found.items() if ".encoding." in key]
            assert kept and all(grad.dtype == torch.float for grad in kept)
        errors[kernel] = torch.stack(
            [
                (found[key].double() - grad).norm() / grad.norm()
                for key, grad in exact.items()
                if not key.endswith("k_proj.bias")  # which softmax cancels: rounding alone
            ]
        )
    assert errors["auto"].mean() <= 1.3 * errors["reference"].mean()


@every_encoding
def test_layerdrop_trains(name):
    model = tiny.model(f"transformer_lm_{name}", decoder_layerdrop=0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    tokens, depths = tiny.tokens(2, 20), set()
    for seed in range(8):
        torch.manual_seed(seed)
        optimizer.zero_grad()
        made, extra = model.train()(tokens)
        made.float().log_softmax(-1)[..., 5].mean().neg().backward()
        optimizer.step()
        depths.add(len(extra["inner_states"]) - 1)
    assert depths == {0, 1, 2}
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert not torch.equal(logits(model.eval(), tokens), logits(built(name), tokens))
    with torch.no_grad():
        stepped = in_chunks(model.decoder, tokens, (7, 13))
    tiny.assert_close(stepped, logits(model, tokens), 1e-5)


@every_encoding
def test_given_positions(name):
    model, tokens = built(name), tiny.tokens(2, 30)
    counted = torch.arange(30).expand(2, 30)
    if not model.decoder.encoding.accepts_given:
        with pytest.raises(ValueError, match=f"--position-encoding {name} makes its own positions"):
            model(tokens, positions=counted)
        return
    plain = logits(model, tokens)
    tiny.assert_close(logits(model, tokens, positions=counted), plain, 1e-5)
    padded, shifted = tiny.left_padded(tokens, (0, 9)), counted - torch.tensor([[0], [9]])
    padded = logits(model, padded, positions=shifted.clamp(min=0))
    tiny.assert_close(padded[1, 9:], plain[1, :21], 1e-5)
    jumping = counted + 30 * (counted > 11)
    jumped = logits(model, tokens, positions=jumping)
    tiny.assert_close(jumped[:, :12], plain[:, :12], 1e-5)
    assert (jumped[:, 12:] - plain[:, 12:]).abs().max() > 1e-3
    cache = {}
    with torch.no_grad():
        for seen in (10, 20, 30):
            chunk = model.decoder(
                tokens[:, :seen], incremental_state=cache, positions=jumping[:, :seen]
            )[0]
            tiny.assert_close(chunk, jumped[:, seen - 10 : seen], 1e-5)


@every_encoding
def test_one_head_and_one_token(name):
    model = built(name, decoder_attention_heads=1)
    tokens = tiny.tokens(2, 9)
    tiny.assert_close(logits(model, tokens[:, :1]), logits(model, tokens)[:, :1], 1e-5)


@every_encoding
def test_training_goes_on_after_inference_mode(name):
    model = copy.deepcopy(built(name))
    tokens = tiny.tokens(2, 33)
    with torch.inference_mode():
        seen = model(tokens)[0].clone()
    assert torch.equal(logits(model, tokens), seen)
    expected = gradients(copy.deepcopy(built(name)))
    assert all(torch.equal(grad, expected[key]) for key, grad in gradients(model).items())
