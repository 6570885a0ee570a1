"""nopos-import of Hugging Face folders: their files, whole and broken."""

import json
import shutil

import pytest
import torch
from hugging_face import assert_same, gpt2, llama, neox, random_model, saved, words
from importing import command, imported, manifest, refusal
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM


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
def test_files(plain_llama, tmp_path, change):
    theirs = AutoModelForCausalLM.from_pretrained(plain_llama).eval()
    change(plain_llama)
    assert_same(imported(plain_llama, tmp_path), theirs, (20,))


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
def test_broken_files(plain_llama, tmp_path, change):
    parts = change(plain_llama)
    said = refusal(plain_llama, tmp_path)
    assert all(part in said for part in parts), said
    assert str(plain_llama) in said


def test_a_pickle_that_may_run_code_is_read_only_if_that_is_said(plain_llama, tmp_path):
    mark = tmp_path / "it ran"
    theirs = AutoModelForCausalLM.from_pretrained(plain_llama).eval()
    as_bin(plain_llama)
    tensors = torch.load(plain_llama / "pytorch_model.bin")
    torch.save(
        {**tensors, "model.rotary_emb.inv_freq": Opener(mark)}, plain_llama / "pytorch_model.bin"
    )
    said = refusal(plain_llama, tmp_path)
    assert "pytorch_model.bin holds io.open, and reading it may run any code" in said
    assert "if you trust the author, add --trust-pickle" in said and not mark.exists()
    assert_same(imported(plain_llama, tmp_path, "--trust-pickle"), theirs, (20,))
    assert mark.exists()


def test_it_says_what_it_made(plain_llama, tmp_path):
    status, said, _ = command(plain_llama, tmp_path / "out")
    assert status == 0 and said.startswith(f"{plain_llama}: a LLaMA folder\n")
    assert "\nposition encoding: rope (layout=half,theta=10000.0)\n" in said
    written = {file.name for file in (tmp_path / "out").iterdir()}
    files = {"checkpoint.pt", "dict.txt", "flags.txt", "manifest.json", "tokenizer.json"}
    assert written == files


def test_what_is_there_is_not_overwritten(plain_llama, tmp_path):
    (tmp_path / "out").mkdir()
    status, _, said = command(plain_llama, tmp_path / "out")
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
