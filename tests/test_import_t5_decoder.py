"""Decoders of T5's blocks, of the length generalization study, against its forward in float64.

The forward is retyped from McGill-NLP/length-generalization, src/models/custom_t5_decoder_only.py:
no 1/sqrt(d), a bias for keys, a quarter of the channels turned in pairs of neighbours.
"""

import json
import re

import importing
import pytest
import tiny
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers import models as kinds

LAYERS, DIM, WIDTH, INNER, ROWS, TRAINED = 2, 24, 16, 40, 50, 32
LENGTHS = (1, 2, TRAINED, 140)
PAD, EOS = 0, 1
STARTS = [*range(17), 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]  # 32 buckets
SLOPES = {
    4: [2**-2, 2**-4, 2**-6, 2**-8],
    12: [2**-k for k in range(1, 9)] + [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5],
    32: [2 ** (-k / 4) for k in range(1, 33)],
}
CROSS = ["layer_norm", *(f"EncDecAttention.{name}" for name in "qkvo")]
CROSS = [f"layer.1.{name}.weight" for name in CROSS]
BIAS = "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
COPY = "decoder.embed_tokens.weight"


class Study:
    """A model of the study: what config.json says, and `tensors` by their names."""

    def __init__(self, kind, heads=4, tied=True, width=WIDTH, epsilon=None):
        self.kind, self.heads, self.tied, self.width = kind, heads, tied, width
        self.config = {
            "model_type": "t5",
            "is_encoder_decoder": False,
            "position_encoding_type": kind,
            "d_model": DIM,
            "d_kv": width,
            "d_ff": INNER,
            "num_heads": heads,
            "num_layers": LAYERS,
            "num_decoder_layers": LAYERS,
            "feed_forward_proj": "relu",
            "layer_norm_epsilon": epsilon,
            "relative_attention_num_buckets": 32,
            "n_positions": TRAINED,
            "vocab_size": ROWS,
            "tie_word_embeddings": tied,
            "pad_token_id": PAD,
            "eos_token_id": EOS,
        }
        self.epsilon = epsilon or 1e-6
        generator = torch.Generator().manual_seed(1)

        def draw(*size, std=1.0):
            return std * torch.randn(size, generator=generator)

        inside = heads * width
        self.tensors = {"shared.weight": draw(ROWS, DIM, std=0.05), BIAS: draw(32, heads)}
        for n in range(LAYERS):
            block = f"decoder.block.{n}.layer"
            for name in "qkv":
                std = DIM**-0.5 * (1 if name == "v" else width**-0.25)
                self.tensors[f"{block}.0.SelfAttention.{name}.weight"] = draw(inside, DIM, std=std)
            self.tensors[f"{block}.0.SelfAttention.o.weight"] = draw(DIM, inside, std=inside**-0.5)
            self.tensors[f"{block}.0.layer_norm.weight"] = 1 + draw(DIM, std=0.2)
            for name in CROSS:
                self.tensors[f"decoder.block.{n}.{name}"] = draw(3)
            self.tensors[f"{block}.2.DenseReluDense.wi.weight"] = draw(INNER, DIM, std=DIM**-0.5)
            self.tensors[f"{block}.2.DenseReluDense.wo.weight"] = draw(DIM, INNER, std=INNER**-0.5)
            self.tensors[f"{block}.2.layer_norm.weight"] = 1 + draw(DIM, std=0.2)
        self.tensors["decoder.final_layer_norm.weight"] = 1 + draw(DIM, std=0.2)
        if not tied:
            self.tensors["lm_head.weight"] = draw(ROWS, DIM, std=0.3)
        if kind == "alibi":
            slopes = torch.tensor(SLOPES[heads]).view(-1, 1, 1)
            self.tensors["decoder.alibi"] = slopes * torch.arange(2048)
        if kind == "new_rotary":
            table = torch.cat([angles(4096, width).sin(), angles(4096, width).cos()], dim=-1)
            self.tensors["decoder.fixed_rotary_embedding.embed.weight"] = table.float()

    def logits(self, ids):
        """(B, T, ROWS) float64 of the ids (B, T)."""
        of = {name: x.double() for name, x in self.tensors.items()}
        rows, length = ids.shape
        x = of["shared.weight"][ids]
        mask = -10000.0 * torch.ones(length, length).triu(1).double()
        for n in range(LAYERS):
            block = f"decoder.block.{n}.layer"
            seen = self.rms(x, of[f"{block}.0.layer_norm.weight"])
            q, k, v = (
                (seen @ of[f"{block}.0.SelfAttention.{name}.weight"].T)
                .view(rows, length, self.heads, -1)
                .transpose(1, 2)
                for name in "qkv"
            )
            if "rotary" in self.kind:
                q, k = turned(q), turned(k)
            scores = q @ k.mT + mask
            if self.kind == "alibi":
                slopes = torch.tensor(SLOPES[self.heads]).double().view(-1, 1, 1)
                scores = scores + slopes * torch.arange(length)
            if self.kind == "t5_relative_bias":
                distance = (torch.arange(length).view(-1, 1) - torch.arange(length)).clamp(min=0)
                bucket = (distance.unsqueeze(-1) >= torch.tensor(STARTS)).sum(-1) - 1
                scores = scores + of[BIAS][bucket].movedim(2, 0)
            seen = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
            x = x + seen @ of[f"{block}.0.SelfAttention.o.weight"].T
            fed = self.rms(x, of[f"{block}.2.layer_norm.weight"])
            fed = (fed @ of[f"{block}.2.DenseReluDense.wi.weight"].T).relu()
            x = x + fed @ of[f"{block}.2.DenseReluDense.wo.weight"].T
        x = self.rms(x, of["decoder.final_layer_norm.weight"])
        if self.tied:
            return x * DIM**-0.5 @ of["shared.weight"].T
        return x @ of["lm_head.weight"].T

    def rms(self, x, weight):
        return weight * x / (x.square().mean(-1, keepdim=True) + self.epsilon).sqrt()

    def save(self, folder, file="model.safetensors"):
        """A folder as save_pretrained writes one."""
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(self.config))
        tensors = {name: x.clone() for name, x in self.tensors.items()}
        if file.endswith(".safetensors"):
            save_file(tensors, folder / file)
        else:
            torch.save(tensors, folder / file)
        pieces = {"<pad>": PAD, "</s>": EOS, "<unk>": 2, **{f"w{n}": n for n in range(3, ROWS)}}
        Tokenizer(kinds.WordLevel(pieces, unk_token="<unk>")).save(str(folder / "tokenizer.json"))
        return folder


def angles(length, width):
    """(length, pairs) float64 of a quarter of the channels."""
    turning = int(0.25 * width)
    frequencies = 10000 ** -(torch.arange(0, turning, 2).double() / turning)
    return torch.outer(torch.arange(length).double(), frequencies)


def turned(x):
    """x (B, H, T, D) with the pairs (2i, 2i + 1) of its first quarter turned."""
    by = angles(x.size(2), x.size(3))
    out = x.clone()
    for i in range(by.size(1)):
        a, b, cos, sin = x[..., 2 * i], x[..., 2 * i + 1], by[:, i].cos(), by[:, i].sin()
        out[..., 2 * i], out[..., 2 * i + 1] = a * cos - b * sin, b * cos + a * sin
    return out


def check(study, ours):
    for length in LENGTHS:
        generator = torch.Generator().manual_seed(length)
        ids = torch.randint(EOS, ROWS, (2, length), generator=generator)
        tiny.assert_close(ours.logits(ids), study.logits(ids), 3e-6)


ROTARY = {"fraction": 0.25, "layout": "interleaved", "theta": 10000.0}


@pytest.mark.parametrize(
    "kind, sizes, encoding, arguments, file",
    [
        ("none", {}, "nopos", {}, "model.safetensors"),
        ("none", {"tied": False}, "nopos", {}, "pytorch_model.bin"),
        (
            "none",
            {"heads": 3, "width": 8, "epsilon": 1e-4},
            "nopos",
            {},
            "pytorch_model.bin",
        ),  # 3 * 8 = 24
        ("rotary", {"tied": False}, "rope", ROTARY, "model.safetensors"),
        ("new_rotary", {}, "rope", ROTARY, "pytorch_model.bin"),
        ("rotary", {"width": 10}, "rope", {**ROTARY, "fraction": 0.2}, "model.safetensors"),
        ("alibi", {"heads": 32, "width": 4}, "alibi", {"slopes": "standard"}, "model.safetensors"),
        ("alibi", {"heads": 12, "tied": False}, "alibi", {}, "pytorch_model.bin"),
        ("t5_relative_bias", {}, "t5", {"buckets": 32, "max_distance": 128}, "model.safetensors"),
    ],
)
def test_logits_equal_the_studys_at_any_length(kind, sizes, encoding, arguments, file, tmp_path):
    study = Study(kind, **sizes)
    ours = importing.imported(study.save(tmp_path / "source", file), tmp_path)
    config = ours.model.decoder.encoding.config
    assert ours.model.decoder.encoding.name == encoding
    assert {name: getattr(config, name) for name in arguments} == arguments
    said = importing.manifest(ours.folder)
    assert said["kind"] == "a T5-style decoder"
    cross = [f"decoder.block.{n}.{name}" for n in range(LAYERS) for name in CROSS]
    expected = dict.fromkeys(cross, "cross-attention, which nothing attends by")
    made = {"alibi": "decoder.alibi", "new_rotary": "decoder.fixed_rotary_embedding.embed.weight"}
    if kind in made:
        expected[made[kind]] = "made anew"
    if encoding != "t5":
        expected[BIAS] = f"not used by {kind}"
    assert said["dropped"] == expected
    check(study, ours)


def test_other_names_of_the_embedding_are_dropped(tmp_path):
    study = Study("none")
    embedding = study.tensors["shared.weight"]
    folder = study.save(tmp_path / "source")
    copies = {COPY: embedding.clone(), "lm_head.weight": embedding.clone()}
    save_file({**study.tensors, **copies}, folder / "model.safetensors")
    ours = importing.imported(folder, tmp_path)
    dropped = importing.manifest(ours.folder)["dropped"]
    assert {name: dropped[name] for name in copies} == dict.fromkeys(
        copies, "the same as the embedding"
    )
    check(study, ours)


@pytest.mark.parametrize("tied", [True, False])
def test_the_embedding_may_have_the_decoders_name_only(tied, tmp_path):
    study = Study("t5_relative_bias", tied=tied)
    folder = study.save(tmp_path / "source")
    tensors = {COPY if name == "shared.weight" else name: x for name, x in study.tensors.items()}
    save_file(tensors, folder / "model.safetensors")
    check(study, importing.imported(folder, tmp_path))


def another(name):
    return lambda tensors: tensors.update({name: torch.zeros(ROWS, DIM)})


def without(name):
    return lambda tensors: tensors.pop(name)


def taller(tensors):
    tensors["shared.weight"] = torch.zeros(ROWS + 1, DIM)


@pytest.mark.parametrize(
    "kind, said, change, sentence",
    [
        ("none", {}, another("lm_head.weight"), "lm_head.weight is another"),
        ("none", {}, another(COPY), f"{COPY} is another"),
        ("none", {"tie_word_embeddings": False}, None, "has no lm_head.weight"),
        ("alibi", {"position_encoding_type": "none"}, None, "has: decoder.alibi"),
        (
            "new_rotary",
            {"position_encoding_type": "rotary"},
            None,
            "decoder.fixed_rotary_embedding",
        ),
        ("t5_relative_bias", {}, without(BIAS), f"has no {BIAS}"),
        ("none", {"position_encoding_type": "abs_learned"}, None, "is abs_learned, and known are"),
        ("none", {"position_encoding_type": "alibi_learned"}, None, "is alibi_learned, and known"),
        ("none", {"position_encoding_type": None}, None, "is None, and known are none, alibi,"),
        ("none", {"feed_forward_proj": "gated-gelu"}, None, "feed_forward_proj is 'gated-gelu'"),
        ("none", {"num_layers": 3}, None, "has no decoder.block.2.layer.0.SelfAttention.q.weight"),
        ("none", {"num_layers": 1}, None, "no model of its kind has: decoder.block.1."),
        ("none", {"d_kv": 8}, None, "has the shape (64, 24), and its configuration says (32, 24)"),
        ("none", {"d_ff": None}, None, "d_ff is None"),
        ("none", {}, taller, "has the shape (51, 24), and its configuration says (50, 24)"),
        ("none", {}, another("encoder.embed_tokens.weight"), "has: encoder.embed_tokens.weight"),
        ("none", {}, without("shared.weight"), f"has no {COPY}"),
        ("none", {"model_type": "t5x", "d_kv": ...}, None, "the model_type 't5x' is not known"),
    ],
)
def test_contradictions_are_refused(kind, said, change, sentence, tmp_path):
    study = Study(kind)
    study.config.update(said)
    study.config = {name: value for name, value in study.config.items() if value is not ...}
    if change is not None:
        change(study.tensors)
    refused = importing.refusal(study.save(tmp_path / "source"), tmp_path)
    assert sentence in refused, refused


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("kept", [0, 5, 900, -9])
def test_broken_files_are_refused(file, kept, tmp_path):
    folder = Study("none").save(tmp_path / "source", file)
    (folder / file).write_bytes((folder / file).read_bytes()[:kept])
    assert re.search(f"{file} is no whole", importing.refusal(folder, tmp_path))


def test_a_folder_without_weights_is_refused(tmp_path):
    folder = Study("none").save(tmp_path / "source")
    (folder / "model.safetensors").unlink()
    assert "neither model.safetensors nor pytorch_model.bin" in importing.refusal(folder, tmp_path)
    (folder / "config.json").write_text("{")
    assert "config.json cannot be read" in importing.refusal(folder, tmp_path)
