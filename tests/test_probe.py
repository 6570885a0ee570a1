"""nopos-probe: all probes at once are each on its own, and say what there is to be read."""

import json
import math

import pytest
import tiny
import torch
from command import train

from nopos_plugin.cli.checkpoint import Checkpoint
from nopos_plugin.cli.probe import Probing, main, parser
from nopos_plugin.data.order import batches
from nopos_plugin.evaluation import probe, results
from nopos_plugin.evaluation.probe import Probes, hidden, measure, random_error, summary

PAD = 1
TOKENS = 957  # of the valid split
QUICK = ("--updates", "3", "--batch-tokens", "64")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def drawn(layers, tokens, width, length, seed=0):
    """(states, places) of a batch, places in no order."""
    states = torch.randn(layers, tokens, width, generator=seeded(seed), dtype=torch.float64)
    return states, torch.randint(length, (tokens,), generator=seeded(seed + 1))


def alone(inner, outer, seen, labels, lr):
    """(weights, losses) of one probe after an update a batch, AdamW as its paper has it."""
    weights = [inner.detach().clone().double(), outer.detach().clone().double()]
    first, second = ([torch.zeros_like(w) for w in weights] for _ in range(2))
    losses, warmup = [], max(1, round(0.05 * len(seen)))
    for step, ((states, _), wanted) in enumerate(zip(seen, labels, strict=True), start=1):
        for weight in weights:
            weight.requires_grad_()
        logits = torch.relu(states @ weights[0]) @ weights[1]
        log_p = logits - logits.exp().sum(1, keepdim=True).log()
        loss = -sum(log_p[n, w] for n, w in enumerate(wanted.tolist())) / len(wanted)
        losses.append(loss.item())
        rate = lr * min(step / warmup, (len(seen) - step + 1) / (len(seen) - warmup + 1))
        gradients = torch.autograd.grad(loss, weights)
        for n, g in enumerate(gradients):
            first[n] = 0.9 * first[n] + 0.1 * g
            second[n] = 0.999 * second[n] + 0.001 * g**2
            move = (first[n] / (1 - 0.9**step)) / ((second[n] / (1 - 0.999**step)).sqrt() + 1e-8)
            weights[n] = (weights[n] * (1 - rate * 0.01) - rate * move).detach()
    return weights, losses


def test_all_probes_at_once_are_each_on_its_own():
    layers, width, length, updates, lr = 3, 6, 9, 25, 0.01
    probes = Probes(layers, width, length, seeded(1)).double()
    seen = [drawn(layers, 14 + n % 3, width, length, seed=2 * n) for n in range(updates)]
    order = seeded(5)
    shuffled = [places[torch.randperm(len(places), generator=order)] for _, places in seen]
    expected = {}
    for layer in range(layers):
        mine = [(states[layer], places) for states, places in seen]
        for kind, labels in enumerate(([places for _, places in seen], shuffled)):
            weights = probes.inner[kind, layer], probes.outer[kind, layer]
            expected[kind, layer] = alone(*weights, mine, labels, lr)
    losses = torch.stack(list(probe.train(probes, seen, updates, lr, seeded(5))))
    for (kind, layer), ((inner, outer), by_update) in expected.items():
        assert torch.allclose(probes.inner[kind, layer], inner, rtol=1e-6, atol=1e-8)
        assert torch.allclose(probes.outer[kind, layer], outer, rtol=1e-6, atol=1e-8)
        assert losses[:, kind, layer].tolist() == pytest.approx(by_update, rel=1e-7)


def test_a_control_begins_as_its_probe_and_layers_differ():
    probes = Probes(2, 6, 9, seeded(1))
    assert probes.inner.shape == (2, 2, 6, 12) and probes.outer.shape == (2, 2, 12, 9)
    for weight, bound in ((probes.inner, 6**-0.5), (probes.outer, 12**-0.5)):
        assert torch.equal(weight[0], weight[1]) and not torch.equal(weight[0, 0], weight[0, 1])
        assert 0.9 * bound < weight.abs().max() <= bound and weight.min() < -0.9 * bound


def test_errors_are_counted_against_the_true_places():
    probes = Probes(2, 6, 9, seeded(4)).double()
    seen = [drawn(2, n, 6, 9, seed=n) for n in (11, 1, 30)]
    errors, right, tokens = measure(probes, seen, seeded(1))
    assert tokens == 42
    found = summary(errors, right, tokens)
    assert found["tokens"] == 42 and [one["layer"] for one in found["layers"]] == [0, 1]
    for layer, row in enumerate(found["layers"]):
        for kind, prefix in enumerate(("", "control_")):
            off = [
                abs(max(range(9), key=logits.__getitem__) - place)
                for states, places in seen
                for logits, place in zip(
                    (
                        (states[layer] @ probes.inner[kind, layer]).clamp(min=0)
                        @ probes.outer[kind, layer]
                    ).tolist(),
                    places.tolist(),
                    strict=True,
                )
            ]
            assert row[f"{prefix}error_tokens"] == pytest.approx(sum(off) / 42)
            assert row[f"{prefix}accuracy"] == pytest.approx(off.count(0) / 42)


def test_who_is_silent_guesses():
    states, places = drawn(2, 5000, 6, 9)
    probes = Probes(2, 6, 9, seeded(3)).double()
    with torch.no_grad():
        probes.inner[1] = -probes.inner[1].abs()  # no unit of the controls answers
    (errors, right, tokens) = measure(probes, [(states.abs(), places)], seeded(1))
    assert (errors[1] / tokens).tolist() == pytest.approx([(9**2 - 1) / 27] * 2, rel=0.05)
    assert (right[1] / tokens).tolist() == pytest.approx([1 / 9] * 2, rel=0.1)
    assert errors[1, 0] != errors[1, 1]
    again = measure(probes, [(states.abs(), places)], seeded(1))
    assert torch.equal(again[0], errors)


def test_a_random_guess_is_off_by_a_third_of_the_length():
    for length in (1, 2, 7, 128):
        pairs = [abs(i - j) for i in range(length) for j in range(length)]
        assert random_error(length) == pytest.approx(sum(pairs) / length**2)
    assert random_error(1024) == pytest.approx(341.333, abs=1e-3)  # the paper's


@pytest.mark.parametrize("arch", ["transformer_lm_sinusoidal", "transformer_lm_rope"])
@pytest.mark.parametrize("flags", [(), ("--decoder-normalize-before",)], ids=["post", "pre"])
def test_states_are_those_that_go_into_layers_and_come_out(arch, flags):
    model, kept = tiny.model(arch, *flags), []
    layers = list(model.decoder.layers.children())
    hooks = [layers[0].register_forward_pre_hook(lambda _, given: kept.append(given[0]))]
    hooks += [one.register_forward_hook(lambda _, i, made: kept.append(made[0])) for one in layers]
    source = tiny.tokens(3, 20)
    sample = {"net_input": {"src_tokens": source}, "target": tiny.tokens(3, 20, seed=1)}
    states, places = hidden(model, sample, PAD)
    for hook in hooks:
        hook.remove()
    expected = torch.stack([x.transpose(0, 1).flatten(0, 1) for x in kept])
    assert states.shape == (3, 60, 48) and torch.equal(states, expected)
    assert not states.requires_grad and places.tolist() == 3 * list(range(20))


@pytest.mark.parametrize("name", ["nopos", "learned", "kerple_log", "bipe_rope"])
def test_pads_are_left_out(name):
    model = tiny.built(name)
    source, target = tiny.tokens(3, 20), tiny.tokens(3, 20, seed=1)
    sizes = (20, 1, 13)
    rows = [
        {"net_input": {"src_tokens": source[n : n + 1, :size]}, "target": target[n : n + 1, :size]}
        for n, size in enumerate(sizes)
    ]
    for n, size in enumerate(sizes):
        source[n, size:], target[n, size:] = PAD, PAD
    padded = {"net_input": {"src_tokens": source}, "target": target}
    states, places = hidden(model, padded, PAD)
    alone = [hidden(model, row, PAD) for row in rows]
    assert places.tolist() == [place for size in sizes for place in range(size)]
    tiny.assert_close(states, torch.cat([states for states, _ in alone], 1), 1e-5)
    probes = Probes(3, 48, 20, seeded(1))
    for one, other in zip(
        measure(probes, [(states, places)], seeded(1)),
        measure(probes, alone, seeded(1)),
        strict=True,
    ):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))


def test_a_token_that_opens_every_window_has_no_place():
    sample = {"net_input": {"src_tokens": tiny.tokens(2, 5)}, "target": tiny.tokens(2, 5, seed=1)}
    sample["target"][:, 0] = PAD  # as of --add-bos-token
    _, places = hidden(tiny.built("nopos"), sample, PAD)
    assert places.tolist() == [0, 1, 2, 3] * 2


def test_batches_have_each_window_once_an_epoch():
    made = batches(10, 4, 10, seed=1)
    assert [len(one) for one in made] == [4] * 10
    flat = [index for one in made for index in one]
    epochs = [flat[n : n + 10] for n in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 4
    assert made == batches(10, 4, 10, seed=1) and made[:3] == batches(10, 4, 3, seed=1)
    assert made != batches(10, 4, 10, seed=2)
    assert batches(2, 5, 1, seed=1)[0][:2] in ([0, 1], [1, 0])


@pytest.fixture
def ask(data_bin, tmp_path):
    """ask(checkpoint, *flags): status and results of nopos-probe."""

    def run(path, *flags, output="probe.jsonl"):
        typed = [data_bin, "--path", path, "--device", "cpu", "--output", tmp_path / output]
        status = main([str(one) for one in (*typed, *flags)])
        return status, results.read(tmp_path / output, results.PROBE)

    return run


def test_positions_that_are_added_are_read_off_and_others_are_not(ask, checkpoints):
    paths = f"{checkpoints('sinusoidal')},{checkpoints('learned')},{checkpoints('nopos')}"
    flags = ("--updates", "250", "--batch-tokens", "256", "--lr", "0.01")
    status, rows = ask(paths, *flags)
    assert status == 0
    sinusoidal, learned, nopos = ([one["error_tokens"] for one in row["layers"]] for row in rows)
    chance = (32**2 - 1) / (3 * 32)
    assert sinusoidal[0] < 0.2 and rows[0]["layers"][0]["accuracy"] > 0.9
    assert learned[0] < 0.2
    assert 32 / 4 * 0.9 < nopos[0] < chance * 1.2  # who says the middle is off by a fourth
    assert max(nopos[1:]) < nopos[0]
    for row in rows:
        assert row["random_error_tokens"] == pytest.approx(chance)
        assert row["length_tokens"] == row["trained_tokens"] == 32
        assert row["tokens"] == TOKENS and row["windows"] == 30
        for one in row["layers"]:
            assert 0.85 * chance < one["control_error_tokens"] < 1.15 * chance
            assert one["control_accuracy"] < 0.1


def test_the_model_is_frozen_and_the_seed_decides(data_bin, checkpoints):
    typed = [str(data_bin), "--path", str(checkpoints("rope")), "--device", "cpu", *QUICK]
    options = parser().parse_args(typed)
    subject = Checkpoint(options.path, options.data, options)
    before = {name: value.clone() for name, value in subject.model.named_parameters()}
    first = Probing(subject, options).measured()
    again = Probing(subject, options).measured()
    assert first["layers"] == again["layers"]
    assert not subject.model.training
    assert all(parameter.grad is None for parameter in subject.model.parameters())
    after = dict(subject.model.named_parameters())
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    options.seed = 2
    assert Probing(subject, options).measured()["layers"] != first["layers"]


def test_a_result_says_what_was_asked_and_is_not_made_again(ask, checkpoints, data_bin, capsys):
    path = checkpoints("rope")
    status, (row,) = ask(path, *QUICK, "--length", "16")
    head, line = capsys.readouterr().out.splitlines()[-2:]
    assert status == 0 and head.split()[:4] == ["checkpoint", "encoding", "length", "random"]
    assert line.split()[1:4] == ["rope", "16", f"{(16**2 - 1) / 48:.4f}"]
    assert [one["layer"] for one in row["layers"]] == [0, 1, 2]
    expected = {
        "checkpoint": str(path),
        "data": str(data_bin),
        "split": "valid",
        "train_split": "train",
        "length_tokens": 16,
        "updates": 3,
        "batch_tokens": 64,
        "lr": 0.002,
        "seed": 1,
        "windows": math.ceil(TOKENS / 16),
    }
    assert {name: row[name] for name in expected} == expected
    assert row["train_data_sha256"] != row["data_sha256"]
    assert ask(path, *QUICK, "--length", "16") == (0, [row])
    for number, flags in enumerate(
        (["--seed", "2"], ["--updates", "4"], ["--lr", "0.1"], ["--position-args", "theta=5e5"]), 2
    ):
        status, rows = ask(path, *QUICK, "--length", "16", *flags)
        assert status == 0 and len(rows) == number


def test_stock_and_half_precision(ask, data_bin, tmp_path):
    train(data_bin, "transformer_lm", tmp_path / "stock")
    path = tmp_path / "stock" / "checkpoint_best.pt"
    for dtype in ("float32", "bfloat16"):
        status, rows = ask(path, *QUICK, "--dtype", dtype)
        assert status == 0 and len(rows[-1]["layers"]) == 3
    assert [row["dtype"] for row in rows] == ["float32", "bfloat16"]


def sentence(capsys):
    error = capsys.readouterr().err
    said = [line for line in error.splitlines() if line.startswith("nopos-probe: ")]
    assert len(said) == 1 and "Traceback" not in error, error
    return said[0]


@pytest.mark.parametrize(
    "flags, said",
    [
        (("--length", "33"), "learned positions for 32 tokens only; name a shorter one"),
        (("--split", "train"), "--split train: it is what the probes are trained on"),
        (("--train-split", "dev"), "there is no split dev"),
        (("--lr", "1e30"), "--lr 1e+30: a loss of the probes of"),
    ],
    ids=str,
)
def test_what_cannot_be_is_a_sentence(ask, checkpoints, capsys, flags, said):
    assert ask(checkpoints("learned"), *QUICK, *flags) == (1, [])
    assert said in sentence(capsys)


def test_a_split_without_a_whole_window_is_a_sentence(ask, checkpoints, capsys):
    assert ask(checkpoints("rope"), *QUICK, "--length", "958") == (1, [])
    assert "--length 958: valid has 957 tokens, no whole window" in sentence(capsys)
    assert ask(checkpoints("rope"), *QUICK, "--length", "957")[0] == 0


def test_a_line_that_lacks_something_is_a_sentence(ask, checkpoints, tmp_path, capsys):
    path = checkpoints("rope")
    (row,) = ask(path, *QUICK)[1]
    del row["layers"]
    (tmp_path / "probe.jsonl").write_text(json.dumps(row))
    capsys.readouterr()
    assert ask(path, *QUICK)[0] == 1
    assert "is not whole (KeyError('layers')); remove its line" in sentence(capsys)


def test_it_is_one_process(ask, checkpoints, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert ask(checkpoints("rope"), *QUICK) == (1, [])
    assert "runs in one process: leave torchrun out" in sentence(capsys)


def test_help(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0 and "usage: nopos-probe" in capsys.readouterr().out
