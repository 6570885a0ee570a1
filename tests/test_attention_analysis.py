"""nopos-attention: distances between two models' attention, and how far back it looks."""

import json
import math

import pytest
import torch
from command import fairseq
from fairseq import checkpoint_utils
from test_divergence import by_definition

from nopos_plugin.cli.attention import main
from nopos_plugin.cli.make_task import main as make_task
from nopos_plugin.evaluation.divergence import BINS, histogram
from nopos_plugin.models.maps import attention_maps


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """(data-bin, {encoding: checkpoint}), hardly trained; `deep` has a layer more."""
    folder = tmp_path_factory.mktemp("attention")
    sizes = ("--train-size", "40", "--valid-size", "20", "--test-size", "20")
    lengths = ("--train-lengths", "2:4", "--test-lengths", "5:6")
    assert make_task(["reverse", "--out", str(folder / "bin"), *sizes, *lengths]) == 0
    found = {}
    for name, layers in (("nopos", 2), ("rope", 2), ("deep", 3)):
        encoding = "nopos" if name == "deep" else name
        code, said = fairseq(
            "train",
            folder / "bin",
            *("--task", "length_generalization", "--arch", f"transformer_lm_{encoding}_t5tiny"),
            *("--decoder-embed-dim", "32", "--decoder-layers", layers, "--max-update", "2"),
            *("--decoder-ffn-embed-dim", "32", "--optimizer", "adam", "--max-tokens", "512"),
            *("--cpu", "--num-workers", "0", "--distributed-world-size", "1"),
            *("--disable-validation", "--no-epoch-checkpoints", "--save-dir", folder / name),
        )
        assert code == 0, said[-2000:]
        found[name] = folder / name / "checkpoint_last.pt"
    return folder / "bin", found


def loaded(data, path):
    made, _, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(path)], arg_overrides={"data": str(data)}
    )
    return made[0].eval().decoder, task


def test_distances_are_means_over_samples_of_means_over_queries(models, tmp_path, capsys):
    data, paths = models
    output = tmp_path / "attention.jsonl"
    command = [str(data), "--path", str(paths["rope"]), "--against", str(paths["nopos"])]
    command += ["--samples", "3", "--output", str(output)]
    assert main(command) == 0
    (row,) = map(json.loads, output.read_text().splitlines())
    assert [(one["split"], one["length"], one["samples"]) for one in row["by_length"]] == [
        *(("valid", length, 3) for length in (2, 3, 4)),
        *(("test", length, 3) for length in (5, 6)),
    ]
    decoders, task = [], None
    for name in ("rope", "nopos"):
        decoder, task = loaded(data, paths[name])
        decoders.append(decoder)
    dataset = task.questions("test")
    samples = [n for n, record in enumerate(dataset.records) if record["length"] == 6]
    samples = [samples[n * len(samples) // 3] for n in range(3)]
    found = row["by_length"][-1]["layers"]
    for layer in range(2):
        least, matched, back = [], [], []
        for index in samples:
            tokens = dataset[index]["source"][None]
            asked = dataset[index]["record"]["question_tokens"]
            p, q = (list(attention_maps(one, tokens))[layer][0].double() for one in decoders)
            pairs = {}
            for head in range(4):
                for other in range(4):
                    question = p[head, 1:asked].tolist(), q[other, 1:asked].tolist()
                    rows = zip(*question, strict=True)
                    distances = [math.sqrt(max(0, by_definition(*pair))) for pair in rows]
                    pairs[head, other] = sum(distances) / len(distances)
            least.append(min(pairs.values()))
            matched.append(sum(pairs[head, head] for head in range(4)) / 4)
            places = range(asked - 1, p.size(1))  # which the answer is read from
            looks = [(t - int(p[h, t].argmax())) / (t + 1) for h in range(4) for t in places]
            back.append(sum(looks) / len(looks))
        assert found[layer]["least_distance"] == pytest.approx(sum(least) / 3, rel=1e-4)
        assert found[layer]["matched_distance"] == pytest.approx(sum(matched) / 3, rel=1e-4)
        assert found[layer]["most_attended"] == pytest.approx(sum(back) / 3, rel=1e-4)
        assert sum(found[layer]["most_attended_shares"]) == pytest.approx(1)
        assert 0 < found[layer]["least_distance"] < found[layer]["matched_distance"] < 0.833
    assert "reverse" in capsys.readouterr().out


def test_a_model_is_no_distance_from_itself_and_alone_has_none(models, tmp_path):
    data, paths = models
    output = tmp_path / "attention.jsonl"
    command = [str(data), "--path", str(paths["nopos"]), "--samples", "1", "--output", str(output)]
    assert main([*command, "--against", str(paths["nopos"])]) == 0 and main(command) == 0
    same, alone = map(json.loads, output.read_text().splitlines())
    layers = [layer for one in same["by_length"] for layer in one["layers"]]
    assert {layer["matched_distance"] for layer in layers} == {0.0}
    assert "least_distance" not in alone["by_length"][0]["layers"][0] and alone["against"] is None


@pytest.mark.parametrize(
    "against, sentence",
    [
        ("{deep}", "2 and 3 layers cannot be compared; name a model of the same depth"),
        ("{rope},{deep}", "{rope},{deep}: name no more than 1"),
        ("none.pt", "--against none.pt: there is no such file"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(against, sentence, models, tmp_path, capsys):
    data, paths = models
    command = [str(data), "--path", str(paths["nopos"]), "--against", against.format(**paths)]
    assert main([*command, "--output", str(tmp_path / "a.jsonl")]) == 1
    assert sentence.format(**paths) in capsys.readouterr().err


def test_options_are_of_the_model_that_is_looked_at(models, tmp_path):
    """NoPos has no theta, and is compared as it was trained."""
    data, paths = models
    output = tmp_path / "attention.jsonl"
    command = [str(data), "--path", str(paths["rope"]), "--against", str(paths["nopos"])]
    command += ["--samples", "1", "--output", str(output), "--position-args", "theta=100"]
    assert main(command) == 0
    (row,) = map(json.loads, output.read_text().splitlines())
    assert "theta=100" in row["position_args"] and row["against_position_encoding"] == "nopos"


def test_shares_of_equal_parts():
    back = torch.tensor([[[0.0, 0.04, 0.5, 0.99]]])
    real = torch.tensor([[True, True, True, False]])
    (shares,) = histogram(back, real).tolist()
    assert shares[0] == pytest.approx(2 / 3) and shares[BINS // 2] == pytest.approx(1 / 3)
    assert sum(shares) == pytest.approx(1)
