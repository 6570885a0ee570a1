"""nopos-import of Hugging Face folders: logits of transformers, and what is done with them."""

import math

import pytest
import tiny
import torch
from command import eval_lm, train
from hugging_face import (
    LIMIT,
    PIECES,
    ROWS,
    SMALL,
    TEXT,
    assert_same,
    byte_level,
    configured,
    draw,
    gpt2,
    llama,
    model_of,
    neox,
    saved,
    their_logits,
    words,
)
from importing import imported, manifest, refusal
from transformers import MistralConfig

from nopos_plugin.cli.evaluate import main as evaluate
from nopos_plugin.cli.prepare_text import main as prepare_text
from nopos_plugin.evaluation import results
from nopos_plugin.evaluation.decoding import greedy


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
def test_laws_in_doubt_are_refused(plain_llama, tmp_path, law, said):
    configured(plain_llama, rope_parameters=None, rope_scaling=law)
    assert said in refusal(plain_llama, tmp_path)


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
def test_a_configuration_of_another_model_is_refused(plain_llama, tmp_path, changes, said):
    configured(plain_llama, **changes)
    assert said in refusal(plain_llama, tmp_path)


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
def test_what_opens_a_text_is_kept(plain_llama, tmp_path, bos, opener):
    configured(plain_llama, bos_token_id=bos)
    state = imported(plain_llama, tmp_path).state
    assert state["cfg"]["model"]["trained_opener"] == opener


def test_code_of_its_own_is_a_doubt(plain_llama, tmp_path):
    configured(plain_llama, auto_map={"AutoModelForCausalLM": "other.Other"})
    assert "names code of its own in auto_map" in refusal(plain_llama, tmp_path)
    imported(plain_llama, tmp_path, "--position-args", "scaling=none")
