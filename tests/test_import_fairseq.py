"""Checkpoints of transformer_lm come in as what they are: stock fairseq's, and the two forks'.

Logits of stock ones are stock fairseq's own, bit by bit. A fork's are those of the stock model in
float64 with the fork's mask: +slope * key for every query, the form that it was trained in.
"""

import copy
import functools
import re
from argparse import Namespace

import importing
import pytest
import tiny
import torch
from command import eval_lm, train
from fairseq import models
from omegaconf import OmegaConf

LENGTHS = (1, 2, 63, 64, 100)  # trained on 64
ADDED = {
    "learned": ["--decoder-learned-pos"],
    "sinusoidal": [],
    "nopos": ["--no-token-positional-embeddings"],
}
ADAPTIVE = "--adaptive-input --adaptive-input-cutoff 10,30 --adaptive-softmax-cutoff 10,30".split()
FLAGS = {
    "post-norm": [],
    "pre-norm": ["--decoder-normalize-before", "--activation-fn", "gelu"],
    "tied": ["--share-decoder-input-output-embed", "--layernorm-embedding", "--no-scale-embedding"],
    "adaptive": [*ADAPTIVE, "--decoder-normalize-before", "--no-decoder-final-norm"],
    "adaptive-tied": [*ADAPTIVE, "--tie-adaptive-weights", "--tie-adaptive-proj"],
    "scales": ["--scale-heads", "--scale-attn", "--scale-fc", "--scale-resids"],
    "characters": ["--character-embeddings", "--character-filters", "[(1, 8), (2, 8)]"],
}
ALL = [(added, flags) for flags in FLAGS for added in ADDED]
# All of each, and of the rest of their pairs when there is time.
FIRST = {*((added, "post-norm") for added in ADDED), *zip([*ADDED] * 2, [*FLAGS][1:], strict=True)}
# Slopes of both rules: the ALiBi code's golden ones, and those that the NoPos fork differs in.
LAST = [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
SLOPES = {
    ("standard", 3): [2**-4, 2**-8, 2**-2],
    ("standard", 4): [2**-2, 2**-4, 2**-6, 2**-8],
    ("standard", 12): [2**-k for k in range(1, 9)] + LAST,
    ("nopos_fork", 3): [2 ** (-8 / 3), 2 ** (-16 / 3), 2**-2],
    ("nopos_fork", 4): [2**-2, 2**-4, 2**-6, 2**-8],
    ("nopos_fork", 12): [2 ** (-2 * k / 3) for k in range(1, 9)] + LAST,
}
MARKER = "decoder.embed_positions._float_tensor"
FORKS = {
    "nopos_fork": ({"alibi": True}, {}),
    # no flag says it, and sinusoids seem to be there
    "standard": (
        {"max_tokens": 1024, "no_token_positional_embeddings": False},
        {MARKER: torch.zeros(1)},
    ),
}


@functools.cache
def config(*flags, **sizes):
    return tiny.config("transformer_lm", *flags, **sizes)


def checkpoint(path, *flags, said=(), state=(), symbols=True, **sizes):
    """A stock model, and at `path` its checkpoint as fairseq-train writes one.

    said: {option: value} of its config, besides or instead. state: more of its tensors. symbols:
    dict.txt is beside it.
    """
    cfg = copy.deepcopy(config(*flags, **sizes))
    torch.manual_seed(1)
    model = models.build_model(cfg.model, tiny.task(cfg)).eval()
    cfg = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    cfg["model"].update(said)
    content = {
        "args": None,
        "cfg": cfg,
        "model": {**model.state_dict(), **dict(state)},
        "criterion": None,
        "optimizer_history": [{"criterion_name": "CrossEntropyCriterion", "num_updates": 7}],
        "task_state": {},
        "extra_state": {"train_iterator": {"epoch": 2}, "val_loss": 4.2},
        "last_optimizer_state": None,
    }
    torch.save(content, path)
    if symbols:
        tiny.dictionary().save(str(path.parent / "dict.txt"))
    return model


def change(path, how):
    """Write the checkpoint at `path` anew, with what `how` does to its content."""
    content = torch.load(path, weights_only=False)
    how(content)
    torch.save(content, path)


def with_columns(model, slopes):
    """`model` in float64 with the mask of the forks, +slope * key, (B * H, T, T) for T tokens."""

    def mask(x):
        length, rows, _ = x.shape
        future = torch.full((length, length), -torch.inf).triu(1).to(x)
        columns = torch.tensor(slopes).to(x).view(-1, 1, 1) * torch.arange(length)
        return (future + columns).repeat(rows, 1, 1)

    model.double().decoder.buffered_future_mask = mask
    return model


def kind(ours):
    return importing.manifest(ours.folder)["kind"]


@pytest.mark.parametrize(
    "added, flags",
    [pytest.param(*pair, marks=[] if pair in FIRST else pytest.mark.slow) for pair in ALL],
)
def test_stock_logits_are_bit_equal(added, flags, tmp_path):
    stock = checkpoint(tmp_path / "stock.pt", *ADDED[added], *FLAGS[flags])
    ours = importing.imported(tmp_path / "stock.pt", tmp_path)
    assert ours.model.decoder.encoding.name == added
    assert kind(ours) == "a checkpoint of stock fairseq"
    for length in LENGTHS[: 4 if added == "learned" else 5]:
        tokens = tiny.tokens(2, length, seed=length)
        assert torch.equal(ours.logits(tokens), tiny.logits(stock, tokens))
        if "adaptive" in flags:  # whose logits are made in the criterion
            target = tiny.tokens(2, length, seed=1)
            made = [
                model.get_normalized_probs(model(tokens), True, {"target": target})
                for model in (ours.model, stock)
            ]
            assert torch.equal(*made) and made[0].shape == (2, length, 64)


def test_a_learned_table_ends_where_it_did(tmp_path):
    checkpoint(tmp_path / "stock.pt", *ADDED["learned"], max_target_positions=80)
    ours = importing.imported(tmp_path / "stock.pt", tmp_path)
    assert ours.logits(tiny.tokens(1, 80)).shape == (1, 80, 64)
    with pytest.raises(ValueError, match="learned ends at 80 tokens, and a sequence has 81"):
        ours.logits(tiny.tokens(1, 81))


def test_what_sinusoids_left_in_a_state_is_dropped(tmp_path):
    left = {MARKER: torch.ones(1), "decoder.embed_positions.weights": torch.ones(66, 48)}
    stock = checkpoint(tmp_path / "stock.pt", state=left)
    ours = importing.imported(tmp_path / "stock.pt", tmp_path)
    dropped = importing.manifest(ours.folder)["dropped"]
    assert dropped == dict.fromkeys(left, "sinusoids, made anew where they are added")
    assert torch.equal(ours.logits(tiny.tokens(2, 70)), tiny.logits(stock, tiny.tokens(2, 70)))


@pytest.mark.parametrize("heads", [3, 12])
@pytest.mark.parametrize("fork", FORKS)
def test_the_bias_of_a_fork_is_found(fork, heads, tmp_path):
    said, state = FORKS[fork]
    sizes = {"said": said, "state": state, "decoder_attention_heads": heads}
    stock = checkpoint(tmp_path / "fork.pt", *ADDED["nopos"], *FLAGS["pre-norm"], **sizes)
    ours = importing.imported(tmp_path / "fork.pt", tmp_path)
    assert ours.model.decoder.encoding.name == "alibi"
    assert ours.model.decoder.encoding.config.slopes == fork
    named = {"nopos_fork": "NoPos", "standard": "ALiBi"}[fork]
    assert kind(ours) == f"a checkpoint of the {named} fork"
    exact = with_columns(stock, SLOPES[fork, heads])
    for length in (*LENGTHS, 300):
        tokens = tiny.tokens(2, length, seed=length)
        tiny.assert_close(ours.logits(tokens), tiny.logits(exact, tokens), 2e-6)


@pytest.mark.parametrize("added", ADDED)
def test_without_alibi_the_nopos_fork_is_stock(added, tmp_path):
    stock = checkpoint(tmp_path / "fork.pt", *ADDED[added], said={"alibi": False})
    ours = importing.imported(tmp_path / "fork.pt", tmp_path)
    assert kind(ours) == "a checkpoint of the NoPos fork"
    assert ours.model.decoder.encoding.name == added
    assert torch.equal(ours.logits(tiny.tokens(2, 50)), tiny.logits(stock, tiny.tokens(2, 50)))


SINUSOIDS = {MARKER: torch.zeros(1)}
TABLE = {"decoder.embed_positions.weight": torch.zeros(66, 48)}
NOPOS, LEARNED = "no_token_positional_embeddings", "decoder_learned_pos"


@pytest.mark.parametrize(
    "added, said, state, sentence",
    [
        ("sinusoidal", {"alibi": True}, SINUSOIDS, "--alibi and sinusoidal positions at once"),
        ("learned", {"alibi": True}, {}, "--alibi and learned positions at once"),
        ("nopos", {"alibi": True}, SINUSOIDS, "nopos by its options, but it has sinusoids"),
        ("nopos", {"max_tokens": 9}, {}, "the ALiBi fork by its max_tokens, and has nopos"),
        ("learned", {"max_tokens": 9}, {}, "by its max_tokens, and has learned positions"),
        ("nopos", {LEARNED: True}, TABLE, "nopos by its options, but it has a learned table"),
        ("nopos", {NOPOS: False}, TABLE, "sinusoidal by its options, but it has a learned table"),
        ("learned", {NOPOS: True}, {}, "nopos by its options, but it has a learned table"),
        ("learned", {LEARNED: False}, {}, "sinusoidal by its options, but it has a learned table"),
        ("sinusoidal", {LEARNED: True}, {}, "learned by its options, but it has no table"),
        ("sinusoidal", {LEARNED: True}, SINUSOIDS, "learned by its options, but it has sinusoids"),
        ("sinusoidal", {"rotary": True, "x": None}, {}, "another fork .* by its options rotary: "),
    ],
)
def test_contradictions_are_refused(added, said, state, sentence, tmp_path):
    checkpoint(tmp_path / "odd.pt", *ADDED[added], said=said, state=state)
    refused = importing.refusal(tmp_path / "odd.pt", tmp_path)
    assert re.search(sentence, refused), refused


def test_a_checkpoint_of_this_plugin_is_refused(tmp_path):
    checkpoint(tmp_path / "stock.pt")
    ours = importing.imported(tmp_path / "stock.pt", tmp_path)
    assert "of this plugin already" in importing.refusal(ours.path, tmp_path)


def by_namespace(content):
    """All options in one, pickled, as before 2021."""
    cfg = content.pop("cfg")
    both = {**cfg["task"], **cfg["model"], "max_tokens": 512}
    content["args"] = Namespace(arch="transformer_lm", **both)
    del content["args"].base_layers, content["args"].base_sublayers, content["args"].base_shuffle


def by_namespace_of_2018(content):
    """As `by_namespace`, with the names that two options had."""
    by_namespace(content)
    content["args"].no_tie_adaptive_proj = False
    del content["args"].tie_adaptive_proj, content["args"].no_decoder_final_norm


def by_config(content):
    """A config that is pickled, as in 2021."""
    content["cfg"] = OmegaConf.create(content["cfg"])


OLD = ["--decoder-normalize-before", "--no-decoder-final-norm", *FLAGS["adaptive-tied"]]


@pytest.mark.parametrize(
    "how, flags, fork, holds",
    [
        (by_namespace, [], None, "argparse.Namespace"),
        (by_namespace_of_2018, OLD, None, "argparse.Namespace"),
        (by_namespace, ADDED["nopos"], "nopos_fork", "argparse.Namespace"),
        (by_namespace, ADDED["nopos"], "standard", "argparse.Namespace"),
        (by_config, ADDED["nopos"], "standard", "omegaconf.dictconfig.DictConfig"),
    ],
)
def test_pickles_of_more_than_tensors_are_read_by_those_who_trust_them(
    how, flags, fork, holds, tmp_path
):
    path, (said, state) = tmp_path / "old.pt", FORKS.get(fork, ({}, {}))
    stock = checkpoint(path, *flags, said=said, state=state)
    change(path, how)
    refused = importing.refusal(path, tmp_path)
    assert f"{path} holds {holds}, and reading it may run any code" in refused
    assert refused.endswith("if you trust the author, add --trust-pickle\n")
    trusted, tokens = ["--trust-pickle"], tiny.tokens(2, 70)
    if how is not by_config and (fork == "standard" or flags != ADDED["nopos"]):
        assert "say --position-encoding sinusoidal or alibi" in importing.refusal(
            path, tmp_path, *trusted
        )
        trusted += ["--position-encoding", "alibi" if fork else "sinusoidal"]
    ours = importing.imported(path, tmp_path, *trusted)
    if fork is None:
        assert torch.equal(ours.logits(tokens), tiny.logits(stock, tokens))
    else:
        exact = tiny.logits(with_columns(stock, SLOPES[fork, 4]), tokens)
        tiny.assert_close(ours.logits(tokens), exact, 2e-6)


class Trap:
    """An object whose unpickling makes a file."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


@pytest.mark.parametrize("where", ["alone", "in a checkpoint"])
def test_code_in_a_pickle_is_not_run(where, tmp_path):
    checkpoint(tmp_path / "trap.pt")
    ran = tmp_path / "ran"
    content = {"alone": Trap(ran), "in a checkpoint": {"model": {}, "extra_state": Trap(ran)}}
    torch.save(content[where], tmp_path / "trap.pt")
    refused = importing.refusal(tmp_path / "trap.pt", tmp_path)
    assert re.search(r"holds (_?io|builtins)\.open, and reading it may run any code", refused)
    assert not ran.exists()
    importing.refusal(tmp_path / "trap.pt", tmp_path, "--trust-pickle")
    assert ran.exists()  # the trap works


@pytest.mark.parametrize(
    "name", ["adaptive_softmax_cutoff", "adaptive_input_cutoff", "character_filters"]
)
def test_code_in_options_is_not_run(name, tmp_path):
    flags = FLAGS["characters" if name == "character_filters" else "adaptive"]
    ran = tmp_path / "ran"
    code = f"[open({str(ran)!r}, 'w').fileno()]"  # fairseq evaluates these
    checkpoint(tmp_path / "trap.pt", *flags, said={name: code})
    refused = importing.refusal(tmp_path / "trap.pt", tmp_path)
    assert f"{name} is {code!r}, and should be numbers alone" in refused
    assert not ran.exists()


@pytest.mark.parametrize(
    "said",
    [{"activation_fn": "nonsense"}, {"decoder_layers": "two"}, {"decoder_normalize_before": [1]}],
)
def test_options_of_no_transformer_are_refused(said, tmp_path):
    checkpoint(tmp_path / "odd.pt", said=said)
    ((name, value),) = said.items()
    refused = importing.refusal(tmp_path / "odd.pt", tmp_path)
    assert f"{name} is {value!r}, as in no transformer_lm" in refused


def words(folder, count):
    """A dict.txt of so many words in the new `folder`."""
    folder.mkdir()
    (folder / "dict.txt").write_text("".join(f"w{n} 1\n" for n in range(count)))
    return folder / "dict.txt"


def test_the_dictionary_is_beside_it_in_its_data_bin_or_named(tmp_path):
    path, data = tmp_path / "stock.pt", tmp_path / "data-bin"
    stock = checkpoint(path, symbols=False)
    refused = importing.refusal(path, tmp_path)
    assert f"no {tmp_path / 'dict.txt'} and no no-data/dict.txt: name it by --dict" in refused
    assert f"no {data}" in importing.refusal(path, tmp_path, "--dict", data)
    change(path, lambda content: content["cfg"]["task"].update(data=f"{data}:elsewhere"))
    for number, (folder, flags) in enumerate(
        [(data, ()), (tmp_path / "named", ("--dict", tmp_path / "named" / "dict.txt"))]
    ):
        words(folder, 60)
        (tmp_path / str(number)).mkdir()
        ours = importing.imported(path, tmp_path / str(number), *flags)
        assert (ours.folder / "dict.txt").read_text() == (folder / "dict.txt").read_text()
        assert torch.equal(ours.logits(tiny.tokens(1, 9)), tiny.logits(stock, tiny.tokens(1, 9)))
    other = words(tmp_path / "other", 61)
    refused = importing.refusal(path, tmp_path, "--dict", other)
    assert "embed_tokens.weight has the shape (64, 48)" in refused and "(65, 48)" in refused
    other.write_text("no count\n")
    assert f"{other} is no dictionary" in importing.refusal(path, tmp_path, "--dict", other)


def without(*names):
    def how(content):
        for name in names:
            del content[name]

    return how


def renamed(content):
    content["model"] = {f"encoder.{name}": x for name, x in content["model"].items()}


def translating(content):
    content["model"]["encoder.embed_tokens.weight"] = torch.zeros(64, 48)


def of_integers(content):
    content["model"]["decoder.layers.0.fc1.weight"] = torch.zeros(96, 48, dtype=torch.int)


def with_scaled_heads(content):
    content["cfg"]["model"]["scale_heads"] = True
    content["model"]["decoder.layers.0.self_attn.c_attn"] = torch.ones(4)


def without_one(content):
    del content["model"]["decoder.layers.1.fc2.bias"]


@pytest.mark.parametrize(
    "how, sentence",
    [
        (without("model"), "is no checkpoint of fairseq's"),
        (without("cfg", "args"), "has neither cfg nor args"),
        (renamed, "is of no language model"),
        (translating, "is of no language model"),
        (of_integers, "fc1.weight is of torch.int32"),
        (with_scaled_heads, "has no decoder.layers.0.self_attn.c_attn"),
        (without_one, "has decoder.layers.1.fc2.bias, and it has not"),
    ],
)
def test_other_content_is_refused(how, sentence, tmp_path):
    checkpoint(tmp_path / "other.pt")
    change(tmp_path / "other.pt", how)
    assert sentence in importing.refusal(tmp_path / "other.pt", tmp_path)


@pytest.mark.parametrize("kept", [0, 1, 1000, -1000])
def test_broken_files_are_refused(kept, tmp_path):
    path = tmp_path / "broken.pt"
    checkpoint(path)
    path.write_bytes(path.read_bytes()[:kept])
    assert f"{path} is no whole file of PyTorch's" in importing.refusal(path, tmp_path)


def test_what_is_not_there_is_refused(tmp_path):
    assert "there is no such file" in importing.refusal(tmp_path / "none.pt", tmp_path)


def test_what_fairseq_trained_is_evaluated_and_trained_on(data_bin, tmp_path):
    made = ["--share-decoder-input-output-embed", "--decoder-normalize-before"]
    train(data_bin, "transformer_lm", tmp_path, *made)
    path = tmp_path / "checkpoint_best.pt"
    ours = importing.imported(path, tmp_path)  # by the dict.txt of its data-bin
    of_length = ("--tokens-per-sample", "32")
    stock = eval_lm(data_bin, path, *of_length)
    assert eval_lm(data_bin, ours.path, *of_length) == stock
    flags = [*ours.flags, "--finetune-from-model", ours.path]
    train(data_bin, "transformer_lm_sinusoidal", tmp_path / "tuned", *flags)
    tuned = eval_lm(data_bin, tmp_path / "tuned" / "checkpoint_best.pt", *of_length)
    assert tuned["loss"] < stock["loss"] - 0.05


def test_a_model_of_a_fork_is_trained_on_with_its_slopes(data_bin, tmp_path, caplog):
    train(data_bin, "transformer_lm", tmp_path, *ADDED["nopos"], "--decoder-attention-heads", "4")
    path = tmp_path / "checkpoint_best.pt"
    change(path, lambda content: content["cfg"]["model"].update(alibi=True))
    ours = importing.imported(path, tmp_path)
    flags = [*ours.flags, "--finetune-from-model", ours.path, "--max-update", "1"]
    train(data_bin, "transformer_lm_alibi", tmp_path / "tuned", *flags)
    tuned = torch.load(tmp_path / "tuned" / "checkpoint_best.pt", weights_only=False)
    assert tuned["cfg"]["model"]["trained_position_args"] == "slopes=nopos_fork"
    before, after = (state["model"]["decoder.layers.0.fc1.weight"] for state in (ours.state, tuned))
    assert 0 < (before - after).abs().max() < 0.02  # an update of Adam, from there


def test_another_encoding_than_it_has_is_refused(tmp_path):
    checkpoint(tmp_path / "stock.pt")
    refused = importing.refusal(tmp_path / "stock.pt", tmp_path, "--position-encoding", "nopos")
    assert "is a checkpoint of stock fairseq, with sinusoidal" in refused
    ours = importing.imported(tmp_path / "stock.pt", tmp_path)
    assert f"name {ours.path}" in importing.refusal(ours.folder, tmp_path)
