"""nopos-import of Hugging Face folders: logits of transformers, or of a retyped forward."""

import json
import math
import shutil
from pathlib import Path

import pytest
import sentencepiece
import tiny
import tokenizers
import torch
from command import eval_lm, train
from importing import command, imported, manifest, refusal
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
)

from nopos_plugin.cli.evaluate import main as evaluate
from nopos_plugin.cli.prepare_text import main as prepare_text
from nopos_plugin.evaluation import results
from nopos_plugin.evaluation.decoding import greedy
from nopos_plugin.prepare.tokenizers.tokenizer_json import TokenizerJson

ROWS = 40
LIMIT = 24  # tokens that the models were trained on
TOLERANCE = 2e-5
# Ids in an order in which fairseq's symbols are neither first nor together.
PIECES = [f"w{i}" for i in range(ROWS)]
PIECES[7], PIECES[5], PIECES[0] = "</s>", "<s>", "<unk>"
SMALL = {
    "vocab_size": ROWS,
    "hidden_size": 32,
    "intermediate_size": 44,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": LIMIT,
    "bos_token_id": 5,
    "eos_token_id": 7,
}
GPT2 = {
    "vocab_size": ROWS,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": LIMIT,
    "bos_token_id": 7,
    "eos_token_id": 7,
}


def llama(**changes):
    return LlamaConfig(**{**SMALL, **changes})


def neox(**changes):
    return GPTNeoXConfig(**{**SMALL, **changes})


def gpt2(**changes):
    return GPT2Config(**{**GPT2, **changes})


def random_model(config, dtype=torch.float32):
    """A model of transformers' whose numbers are large enough for every part to be seen."""
    draw = torch.Generator().manual_seed(3)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for tensor in model.parameters():
            drawn = torch.randn(tensor.shape, generator=draw) * (2 / tensor.size(-1)) ** 0.5
            tensor.copy_(drawn if tensor.dim() > 1 else tensor + drawn)
    return model.to(dtype)


def words(folder, pieces=PIECES):
    """A tokenizer.json of whole words in `folder`."""
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    made = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = [piece for piece in pieces if piece.startswith("<")]
    made.add_special_tokens([AddedToken(piece, special=True) for piece in special])
    made.save(str(folder / "tokenizer.json"))
    return made


def saved(tmp_path, config, **changes):
    """(a folder as transformers saves one, its config.json changed; the model as it reads that)."""
    folder = tmp_path / "source"
    random_model(config).save_pretrained(folder)
    words(folder)
    configured(folder, **changes)
    return folder, AutoModelForCausalLM.from_pretrained(folder).eval()


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("plain"), llama())[0]


@pytest.fixture
def plain(once, tmp_path):
    """A folder of a LLaMA, which a test may change."""
    return Path(shutil.copytree(once, tmp_path / "plain"))


def configured(folder, **changes):
    """Change config.json of a `folder`; None takes an option away."""
    content = {**json.loads((folder / "config.json").read_text()), **changes}
    kept = {name: value for name, value in content.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))


def their_logits(model, ids):
    with torch.no_grad():
        return model(ids).logits


def draw(rows, *shape, seed=5):
    return torch.randint(0, rows, shape, generator=torch.Generator().manual_seed(seed))


def assert_same(ours, theirs, lengths=(1, LIMIT - 1, LIMIT, LIMIT + 1, 3 * LIMIT), rows=ROWS):
    """Logits of two rows of each of `lengths`, which rise: what transformers grows stays grown."""
    for length in lengths:
        ids = draw(rows, 2, length)
        tiny.assert_close(ours.logits(ids), their_logits(theirs, ids), TOLERANCE)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_key_value_heads": 2},
        {"num_key_value_heads": 1, "head_dim": 12},
        {"head_dim": 4},
        {"tie_word_embeddings": True},
        {"rms_norm_eps": 0.1, "num_hidden_layers": 1},
    ],
    ids=str,
)
def test_llama(tmp_path, changes):
    folder, theirs = saved(tmp_path, llama(**changes))
    ours = imported(folder, tmp_path)
    assert_same(ours, theirs)
    assert ours.model.decoder.encoding.name == "rope"
    assert manifest(ours.folder)["dropped"] == {}


FACTORS = {"short_factor": [1.0, 1.25, 1.5, 2.0], "long_factor": [1.0, 2.0, 5.0, 9.5]}
LAWS = [
    {"rope_type": "default", "rope_theta": 50.0},
    {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0},
    {"rope_type": "dynamic", "factor": 2.0},
    {"rope_type": "yarn", "factor": 4.0},  # scaled from max_position_embeddings on
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 6},
    {"rope_type": "yarn", "factor": None, "original_max_position_embeddings": 6},
    {
        **{"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 12},
        **{"beta_fast": 2.0, "beta_slow": 0.1, "attention_factor": 0.1 * math.log(8) + 1},
        **{"mscale": 0.7, "rope_theta": 100.0, "truncate": True},
    },
    {
        **{"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 16},
        **{"low_freq_factor": 0.25, "high_freq_factor": 2.0, "rope_theta": 30.0},
    },
    {"rope_type": "longrope", **FACTORS, "original_max_position_embeddings": 12},
    {"rope_type": "longrope", **FACTORS, "factor": 3.0, "original_max_position_embeddings": 12},
    {"rope_type": "longrope", **FACTORS},  # a factor of 1
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: " ".join(map(str, law.values())))
def test_laws_of_scaling(tmp_path, law):
    folder, theirs = saved(tmp_path, llama(), rope_parameters=law)
    ours = imported(folder, tmp_path)
    assert_same(ours, theirs, (1, 11, 12, 13, LIMIT - 1, LIMIT, LIMIT + 1, 3 * LIMIT))


@pytest.mark.parametrize(
    "law",
    [
        {"type": "linear", "factor": 4},
        {"type": "dynamic", "factor": 2.0},
        {"type": "longrope", **FACTORS, "original_max_position_embeddings": 12},
        {"type": "llama3", "rope_type": "linear", "factor": 4},  # the new name is the one read
    ],
    ids=lambda law: law["type"],
)
def test_spellings_of_before(tmp_path, law):
    old = {"rope_parameters": None, "rope_scaling": law, "rope_theta": 30.0}
    folder, theirs = saved(tmp_path, llama(), **old)
    assert_same(imported(folder, tmp_path), theirs)


def test_vanilla_ntk(tmp_path):
    law = {"type": "vanilla_ntk", "factor": 4.0}
    folder = tmp_path / "source"
    # its law: the base times factor^(dim / (dim - 2)), for heads of 8 channels
    base = 10_000.0 * 4.0 ** (8 / 6)
    theirs = saved(tmp_path, llama(), rope_parameters={"rope_theta": base})[1]
    configured(folder, rope_parameters=None, rope_scaling=law)
    assert_same(imported(folder, tmp_path), theirs)


POSE = tiny.golden("rope_scaling")["inv_freq_sets"][0]


def pose(tmp_path):
    """(folder of a model of PoSE's, with a row for its [PAD]; its forward, by golden numbers)."""
    sizes = {"vocab_size": ROWS + 1, "hidden_size": 2 * POSE["dim"], "num_attention_heads": 2}
    law = {
        "type": "yarn",
        "factor": POSE["factor"],
        "original_max_position_embeddings": POSE["original_length"],
    }
    length = int(POSE["factor"] * POSE["original_length"])
    folder, theirs = saved(tmp_path, llama(**sizes), max_position_embeddings=length, pad_token_id=0)
    words(folder, [*PIECES, "[PAD]"])
    configured(folder, rope_parameters=None, rope_scaling=law)
    theirs.model.rotary_emb.inv_freq = torch.tensor(POSE["yarn_revised"])
    theirs.model.rotary_emb.attention_scaling = POSE["mscale"]
    return folder, theirs


def test_which_yarn_a_model_of_pose_has_is_said(tmp_path):
    folder, theirs = pose(tmp_path)
    sentence = (
        f"{folder / 'config.json'}: rope_scaling of the type 'yarn' is YaRN's law, or that of "
        "PoSE's released models: say --position-args scaling=yarn,factor=...,original_length=... "
        "or scaling=yarn_pose,...\n"
    )
    assert refusal(folder, tmp_path).endswith(sentence)
    args = "scaling=yarn_pose,factor=8,original_length=2048"
    ours = imported(folder, tmp_path, "--position-args", args, "--pad", "[PAD]")
    assert_same(ours, theirs, (1, 100, 300))
    assert ours.rows[0] == ours.dictionary.unk() and ours.rows[ROWS] == ours.dictionary.pad()
    assert ours.flags[ours.flags.index("--tokens-per-sample") + 1] == "16384"


def test_a_pad_that_is_the_unknown_stays_the_unknown(tmp_path):
    folder, theirs = pose(tmp_path)
    args = "scaling=yarn_pose,factor=8,original_length=2048"
    ours = imported(folder, tmp_path, "--position-args", args)
    assert_same(ours, theirs, (50,), rows=ROWS + 1)
    assert ours.rows[0] == ours.dictionary.unk()
    assert ours.dictionary.symbols[ours.rows[ROWS]] == "[PAD]"


@pytest.mark.parametrize(
    "law, said",
    [
        ({"type": "su", "factor": 2.0}, "of the type 'su'; known are default, linear, vanilla_ntk"),
        ({"rope_type": "linear", "factor": 2.0, "alpha": 3}, "not known what alpha would do"),
        (
            {"rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 9},
            "not known what original_max_position_embeddings would do",
        ),
        ({"full_attention": {"rope_type": "linear"}}, "not known what full_attention would do"),
        ({"rope_type": "linear"}, "factor is None, and should be a positive number"),
        ({"rope_type": "linear", "factor": 0.5}, "factor=0.5: scaling is to longer inputs"),
        (
            {"rope_type": "yarn", "factor": 2.0, "attention_factor": 1.0},
            "attention_factor is 1.0; this plugin has 1.069",
        ),
        (
            {"rope_type": "yarn", "factor": 2.0, "mscale": 1.0, "mscale_all_dim": 0.8},
            "mscale and mscale_all_dim make a magnitude",
        ),
        ({"rope_type": "yarn", "factor": 2.0, "truncate": False}, "truncate is False, of which"),
        (
            {"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 1.0},
            "high_freq_factor is None",
        ),
        ({"rope_type": "longrope", "short_factor": 2.0}, "short_factor is 2.0, and should be a"),
        (
            {"rope_type": "longrope", "short_factor": [1, 2], "long_factor": [1, 2]},
            "short_factors=1.0|2.0: scaling=longrope needs a positive factor for each of the 4",
        ),
        ("linear", "rope_scaling is 'linear', and should be a dictionary"),
    ],
    ids=str,
)
def test_laws_in_doubt_are_refused(plain, tmp_path, law, said):
    configured(plain, rope_parameters=None, rope_scaling=law)
    assert said in refusal(plain, tmp_path)


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


GPT2S = [
    {},
    {"n_inner": 40, "layer_norm_epsilon": 0.1, "activation_function": "gelu"},
    {"tie_word_embeddings": False, "activation_function": "relu"},
]


@pytest.mark.parametrize("changes", GPT2S, ids=str)
def test_gpt2(tmp_path, changes):
    folder, theirs = saved(tmp_path, gpt2(**changes))
    ours = imported(folder, tmp_path)
    assert_same(ours, theirs, (1, 2, LIMIT))
    with pytest.raises(ValueError, match=f"learned.*{LIMIT}"):
        ours.logits(draw(ROWS, 2, LIMIT + 1))
    with pytest.raises(IndexError):
        their_logits(theirs, draw(ROWS, 2, LIMIT + 1))


NEOXS = [
    {},
    {"use_parallel_residual": False, "hidden_act": "gelu_new", "rotary_pct": 1.0},
    {"rotary_pct": 0.66, "rotary_emb_base": 30.0},  # 10 of 16 channels: 10.56, rounded down
    {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "partial_rotary_factor": 0.5}},
    {"tie_word_embeddings": True, "hidden_act": "gelu_fast", "layer_norm_eps": 0.1},
]


@pytest.mark.parametrize("changes", NEOXS, ids=str)
def test_gpt_neox(tmp_path, changes):
    folder, theirs = saved(tmp_path, neox(num_attention_heads=2, **changes))
    words(folder, PIECES[:-3])  # its rows are padded to a round number
    ours = imported(folder, tmp_path)
    assert_same(ours, theirs)
    assert len(ours.dictionary) == ROWS + 1  # and <pad>
    assert [f"madeupword{n:04d}" in ours.dictionary.indices for n in range(4)] == [1, 1, 1, 0]


def test_gpt_neox_as_it_was_spelled_before(tmp_path):
    old = {"rotary_pct": 0.5, "rotary_emb_base": 30.0, "rope_theta": 30.0}
    law = {"type": "dynamic", "factor": 2.0}
    config = neox(num_attention_heads=2)
    folder, theirs = saved(tmp_path, config, rope_parameters=None, rope_scaling=law, **old)
    assert_same(imported(folder, tmp_path), theirs)
    configured(folder, rope_theta=500.0)
    assert "rope_theta is 500.0, of which this plugin has only 30.0" in refusal(folder, tmp_path)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"attention_bias": True}, "attention_bias is True, of which this plugin has only False"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', of which this plugin has only 'silu' or"),
        ({"model_type": "gpt2", "add_cross_attention": True}, "add_cross_attention is True"),
        ({"model_type": "gpt2", "n_embd": "wide"}, "n_embd is 'wide', and should be a positive"),
        ({"model_type": "gpt_neox", "hidden_act": "silu"}, "hidden_act is 'silu', of which"),
        (
            {"model_type": "gpt_neox", "hidden_act": "gelu", "attention_bias": None},
            "has no gpt_neox.embed_in.weight",
        ),
        ({"model_type": "mamba"}, "the model_type 'mamba' is not known; known are a checkpoint of"),
        ({"model_type": None}, "the model_type None is not known"),
        (
            {"vocab_size": ROWS + 1},
            f"has the shape ({ROWS}, 32), and its configuration says (41, 32)",
        ),
        (
            {"num_key_value_heads": 2},
            "k_proj.weight has the shape (32, 32), and its configuration ",
        ),
        ({"num_hidden_layers": 3}, "has no model.layers.2.self_attn.q_proj.weight"),
        (
            {"num_hidden_layers": 1},
            "has tensors that no model of its kind has: model.layers.1.input",
        ),
        (
            {"tie_word_embeddings": True},
            "tied to the embedding by its configuration, lm_head.weight",
        ),
    ],
    ids=str,
)
def test_a_configuration_of_another_model_is_refused(plain, tmp_path, changes, said):
    configured(plain, **changes)
    assert said in refusal(plain, tmp_path)


def tensors_of(folder):
    return load_file(folder / "model.safetensors")


def as_bin(folder, **changes):
    """Its tensors, some changed, in pytorch_model.bin alone."""
    torch.save({**tensors_of(folder), **changes}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def sharded_bin(folder):
    """Its tensors in three files and their index."""
    tensors = tensors_of(folder)
    where = {name: f"pytorch_model-{n % 3}-of-3.bin" for n, name in enumerate(tensors)}
    for file in set(where.values()):
        shard = {name: tensors[name] for name in tensors if where[name] == file}
        torch.save(shard, folder / file)
    index = {"metadata": {}, "weight_map": where}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()


def sharded(folder):
    """As transformers shards a model."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 2


def old_bin(folder):
    """As PyTorch wrote files before version 1.6."""
    path = folder / "pytorch_model.bin"
    torch.save(tensors_of(folder), path, _use_new_zipfile_serialization=False)
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize("change", [as_bin, old_bin, sharded, sharded_bin])
def test_files(plain, tmp_path, change):
    theirs = AutoModelForCausalLM.from_pretrained(plain).eval()
    change(plain)
    assert_same(imported(plain, tmp_path), theirs, (20,))


@pytest.mark.parametrize("config, dtype", [(llama, torch.float16), (gpt2, torch.bfloat16)])
def test_half_precision(tmp_path, config, dtype):
    folder = tmp_path / "source"
    random_model(config(), dtype).save_pretrained(folder)
    words(folder)
    ours = imported(folder, tmp_path)
    weights = {x.dtype for name, x in ours.state["model"].items() if name.endswith(("ht", "as"))}
    assert weights == {dtype}
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    assert_same(ours, theirs, (20,))


class Opener:
    """What runs something when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def missing_shard(folder):
    sharded(folder)
    min(folder.glob("*.safetensors")).unlink()
    return "model-00001-of-0000", " is missing"


def another_shard(folder):
    sharded_bin(folder)
    shutil.copy(folder / "pytorch_model-0-of-3.bin", folder / "pytorch_model-1-of-3.bin")
    return "pytorch_model-1-of-3.bin has no ", "which pytorch_model.bin.index.json says it has"


def unnamed_in_the_index(folder):
    sharded_bin(folder)
    index = folder / "pytorch_model.bin.index.json"
    content = json.loads(index.read_text())
    content["weight_map"].pop("model.norm.weight")
    index.write_text(json.dumps(content))
    return ("has model.norm.weight, of which pytorch_model.bin.index.json says nothing",)


def no_index(folder):
    sharded_bin(folder)
    (folder / "pytorch_model.bin.index.json").write_text('{"weight_map": 3}')
    return ("has no weight_map, which says what file a tensor is in",)


def cut(name):
    def change(folder):
        if name == "pytorch_model.bin":
            as_bin(folder)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        return (f"{name} is no whole",)

    return change


def no_weights(folder):
    (folder / "model.safetensors").unlink()
    return ("has neither model.safetensors nor pytorch_model.bin, whole or with an index.json",)


def no_key(folder):
    tensors = tensors_of(folder)
    tensors.pop("model.layers.1.mlp.up_proj.weight")
    save_file(tensors, folder / "model.safetensors")
    return ("has no model.layers.1.mlp.up_proj.weight",)


def another_key(folder):
    tensors = {**tensors_of(folder), "model.embed_positions.weight": torch.zeros(24, 32)}
    save_file(tensors, folder / "model.safetensors")
    return ("has tensors that no model of its kind has: model.embed_positions.weight",)


def quantized(folder):
    name = "model.layers.0.mlp.down_proj.weight"
    tensors = tensors_of(folder)
    tensors[name] = tensors[name].mul(100).to(torch.int8)
    save_file(tensors, folder / "model.safetensors")
    return (f"{name} is of torch.int8; read are float32, float16, bfloat16",)


def broken(content):
    def change(folder):
        (folder / "config.json").write_bytes(content)
        return "config.json", "cannot be read" if content[-1:] != b"]" else "is no dictionary"

    return change


def no_tensor(folder):
    as_bin(folder, **{"lm_head.weight": [1.0, 2.0]})
    return ("lm_head.weight is no tensor, but a list",)


def no_names(folder):
    torch.save([1, 2], folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return ("holds no tensors by name, but a list",)


@pytest.mark.parametrize(
    "change",
    [
        missing_shard,
        another_shard,
        unnamed_in_the_index,
        no_index,
        cut("model.safetensors"),
        cut("pytorch_model.bin"),
        no_weights,
        no_key,
        another_key,
        quantized,
        broken(b'{"model_type'),
        broken(b"\xff\xfe"),
        broken(b"[1]"),
        no_tensor,
        no_names,
    ],
    ids=lambda change: change.__qualname__,
)
def test_broken_files(plain, tmp_path, change):
    parts = change(plain)
    said = refusal(plain, tmp_path)
    assert all(part in said for part in parts), said
    assert str(plain) in said


def test_a_pickle_that_may_run_code_is_read_only_if_that_is_said(plain, tmp_path):
    mark = tmp_path / "it ran"
    theirs = AutoModelForCausalLM.from_pretrained(plain).eval()
    as_bin(plain)
    tensors = torch.load(plain / "pytorch_model.bin")
    torch.save({**tensors, "model.rotary_emb.inv_freq": Opener(mark)}, plain / "pytorch_model.bin")
    said = refusal(plain, tmp_path)
    assert "pytorch_model.bin holds io.open, and reading it may run any code" in said
    assert "if you trust the author, add --trust-pickle" in said and not mark.exists()
    assert_same(imported(plain, tmp_path, "--trust-pickle"), theirs, (20,))
    assert mark.exists()


def test_it_says_what_it_made(plain, tmp_path):
    status, said, _ = command(plain, tmp_path / "out")
    assert status == 0 and said.startswith(f"{plain}: a LLaMA folder\n")
    assert "\nposition encoding: rope (layout=half,theta=10000.0)\n" in said
    written = {file.name for file in (tmp_path / "out").iterdir()}
    files = {"checkpoint.pt", "dict.txt", "flags.txt", "manifest.json", "tokenizer.json"}
    assert written == files


def test_what_is_there_is_not_overwritten(plain, tmp_path):
    (tmp_path / "out").mkdir()
    status, _, said = command(plain, tmp_path / "out")
    assert status == 1 and "is there already: name another, or move it away" in said
    assert list((tmp_path / "out").iterdir()) == []
    assert "there is no such file or folder" in refusal(tmp_path / "nothing", tmp_path)
    assert "has neither config.json nor layer files" in refusal(tmp_path / "out", tmp_path)


def test_what_is_not_needed_is_named(tmp_path):
    tied = {"tie_word_embeddings": True, "num_hidden_layers": 1}
    angles, mask = "made anew from theta", "the causal mask"
    for name, config, buffer, why in (
        ("llama", llama(**tied), "model.layers.0.self_attn.rotary_emb.inv_freq", angles),
        ("neox", neox(**tied), "gpt_neox.layers.0.attention.masked_bias", mask),
        ("gpt2", gpt2(n_layer=1), "transformer.h.0.attn.bias", mask),
    ):
        (tmp_path / name).mkdir()
        folder, theirs = saved(tmp_path / name, config)
        (folder / "model.safetensors").unlink()
        torch.save({**theirs.state_dict(), buffer: torch.ones(1)}, folder / "pytorch_model.bin")
        ours = imported(folder, tmp_path / name)
        expected = {"lm_head.weight": "the same as the embedding", buffer: why}
        assert manifest(ours.folder)["dropped"] == expected
        assert_same(ours, theirs, (9,))


TEXT = """The cat sat on the mat. A cat, a mat, and nothing more; that was all there was to see.
She said: "What else should a cat do?" Nobody knew.  Two spaces, and a tab:\tthen the end.
In 1984 there were 17 cats - 3 of them black - and 1,001 mats... The cat's mats, the mats' cats.
"""
HARD = [
    "",
    " lead",
    "caaaaaat  mat\n\n\tThe",
    "<|endoftext|> </s> <unk>",
    "caf\u00e9 \u732b \x00",
    TEXT,
]


def byte_level(specials=("<|endoftext|>",)):
    """A byte-level BPE whose special tokens have the first ids."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(specials),
        show_progress=False,
    )
    made.train_from_iterator([TEXT], trainer)
    return made


def model_of(folder, rows, **changes):
    """A small LLaMA of so many rows in `folder`, which has a tokenizer already; transformers'."""
    sizes = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 1}
    random_model(llama(**{"vocab_size": rows, **sizes, **changes})).save_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def assert_encodes(ours, encode, texts=HARD):
    """By the tokenizer.json that was written, texts are the ids that `encode` gives, mapped."""
    written = TokenizerJson(ours.folder / "tokenizer.json")
    assert written.symbols == ours.dictionary.symbols[4:]
    for text, indices in zip(texts, written.encode(texts), strict=True):
        assert indices.tolist() == [ours.rows[i] for i in encode(text)]


def test_pieces_are_rows_by_name(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    made = byte_level(("<|endoftext|>", "<pad>"))
    made.add_tokens(["[X]"])
    made.save(str(folder / "tokenizer.json"))
    theirs = model_of(folder, 325, bos_token_id=0, eos_token_id=[0, 1])
    ours = imported(folder, tmp_path)
    assert_same(ours, theirs, (20,), rows=325)
    names = [ours.dictionary.symbols[row] for row in ours.rows]
    assert names[0] == "</s>" and names[1] == "<pad>" and names[320] == "[X]"
    assert names[321:] == [f"madeupword000{n}" for n in range(4)]
    absent = ours.flags[ours.flags.index("--absent-symbols") + 1]
    assert absent == "<s>|<unk>"
    made.encode_special_tokens = True
    assert_encodes(ours, lambda text: made.encode(text).ids)
    with torch.no_grad():
        probabilities = ours.model(ours.tokens(draw(325, 2, 9)))[0].softmax(-1)
    assert probabilities[..., [0, 3]].eq(0).all()


def test_pieces_of_a_unigram_model(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    made = tokenizers.Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "<end>", "<unk>"]
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=80, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator([TEXT], trainer)
    made.save(str(folder / "tokenizer.json"))
    rows = made.get_vocab_size() + 2
    theirs = model_of(folder, rows, bos_token_id=None, eos_token_id=1, pad_token_id=0)
    ours = imported(folder, tmp_path)
    ids = 1 + draw(rows - 1, 2, 20)
    tiny.assert_close(ours.logits(ids), their_logits(theirs, ids), TOLERANCE)
    assert ours.rows[:3] == [1, 2, 3]
    texts = [text for text in HARD if "</s>" not in text]  # which is the end to such a model
    assert_encodes(ours, lambda text: made.encode(text).ids, texts)
    edited(folder, lambda content: content["model"]["vocab"].append(["<end>", -3.0]))
    assert "--tokenizer: a piece is there twice" in refusal(folder, tmp_path)


def test_holes_in_a_vocabulary(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    pieces = {piece: i for i, piece in enumerate(PIECES) if i not in (3, 20, 21)}
    made = tokenizers.Tokenizer(models.WordLevel(pieces, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.save(str(folder / "tokenizer.json"))
    theirs = model_of(folder, ROWS + 2)
    ours = imported(folder, tmp_path)
    assert_same(ours, theirs, (20,), rows=ROWS + 2)
    names = [ours.dictionary.symbols[row] for row in ours.rows]
    assert names[3] == "madeupword0000" and names[ROWS:] == ["madeupword0003", "madeupword0004"]
    assert [names[i] for i in pieces.values()] == list(pieces)


def test_specials_are_said(plain, tmp_path):
    theirs = AutoModelForCausalLM.from_pretrained(plain).eval()
    words(plain, [f"w{i}" for i in range(ROWS - 1)] + ["<unk>", "[X]", "[Y]"][:1])
    configured(plain, bos_token_id=None, eos_token_id=None)
    assert "tokenizer.json does not say what ends a text: name it by --eos" in refusal(
        plain, tmp_path
    )
    assert "--eos end: " in refusal(plain, tmp_path, "--eos", "end")
    ours = imported(plain, tmp_path, "--eos", "w4", "--bos", "w9", "--pad", "w8")
    assert [ours.rows[i] for i in (9, 8, 4, ROWS - 1)] == [0, 1, 2, 3]
    without = [i for i in range(ROWS) if i != 8]  # a pad in the middle is nothing that occurs
    ids = torch.tensor(without)[draw(len(without), 2, 20)]
    tiny.assert_close(ours.logits(ids), their_logits(theirs, ids), TOLERANCE)


def test_tokens_that_were_added_without_a_row(plain, tmp_path):
    made = words(plain)
    made.add_special_tokens(["[PAD]", "[MASK]"])
    made.save(str(plain / "tokenizer.json"))
    ours = imported(plain, tmp_path)
    assert len(ours.rows) == ROWS and "[PAD]" not in ours.dictionary.indices
    assert_same(ours, AutoModelForCausalLM.from_pretrained(plain).eval(), (20,))


def edited(plain, change):
    content = json.loads((plain / "tokenizer.json").read_text())
    change(content)
    (plain / "tokenizer.json").write_text(json.dumps(content))


def gap(content):
    content["added_tokens"].append({**content["added_tokens"][0], "id": 45, "content": "[X]"})


def twice(content):
    content["model"]["vocab"]["w9"] = 8


def many(content):
    content["model"]["vocab"].update(more=ROWS, yet=ROWS + 1)


@pytest.mark.parametrize(
    "change, flags, said",
    [
        (gap, (), "'[X]' has the id 45 there, which is another's as well, or the library tokeniz"),
        (twice, (), "has the id 8 there, which is another's as well, or the library tokenizers "),
        (many, (), "its pieces go up to 41, and the model has 40 rows: name the model's own"),
        (dict, ("--eos", "w8"), "'w8' would be </s>, which the piece 7 is: name --eos, --bos and"),
        (dict.clear, (), "tokenizer.json: "),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_vocabularies_that_do_not_fit(plain, tmp_path, change, flags, said):
    edited(plain, change)
    assert said in refusal(plain, tmp_path, *flags)


def test_where_a_vocabulary_is(plain, tmp_path):
    (plain / "tokenizer.json").rename(tmp_path / "words.json")
    said = refusal(plain, tmp_path)
    assert "has no tokenizer.json, no tokenizer.model, no vocab.json: name the model's by" in said
    theirs = AutoModelForCausalLM.from_pretrained(plain).eval()
    ours = imported(plain, tmp_path, "--tokenizer", tmp_path / "words.json")
    assert_same(ours, theirs, (20,))


def test_vocabulary_and_merges(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    made = byte_level()
    made.model.save(str(folder))
    theirs = model_of(folder, 320, bos_token_id=0, eos_token_id=0)
    ours = imported(folder, tmp_path)
    assert_same(ours, theirs, (20,), rows=320)
    made.encode_special_tokens = True
    assert_encodes(ours, lambda text: made.encode(text).ids)
    (folder / "merges.txt").unlink()
    assert f"--tokenizer {folder / 'vocab.json'}: " in refusal(folder, tmp_path)


def sentencepiece_model(folder, **options):
    """A model of SentencePiece's in `folder`, by default of LLaMA's kind."""
    folder.mkdir()
    settings = {
        "model_type": "bpe",
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "split_by_unicode_script": False,
        "vocab_size": 320,
        "minloglevel": 2,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*TEXT.split("\n"), *["c</ t</ Ks> Ls> Ms> Ns>"] * 9]),
        model_prefix=str(folder / "tokenizer"),
        **{**settings, **options},
    )
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def test_sentencepiece(tmp_path):
    folder = tmp_path / "source"
    made = sentencepiece_model(folder)
    theirs = model_of(folder, len(made), bos_token_id=1, eos_token_id=2)
    ours = imported(folder, tmp_path)
    assert_same(ours, theirs, (20,), rows=len(made))
    assert [ours.rows[i] for i in (0, 1, 2)] == [3, 0, 2]
    assert_encodes(ours, made.encode)


@pytest.mark.parametrize(
    "options",
    [
        {"model_type": "unigram"},
        {"normalization_rule_name": "nfkc"},
        {"add_dummy_prefix": False},
        {"user_defined_symbols": ["mat.", "<x>"]},
    ],
    ids=str,
)
def test_sentencepiece_of_another_kind_is_refused(tmp_path, options):
    folder = tmp_path / "source"
    made = sentencepiece_model(folder, **options)
    model_of(folder, len(made), bos_token_id=1, eos_token_id=2)
    assert "otherwise than a BPE with LLaMA's spaces" in refusal(folder, tmp_path)


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """(an imported model with options of every kind; transformers'; a data-bin; ids of its valid).

    The ids are the source's, of the valid text and its end.
    """
    folder = tmp_path_factory.mktemp("used")
    (folder / "source").mkdir()
    made = byte_level()
    made.save(str(folder / "source" / "tokenizer.json"))
    law = {"rope_type": "linear", "factor": 2.0, "rope_theta": 50.0}
    changes = {"num_key_value_heads": 2, "rope_parameters": law, "eos_token_id": 0}
    theirs = model_of(folder / "source", 322, bos_token_id=0, **changes)
    ours = imported(folder / "source", folder)
    (folder / "valid.txt").write_text(TEXT)
    (folder / "train.txt").write_text(TEXT.replace("cat", "rat") * 4)
    typed = (
        *(folder / "train.txt", "--valid", folder / "valid.txt", "--dest", folder / "bin"),
        *("--tokenizer", "json", "--tokenizer-json", ours.folder / "tokenizer.json"),
        *("--no-isolate-separators", "--workers", "1"),
    )
    assert prepare_text([str(word) for word in typed]) == 0
    return ours, theirs, folder / "bin", [*made.encode(TEXT.rstrip()).ids, 0]


def perplexity(model, ids, length):
    """Of `ids` in blocks of so many, each opened by what stands before it, the first by the end."""
    opened, nats = [0, *ids], 0.0
    for start in range(0, len(ids), length):
        block = torch.tensor(opened[start : start + length + 1])
        scores = their_logits(model, block[None, :-1])[0].double().log_softmax(-1)
        nats -= scores.gather(1, block[1:, None]).sum().item()
    return math.exp(nats / len(ids))


def test_perplexity_is_that_of_transformers(used, tmp_path):
    ours, theirs, data, ids = used
    output = tmp_path / "results.jsonl"
    typed = (data, "--path", ours.path, "--lengths", "16,60", "--device", "cpu", "--output", output)
    assert evaluate([str(word) for word in typed]) == 0
    found = {row["window_tokens"]: row for row in results.read(output, results.PERPLEXITY)}
    for length in (16, 60):
        expected = perplexity(theirs, ids, length)
        assert found[length]["tokens"] == len(ids)
        assert found[length]["perplexity_per_token"] == pytest.approx(expected, rel=1e-5)
        made = eval_lm(data, ours.path, "--tokens-per-sample", length, "--max-tokens", "240")
        assert 2 ** made["loss"] == pytest.approx(expected, rel=1e-5)


def test_greedy_decoding_is_that_of_transformers(used):
    ours, theirs, _, ids = used
    prompts = [ids[:5], ids[20:23], ids[40:70]]
    dictionary = ours.dictionary
    made = greedy(
        ours.model,
        [[ours.rows[i] for i in prompt] for prompt in prompts],
        count=30,
        eos=dictionary.eos(),
        pad=dictionary.pad(),
    )
    for prompt, found in zip(prompts, made, strict=True):
        expected = theirs.generate(
            torch.tensor([prompt]), do_sample=False, max_new_tokens=30, pad_token_id=0
        )
        expected = expected[0, len(prompt) :].tolist()
        expected = expected[: expected.index(0)] if 0 in expected else expected
        assert found == [ours.rows[i] for i in expected]


def test_it_is_fine_tuned_with_its_flags(used, tmp_path):
    ours, _, data, _ = used

    def tuned(name, flags):
        start = ("--finetune-from-model", ours.path, "--lr", "0.001", "--max-update", "2")
        train(data, "transformer_lm_rope", tmp_path / name, *flags, *start, "--max-tokens", "64")

    tuned("all", ours.flags)
    after = torch.load(tmp_path / "all" / "checkpoint_last.pt", weights_only=False)
    assert after["optimizer_history"][-1]["num_updates"] == 2
    before = ours.state["model"]
    assert after["model"].keys() == before.keys()
    moved = {
        name: (after["model"][name] - before[name]).abs().max().item()
        for name in before
        if name.endswith("weight")
    }
    assert all(0 < most < 0.0021 for most in moved.values()), moved  # Adam's steps, of 0.001 each
    for flag, said in (
        ("--decoder-glu", "have --decoder-glu swiglu; this model has --decoder-glu None"),
        ("--position-args", "trained with theta=50.0,scaling=linear,factor=2.0, and this model "),
        ("--decoder-norm-eps", "have --decoder-norm-eps 1e-06; this model has --decoder-norm-eps"),
    ):
        place = ours.flags.index(flag)
        with pytest.raises(Exception, match="Cannot load model parameters") as caught:
            tuned("no", ours.flags[:place] + ours.flags[place + 2 :])
        assert said in str(caught.value.__context__)


@pytest.mark.parametrize("window", [7, None])
def test_mistral(tmp_path, window):
    config = MistralConfig(**{**SMALL, "num_key_value_heads": 2, "sliding_window": window})
    folder, theirs = saved(tmp_path, config)
    ours = imported(folder, tmp_path)
    assert_same(ours, theirs)
    assert (ours.model.decoder.window, "--attention-window" in ours.flags) == (window, bool(window))


@pytest.mark.parametrize("bos, opener", [(5, "<s>"), (7, None)])
def test_what_opens_a_text_is_kept(plain, tmp_path, bos, opener):
    configured(plain, bos_token_id=bos)
    state = imported(plain, tmp_path).state
    assert state["cfg"]["model"]["trained_opener"] == opener


def test_code_of_its_own_is_a_doubt(plain, tmp_path):
    configured(plain, auto_map={"AutoModelForCausalLM": "other.Other"})
    assert "names code of its own in auto_map" in refusal(plain, tmp_path)
    imported(plain, tmp_path, "--position-args", "scaling=none")
