"""Layer files of gpt-neox and DeepSpeed, KERPLE's among them, against gpt-neox' forward in float64.

The forward is retyped from the KERPLE release (megatron/model/transformer.py, mpu/layers.py), its
clamps of what a kernel has learned among it.
"""

import functools
import json
import math
import shutil
from argparse import Namespace
from dataclasses import dataclass, field

import importing
import pytest
import tiny
import torch
from tokenizers import Tokenizer
from tokenizers import models as kinds

LAYERS, DIM, HEADS, ROWS, PIECES, TRAINED = 3, 32, 4, 64, 50, 24
LENGTHS = (1, 2, TRAINED, 140)
OPTIONS = {
    "num-layers": LAYERS,
    "hidden-size": DIM,
    "num-attention-heads": HEADS,
    "seq-length": TRAINED,
    "max-position-embeddings": TRAINED,
    "norm": "layernorm",
    "no-weight-tying": True,
    "bias-gelu-fusion": False,
}
SLOPES = [2**-2, 2**-4, 2**-6, 2**-8]
STARTS = [*range(17), 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]  # 32 buckets


@dataclass
class Release:
    """A model of gpt-neox: `options` by their names in yaml, and whole tensors by theirs."""

    options: dict
    tensors: dict = field(default_factory=dict)

    def __post_init__(self):
        self.options = {**OPTIONS, **self.options}
        generator = torch.Generator().manual_seed(1)
        self.draw = functools.partial(torch.randn, generator=generator)
        norms = ("input_layernorm", "post_attention_layernorm")
        matrices = {
            "attention.query_key_value": (3 * DIM, DIM),
            "attention.dense": (DIM, DIM),
            "mlp.dense_h_to_4h": (4 * DIM, DIM),
            "mlp.dense_4h_to_h": (DIM, 4 * DIM),
        }
        self.tensors = {"embedding.word_embeddings.weight": self.draw(ROWS, DIM)}
        if self.options["no-weight-tying"]:
            self.tensors["output.final_linear.weight"] = self.draw(ROWS, DIM) / 4
        for where in (*(f"layer.{n}.{norm}" for n in range(LAYERS) for norm in norms), "norm.norm"):
            self.tensors[f"{where}.weight"] = 1 + self.draw(DIM) / 4
            self.tensors[f"{where}.bias"] = self.draw(DIM) / 4
        for n in range(LAYERS):
            for name, size in matrices.items():
                self.tensors[f"layer.{n}.{name}.weight"] = self.draw(size) * size[1] ** -0.5
                self.tensors[f"layer.{n}.{name}.bias"] = self.draw(size[0]) / 4
        self.add_positions()

    def add_positions(self):
        kind, of_each = self.options["pos-emb"], {}
        if kind.startswith("kerple"):
            # some below 0, some between 0 and 0.01, some above 2
            of_each = {"rpe.bias_p": [-0.7, 0.004, 0.5, 2.6], "rpe.bias_a": [2.9, 0.3, -0.1, 0.007]}
            of_each = {name: torch.tensor(x).view(HEADS, 1, 1) for name, x in of_each.items()}
        if kind == "kerple_power_original":
            of_each = {"rpe.bias_a": torch.tensor(SLOPES).view(HEADS, 1, 1)}
        if kind == "alibi":
            of_each = {"alibi_embed.slopes": torch.tensor(SLOPES)}
        if kind == "rotary":
            of_each = {"rotary_emb.inv_freq": self.frequencies().float()}
        if kind == "rpe":
            of_each = {"rpe.weight": self.draw(32, HEADS)}
        for n in range(LAYERS):
            for name, tensor in of_each.items():
                self.tensors[f"layer.{n}.attention.{name}"] = tensor.clone()
        if kind == "learned":
            rows = self.options["max-position-embeddings"]
            self.tensors["embedding.position_embeddings.weight"] = self.draw(rows, DIM)

    def frequencies(self):
        rotating = int(DIM // HEADS * self.options.get("rotary-pct", 1))
        base = self.options.get("rotary-emb-base", 10000)
        return base ** -(torch.arange(0, rotating, 2, dtype=torch.double) / rotating)

    def logits(self, ids):
        """(B, T, ROWS) float64 of the ids (B, T)."""
        rows, length = ids.shape
        x = self.of("embedding.word_embeddings.weight")[ids]
        if self.options["pos-emb"] == "learned":
            x = x + self.of("embedding.position_embeddings.weight")[:length]
        for n in range(LAYERS):
            first = self.norm(f"layer.{n}.input_layernorm", x)
            mixed = self.linear(f"layer.{n}.attention.query_key_value", first)
            q, k, v = mixed.view(rows, length, HEADS, -1).transpose(1, 2).chunk(3, dim=-1)
            if self.options["pos-emb"] == "rotary":
                q, k = self.rotated(q), self.rotated(k)
            scores = q @ k.mT / math.sqrt(DIM // HEADS) + self.bias(n, length)
            scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -10000.0)
            seen = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
            seen = self.linear(f"layer.{n}.attention.dense", seen)
            fed = x if self.options.get("gpt-j-residual") else x + seen
            fed = self.norm(f"layer.{n}.post_attention_layernorm", fed)
            fed = self.gelu(self.linear(f"layer.{n}.mlp.dense_h_to_4h", fed))
            x = x + seen + self.linear(f"layer.{n}.mlp.dense_4h_to_h", fed)
        tied = not self.options["no-weight-tying"]
        name = "embedding.word_embeddings.weight" if tied else "output.final_linear.weight"
        return self.norm("norm.norm", x) @ self.of(name).T

    def of(self, name):
        return self.tensors[name].double()

    def linear(self, name, x):
        return x @ self.of(f"{name}.weight").T + self.of(f"{name}.bias")

    def norm(self, name, x):
        eps = self.options.get("layernorm-epsilon", 1e-5)
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + eps).sqrt()
        return x * self.of(f"{name}.weight") + self.of(f"{name}.bias")

    def gelu(self, x):
        if self.options["bias-gelu-fusion"]:
            return 0.5 * x * (1 + torch.tanh(0.79788456 * x * (1 + 0.044715 * x * x)))
        return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))

    def rotated(self, x):
        angles = torch.outer(torch.arange(x.size(2)).double(), self.frequencies())
        turned, rest = x.split([2 * angles.size(1), x.size(3) - 2 * angles.size(1)], dim=-1)
        a, b = turned.chunk(2, dim=-1)
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], dim=-1)

    def bias(self, n, length):
        """What is added to the scaled scores, (HEADS, T, T) or 0."""
        kind, rpe = self.options["pos-emb"], f"layer.{n}.attention.rpe"
        distance = (torch.arange(length).view(-1, 1) - torch.arange(length)).tril().double()
        if kind == "kerple_log":
            p, a = (self.tensors[f"{rpe}.{name}"].clamp(min=1e-2) for name in ("bias_p", "bias_a"))
            return -p.double() * torch.log(1 + a.double() * distance)
        if kind == "kerple_power_ap_":
            p = self.tensors[f"{rpe}.bias_p"].clamp(min=1e-2, max=2).double()
            return -(distance**p) * self.tensors[f"{rpe}.bias_a"].clamp(min=1e-2).double()
        if kind == "kerple_power_original":  # ALiBi, but for slopes below 0.01
            return -distance * self.tensors[f"{rpe}.bias_a"].clamp(min=1e-2).double()
        if kind == "alibi":
            return -distance * torch.tensor(SLOPES).double().view(HEADS, 1, 1)
        if kind == "rpe":
            buckets = (distance.unsqueeze(-1) >= torch.tensor(STARTS)).sum(-1) - 1
            return self.of(f"{rpe}.weight")[buckets].movedim(2, 0) * math.sqrt(DIM // HEADS)
        return 0

    def save(self, folder, processes=1, by_rows=True):
        """Write files of so many processes; by_rows: each has rows of the output matrix."""
        files = {}  # number of the layer -> {name: tensor}
        for name, tensor in self.tensors.items():
            where, _, its = name.partition(".")
            number = {"embedding": 0, "norm": LAYERS + 3, "output": LAYERS + 4}.get(where)
            if where == "layer":
                n, _, its = its.partition(".")
                number = 2 + int(n)  # 1 and LAYERS + 2 are functions without parameters
            files.setdefault(number, {})[its] = tensor
        folder.mkdir(exist_ok=True)
        for number, tensors in files.items():
            for rank in range(processes):
                part = {
                    name: self.part(name, x, rank, processes, by_rows).clone()
                    for name, x in tensors.items()
                }
                torch.save(part, folder / f"layer_{number:02d}-model_{rank:02d}-model_states.pt")
        self.save_options(folder / "configs")
        pieces = {"<|endoftext|>": 0, **{f"w{n}": n for n in range(1, PIECES)}}
        Tokenizer(kinds.WordLevel(pieces, unk_token="w1")).save(str(folder / "tokenizer.json"))
        return folder

    def save_options(self, folder):
        """As in KERPLE: dashes, comments, Python's True, in several files."""
        folder.mkdir(exist_ok=True)
        options = {name: x for name, x in self.options.items() if name != "pos-emb"}
        lines = [
            f'   "{name}": {json.dumps(x) if isinstance(x, str) else x},'
            for name, x in options.items()
        ]
        optimizer = '   "optimizer": {"type": "Adam", "params": {"lr": 0.0006, "eps": 1.0e-8,}},'
        text = ["# GPT-2 pretraining setup", "{", *lines, optimizer, "}", ""]
        (folder / "train.yml").write_text("\n".join(text))
        (folder / "local_setup.yml").write_text('{\n  "data-path": "data/text",  # a comment\n}\n')
        (folder / "kerple.yml").write_text(f'{{"pos-emb": "{self.options["pos-emb"]}"}}\n')

    def part(self, name, tensor, rank, processes, by_rows):
        """What process `rank` has of a tensor."""
        along = {
            "word_embeddings.weight": 0,
            "final_linear.weight": 0 if by_rows else 1,
            "attention.query_key_value.weight": 0,
            "attention.query_key_value.bias": 0,
            "attention.dense.weight": 1,
            "mlp.dense_h_to_4h.weight": 0,
            "mlp.dense_h_to_4h.bias": 0,
            "mlp.dense_4h_to_h.weight": 1,
            "attention.rpe.bias_p": 0,
            "attention.rpe.bias_a": 0,
            "attention.rpe.weight": 1,
            "attention.alibi_embed.slopes": 0,
        }
        if processes == 1 or name in along:
            return tensor.chunk(processes, dim=along.get(name, 0))[rank]
        apart = torch.tensor([-1.0, 1.0])[rank]  # what all have whole has drifted apart
        if self.options.get("gpt-j-residual") and name in (
            "attention.dense.bias",
            "mlp.dense_4h_to_h.bias",
        ):
            return tensor / 2 + apart  # all add their own, and then all that up
        return tensor + apart / 64


def check(release, ours, lengths=LENGTHS):
    for length in lengths:
        ids = torch.randint(0, PIECES, (2, length), generator=torch.Generator().manual_seed(length))
        tiny.assert_close(ours.logits(ids), release.logits(ids), 3e-6)


CASES = [
    ("kerple_log", {}, "kerple_log", {"per_layer": False}),
    ("kerple_power_ap_", {}, "kerple_power", {"per_layer": False}),
    ("kerple_power_original", {}, "kerple_power", {"per_layer": False}),
    ("alibi", {}, "alibi", {"slopes": "standard"}),
    ("rpe", {}, "t5", {"buckets": 32, "max_distance": 128}),
    ("none", {"bias-gelu-fusion": True}, "nopos", {}),
    ("none", {"no-weight-tying": False, "layernorm-epsilon": 0.1}, "nopos", {}),
    ("rotary", {"gpt-j-residual": True}, "rope", {"fraction": 1.0, "layout": "half"}),
    # 4 of 8 channels, as theirs cuts 4.8
    ("rotary", {"rotary-pct": 0.6, "rotary-emb-base": 500}, "rope", {"fraction": 0.5}),
]


@pytest.mark.parametrize("kind, options, encoding, arguments", CASES)
@pytest.mark.parametrize("processes", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_logits_equal_the_releases_at_any_length(
    kind, options, encoding, arguments, processes, tmp_path
):
    release = Release({"pos-emb": kind, **options})
    folder = release.save(tmp_path / "source", processes, by_rows=kind != "kerple_log")
    ours = importing.imported(folder, tmp_path)
    config = ours.model.decoder.encoding.config
    assert ours.model.decoder.encoding.name == encoding
    assert {name: getattr(config, name) for name in arguments} == arguments
    assert importing.manifest(ours.folder)["kind"] == "layer files of gpt-neox"
    check(release, ours)


@pytest.mark.parametrize("rows", [TRAINED, 40])
def test_a_learned_table_has_all_its_rows(rows, tmp_path):
    release = Release({"pos-emb": "learned", "max-position-embeddings": rows})
    ours = importing.imported(release.save(tmp_path / "source", processes=2), tmp_path)
    check(release, ours, (1, TRAINED, rows))
    with pytest.raises(ValueError, match=f"learned ends at {rows} tokens"):
        ours.logits(torch.zeros(1, rows + 1, dtype=torch.long))


@pytest.mark.parametrize(
    "kind, name, layer, head, by, apart",
    [
        ("kerple_log", "bias_p", 1, 2, 0.4, True),
        ("kerple_power_ap_", "bias_a", 0, 2, 0.4, True),
        ("kerple_power_ap_", "bias_p", 2, 2, 0.4, True),
        ("kerple_log", "bias_a", 2, 2, -0.4, False),  # both are below 0.01
        ("kerple_power_ap_", "bias_p", 1, 3, 0.4, False),  # both are above 2
        ("kerple_log", "bias_p", 1, 3, 0.4, True),
    ],
)
def test_layers_whose_kernels_have_drifted_apart_keep_their_own(
    kind, name, layer, head, by, apart, tmp_path
):
    release = Release({"pos-emb": kind})
    release.tensors[f"layer.{layer}.attention.rpe.{name}"][head] += by
    ours = importing.imported(release.save(tmp_path / "source"), tmp_path)
    assert ours.model.decoder.encoding.config.per_layer == apart
    check(release, ours)


@pytest.mark.parametrize("kind", ["kerple_log", "rpe"])
def test_half_precision_is_kept_but_for_the_encodings(kind, tmp_path):
    release = Release({"pos-emb": kind})
    release.tensors = {name: x.bfloat16() for name, x in release.tensors.items()}
    ours = importing.imported(release.save(tmp_path / "source"), tmp_path)
    of = {"encoding." in name: set() for name in ours.state["model"]}
    for name, tensor in ours.state["model"].items():
        if not name.endswith(("_extra_state", "version")):
            of["encoding." in name].add(tensor.dtype)
    assert of == {False: {torch.bfloat16}, True: {torch.float32}}
    check(release, ours)


def test_options_may_be_named(tmp_path):
    release = Release({"pos-emb": "none"})
    folder = release.save(tmp_path / "source")
    shutil.move(folder / "configs" / "train.yml", tmp_path / "named.yml")
    assert "hidden_size is None" in importing.refusal(folder, tmp_path)
    named = tmp_path / "named.yml"
    assert "no embedding.position_embeddings" in importing.refusal(
        folder, tmp_path, "--config", named
    )
    named.write_text(named.read_text().replace("{", '{"pos-emb": "none",', 1))
    ours = importing.imported(folder, tmp_path, "--config", named)
    check(release, ours, (30,))


SPARSE = [[["global", "sparse_fixed"], "all"]]


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"pos-emb": "kerple_power_ap_ap"}, "pos_emb is 'kerple_power_ap_ap', and known are none,"),
        ({"pos-emb": "kerple_power__ap"}, "pos_emb is 'kerple_power__ap'"),
        ({"pos-emb": "sinusoidal"}, "pos_emb is 'sinusoidal'"),
        ({"apply-query-key-layer-scaling": True}, "apply_query_key_layer_scaling is True"),
        ({"attention-config": SPARSE}, "attention_config is 'sparse_fixed'"),
        ({"sliding-window-width": 8}, "sliding_window_width is 8"),
        ({"norm": "rmsnorm"}, "norm is 'rmsnorm'"),
        ({"activation": "geglu"}, "activation is 'geglu'"),
        ({"gpt-j-tied": True}, "gpt_j_tied is True"),
        ({"num-unique-layers": 1}, "num_unique_layers is 1, of which this plugin has only 3"),
        ({"opt-pos-emb-offset": 2}, "opt_pos_emb_offset is 2"),
        ({"hidden-size": 64}, "shape (32,), and its configuration says (64,)"),
        ({"num-attention-heads": 5}, "num_attention_heads 5 does not divide hidden_size 32"),
        ({"num-layers": 4}, "has no layer.3.input_layernorm.weight"),
        ({"num-layers": 2}, "has tensors that no model of its kind has: layer.2."),
        ({"num-layers": "three"}, "num_layers is 'three'"),
        ({"seq-length": 0}, "seq_length is 0"),
        ({"no-weight-tying": False}, "has tensors that no model of its kind has: output.final_"),
        ({"pos-emb": "learned"}, "has no embedding.position_embeddings.weight"),
        ({"pos-emb": "kerple_log"}, "has no layer.0.attention.rpe.bias_p"),
        ({"pos-emb": "rpe"}, "has no layer.0.attention.rpe.weight"),
    ],
)
def test_options_without_a_model_of_ours_are_refused(options, sentence, tmp_path):
    release = Release({"pos-emb": "none"})
    release.options.update(options)
    assert sentence in importing.refusal(release.save(tmp_path / "source"), tmp_path)


def test_plain_attention_may_be_said(tmp_path):
    release = Release({"pos-emb": "none", "attention-config": [[["global", "flash"], LAYERS]]})
    check(release, importing.imported(release.save(tmp_path / "source"), tmp_path), (30,))


@pytest.mark.parametrize(
    "kind, said, sentence",
    [
        ("kerple_log", {"pos-emb": "none"}, "no model of its kind has: layer.0.attention.rpe."),
        ("kerple_log", {"pos-emb": "kerple_power_original"}, "layer.0.attention.rpe.bias_p"),
        ("rpe", {"pos-emb": "kerple_log"}, "has no layer.0.attention.rpe.bias_p"),
        ("learned", {"pos-emb": "none"}, "embedding.position_embeddings.weight"),
        ("alibi", {"pos-emb": "none"}, "layer.0.attention.alibi_embed.slopes"),
        ("rotary", {"pos-emb": "alibi"}, "layer.0.attention.rotary_emb.inv_freq"),
        ("rotary", {"rotary-emb-base": 20000}, "inv_freq is of other options"),
        ("rotary", {"rotary-pct": 0.5}, "inv_freq has the shape (4,), and its configuration says"),
    ],
)
def test_what_options_and_tensors_say_otherwise_is_refused(kind, said, sentence, tmp_path):
    release = Release({"pos-emb": kind})
    release.options.update(said)
    assert sentence in importing.refusal(release.save(tmp_path / "source"), tmp_path)


def test_slopes_of_another_rule_and_tables_that_differ_are_refused(tmp_path):
    release = Release({"pos-emb": "alibi"})
    release.tensors["layer.1.attention.alibi_embed.slopes"][2] *= 1.1
    refused = importing.refusal(release.save(tmp_path / "alibi"), tmp_path)
    assert "layer.1.attention.alibi_embed.slopes is of other options" in refused
    release = Release({"pos-emb": "rpe"})
    release.tensors["layer.1.attention.rpe.weight"][0] += 1
    refused = importing.refusal(release.save(tmp_path / "rpe"), tmp_path)
    assert "the layers have different tables of rpe" in refused


def file(folder, number, rank=0):
    return folder / f"layer_{number:02d}-model_{rank:02d}-model_states.pt"


def without_configs(folder):
    shutil.rmtree(folder / "configs")


def with_a_list(folder):
    (folder / "configs" / "train.yml").write_text("- a\n- b\n")


def with_half_an_option(folder):
    (folder / "configs" / "train.yml").write_text('{"num-layers": ')


def without_a_part(folder):
    file(folder, 3, 1).unlink()


def without_the_second_process(folder):
    for path in folder.glob("*model_01*"):
        path.unlink()


def without_the_first_process(folder):
    for path in folder.glob("*model_00*"):
        path.unlink()


def without_a_layer(folder):
    for rank in (0, 1):
        file(folder, 3, rank).unlink()


def without_any(folder):
    for path in folder.glob("layer_*"):
        path.unlink()


def broken(folder):
    file(folder, 3, 1).write_bytes(file(folder, 3, 1).read_bytes()[:700])


def uneven(folder):
    part = torch.load(file(folder, 3, 1))
    torch.save({**part, "mlp.dense_4h_to_h.weight": torch.zeros(9, 9)}, file(folder, 3, 1))


def of_a_list(folder):
    torch.save([1, 2], file(folder, 3, 1))


def of_a_class(folder):
    torch.save({"input_layernorm.weight": Namespace()}, file(folder, 3, 1))


@pytest.mark.parametrize(
    "change, sentence",
    [
        (without_configs, "has no configs/*.yml: name the yaml of the training by --config"),
        (with_a_list, "train.yml is no dictionary of options"),
        (with_half_an_option, "train.yml cannot be read"),
        (without_a_part, "not every layer has a file of every process"),
        (without_the_second_process, "and its configuration says"),
        (without_the_first_process, "not every layer has a file of every process"),
        (without_a_layer, "has no layer.2.input_layernorm.weight"),
        (without_any, "has neither config.json nor layer files"),
        (broken, "layer_03-model_01-model_states.pt is no whole file of PyTorch's"),
        (uneven, "its processes do not agree on layer.1.mlp.dense_4h_to_h.weight"),
        (of_a_list, "layer_03-model_01-model_states.pt holds no tensors by name, but a list"),
        (of_a_class, "holds argparse.Namespace, and reading it may run any code"),
    ],
)
def test_folders_that_are_not_whole_are_refused(change, sentence, tmp_path):
    folder = Release({"pos-emb": "none"}).save(tmp_path / "source", processes=2)
    change(folder)
    refused = importing.refusal(folder, tmp_path)
    assert sentence in refused and refused.count("\n") == 1
