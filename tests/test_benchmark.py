"""nopos-benchmark: what it times, in which order, and what it says and writes of it."""

import json
import re
from dataclasses import replace
from functools import partial

import pytest
import tiny
import torch
from fairseq.data import Dictionary, data_utils

from nopos_plugin import positions, provenance
from nopos_plugin.attention import KERNELS
from nopos_plugin.benchmark import corpus, memory, peak, timing, train, training
from nopos_plugin.benchmark.budget import Budget, fitting
from nopos_plugin.benchmark.candidates import (
    DENSE,
    FLOOR,
    Candidate,
    Inputs,
    Sizes,
    build_encoding,
    training_call,
)
from nopos_plugin.cli.benchmark import main

SMALL = ("--heads", "2", "--head-dim", "8", "--batch", "3", "--threads", "1", "--repeats", "2")
MIB = 2**20


def sizes(**changes):
    small = {"batch": 2, "heads": 2, "head_dim": 8, "length": 50, "window": None, "seed": 0}
    return Sizes(**{**small, "dtype": "float32", "device": "cpu", **changes})


def candidate(name, kernel, **changes):
    its = sizes(**changes)
    encoding = None if name is None else build_encoding(name, its)
    return Candidate(encoding, kernel, Inputs(its))


def run(tmp_path, *arguments):
    """Exit status of nopos-benchmark, and its results."""
    output = tmp_path / "results.jsonl"
    status = main([*map(str, arguments), "--output", str(output)])
    return status, [json.loads(line) for line in output.read_text().splitlines()]


def gradients(one):
    trained = [*one.inputs.vectors, *one.parameters]
    upstream = one.inputs.heads(one.inputs.gradient)
    found = torch.autograd.grad(one._attention(), trained, upstream, allow_unused=True)
    return [x for x in found if x is not None]


@pytest.mark.parametrize("window", [None, 7])
@pytest.mark.parametrize("name", positions.names())
def test_all_kernels_that_are_timed_do_the_same(name, window):
    expected, *others = (candidate(name, k, window=window) for k in ("reference", "auto", DENSE))
    for other in others:
        tiny.assert_close(other._attention(), expected._attention(), 5e-6)
        for actual, wanted in zip(gradients(other), gradients(expected), strict=True):
            tiny.assert_close(actual, wanted, 5e-6)


def turned(x):
    """RoPE of (..., 50, 8) in float64: channels (i, i + 4) as one complex number."""
    angles = torch.arange(50.0).double()[:, None] * 10000.0 ** (-torch.arange(4).double() / 4)
    pairs = torch.complex(*x.chunk(2, -1)) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([pairs.real, pairs.imag], -1)


@pytest.mark.parametrize(
    "name, kernel, window", [(None, FLOOR, None), ("nopos", "auto", 7), ("rope", DENSE, None)]
)
def test_what_is_timed_is_causal_softmax_attention(name, kernel, window):
    one = candidate(name, kernel, window=window)
    vectors = (x.detach().double().view(50, 2, 2, 8) for x in one.inputs.vectors)
    q, k, v = (x.permute(1, 2, 0, 3) for x in vectors)
    if name == "rope":
        q, k = turned(q), turned(k)
    seen = torch.ones(50, 50).tril().triu(1 - (window or 50)).bool()
    scores = (q @ k.mT / 8**0.5).masked_fill(~seen, -torch.inf)
    tiny.assert_close(one._attention(), scores.softmax(-1) @ v, 1e-6)


def test_each_candidate_is_called_once_a_round():
    calls, order = {}, []
    for name in "abc":
        calls[name] = partial(order.append, name)
    times = timing.interleaved(calls, 3, "cpu", Budget(1))
    assert "".join(order) == "abcabcabc"
    assert [len(times[name]) for name in "abc"] == [3, 3, 3]
    assert all(0 < one < 1 for name in "abc" for one in times[name])


def test_rounds_end_when_the_budget_has_no_time_for_another():
    now = [0.0]

    def call():
        now[0] += 10

    times = timing.interleaved({"a": call, "b": call}, 9, "cpu", Budget(1, lambda: now[0]))
    assert len(times["a"]) == len(times["b"]) == 3  # of 20 of 60 seconds each


@pytest.mark.parametrize(
    "costs, left, chosen",
    [
        ({"floor": 1, "a": 5, "b": 3}, 7, ["floor", "a"]),
        ({"floor": 1, "a": 9, "b": 3}, 7, ["floor", "b"]),
        ({"floor": 8, "a": 1}, 7, []),
        ({"floor": 0, "a": 0}, 0, []),
        ({"floor": 0, "a": 0}, 0.1, ["floor", "a"]),
    ],
)
def test_what_fits_a_budget(costs, left, chosen):
    assert fitting(costs, left) == chosen


def test_budget_counts_down():
    now = [5.0]
    budget = Budget(2, lambda: now[0])
    now[0] = 50.0
    assert (budget.left(), budget.spent()) == (75.0, 45.0)


def test_attention_writes_one_complete_line_for_each_pair_and_length(tmp_path, capsys):
    status, rows = run(
        *(tmp_path, "attention", "--encodings", "bipe_alibi,rope", "--lengths", "64,16", *SMALL),
        *("--max-tokens", 100, "--no-memory", "--window", 20),
    )
    pairs = [(None, FLOOR), ("bipe_alibi", "auto"), ("rope", "auto")]
    pairs += [("bipe_alibi", DENSE), ("rope", DENSE)]
    assert status == 0
    found = [(row["length"], row["batch"], row["encoding"], row["kernel"]) for row in rows]
    assert found == [(t, b, *pair) for t, b in ((16, 3), (64, 1)) for pair in pairs]
    for row in rows:
        assert row.keys() >= {"time", "commit", "torch", "cpu", "memory_bytes", "seed", "dtype"}
        assert row["benchmark"] == "attention" and row["not_run"] is None
        assert (row["threads"], row["repeats"], row["window"]) == (1, 2, 20)
        for each in ("forward", "forward_backward"):
            for measured in (row[f"{each}_seconds"], row[f"{each}_ratio"]):
                assert 0 < measured["min"] <= measured["median"] <= measured["max"]
            assert row["kernel"] != FLOOR or set(row[f"{each}_ratio"].values()) == {1.0}
        assert row["served"] in ({*KERNELS} if row["kernel"] == "auto" else {row["kernel"]})
        assert row["peak_extra_bytes"] is None
    printed = capsys.readouterr().out
    for title in (
        "forward, as a ratio to the floor",
        "forward + backward, as a ratio to the floor",
    ):
        table = printed.split(f"{title}\n")[1].split("\n\n")[0].splitlines()
        assert table[0].split() == ["encoding", "kernel", "T=16", "B=3", "T=64", "B=1"]
        assert [line.split()[0] for line in table[1:]] == (
            ["floor", "bipe_alibi", "bipe_alibi", "rope", "rope"]
        )
        assert len({len(line) for line in table}) == 1
    assert "peak extra memory" not in printed


def test_ratios_are_to_the_floor_of_the_same_round(tmp_path, monkeypatch):
    taken = {FLOOR: iter([9, 9, 1, 10, 2, 10, 4, 10]), "auto": iter([9, 9, 3, 20, 8, 30, 4, 10])}

    def seconds(call, device):
        return next(taken[call.__self__.kernel])

    monkeypatch.setattr(timing, "seconds", seconds)
    arguments = ("--encodings", "alibi", "--kernels", "auto", "--lengths", 8, "--no-memory")
    row = run(tmp_path, "attention", *arguments, *SMALL, "--repeats", 3)[1][1]
    assert row["forward_ratio"] == {"median": 3.0, "min": 1.0, "max": 4.0}
    assert row["forward_seconds"] == {"median": 4, "min": 3, "max": 8}
    assert row["forward_backward_ratio"] == {"median": 2.0, "min": 1.0, "max": 3.0}


def test_a_budget_of_nothing_lists_all_as_not_run(tmp_path, capsys):
    arguments = ("--encodings", "alibi,t5", "--lengths", "8,16", "--budget-minutes", 0)
    status, rows = run(tmp_path, "attention", *arguments, *SMALL)
    assert status == 0 and len(rows) == 10
    assert {row["not_run"] for row in rows} == {"budget"}
    assert {row["forward_ratio"] for row in rows} == {None}
    printed = capsys.readouterr().out
    assert len(re.findall("budget +budget", printed)) == 10 and "--budget-minutes" in printed


def test_longer_lengths_are_estimated_from_shorter_ones(tmp_path, monkeypatch):
    """The floor takes 1 second for 8 tokens, the dense path 10, at first."""
    now = [0.0]

    def seconds(call, device):
        its = call.__self__
        now[0] += (1 if its.kernel == FLOOR else 10) * (its.inputs.sizes.length / 8) ** 2 / 2
        return (1 if its.kernel == FLOOR else 10) * (its.inputs.sizes.length / 8) ** 2 / 2

    monkeypatch.setattr(timing, "seconds", seconds)
    monkeypatch.setattr(Budget.__init__, "__defaults__", (lambda: now[0],))
    arguments = ("--encodings", "alibi", "--kernels", DENSE, "--lengths", "8,16,32", "--no-memory")
    rows = run(tmp_path, "attention", *arguments, *SMALL, "--budget-minutes", 2)[1]
    assert [row["not_run"] for row in rows] == [None, None, None, "budget", None, "budget"]
    assert now[0] == 3 * (1 + 10 + 4 + 16)  # seconds of a warm-up and two rounds: 33, 12, 48


def test_what_its_first_call_shows_to_be_too_slow_is_not_run(tmp_path, monkeypatch):
    now = [0.0]

    def seconds(call, device):
        took = 0.5 if call.__self__.kernel == FLOOR else 5.0
        now[0] += took
        return took

    monkeypatch.setattr(timing, "seconds", seconds)
    monkeypatch.setattr(Budget.__init__, "__defaults__", (lambda: now[0],))
    arguments = ("--encodings", "alibi", "--kernels", DENSE, "--lengths", "8,16", "--no-memory")
    rows = run(tmp_path, "attention", *arguments, *SMALL, "--budget-minutes", 0.5)[1]
    assert [row["not_run"] for row in rows] == [None, "budget", None, "budget"]
    assert now[0] == 11 + 2 + 3  # seconds: both warm up, two rounds of the floor, its longer one


def test_what_needs_too_much_memory_is_listed_with_the_estimate(tmp_path, capsys):
    its = sizes(batch=1, length=512)
    dense = memory.estimated_bytes(DENSE, memory.BiasShape.of("alibi", its), its)
    share = (dense - 1) / memory.machine_bytes("cpu")
    status, rows = run(
        *(tmp_path, "attention", "--encodings", "alibi", "--lengths", 512, *SMALL, "--batch", 1),
        *("--memory-share", share, "--no-memory"),
    )
    assert status == 0
    assert [row["not_run"] for row in rows] == [None, None, f"needs {dense / 2**30:.1f} GiB"]
    assert rows[2]["estimated_bytes"] == dense and rows[2]["forward_seconds"] is None
    assert "needs 0.0 GiB" in capsys.readouterr().out


@pytest.mark.parametrize(
    "kernel, name, copies", [(DENSE, "alibi", 2), (DENSE, "kerple_log", 6.5), ("sdpa", "alibi", 3)]
)
def test_estimates_are_what_is_measured(kernel, name, copies):
    its = sizes(batch=1, length=1536, heads=4, head_dim=16)
    found, why = peak.extra_bytes(training_call, name, kernel, its, threads=1)
    assert why is None
    expected = memory.estimated_bytes(kernel, memory.BiasShape.of(name, its), its)
    assert copies * 36 * MIB < found < 1.1 * expected
    assert expected < 1.5 * found


def test_copies_wait_in_each_layer_for_the_backward():
    its = sizes(batch=3, length=4096, heads=1, head_dim=1)  # a bias of 64 MiB
    fixed, learned = (memory.BiasShape.of(name, its) for name in ("bipe_alibi", "t5"))
    assert (fixed.kind, fixed.per_row) == ("fixed", True)
    assert (learned.kind, learned.per_row) == ("learned", False)
    vectors, masks = 24 * 3 * 4096 * 4, 1.5 * 64 * MIB
    one, four = (memory.estimated_bytes("sdpa", fixed, its, layers) for layers in (1, 4))
    assert (one, four) == (
        pytest.approx(3 * 3.1 * 64 * MIB + vectors + 3 * masks, rel=1e-6),
        pytest.approx(3 * (3.1 + 3 * 1.1) * 64 * MIB + 4 * vectors + 3 * masks, rel=1e-6),
    )
    assert memory.estimated_bytes("sdpa", learned, its) == pytest.approx(
        (3.8 + 3 * 3.0) * 64 * MIB + vectors + masks, rel=1e-6
    )
    assert memory.estimated_bytes("auto", learned, its) == vectors
    none = memory.BiasShape.of("rope", sizes())
    assert memory.estimated_bytes("sdpa", none, its) == vectors
    assert memory.estimated_bytes("sdpa", none, replace(its, window=9)) == vectors + masks


def test_peak_memory_is_of_one_call_in_a_process_of_its_own():
    found, why = peak.extra_bytes(partial, partial(torch.ones, 16 * MIB), threads=1)
    assert why is None and 64 * MIB <= found < 72 * MIB
    small = "[b'x' * 16000 for _ in range(4096)]"
    held = eval(small)
    del held[:-1]  # the rest stays with this process, which could use it again
    # but for what was free before: used again, all of it would leave nothing
    assert 48 * MIB <= peak.extra_bytes(partial, partial(eval, small), threads=1)[0] < 72 * MIB


def test_memory_that_cannot_be_measured_is_no_number():
    found, why = peak.extra_bytes(partial, partial(exit, 3), threads=1)
    assert found is None and why.endswith("ended with exit status 3")


def test_memory_is_in_results_and_tables(tmp_path, capsys):
    arguments = ("--encodings", "nopos", "--kernels", "auto", "--lengths", 16)
    rows = run(tmp_path, "attention", *arguments, *SMALL)[1]
    assert all(0 < row["peak_extra_bytes"] < 8 * MIB for row in rows)
    assert "peak extra memory of a forward + backward, MiB" in capsys.readouterr().out


def test_control_groups_limit_memory_above_the_own_one_too(tmp_path):
    groups = tmp_path / "groups"
    groups.write_text("7:cpu:/a\n3:memory:/a/b\n0::/c/d\n")
    files = {"memory/a/b": "30", "memory": "90", "c": "40", "c/d": "max"}
    for folder, text in files.items():
        name = "memory.limit_in_bytes" if folder.startswith("memory") else "memory.max"
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).write_text(f"{text}\n")
    assert list(memory.control_group_limits(tmp_path, groups)) == [30, 90, 40]
    assert list(memory.control_group_limits(tmp_path, tmp_path / "none")) == []


WRONG = {
    "attention --encodings alibi,foo": "'foo' is none of alibi, ",
    "attention --kernels": "expected one argument",
    "attention --kernels fast": "'fast' is none of auto, ",
    "attention --lengths 512,0": "'0' is no whole number from 1 on",
    "attention --lengths 8,8": "8 is there twice",
    "attention --heads -1": "'-1' is no whole number from 1 on",
    "attention --head-dim 3": "turns pairs of channels, but 3 of 3",
    "attention --dtype int8": "'int8' is none of float32, bfloat16, float16",
    "attention --device tpu": "'tpu' is none of cpu, cuda",
    "attention --window 0": "'0' is no whole number from 1 on",
    "attention --memory-share 0": "'0' is no number above 0, up to 1",
    "attention --budget-minutes nan": "'nan' is no finite number, 0 or more",
    "attention --output /no/such/folder/file": "No such file or directory",
    "train --kernels dense": "'dense' is none of auto, ",
    "train --dim 100 --heads 8": "--dim 100 is no multiple of --heads 8",
    "train --length 64 --max-tokens 63": "--max-tokens 63 does not hold one sample of --length 64",
    "train --updates 2": "--updates 2: the first 2 only warm up, so at least 3 are needed",
    "extension --window 64 --targets 32": "--targets 32 is shorter than --window 64",
    "extension --dim 100 --heads 8": "--dim 100 is no multiple of --heads 8",
    "extension --encoding none": "'none' is none of alibi, ",
    "": "the following arguments are required: COMMAND",
}


@pytest.mark.parametrize("typed", WRONG)
def test_what_is_typed_wrong_is_one_sentence_and_exit_status_2(typed, capsys):
    with pytest.raises(SystemExit) as exit:
        main([*typed.split(), *(["--budget-minutes", "0"] if "--" in typed else [])])
    assert exit.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert WRONG[typed] in error and error.startswith("nopos-benchmark")


def test_a_kernel_that_refuses_is_listed_with_its_reason(tmp_path, monkeypatch, capsys):
    def refuse(*args):
        raise ValueError("only on Sundays")

    monkeypatch.setitem(KERNELS, "blockwise", refuse)
    arguments = ("--encodings", "t5", "--kernels", "blockwise,sdpa", "--lengths", 8, "--no-memory")
    status, rows = run(tmp_path, "attention", *arguments, *SMALL)
    assert status == 0
    assert [row["not_run"] for row in rows] == [None, "only on Sundays", None]
    assert "t5 blockwise: only on Sundays" in capsys.readouterr().out


def test_the_data_bin_is_bytes_in_sentences(tmp_path):
    corpus.write_data_bin(tmp_path, 40, 500, seed=3)
    words = Dictionary.load(str(tmp_path / "dict.txt"))
    data = data_utils.load_indexed_dataset(str(tmp_path / "train"), words, "mmap")
    drawn = torch.stack([data[row] for row in range(len(data))])
    assert len(words) == 260 and drawn.shape == (40, 500)
    assert set(drawn[:, -1].tolist()) == {words.eos()}
    assert drawn[:, :-1].min() == 4 and drawn.max() == 259
    stops = (drawn == words.index(".")).double().mean()
    assert abs(stops - 1 / 20) < 5 * (0.05 * 0.95 / 20000) ** 0.5
    assert torch.equal(drawn[:, :-1], corpus.tokens(40, 500, seed=3)[:, :-1])
    assert not torch.equal(drawn[:, :-1], corpus.tokens(40, 500, seed=4)[:, :-1])


TINY = ("--layers", 1, "--dim", 16, "--heads", 2, "--length", 32, "--max-tokens", 350)


def test_train_reads_the_speed_of_every_update_from_fairseq(tmp_path, capsys, monkeypatch):
    logs = []

    def seen(lines):
        logs.append("\n".join(lines))
        return found(lines)

    found = training.tokens_per_second
    monkeypatch.setattr(training, "tokens_per_second", seen)
    arguments = ("--encodings", "nopos", "--rounds", 1, "--updates", 4, "--threads", 1)
    status, (row,) = run(tmp_path, "train", *TINY, *arguments)
    assert status == 0
    updates = [json.loads(text) for text in re.findall(r"train_inner \| (.*)", logs[0])]
    assert [update["num_updates"] for update in updates] == ["1", "2", "3", "4"]
    assert {update["wpb"] for update in updates} == {"320"}  # ten sequences of 32
    speeds = [float(update["wps"]) for update in updates[2:]]
    assert row["tokens_per_second"]["median"] == pytest.approx(sum(speeds) / 2)
    assert row["tokens_per_second_ratio"] == {"median": 1.0, "min": 1.0, "max": 1.0}
    assert 100 * MIB < row["peak_resident_bytes"] < 2000 * MIB
    assert row["command"][:4] == ["fairseq-train", "DATA-BIN", "--user-dir", "nopos_plugin"]
    assert row["torch"] == torch.__version__ and row["rounds"] == 1
    line = capsys.readouterr().out.splitlines()[2].split()
    assert line[:2] + line[-2:] == ["nopos", "auto", "1.00", "1"]


def test_a_training_that_fails_tells_its_last_lines(tmp_path):
    flags = ("--task", "language_modeling", "--arch", "transformer_lm", "--no-such-flag")
    one = training.run([str(tmp_path), *flags], tmp_path, threads=1)
    assert one.exit_status == 2 and one.tokens_per_second is None
    assert len(one.last_lines) == 15 and "--no-such-flag" in one.last_lines[-1]
    assert one.seconds > 0 and one.peak_resident_bytes > 10 * MIB


def test_trainings_take_turns_and_a_failed_one_does_not_stop_the_others(
    tmp_path, monkeypatch, capsys
):
    speeds = {"nopos": iter([100, 50]), "alibi": iter([80, 45]), "t5": iter([None])}
    order = []

    def fake(arguments, folder, threads):
        name = arguments[arguments.index("--arch") + 1].removeprefix("transformer_lm_")
        order.append(name)
        speed = next(speeds[name])
        lines = () if speed else ("INFO | loading", "RuntimeError: no luck")
        return training.Training(0 if speed else 9, 1.0, speed, 10 * MIB * len(order), lines)

    monkeypatch.setattr(training, "run", fake)
    arguments = ("--encodings", "t5,alibi", "--rounds", 2)
    status, rows = run(tmp_path, "train", *TINY, *arguments)
    assert status == 1
    assert order == ["nopos", "t5", "alibi", "nopos", "alibi"]
    nopos, t5, alibi = rows
    assert alibi["tokens_per_second"] == {"median": 62.5, "min": 45, "max": 80}
    assert alibi["tokens_per_second_ratio"] == pytest.approx(
        {"median": 0.85, "min": 0.8, "max": 0.9}
    )
    assert (alibi["rounds"], alibi["peak_resident_bytes"]) == (2, 50 * MIB)
    assert t5["failed"] == {
        "exit_status": 9,
        "last_lines": ["INFO | loading", "RuntimeError: no luck"],
    }
    assert t5["tokens_per_second"] is None and nopos["failed"] is None
    printed = capsys.readouterr().out
    assert "t5 auto failed with exit status 9; its log ends\n    INFO | loading\n" in printed
    assert re.search(r"^alibi +auto +62 +±28% +0.85 +±6% +50 +1.25 +2$", printed, re.MULTILINE)


def test_trainings_that_do_not_fit_the_budget_or_the_memory_are_listed(tmp_path, monkeypatch):
    now = [0.0]

    def fake(arguments, folder, threads):
        now[0] += 25.0
        return training.Training(0, 25.0, 100.0, MIB, ())

    monkeypatch.setattr(training, "run", fake)
    monkeypatch.setattr(Budget.__init__, "__defaults__", (lambda: now[0],))
    its = train.Plan((), ("auto",), 1, 16, 2, 32, 350, 3, 1, "cpu", 1, 0, 0.5)
    need = train.estimated_bytes(("t5", "sdpa"), its)
    arguments = ("--encodings", "t5,alibi", "--kernels", "auto,sdpa", "--rounds", 2)
    share = (need - 1) / memory.machine_bytes("cpu")
    status, rows = run(
        tmp_path, "train", *TINY, *arguments, "--budget-minutes", 1.3, "--memory-share", share
    )
    assert status == 0
    assert [(row["encoding"], row["kernel"], row["rounds"], row["not_run"]) for row in rows] == [
        ("nopos", "auto", 1, None),
        ("t5", "auto", 1, None),
        ("alibi", "auto", 1, None),
        ("t5", "sdpa", 0, "needs 0.0 GiB"),
        ("alibi", "sdpa", 0, "budget"),
    ]


def test_updates_of_pose_beside_those_of_the_full_length(tmp_path, capsys):
    sizes = ("--layers", 1, "--dim", 16, "--heads", 2, "--window", 32, "--targets", "64,320")
    status, rows = run(tmp_path, "extension", *sizes, "--updates", 3, "--rounds", 1, "--threads", 1)
    assert status == 0
    assert [(row["how"], row["target"], row["sample"]) for row in rows] == [
        ("window", 32, 32),
        ("pose", 64, 32),
        ("pose", 320, 32),
        ("full", 64, 64),
        ("full", 320, 320),
    ]
    for row in rows:
        speed, seconds = row["tokens_per_second"]["median"], row["update_seconds"]["median"]
        assert seconds == pytest.approx(row["sample"] / speed) and row["rounds"] == 1
        assert row["peak_resident_bytes"] > 100 * MIB
    typed = rows[2]["command"]
    assert typed[typed.index("--task") + 1] == "pose_language_modeling"
    assert typed[typed.index("--extension-factor") + 1] == "10.0"
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == "how target tokens s/update ± ratio peak_MiB ratio rounds".split()
    assert lines[2].split()[:3] == ["window", "32", "32"] and lines[2].split()[5] == "1.00"
    assert lines[6].split()[:3] == ["full", "320", "320"]


def test_an_extension_that_fails_is_told(tmp_path, monkeypatch, capsys):
    def fake(arguments, folder, threads):
        fits = "pose_language_modeling" in arguments
        return training.Training(1 - fits, 1.0, 100.0 * fits or None, MIB, ("no luck",))

    monkeypatch.setattr(training, "run", fake)
    sizes = ("--layers", 1, "--dim", 16, "--heads", 2, "--window", 32, "--targets", "64")
    assert run(tmp_path, "extension", *sizes, "--rounds", 2)[0] == 1
    printed = capsys.readouterr().out
    assert "window 32 failed with exit status 1; its log ends\n    no luck" in printed
    assert re.search(r"^pose +64 +32 +0.32 +±0% +1 +1.00 +2$", printed, re.MULTILINE)


def test_the_commit_is_of_this_package_or_unknown(tmp_path, monkeypatch):
    found = provenance.commit()
    assert found is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", found)
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    assert provenance.commit() is None
