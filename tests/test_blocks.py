"""The options of the blocks: logits and gradients are those of a decoder retyped in float64."""

import copy
import functools
import math
import re
import shutil

import attending
import forked
import pytest
import tiny
import torch
import torch.nn.functional as F
from command import SIZE, TRAINING, eval_lm, fairseq, train
from fairseq import models
from formulas import BIASES, PAD, exact, order_of, turned, visible
from omegaconf import OmegaConf

STOCK = {
    "decoder_layers": 2,
    "decoder_embed_dim": 48,
    "decoder_attention_heads": 4,
    "decoder_norm": "layer",
    "decoder_norm_eps": 1e-5,
    "activation_fn": "relu",
    "final_logit_scale": 1.0,
    "position_args": "",
    "absent_symbols": "",
}
BEFORE = {"decoder_normalize_before": True}
SHARED = {"decoder_kv_heads": 2}
PARALLEL = {**BEFORE, "decoder_parallel_residual": True}
TIED = {"share_decoder_input_output_embed": True}
BIASLESS = {**BEFORE, "decoder_norm": "rms", "decoder_no_bias": True, "no_scale_embedding": True}
# The blocks of released models. In the last a head is wider than a share of the embedding.
LLAMA = {**BIASLESS, **SHARED, "decoder_norm_eps": 1e-6, "decoder_glu": "swiglu"}
NEOX = {
    **PARALLEL,
    "decoder_attention_heads": 3,
    "activation_fn": "gelu",
    "no_scale_embedding": True,
    "position_args": "fraction=0.25",
}
CODELM = {
    **BIASLESS,
    **TIED,
    "decoder_head_dim": 20,
    "decoder_unscaled_attention": True,
    "final_logit_scale": 48**-0.5,
}
UNDROPPED = {"attention_dropout": 0, "activation_dropout": 0, "decoder_final_dropout": 0}
COMBINED = {
    "llama": ("rope", LLAMA),
    "neox": ("rope", NEOX),
    "codelm": ("t5", CODELM),
    "shared-kerple": ("kerple_log", SHARED),
}
# name: (suffix of the architecture, what is typed, what the architecture implies)
CASES = {
    **COMBINED,
    "rms": ("nopos", {"decoder_norm": "rms", "decoder_norm_eps": 0.01}),
    "rms-before": ("nopos", {**BEFORE, "decoder_norm": "rms"}),
    "layer-eps": ("nopos", {**BEFORE, "decoder_norm_eps": 0.01}),
    "no-bias": ("nopos", {"decoder_no_bias": True}),
    "swiglu": ("nopos", {"decoder_glu": "swiglu"}),
    "geglu": ("nopos", {**BEFORE, "decoder_glu": "geglu"}),
    "wide-heads": ("rope", {"decoder_head_dim": 20}),
    "five-heads": ("alibi", {"decoder_attention_heads": 5, "decoder_head_dim": 6}),
    "shared": ("nopos", SHARED),
    "one-shared": ("nopos", {"decoder_kv_heads": 1, "decoder_head_dim": 8}),
    "parallel": ("nopos", PARALLEL),
    "parallel-glu": ("nopos", {**PARALLEL, "decoder_glu": "geglu"}),
    "unscaled": ("nopos", {"decoder_unscaled_attention": True}),
    "logit-scale": ("nopos", {"final_logit_scale": 0.3}),
    "absent": ("nopos", {"absent_symbols": "<s>|w3|w7"}),
    "shared-part": ("rope", {**SHARED, "position_args": "fraction=0.5"}),
    "shared-pairs": ("rope", {**SHARED, "position_args": "layout=interleaved"}),
    "wide-part": (
        "rope",
        {"decoder_head_dim": 20, "position_args": "fraction=0.4,layout=interleaved"},
    ),
    "shared-alibi": ("alibi", {"decoder_kv_heads": 1}),
    "gpt3": ("rope_gpt3_small", {"decoder_glu": "swiglu"}, {**BEFORE, **TIED}),
    "bipe_151m": ("rope_bipe_151m", {}, {**BIASLESS, "decoder_glu": "swiglu"}),
    "codelm_1b": (
        "alibi_codelm_1b",
        {"decoder_head_dim": 20},
        {**CODELM, "decoder_norm_eps": 1e-6},
    ),
    "t5tiny": ("t5_t5tiny", {}, {**CODELM, "decoder_norm_eps": 1e-6, "decoder_head_dim": 32}),
    "t5base": (
        "nopos_t5base",
        {"decoder_head_dim": 20, **UNDROPPED},
        {**CODELM, "decoder_norm_eps": 1e-6},
    ),
}
ACTIVATIONS = {
    "relu": lambda x: x.clamp(min=0),
    "gelu": lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2,
    "geglu": lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2,
    "swiglu": lambda x: x / (1 + torch.exp(-x)),
}
every_combination = pytest.mark.parametrize("name", COMBINED)


def flags(options):
    """As they are typed."""
    typed = []
    for name, value in options.items():
        typed += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return typed


def made(name, *more):
    """The model of a case, with `more` flags; none of its parameters are zeros or ones."""
    arch, typed, *_ = CASES[name]
    model = tiny.model(f"transformer_lm_{arch}", *flags(typed), *more)
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=draw)
    return model


built = functools.cache(made)  # models that no test may change


class Retyped:
    """The decoder of a case in the papers' formulas; the parameters of `model` in float64."""

    def __init__(self, name, model):
        arch, *options = CASES[name]
        self.said = functools.reduce(dict.__or__, options, STOCK)
        self.encoding = re.match("kerple_log|[a-z0-9]+", arch)[0]
        self.weights = {
            key.removeprefix("decoder."): p.detach().double().requires_grad_()
            for key, p in model.named_parameters()
        }
        self.rms = self.said["decoder_norm"] == "rms"
        self.heads = self.said["decoder_attention_heads"]
        self.dim = self.said.get("decoder_head_dim", self.said["decoder_embed_dim"] // self.heads)

    def features(self, tokens):
        """(B, T, C) of `tokens` (B, T)."""
        said = self.said
        x = self.weights["embed_tokens.weight"][tokens]
        if "no_scale_embedding" not in said:
            x = x * math.sqrt(said["decoder_embed_dim"])
        for number in range(said["decoder_layers"]):
            layer = f"layers.{number}"
            first, second = f"{layer}.self_attn_layer_norm", f"{layer}.final_layer_norm"
            if "decoder_parallel_residual" in said:
                seen = self.attention(self.norm(x, first), tokens, layer)
                x = x + seen + self.feed_forward(self.norm(x, second), layer)
            elif "decoder_normalize_before" in said:
                x = x + self.attention(self.norm(x, first), tokens, layer)
                x = x + self.feed_forward(self.norm(x, second), layer)
            else:
                x = self.norm(x + self.attention(x, tokens, layer), first)
                x = self.norm(x + self.feed_forward(x, layer), second)
        return self.norm(x, "layer_norm") if "decoder_normalize_before" in said else x

    def logits(self, tokens):
        """(B, T, V); -inf for symbols that are absent."""
        tied = "share_decoder_input_output_embed" in self.said
        output = self.weights[f"{'embed_tokens' if tied else 'output_projection'}.weight"]
        scores = self.features(tokens) @ output.T * self.said["final_logit_scale"]
        absent = [one for one in self.said["absent_symbols"].split("|") if one]
        scores[..., [tiny.dictionary().index(one) for one in absent]] = -torch.inf
        return scores

    def biased(self, x, name, has_one):
        assert (f"{name}.bias" in self.weights) == has_one
        return x + self.weights[f"{name}.bias"] if has_one else x

    def norm(self, x, name):
        if not self.rms:
            x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + self.said["decoder_norm_eps"]).sqrt()
        has_bias = not self.rms and "decoder_no_bias" not in self.said
        return self.biased(x * self.weights[f"{name}.weight"], name, has_bias)

    def linear(self, x, name):
        x = x @ self.weights[f"{name}.weight"].T
        return self.biased(x, name, "decoder_no_bias" not in self.said)

    def feed_forward(self, x, layer):
        x, glu = self.linear(x, f"{layer}.fc1"), self.said.get("decoder_glu")
        if glu:
            gate, value = x.split(x.size(-1) // 2, -1)
            x = ACTIVATIONS[glu](gate) * value
        else:
            x = ACTIVATIONS[self.said["activation_fn"]](x)
        return self.linear(x, f"{layer}.fc2")

    def attention(self, x, tokens, layer):
        """Query head h has the key/value head h // (heads a key/value head)."""
        q, k, v = (
            self.linear(x, f"{layer}.self_attn.{one}_proj").split(self.dim, -1) for one in "qkv"
        )
        share = self.heads // self.said.get("decoder_kv_heads", self.heads)
        assert (len(q), len(k), len(v)) == (self.heads, *2 * [self.heads // share])
        q, k, v = (
            torch.stack([one[head // fewer] for head in range(self.heads)], 1)
            for one, fewer in ((q, 1), (k, share), (v, share))
        )  # (B, H, T, D)
        if self.encoding == "rope":
            q, k = self.turned(q, tokens), self.turned(k, tokens)
        if "decoder_unscaled_attention" in self.said:
            q = q * math.sqrt(self.dim)  # by which `exact` divides
        bias = self.encoding if self.encoding in BIASES else "nopos"
        own = {key.split(".")[1]: w for key, w in self.weights.items() if "encoding." in key}
        out = exact(bias, own, q, k, v, order_of(bias, tokens), visible(tokens))
        return self.linear(out.transpose(1, 2).flatten(2), f"{layer}.self_attn.out_proj")

    def turned(self, x, tokens):
        said = dict(one.split("=") for one in self.said["position_args"].split(",") if one)
        dim = round(self.dim * float(said.get("fraction", 1)))
        x, rest = x[..., :dim], x[..., dim:]
        if said.get("layout") == "interleaved":  # in the order of "half", queries and keys alike
            x = torch.cat([x[..., 0::2], x[..., 1::2]], -1)
        return torch.cat([turned(x, order_of("rope", tokens)), rest], -1)


def inputs():
    """Three rows that differ: one token, two, 63, and 63 with pads before and after them."""
    for length in (1, 2, 63):
        yield tiny.tokens(3, length, seed=length)
    padded = tiny.left_padded(tiny.tokens(3, 63), (0, 9, 50))
    padded[2, 60:] = PAD
    yield padded


def loss(scores, tokens):
    """-ln p of drawn targets, summed over the tokens that are no pads."""
    draw = torch.Generator().manual_seed(3)
    target = torch.randint(20, 60, tokens.shape, generator=draw)
    real = tokens.ne(PAD)
    return F.cross_entropy(scores[real], target[real], reduction="sum")


def gradients(model, tokens):
    """By name, after the backward of one training step whose dropout draws from one seed."""
    torch.manual_seed(0)
    model.zero_grad()
    loss(model.train()(tokens)[0], tokens).backward()
    return {key: p.grad for key, p in model.named_parameters()}


def assert_close(found, expected, tolerance=1e-5):
    """Infinite in the same places, else off by `tolerance` times the largest at most."""
    assert torch.equal(found.isinf(), expected.isinf())
    found, expected = found[~found.isinf()].double(), expected[~expected.isinf()]
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("name", CASES)
def test_logits_and_gradients_are_the_formulas(name):
    model = copy.deepcopy(built(name))
    for tokens in inputs():
        formulas, real = Retyped(name, model), tokens.ne(PAD)
        expected = formulas.logits(tokens)
        assert_close(tiny.logits(model, tokens)[real], expected[real])
        loss(expected, tokens).backward()
        for key, grad in gradients(model, tokens).items():
            expected = formulas.weights.pop(key.removeprefix("decoder.")).grad
            tiny.assert_close(grad, expected, 1e-5)
        assert not formulas.weights


def test_absent_symbols_have_no_probability_and_the_others_all_of_it():
    some, every = made("absent"), tiny.model("transformer_lm_nopos")
    weights = {key: w for key, w in some.state_dict().items() if "blocks" not in key}
    every.load_state_dict(weights)
    tokens, absent = tiny.tokens(3, 20), [0, 7, 11]
    made_so, plain = (
        model.get_normalized_probs((tiny.logits(model, tokens), None), log_probs=False)
        for model in (some, every)
    )
    assert (made_so[..., absent] == 0).all() and (plain[..., absent] > 0).all()
    plain[..., absent] = 0
    assert_close(made_so, plain.double() / plain.double().sum(-1, keepdim=True))


def test_adaptive_softmax_with_unscaled_attention():
    model = made("unscaled", "--adaptive-softmax-cutoff", "20")
    tokens = tiny.tokens(3, 30)
    formulas = Retyped("unscaled", model)
    features, weights = formulas.features(tokens), formulas.weights
    head = (features @ weights["adaptive_softmax.head.weight"].T).log_softmax(-1)
    tail = features @ weights["adaptive_softmax.tail.0.0.weight"].T
    tail = (tail @ weights["adaptive_softmax.tail.0.2.weight"].T).log_softmax(-1)
    expected = torch.cat([head[..., :20], head[..., 20:] + tail], -1)
    with torch.no_grad():
        output = model(tokens)
        found = model.get_normalized_probs(output, True, {"target": None})
    assert_close(found, expected)


@every_combination
@pytest.mark.parametrize("pads", [(0, 0, 0), (0, 2, 11)])
def test_step_by_step_is_the_full_pass(name, pads):
    decoder, tokens = built(name).decoder, tiny.left_padded(tiny.tokens(3, 24), pads)
    real, full = tokens.ne(PAD), tiny.logits(built(name), tokens)
    for sizes in ((1,) * 24, (5, 1, 1, 7, 10)):
        with torch.no_grad():
            stepped = attending.in_chunks(decoder, tokens, sizes)
        tiny.assert_close(stepped[real], full[real], 1e-5)


@every_combination
def test_the_cache_holds_no_copies_and_follows_the_beams(name):
    decoder, said, cache = built(name).decoder, CASES[name][1], {}
    tokens = tiny.left_padded(tiny.tokens(4, 24), (0, 5, 0, 2))
    heads = said.get("decoder_kv_heads", said.get("decoder_attention_heads", 4))
    dim = said.get("decoder_head_dim", 48 // said.get("decoder_attention_heads", 4))
    with torch.no_grad():
        for seen in (6, 7, 8):
            decoder(tokens[:, :seen], incremental_state=cache)
        for order in map(torch.tensor, ([2, 0, 0, 3], [3, 1, 0, 1, 2])):
            decoder.reorder_incremental_state_scripting(cache, order)
            tokens, seen = tokens[order], seen + 1
            tokens[:, seen:] = tiny.tokens(len(tokens), 24 - seen, seed=seen)  # beams part
            stepped = decoder(tokens[:, :seen], incremental_state=cache)[0]
            for layer in decoder.layers:
                kept = layer.self_attn._get_input_buffer(cache)
                shapes = {key: value.shape for key, value in kept.items()}
                size = (len(tokens), heads, seen, dim)
                assert shapes == {"prev_key": size, "prev_value": size}
            full = tiny.logits(built(name), tokens[:, :seen])
            tiny.assert_close(stepped[:, 0], full[:, -1], 1e-5)


@every_combination
@pytest.mark.parametrize("kernel", attending.kernels(gradient=False)[1:])
def test_kernels_give_the_reference(name, kernel):
    reference, other = copy.deepcopy(built(name)), copy.deepcopy(built(name))
    reference.decoder.kernel, other.decoder.kernel = "reference", kernel
    for tokens in (tiny.tokens(2, 50), tiny.left_padded(tiny.tokens(3, 50), (0, 1, 30))):
        tiny.assert_close(tiny.logits(other, tokens), tiny.logits(reference, tokens), 1e-5)
        if kernel in attending.kernels():
            expected = gradients(reference, tokens)
            for key, grad in gradients(other, tokens).items():
                tiny.assert_close(grad, expected[key], 1e-5)


@every_combination
def test_the_last_tokens_alone_are_those_of_the_full_pass(name):
    decoder = built(name).decoder
    for tokens in (tiny.tokens(3, 30), tiny.left_padded(tiny.tokens(3, 30), (0, 4, 20))):
        with torch.no_grad():
            full = decoder.extract_features(tokens)[0]
            for last in (1, 7, 30):
                part = decoder.extract_features(tokens, last=last)[0]
                real = tokens[:, -last:].ne(PAD)
                tiny.assert_close(part[real], full[:, -last:][real], 1e-5)


@pytest.mark.parametrize("name", ["parallel-glu", "llama", "codelm"])
def test_recomputed_activations_give_the_same_gradients(name):
    dropout = ("--dropout", "0.1", "--activation-dropout", "0.1", "--attention-dropout", "0.1")
    plain, thrifty = made(name, *dropout), made(name, *dropout, "--checkpoint-activations")
    tokens, found = tiny.left_padded(tiny.tokens(3, 40), (0, 3, 17)), []
    for times, model in ((1, plain), (2, thrifty)):
        calls = []
        model.decoder.layers[1].fc2.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        found.append(gradients(model, tokens))
        assert len(calls) == times
    for key, grad in found[1].items():
        torch.testing.assert_close(grad, found[0][key], rtol=1e-5, atol=1e-6)


def test_t5_weights_start_as_t5s():
    """The deviation of each kind of weight, over all layers; what is no matrix is one or zero."""
    sizes = {"decoder_embed_dim": 64, "decoder_head_dim": 24, "decoder_ffn_embed_dim": 320}
    decoder = tiny.model("transformer_lm_t5_t5tiny", **sizes).decoder
    inside = 4 * 24
    expected = {
        "self_attn.q_proj": (64 * 24) ** -0.5,
        "self_attn.k_proj": 64**-0.5,
        "self_attn.v_proj": 64**-0.5,
        "self_attn.out_proj": inside**-0.5,
        "fc1": 64**-0.5,
        "fc2": 320**-0.5,
    }
    for name, deviation in expected.items():
        weights = [layer.get_submodule(name).weight.flatten() for layer in decoder.layers]
        assert torch.cat(weights).std().item() == pytest.approx(deviation, rel=0.05), name
    embedding = decoder.embed_tokens.weight
    assert not embedding[1].any()  # padding
    assert embedding[2:].std().item() == pytest.approx(1, rel=0.05)
    norms = {
        p.item() for n, some in decoder.named_parameters() if "norm" in n for p in some.flatten()
    }
    assert norms == {1.0}


def test_the_output_layer_gets_what_the_final_dropout_left():
    model = tiny.model("transformer_lm_nopos", "--decoder-final-dropout", "0.5")
    tokens = torch.arange(4, 44)[None]
    features, _ = model(tokens, features_only=True)
    torch.manual_seed(1)
    kept, _ = model.train()(tokens, features_only=True)
    share = (kept == 0).float().mean().item()
    assert share == pytest.approx(0.5, abs=0.05)
    torch.testing.assert_close(kept, torch.where(kept == 0, 0, 2 * features))


def test_dropout_in_parallel_blocks():
    """All of it: of what comes before a dropout nothing is left."""
    tokens, taken = tiny.tokens(2, 20), "fc2.weight"
    for flag in ("--activation-dropout", "--dropout"):
        model = made("parallel-glu", flag, "1").train()
        formulas = Retyped("parallel-glu", model)
        for key, weight in formulas.weights.items():
            if re.search(taken, key):
                formulas.weights[key] = weight * 0
        assert_close(tiny.logits(model, tokens), formulas.logits(tokens))
        taken = "embed_tokens|out_proj|fc2"


@every_combination
@pytest.mark.parametrize("precision", [torch.half, torch.bfloat16])
def test_low_precision_is_near(name, precision):
    tokens = tiny.left_padded(tiny.tokens(3, 40), (0, 3, 17))
    real = tokens.ne(PAD)
    exactly = Retyped(name, built(name)).logits(tokens).detach()[real]
    model = copy.deepcopy(built(name)).to(precision)
    found = tiny.logits(model, tokens)[real]
    assert found.dtype == precision
    error = (found.double() - exactly).norm() / exactly.norm()
    assert error <= 4 * torch.finfo(precision).eps
    assert all(grad.isfinite().all() for grad in gradients(model, tokens).values())
    model.load_state_dict(model.state_dict())


@functools.cache
def config():
    """Of the model without an encoding, and the task."""
    cfg = tiny.config("transformer_lm_nopos")
    return OmegaConf.to_container(cfg.model), tiny.task(cfg)


def changed(options, seed=1):
    """The model whose configuration has other `options` than the default."""
    settings, task = config()
    torch.manual_seed(seed)
    return models.build_model(OmegaConf.create({**settings, **options}), task).eval()


def text(options, name):
    """How an option is told."""
    return f"--{name.replace('_', '-')} {options.get(name, STOCK.get(name, False))}"


@pytest.mark.parametrize(
    "shared, then, now",
    [
        ({}, {}, {"decoder_norm_eps": 0.1}),
        ({"decoder_no_bias": True}, {}, {"decoder_norm": "rms"}),
        ({}, {}, {"decoder_no_bias": True}),
        ({}, {}, BEFORE),
        ({}, {"decoder_glu": "swiglu"}, {"decoder_glu": "geglu"}),
        (BEFORE, {}, {"decoder_parallel_residual": True}),
        ({}, {}, {"decoder_unscaled_attention": True}),
        ({}, {"decoder_kv_heads": 2}, {"decoder_kv_heads": 1}),
        ({}, {"decoder_head_dim": 6}, {"decoder_head_dim": 8}),
        ({}, {}, {"final_logit_scale": 0.5}),
        ({}, {"absent_symbols": "w3"}, {"absent_symbols": "w3|w4"}),
        ({}, {}, {"activation_fn": "gelu"}),
        ({}, {}, {"no_scale_embedding": True}),
        ({}, {"decoder_norm_eps": 0.1}, {"decoder_norm_eps": 0.2, "final_logit_scale": 2.0}),
    ],
    ids=lambda one: "-".join(one) or None,
)
def test_weights_of_other_blocks_are_refused(shared, then, now):
    one, other = changed({**shared, **then}), changed({**shared, **now})
    said = [", ".join(text(options, name) for name in now) for options in (then, now)]
    for a, b, (was, is_now) in ((one, other, said), (other, one, said[::-1])):
        sentence = f"the checkpoint's blocks have {was}; this model has {is_now}"
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            b.load_state_dict(a.state_dict())
    other.load_state_dict(changed({**shared, **now}, seed=2).state_dict())


def test_other_numbers_of_heads_are_refused_though_all_weights_fit():
    names = ("--decoder-head-dim", "--decoder-kv-heads", "--decoder-attention-heads")
    then, now = (
        ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))
        for values in ((12, 4, 4), (6, 8, 8))
    )
    with pytest.raises(ValueError, match=f"have {then}; this model has {now}$"):
        changed({"decoder_attention_heads": 8}).load_state_dict(changed({}).state_dict())


@pytest.mark.parametrize(
    "one, other",
    [
        ({}, {"decoder_head_dim": 12}),
        ({}, {"decoder_kv_heads": 4}),
        ({"absent_symbols": "w1|w2"}, {"absent_symbols": "w2|w1"}),
    ],
    ids=lambda one: "-".join(one) or None,
)
def test_the_same_blocks_said_otherwise_are_the_same(one, other):
    """hydra, for one, leaves the activation of a size where a gate stands for it."""
    saved, tokens = changed(one, seed=2), tiny.tokens(2, 9)
    for a, b in ((saved, changed(other)), (changed(other), saved)):
        b.load_state_dict(a.state_dict())
        assert torch.equal(tiny.logits(a, tokens), tiny.logits(b, tokens))


def test_a_checkpoint_with_an_option_that_is_not_known_is_refused():
    state, more = changed({}).state_dict(), "\n--decoder-something 1"
    more = torch.tensor(list(more.encode()), dtype=torch.float)
    state["decoder.blocks._extra_state"] = torch.cat([state["decoder.blocks._extra_state"], more])
    with pytest.raises(ValueError, match="the checkpoint's blocks have --decoder-something 1"):
        changed({}).load_state_dict(state)


def test_checkpoints_from_before_the_blocks_had_options_load():
    """Ours and stock fairseq's say nothing of blocks, and what is trained on from them does."""
    ours, tokens = changed(BEFORE), tiny.tokens(2, 9)
    state = ours.state_dict()
    del state["decoder.blocks._extra_state"]
    stock = tiny.model("transformer_lm", "--no-token-positional-embeddings", *flags(BEFORE))
    for old, saved in ((ours, state), (stock, stock.state_dict())):
        model = changed(BEFORE, seed=5)
        model.load_state_dict(saved)
        assert torch.equal(*(tiny.logits(one, tokens) for one in (model, old)))
        with pytest.raises(ValueError, match="have --decoder-parallel-residual False; this model"):
            changed(PARALLEL).load_state_dict(model.state_dict())


def test_trained_resumed_evaluated_and_refused(data_bin, tmp_path):
    run = (data_bin, "transformer_lm_rope", *flags(LLAMA), "--save-interval-updates", "4")

    def go(folder):
        train(*run[:2], tmp_path / folder, *run[2:])
        return forked.state(tmp_path / folder / "checkpoint_last.pt")

    whole = go("whole")
    (tmp_path / "resumed").mkdir()
    shutil.copy(tmp_path / "whole/checkpoint_1_4.pt", tmp_path / "resumed/checkpoint_last.pt")
    forked.assert_equal(go("resumed"), whole)
    assert whole["updates"] == 8

    path = tmp_path / "resumed" / "checkpoint_last.pt"
    found = eval_lm(data_bin, path, "--tokens-per-sample", "32")["loss"]
    assert found == pytest.approx(torch.load(path)["extra_state"]["val_loss"], abs=2e-3)
    changed = ("--model-overrides", "{'decoder_norm_eps': 0.1}")
    with pytest.raises(ValueError, match="have --decoder-norm-eps 1e-06; this model has --dec"):
        eval_lm(data_bin, path, "--tokens-per-sample", "32", *changed)

    code, output = fairseq(
        *("train", data_bin, "--arch", "transformer_lm_rope", *SIZE, *TRAINING),
        *flags({**LLAMA, "decoder_glu": "geglu"}),
        *("--save-dir", tmp_path / "tuned", "--finetune-from-model", path),
    )
    refused = "the checkpoint's blocks have --decoder-glu swiglu; this model has --decoder-glu ge"
    assert code == 1 and refused in output


@pytest.mark.parametrize(
    "changes, sentence",
    [
        (
            {"decoder_attention_heads": 5},
            "--decoder-attention-heads 5 does not divide --decoder-embed-dim 48: name --decoder-h",
        ),
        ({"decoder_head_dim": 0}, "--decoder-head-dim 0: it is a positive number"),
        ({"decoder_kv_heads": -1}, "--decoder-kv-heads -1: it is a positive number"),
        ({"decoder_norm_eps": 0.0}, "--decoder-norm-eps 0.0: it is a positive number"),
        ({"final_logit_scale": -1.0}, "--final-logit-scale -1.0: it is a positive number"),
        (
            {"decoder_kv_heads": 3},
            "--decoder-kv-heads 3 does not divide --decoder-attention-heads 4",
        ),
        (
            {"decoder_kv_heads": 8},
            "--decoder-kv-heads 8 does not divide --decoder-attention-heads 4",
        ),
        ({"decoder_glu": "reglu"}, "--decoder-glu reglu: known are swiglu, geglu"),
        ({"decoder_norm": "batch"}, "--decoder-norm batch: known are layer, rms"),
        ({"decoder_init": "xavier"}, "--decoder-init xavier: known are fairseq, t5"),
        (
            {"decoder_final_dropout": 1.0},
            "--decoder-final-dropout 1.0: give 0 or more, below 1",
        ),
        (
            {"decoder_parallel_residual": True},
            "--decoder-parallel-residual needs --decoder-normalize-before",
        ),
        ({"scale_attn": True}, "--scale-attn has no effect in this fairseq: leave it out"),
        (
            {"base_layers": 1, "decoder_norm": "rms"},
            "--base-layers 1 does not go with --decoder-norm, which its experts do not have",
        ),
        (
            {"final_logit_scale": 0.5, "adaptive_softmax_cutoff": "20"},
            "--final-logit-scale 0.5: not with --adaptive-softmax-cutoff",
        ),
        (
            {"absent_symbols": "w1", "adaptive_softmax_cutoff": "20"},
            "--absent-symbols w1: not with --adaptive-softmax-cutoff",
        ),
        (
            {"absent_symbols": "w1|w99"},
            "--absent-symbols w99: the dictionary has no such symbol",
        ),
    ],
    ids=lambda one: "-".join(one) if isinstance(one, dict) else "",
)
def test_blocks_that_cannot_be_are_a_sentence(changes, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        changed(changes)


def test_a_gate_stands_for_the_activation_that_is_typed_or_preset():
    """One that is typed as well is refused; that of the GPT-3 sizes, GELU, is not."""
    with pytest.raises(ValueError, match="--activation-fn gelu has no effect with --decoder-glu s"):
        tiny.config("transformer_lm_rope", "--activation-fn", "gelu", "--decoder-glu", "swiglu")
    preset = tiny.config("transformer_lm_rope_gpt3_small", "--decoder-glu", "swiglu").model
    assert (preset.decoder_glu, preset.activation_fn) == ("swiglu", "relu")


@pytest.mark.parametrize(
    "change",
    [
        {"decoder_parallel_residual": True},
        {"decoder_unscaled_attention": True},
        {"decoder_norm_eps": 0.1},
        {"final_logit_scale": 0.5},
        {"absent_symbols": "w1"},
    ],
)
@pytest.mark.parametrize("kind", ["ours", "stock"])
def test_a_checkpoint_from_before_had_stock_blocks(kind, change):
    if kind == "ours":
        state = changed(BEFORE).state_dict()
        del state["decoder.blocks._extra_state"]
    else:
        stock = ("--no-token-positional-embeddings", "--decoder-normalize-before")
        state = tiny.model("transformer_lm", *stock).state_dict()
    with pytest.raises(ValueError, match="blocks have --"):
        changed({**BEFORE, **change}).load_state_dict(state)


def test_an_option_that_the_checkpoint_lacks_is_at_its_default():
    """So that the next option does not refuse every checkpoint of today."""
    state, model = changed({}).state_dict(), changed({})
    key, line = "decoder.blocks._extra_state", "--absent-symbols "
    lines = bytes(state[key].int().tolist()).decode().split("\n")
    lines.remove(line)
    state[key] = torch.tensor(list("\n".join(lines).encode()), dtype=torch.float)
    model.load_state_dict(state)
    with pytest.raises(ValueError, match="have --absent-symbols ; this model has --absent-sym"):
        changed({"absent_symbols": "w1"}).load_state_dict(state)


def test_an_activation_typed_over_the_gate_of_a_size_is_refused():
    with pytest.raises(ValueError, match="no effect with --decoder-glu swiglu"):
        tiny.config("transformer_lm_rope_bipe_151m", "--activation-fn", "gelu")


def test_a_config_of_2021_builds():
    settings, task = copy.deepcopy(config())
    names = ("scale_fc", "scale_attn", "scale_heads", "scale_resids", "decoder_xformers_att_config")
    for name in names:
        del settings[name]
    models.build_model(OmegaConf.create(settings), task)
