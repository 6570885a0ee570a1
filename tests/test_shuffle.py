"""nopos-shuffle: orders that a seed decides, and losses that are nopos-evaluate's."""

import json
import math
import random
from types import SimpleNamespace

import pytest
import torch
from command import train

from nopos_plugin.cli.checkpoint import Checkpoint
from nopos_plugin.cli.evaluate import main as evaluate
from nopos_plugin.cli.shuffle import Shuffling, main, parser
from nopos_plugin.evaluation import results
from nopos_plugin.evaluation.shuffle import by_eighth, gap, shuffled

BLOCKS = 957 // 32  # whole ones of the valid split, at the training length
ADAPTIVE = ("--criterion", "adaptive_loss", "--adaptive-softmax-cutoff", "6,10",
            "--ddp-backend", "legacy_ddp")  # fmt: skip


@pytest.fixture
def ask(data_bin, tmp_path):
    """ask(checkpoint, *flags): status and results of nopos-shuffle."""

    def run(path, *flags, output="shuffle.jsonl"):
        typed = [data_bin, "--path", path, "--device", "cpu", "--output", tmp_path / output]
        status = main([str(one) for one in (*typed, *flags)])
        return status, results.read(tmp_path / output, results.SHUFFLE)

    return run


def test_a_prefix_is_permuted_and_nothing_else_changes():
    source = torch.arange(100, 130)
    for begin, prefix in ((0, 30), (0, 8), (1, 8), (3, 1), (5, 25)):
        made = shuffled(source, begin, prefix, f"7 {begin} {prefix} 1")
        assert torch.equal(made[:begin], source[:begin])
        assert torch.equal(made[begin + prefix :], source[begin + prefix :])
        assert sorted(made.tolist()) == source.tolist()
        assert torch.equal(made, shuffled(source, begin, prefix, f"7 {begin} {prefix} 1"))
    assert source.tolist() == list(range(100, 130))
    orders = [tuple(shuffled(source, 0, 4, f"{n}")[:4].tolist()) for n in range(300)]
    assert len(set(orders)) == 24  # all there are
    moved = sum(order[3] != 103 for order in orders)  # the last one, too
    assert 0.6 < moved / 300 < 0.9


def test_a_gap_is_of_the_same_tokens():
    draw = torch.Generator().manual_seed(1)
    in_order, others = torch.rand(5, 3, generator=draw), torch.rand(4, 5, 3, generator=draw) + 1
    found = gap(in_order, others)
    means = [
        [sum(others[k, m, n].item() for k in range(4)) / 4 for n in range(3)] for m in range(5)
    ]
    more = [sum(means[m][n] - in_order[m, n].item() for n in range(3)) / 3 for m in range(5)]
    spread = math.sqrt(sum((x - sum(more) / 5) ** 2 for x in more) / 4)
    assert found["tokens"] == 15
    assert found["nats"] == pytest.approx(sum(in_order.flatten().tolist()))
    assert found["shuffled_nats"] == pytest.approx(sum(map(sum, means)))
    error = found["difference_standard_error_nats_per_token"]
    assert error == pytest.approx(spread / math.sqrt(5))
    single = gap(in_order[:1], others[:, :1])
    assert single["difference_standard_error_nats_per_token"] is None


def test_eighths_are_equal_parts():
    places = torch.tensor([*range(24), *range(24), *range(7)], dtype=torch.int32)
    nats = torch.arange(55).float()
    found = by_eighth(nats, places, 24)
    for number, one in enumerate(found):
        inside = [n for n, place in enumerate(places.tolist()) if place // 3 == number]
        assert one == {"eighth": number + 1, "tokens": len(inside), "nats": sum(inside)}
    assert len(found) == 8 and [one["tokens"] for one in found] == [9, 9, 7] + [6] * 5


def test_losses_are_those_of_nopos_evaluate(ask, checkpoints, data_bin, tmp_path):
    path = checkpoints("alibi")
    _, (row,) = ask(path, "--prefixes", "29,8,1", "--after", "4", "--samples", "999")
    typed = [data_bin, "--path", path, "--lengths", "4,11,32", "--last-tokens", "4"]
    typed += ["--device", "cpu", "--output", tmp_path / "results.jsonl"]
    assert evaluate(list(map(str, typed))) == 0
    made = results.read(tmp_path / "results.jsonl", results.PERPLEXITY)
    last = {one["window_tokens"]: one for one in made if one["targets"] != "all"}
    assert [one["prefix_tokens"] for one in row["by_prefix"]] == [1, 8, 29]
    for one in row["by_prefix"]:
        expected = last[one["prefix_tokens"] + 3]
        assert one["tokens"] == expected["tokens"] == 4 * BLOCKS
        assert one["nats"] == pytest.approx(expected["nats"], rel=1e-6)
    # an order of one token is that order
    assert row["by_prefix"][0]["shuffled_nats"] == pytest.approx(row["by_prefix"][0]["nats"])
    (whole,) = [one for one in made if one["targets"] == "all" and one["window_tokens"] == 32]
    assert row["tokens"] == whole["tokens"] == 957
    assert row["nats"] == pytest.approx(whole["nats"], rel=1e-6)
    buckets = {one["from"]: one for one in whole["loss_by_position"]}  # 0, 1, 2 to 3, 4 to 7, ...
    firsts = [(0, 1, 2), (4,), (8,), (16,)]
    parts = [slice(0, 1), slice(1, 2), slice(2, 4), slice(4, 8)]
    for first, part in zip(firsts, parts, strict=True):
        for field in ("tokens", "nats"):
            mine = sum(one[field] for one in row["by_eighth"][part])
            assert mine == pytest.approx(sum(buckets[n][field] for n in first), rel=1e-6)


@pytest.mark.parametrize(
    "flags, kept", [((), 2), (ADAPTIVE, 0), (("--add-bos-token",), 1)], ids=str
)
def test_shuffled_losses_one_by_one(ask, data_bin, tmp_path, flags, kept):
    train(data_bin, "transformer_lm_kerple_log", tmp_path / "ck", *flags)
    path = tmp_path / "ck" / "checkpoint_best.pt"
    asked = ("--prefixes", "5,20", "--after", "3", "--samples", "6", "--permutations", "2")
    _, (row,) = ask(path, *asked, "--keep-last", kept, "--seed", "9", "--max-tokens", "70")
    options = parser().parse_args([str(data_bin), "--path", str(path), "--device", "cpu"])
    subject = Checkpoint(str(path), str(data_bin), options)
    model, words = subject.model.double(), subject.task.source_dictionary
    text = Shuffling(subject, options).split.text
    opening = [words.bos()] * ("--add-bos-token" in flags)
    blocks = random.Random(9).sample(range(BLOCKS), 6)
    for one in row["by_prefix"]:
        size, sums = one["prefix_tokens"], [[], []]
        for block in blocks:
            target = text.tokens(0, 957).tolist()[(block + 1) * 32 - size - 2 : (block + 1) * 32]
            begin = (block + 1) * 32 - size - 3
            source = [*text.tokens(begin, begin + 1).tolist(), *target[:-1]]
            for number in range(3):
                prefix, rest = source[: size - kept], source[size - kept :]
                if number:
                    random.Random(f"9 {block} {size} {number}").shuffle(prefix)
                tokens = torch.tensor([[*opening, *prefix, *rest]])
                with torch.no_grad():
                    log_p = model.get_normalized_probs(model(tokens), log_probs=True)[0]
                for n in (-3, -2, -1):
                    sums[number > 0].append(-log_p[n, target[n]].item())
        assert one["tokens"] == 18
        assert one["nats"] == pytest.approx(sum(sums[0]), rel=1e-5)
        assert one["shuffled_nats"] == pytest.approx(sum(sums[1]) / 2, rel=1e-5)


class Bag(torch.nn.Module):
    """Knows which tokens were there, and not in which order: sums of whole numbers."""

    def __init__(self, types):
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        self.table = torch.randint(-3, 4, (types, 5), generator=draw).float()
        self.output_projection = torch.nn.Linear(5, types, bias=False)
        self.decoder = SimpleNamespace(
            output_projection=self.output_projection,
            output_layer=lambda x: self.output_projection(x / 64),
        )

    def forward(self, src_tokens, src_lengths, features_only):
        return self.table[src_tokens].cumsum(1), {}


def test_a_bag_of_words_does_not_care(data_bin, checkpoints):
    typed = [str(data_bin), "--path", str(checkpoints("nopos")), "--device", "cpu"]
    options = parser().parse_args([*typed, "--after", "2", "--permutations", "3"])
    subject = Checkpoint(options.path, options.data, options)
    of_nopos = Shuffling(subject, options).measured()["by_prefix"]
    subject.model = Bag(len(subject.task.source_dictionary))
    of_bag = Shuffling(subject, options).measured()["by_prefix"]
    assert [one["prefix_tokens"] for one in of_bag] == [8, 16]
    for one in of_bag:
        assert one["shuffled_nats"] == pytest.approx(one["nats"], rel=1e-12)
        assert one["difference_standard_error_nats_per_token"] == 0
    for one in of_nopos:  # the last token may move, whose query it is that asks
        assert abs(one["shuffled_nats"] - one["nats"]) > 1e-4


def test_a_result_says_what_was_asked_and_is_not_made_again(ask, checkpoints, data_bin, capsys):
    path = checkpoints("rope")
    status, (row,) = ask(path, "--samples", "7")
    head, line = capsys.readouterr().out.splitlines()[-2:]
    assert status == 0 and head.split()[:4] == ["checkpoint", "encoding", "length", "prefix"]
    assert line.split()[1:4] == ["rope", "32", "32"]
    expected = {
        "checkpoint": str(path),
        "data": str(data_bin),
        "split": "valid",
        "length_tokens": 32,
        "prefixes_tokens": [8, 16, 32],
        "after_tokens": 1,
        "kept_tokens": 0,
        "samples": 7,
        "permutations": 1,
        "seed": 1,
    }
    assert {name: row[name] for name in expected} == expected
    assert [one["tokens"] for one in row["by_prefix"]] == [7] * 3
    assert ask(path, "--samples", "7") == (0, [row])
    more = (["--seed", "2"], ["--permutations", "2"], ["--after", "2"], ["--keep-last", "1"])
    for number, flags in enumerate(
        (*more, ["--prefixes", "3"], ["--samples", "6"], ["--length", "64"]), 2
    ):
        status, rows = ask(path, "--samples", "7", *flags)
        assert status == 0 and len(rows) == number
    assert rows[0]["by_prefix"] != rows[1]["by_prefix"]  # another seed: other windows and orders
    before = len(rows)
    assert len(ask(path, "--samples", "500")[1]) == len(ask(path, "--samples", "600")[1])
    assert ask(path, "--samples", "500")[1][before]["samples"] == BLOCKS


def test_batches_change_nothing(ask, checkpoints):
    flags = (checkpoints("t5"), "--samples", "9", "--permutations", "2")
    (one,), (other,) = (ask(*flags, "--max-tokens", size, output=size)[1] for size in ("1", "9999"))
    for field in ("by_prefix", "by_eighth"):
        for mine, its in zip(one[field], other[field], strict=True):
            assert mine == pytest.approx(its, rel=1e-5, abs=1e-6)


def sentence(capsys):
    error = capsys.readouterr().err
    said = [line for line in error.splitlines() if line.startswith("nopos-shuffle: ")]
    assert len(said) == 1 and "Traceback" not in error, error
    return said[0]


@pytest.mark.parametrize(
    "flags, said",
    [
        (("--length", "40"), "learned positions for 32 tokens only; name a shorter one"),
        (("--length", "30"), "--length 30: name a multiple of 8"),
        (("--prefixes", "8,33"), "--prefixes 8,33: with --after 1 in blocks of 32 they have 32"),
        (("--after", "26"), "--prefixes 8: with --after 26 in blocks of 32 they have 7 tokens"),
        (("--after", "40"), "have 0 tokens at most"),
        (("--keep-last", "8"), "--keep-last 8: name 0 to 7, fewer than the shortest prefix has"),
        (("--split", "dev"), "there is no split dev"),
    ],
    ids=str,
)
def test_what_cannot_be_is_a_sentence(ask, checkpoints, capsys, flags, said):
    assert ask(checkpoints("learned"), *flags) == (1, [])
    assert said in sentence(capsys)


def test_a_loss_that_is_no_number_is_a_sentence(ask, checkpoints, tmp_path, capsys):
    state = torch.load(checkpoints("rope"), weights_only=False)
    for name, weight in state["model"].items():
        if name.endswith("fc1.bias"):
            weight[:] = torch.nan
    torch.save(state, tmp_path / "nan.pt")
    assert ask(tmp_path / "nan.pt") == (1, [])
    assert "the loss of token 0 is nan" in sentence(capsys)


def test_a_line_that_lacks_something_is_a_sentence(ask, checkpoints, tmp_path, capsys):
    path = checkpoints("rope")
    (row,) = ask(path, "--samples", "2")[1]
    del row["by_eighth"]
    (tmp_path / "shuffle.jsonl").write_text(json.dumps(row))
    capsys.readouterr()
    assert ask(path, "--samples", "2")[0] == 1
    assert "is not whole (KeyError('by_eighth')); remove its line" in sentence(capsys)


def test_help(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0 and "usage: nopos-shuffle" in capsys.readouterr().out
