"""nopos-import of BiPE: logits of its own forward, retyped."""

import json
import math

import pytest
import tiny
import torch
from hugging_face import TOLERANCE, configured, draw, words
from importing import imported, manifest, refusal

# BiPE's own forward, as its two modelling files have it, retyped in float64.
STOPS = (13, 869)  # `<0x0A>` and `▁.` of LLaMA's tokenizer
BIPE_ROWS = 900
BIPE_PIECES = ["<unk>", "<s>", "</s>", *(f"w{i}" for i in range(3, BIPE_ROWS))]
BIPE_PIECES[13], BIPE_PIECES[869] = "<0x0A>", "▁."


def bipe_config(kind, train_scale, heads):
    """config.json, with all that the released ones have."""
    sizes = {"hidden_size": 8 * heads, "num_attention_heads": heads, "num_key_value_heads": heads}
    return {
        **{"model_type": "llama", "architectures": ["MyLlamaForCausalLM"], **sizes},
        **{"rpe_type": kind, "train_scale": train_scale, "log_scale": False},
        **{"intermediate_size": 36, "num_hidden_layers": 2, "rms_norm_eps": 1e-5},
        **{"vocab_size": BIPE_ROWS, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": -1},
        **{"max_position_embeddings": 64, "rope_scaling": None, "tie_word_embeddings": False},
        **{"hidden_act": "silu", "pretraining_tp": 1, "torch_dtype": "float16", "use_cache": True},
        "initializer_range": 0.02,
    }


def bipe_tensors(config):
    dim, inner = config["hidden_size"], config["intermediate_size"]
    heads, draw = config["num_attention_heads"], torch.Generator().manual_seed(11)

    def drawn(*shape):
        return torch.randn(shape, generator=draw) * (2 / shape[-1]) ** 0.5

    tensors = {name: drawn(BIPE_ROWS, dim) for name in ("model.embed_tokens", "lm_head")}
    tensors["model.norm"] = 1 + drawn(dim)
    if config["rpe_type"].startswith("bipe"):
        tensors["model.embeds.0"] = drawn(config["train_scale"], dim)
    for number in range(config["num_hidden_layers"]):
        layer = f"model.layers.{number}"
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{layer}.{name}"] = 1 + drawn(dim)
        for name in "qkvo":
            tensors[f"{layer}.self_attn.{name}_proj"] = drawn(dim, dim)
        for name in ("gate", "up"):
            tensors[f"{layer}.mlp.{name}_proj"] = drawn(inner, dim)
        tensors[f"{layer}.mlp.down_proj"] = drawn(dim, inner)
    tensors = {f"{name}.weight": tensor for name, tensor in tensors.items()}
    if config["rpe_type"].endswith("alibi"):
        for number in range(config["num_hidden_layers"]):
            tensors[f"model.layers.{number}.self_attn.alibi"] = drawn(1, heads, 1, 64)
    return tensors


def bipe_slopes(heads):
    """2^(-8h/n) for n the power of two below, then slopes 1, 3, 5 ... of the next power of two."""
    below = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * h / below) for h in range(1, below + 1)]
    return slopes + [2 ** (-8 * h / (2 * below)) for h in range(1, 2 * below, 2)][: heads - below]


def bipe_positions(row):
    """(segment, tokens since it began) of each token of a row."""
    segment, since, made = 0, 0, []
    for token in row:
        made.append((segment, since))
        segment, since = (segment + 1, 0) if token in STOPS else (segment, since + 1)
    return made


def bipe_forward(config, tensors, ids):
    """(B, T, rows) float64, for ids (B, T)."""
    heads, length = config["num_attention_heads"], ids.size(1)
    kind, weights = config["rpe_type"], {name: x.double() for name, x in tensors.items()}
    segment, since = torch.tensor([bipe_positions(row) for row in ids.tolist()]).unbind(-1)

    def norm(x, name):
        x = x * (x.pow(2).mean(-1, keepdim=True) + config["rms_norm_eps"]).rsqrt()
        return x * weights[f"{name}.weight"]

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T

    x = weights["model.embed_tokens.weight"][ids]
    order = torch.arange(length).expand_as(ids)
    if kind.startswith("bipe"):
        order = segment
        x = x + weights["model.embeds.0.weight"][since.clamp(max=1023)]
    bias = torch.zeros(ids.size(0), heads, length, length, dtype=torch.float64)
    if kind.endswith("alibi"):
        slopes = torch.tensor(bipe_slopes(heads), dtype=torch.float64)
        slopes = slopes * (96 if kind == "bipe_alibi" else 1)
        bias = -slopes[:, None, None] * (order[:, None, :, None] - order[:, None, None, :])
    bias = bias.masked_fill(torch.ones(length, length).triu(1).bool(), -math.inf)
    angles = order[:, None, :, None] * 10_000.0 ** (-torch.arange(4, dtype=torch.float64) / 4)
    cos, sin = angles.cos().repeat(1, 1, 1, 2), angles.sin().repeat(1, 1, 1, 2)

    def rotated(x):
        left, right = x.chunk(2, dim=-1)
        return x * cos + torch.cat([-right, left], dim=-1) * sin

    for number in range(config["num_hidden_layers"]):
        layer = f"model.layers.{number}"
        y = norm(x, f"{layer}.input_layernorm")
        q, k, v = (
            linear(y, f"{layer}.self_attn.{name}_proj").unflatten(-1, (heads, 8)).transpose(1, 2)
            for name in "qkv"
        )
        if kind.endswith("rope"):
            q, k = rotated(q), rotated(k)
        attended = (q @ k.mT / 8**0.5 + bias).softmax(-1) @ v
        x = x + linear(attended.transpose(1, 2).flatten(2), f"{layer}.self_attn.o_proj")
        y = norm(x, f"{layer}.post_attention_layernorm")
        gate = torch.nn.functional.silu(linear(y, f"{layer}.mlp.gate_proj"))
        x = x + linear(gate * linear(y, f"{layer}.mlp.up_proj"), f"{layer}.mlp.down_proj")
    return linear(norm(x, "model.norm"), "lm_head")


def bipe(tmp_path, kind, train_scale, heads):
    """(a folder of BiPE's, its configuration, its tensors)."""
    config, folder = bipe_config(kind, train_scale, heads), tmp_path / "source"
    folder.mkdir()
    tensors = bipe_tensors(config)
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(tensors, folder / "pytorch_model.bin")
    words(folder, BIPE_PIECES)
    return folder, config, tensors


def bipe_text(length, seed):
    """(2, length) ids, separators among them, some of them together."""
    ids = draw(BIPE_ROWS, 2, length, seed=seed)
    ends = torch.rand(2, length, generator=torch.Generator().manual_seed(seed))
    return ids.masked_fill(ends < 0.1, STOPS[0]).masked_fill(ends > 0.9, STOPS[1])


@pytest.mark.parametrize(
    "kind, train_scale, heads",
    [
        ("bipe_rope", 1024, 4),
        ("bipe_rope", 2048, 2),
        ("bipe_alibi", 1024, 6),
        ("bipe_alibi", 60, 2),
        ("rope", 1024, 4),
        ("alibi", 1024, 6),
    ],
)
def test_bipe(tmp_path, kind, train_scale, heads):
    folder, config, tensors = bipe(tmp_path, kind, train_scale, heads)
    ours = imported(folder, tmp_path)
    assert ours.model.decoder.encoding.name == kind
    for length in (1, 64, 200):
        ids = bipe_text(length, seed=length)
        tiny.assert_close(ours.logits(ids), bipe_forward(config, tensors, ids), TOLERANCE)
    if train_scale == 2048:  # of its table the first 1,024 rows are read, whatever there are
        ids = draw(12, 2, 1100)
        tiny.assert_close(ours.logits(ids), bipe_forward(config, tensors, ids), TOLERANCE)
    dropped = manifest(ours.folder)["dropped"]
    buffers = [f"model.layers.{number}.self_attn.alibi" for number in range(2)]
    assert list(dropped) == (buffers if kind.endswith("alibi") else [])
    separators = json.loads((ours.folder / "manifest.json").read_text())["separators"]
    assert separators == (["<0x0A>", "▁."] if kind.startswith("bipe") else [])


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"rpe_type": "bipe_nope"}, "rpe_type is 'bipe_nope', of which this plugin has only"),
        ({"rpe_type": None}, "has tensors that no model of its kind has: model.embeds.0.weight"),
        ({"log_scale": True}, "log_scale is True"),
        ({"train_scale": 60}, "model.embeds.0.weight has the shape (1024, 16), and its config"),
        ({"rope_theta": 500.0}, "rope_theta is 500.0, of which this plugin has only 10000.0"),
        (
            {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
            "type 'dynamic' counts tokens, and this plugin counts segments for bipe_rope",
        ),
    ],
    ids=str,
)
def test_a_doubt_about_bipe_is_refused(tmp_path, changes, said):
    folder, _, _ = bipe(tmp_path, "bipe_rope", 1024, 2)
    configured(folder, **changes)
    assert said in refusal(folder, tmp_path)
