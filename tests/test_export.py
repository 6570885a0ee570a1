"""nopos-export: transformers computes what our model computes, and imported models come back."""

import json

import pytest
import tiny
import torch
import transformers
from importing import imported
from safetensors.torch import load_file

from nopos_plugin.cli import export
from nopos_plugin.exporters import base
from nopos_plugin.importers.assemble import unstarted

LLAMA = (
    "--decoder-normalize-before",
    "--no-scale-embedding",
    "--decoder-norm=rms",
    "--decoder-no-bias",
    "--decoder-glu=swiglu",
)
NEOX = ("--decoder-normalize-before", "--activation-fn=gelu")


def saved(folder, arch, *flags):
    """A checkpoint of an untrained model, and the model."""
    folder.mkdir()
    cfg = tiny.config(arch, *flags)
    cfg.task.data = str(folder)
    tiny.dictionary().save(str(folder / "dict.txt"))
    model = tiny.model(arch, *flags)
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms begin as zeros and ones
            parameter.add_(torch.randn(parameter.shape) / 20)
    torch.save(unstarted(cfg, model.state_dict()), folder / "checkpoint.pt")
    return folder / "checkpoint.pt", model


def exported(path, out, *flags):
    assert export.main(["--path", str(path), "--out", str(out), *flags]) == 0
    return transformers.AutoModelForCausalLM.from_pretrained(out).eval()


@pytest.mark.parametrize(
    "arch, flags, name",
    [
        ("rope", LLAMA, "LlamaForCausalLM"),
        ("rope", (*LLAMA, "--decoder-kv-heads=2", "--decoder-head-dim=16"), "LlamaForCausalLM"),
        ("rope", (*LLAMA, "--share-decoder-input-output-embed"), "LlamaForCausalLM"),
        ("rope", (*LLAMA, "--position-args=layout=interleaved,theta=500"), "LlamaForCausalLM"),
        ("rope", (*LLAMA, "--position-args=scaling=linear,factor=4"), "LlamaForCausalLM"),
        ("rope", (*LLAMA, "--position-args=scaling=ntk,factor=4"), "LlamaForCausalLM"),
        (
            "rope",
            (*LLAMA, "--position-args=scaling=dynamic_ntk,factor=2,original_length=20"),
            "LlamaForCausalLM",
        ),
        (
            "rope",
            (*LLAMA, "--position-args=scaling=yarn,factor=4,original_length=64,fast=16,slow=2"),
            "LlamaForCausalLM",
        ),
        (
            "rope",
            (*LLAMA, "--position-args=scaling=llama3,factor=4,original_length=64"),
            "LlamaForCausalLM",
        ),
        ("rope", (*NEOX, "--position-args=fraction=0.5"), "GPTNeoXForCausalLM"),
        (
            "rope",
            (*NEOX, "--decoder-parallel-residual", "--position-args=layout=interleaved"),
            "GPTNeoXForCausalLM",
        ),
        ("rope", (*NEOX, "--decoder-norm-eps=1e-3"), "GPTNeoXForCausalLM"),
        ("rope", (*NEOX, "--position-args=fraction=0.7"), "GPTNeoXForCausalLM"),  # 8.4 channels
        (
            "rope",
            (*NEOX, "--position-args=fraction=0.35,scaling=yarn,factor=4,original_length=64"),
            "GPTNeoXForCausalLM",
        ),
        ("learned", (*NEOX[:1], "--activation-fn=gelu_accurate"), "GPT2LMHeadModel"),
        (
            "learned",
            (*NEOX[:1], "--share-decoder-input-output-embed", "--no-scale-embedding"),
            "GPT2LMHeadModel",
        ),
    ],
)
def test_transformers_computes_the_same(arch, flags, name, tmp_path):
    path, model = saved(tmp_path / "model", f"transformer_lm_{arch}", *flags)
    theirs = exported(path, tmp_path / "out")
    assert type(theirs).__name__ == name
    longest = 64 if arch == "learned" else 150
    for length in (1, 20, 64, longest):
        tokens = tiny.tokens(2, length)
        with torch.no_grad():
            tiny.assert_close(theirs(tokens).logits, tiny.logits(model, tokens), 2e-5)


def test_symbols_without_probability_have_no_id(tmp_path):
    flags = (*LLAMA, "--absent-symbols=<s>|<unk>|w7")
    path, model = saved(tmp_path / "model", "transformer_lm_rope", *flags)
    theirs = exported(path, tmp_path / "out")
    rows = [i for i, symbol in enumerate(tiny.dictionary().symbols) if symbol not in flags[-1]]
    assert theirs.config.vocab_size == len(rows) == 61
    ids = torch.randint(2, len(rows), (2, 30))
    ours = tiny.logits(model, torch.tensor(rows)[ids]).log_softmax(-1)[..., rows]
    with torch.no_grad():
        tiny.assert_close(theirs(ids).logits.log_softmax(-1), ours, 2e-5)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("w9 w1 .").input_ids == [rows.index(i) for i in (13, 5, 4)]
    assert tokenizer.eos_token == "</s>" and theirs.config.eos_token_id == rows.index(2)


@pytest.mark.parametrize(
    "arch, flags, said",
    [
        ("alibi", NEOX, "GPT-NeoX has no place for --position-encoding alibi;"),
        ("kerple_log", LLAMA, "LLaMA has no place for --position-encoding kerple_log;"),
        ("bipe_rope", LLAMA, "LLaMA has no place for --position-encoding bipe_rope;"),
        ("nopos", NEOX, "GPT-2 has no place for --position-encoding nopos"),
        ("rope", (), "no --decoder-normalize-before"),
        ("rope", (*LLAMA, "--final-logit-scale=0.5"), "LLaMA has no place for --final-logit-scale"),
        ("rope", (*LLAMA, "--decoder-unscaled-attention"), "--decoder-unscaled-attention"),
        (
            "rope",
            (*LLAMA[:1], *LLAMA[2:], "--share-decoder-input-output-embed"),
            "LLaMA has no place for embeddings that are scaled, and tied",
        ),
        (
            "rope",
            (*LLAMA, "--position-args=scaling=yarn_pose,factor=4,original_length=64"),
            "LLaMA has no place for --position-args scaling=yarn_pose;",
        ),
        (
            "rope",
            ("--adaptive-softmax-cutoff=20,40", *LLAMA),
            "LLaMA has no place for --adaptive-softmax-cutoff 20,40;",
        ),
        ("rope", (*LLAMA, "--attention-window=8"), "LLaMA has no place for --attention-window 8;"),
        (
            "rope",
            (*NEOX, "--quant-noise-pq=0.1"),
            "GPT-NeoX has no place for --quant-noise-pq 0.1;",
        ),
    ],
)
def test_what_has_no_place_is_named(arch, flags, said, tmp_path, capsys):
    path, _ = saved(tmp_path / "model", f"transformer_lm_{arch}", *flags)
    assert export.main(["--path", str(path), "--out", str(tmp_path / "out")]) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("nopos-export: no class of Hugging Face's holds this model: ")
    assert said in sentence
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def folder_of(kind, tmp_path):
    """A Hugging Face folder of an untrained model with a tokenizer of 40 pieces, 4 rows more."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    pieces = ["<|endoftext|>", *(f"w{n}" for n in range(39))]
    made = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, "w0"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    config = transformers.AutoConfig.for_model(
        kind,
        vocab_size=44,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=None,
    )
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(tmp_path / "theirs")
    made.save(str(tmp_path / "theirs" / "tokenizer.json"))
    return tmp_path / "theirs"


@pytest.mark.parametrize("kind", ["llama", "gpt_neox", "gpt2"])
def test_an_imported_model_comes_back(kind, tmp_path):
    source = folder_of(kind, tmp_path)
    ours = imported(source, tmp_path)
    theirs = exported(ours.path, tmp_path / "out")
    before, after = (load_file(path / "model.safetensors") for path in (source, tmp_path / "out"))
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert theirs.config.eos_token_id == 0
    assert (
        json.loads((tmp_path / "out" / "tokenizer.json").read_text())["model"]["vocab"]["w3"] == 4
    )


def test_half_precision_and_what_is_there(tmp_path, capsys):
    path, _ = saved(tmp_path / "model", "transformer_lm_rope", *LLAMA)
    assert exported(path, tmp_path / "out", "--dtype", "bfloat16").dtype == torch.bfloat16
    assert export.main(["--path", str(path), "--out", str(tmp_path / "out")]) == 1
    assert f"--out {tmp_path / 'out'} is there already" in capsys.readouterr().err


def test_no_tensor_is_left_out(tmp_path, capsys, monkeypatch):
    monkeypatch.delitem(base.COMMON, "quant_noise_pq")
    path, _ = saved(tmp_path / "model", "transformer_lm_rope", *NEOX, "--quant-noise-pq=0.1")
    assert export.main(["--path", str(path), "--out", str(tmp_path / "new" / "out")]) == 1
    assert "GPT-NeoX has no place for decoder.quant_noise.weight" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
