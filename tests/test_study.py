"""What the study is made of: its mark, what it reads from results, and its verdicts."""

import json
import math
import sys
from collections import Counter

import numpy as np
import pytest
from command import ROOT
from test_examples import bash, python

STUDY = ROOT / "examples" / "study"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The scripts of the example can be imported."""
    for folder in (STUDY, STUDY.parent):
        monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield
    for name in {"claims", "markdown", "ngram", "report", "seen"} & (set(sys.modules) - before):
        del sys.modules[name]


def kneser_ney(text, order, types):
    """p(token after a context) of interpolated Kneser-Ney, from its recursive definition."""
    levels = {order: Counter(tuple(text[n : n + order]) for n in range(len(text) - order + 1))}
    for shorter in range(order - 1, 0, -1):
        levels[shorter] = Counter(gram[1:] for gram in levels[shorter + 1])

    def probability(context, token):
        level = levels[len(context) + 1]
        counts = {gram[-1]: count for gram, count in level.items() if gram[:-1] == context}
        lower = probability(context[1:], token) if context else 1 / types
        if not counts:
            return lower
        ones, twos = (sum(count == n for count in level.values()) for n in (1, 2))
        discount = ones / (ones + 2 * twos) if ones else 0.5
        kept = max(counts.get(token, 0) - discount, 0)
        return (kept + discount * len(counts) * lower) / sum(counts.values())

    return probability


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_the_ngrams_are_interpolated_kneser_ney(order):
    import ngram

    generator, types = np.random.default_rng(order), 7
    train, valid = (
        generator.choice(6, size, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.05]) for size in (400, 60)
    )
    valid[[10, 11, 12, 30]] = 6  # never seen
    expected = kneser_ney(train.tolist(), order, types)
    found = ngram.nats(train, valid, order, types)
    for place, nats in enumerate(found, start=1):
        context = tuple(valid[max(0, place - order + 1) : place].tolist())
        assert nats == pytest.approx(-math.log(expected(context, int(valid[place]))), rel=1e-12)
    context = tuple(train[: order - 1].tolist())
    assert sum(expected(context, token) for token in range(types)) == pytest.approx(1)


def result(encoding, window, perplexity, stride=None, seed=1, targets="64 to 83", **overrides):
    return {
        "position_encoding": encoding,
        "trained_seed": seed,
        "targets": targets,
        "window_tokens": window,
        "stride_tokens": stride or window,
        "model_overrides": overrides,
        "perplexity_per_token": perplexity,
        "bits_per_byte": 2.0 if targets == "all" else None,
        "nats": 100 * math.log(perplexity) if perplexity else 1e6,
        "tokens": 100,
        "bytes": 150,
    }


NAMES = ("sinusoidal", "alibi", "kerple_log", "rope", "nopos", "learned", "t5", "bipe_rope")


def results(**longest):
    """All that the report reads: trained at 8, at 16 and 32 perplexity 9 or what `longest` says."""
    rows = []
    for name in NAMES:
        for seed in (1, 2) if name in ("nopos", "rope") else (1,):
            rows.append(result(name, 8, 10 + seed / 10, targets="all", seed=seed))
            lengths = (8,) if name == "learned" else (8, 16, 32)
            for length in lengths:
                value = 10 if length == 8 else longest.get(name, 9)
                rows.append(result(name, length, value, seed=seed))
                rows.append(result(name, length, value, length // 8, seed=seed))
                if length > 8:
                    for stride in (length, length // 8):
                        rows.append(result(name, length, 10, stride, seed=seed, attention_window=8))
    return rows


def write(folder, rows, nats=300.0):
    folder.joinpath("results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    mark = {"order": 3, "tokens": 100, "nats": nats}
    folder.joinpath("ngram.json").write_text(json.dumps(mark))


def test_values_are_means_and_spreads_over_seeds(tmp_path):
    import seen

    write(tmp_path, results(nopos=500))
    found = seen.Seen(tmp_path / "results.jsonl", 8)
    assert found.encodings() == list(NAMES) and found.lengths() == [8, 16, 32]
    value = found.get("nopos", seen.WHOLE, 8)
    assert value.mean == pytest.approx(10.15) and value.seeds == 2
    assert value.spread == pytest.approx(math.sqrt(2) / 20)  # of 10.1 and 10.2, n - 1
    assert str(value) == "10.15 ± 0.07"
    assert str(found.get("nopos", seen.PLAIN, 32)) == "500 ± 0.00"
    assert found.get("nopos", seen.SLIDING_WINDOW, 32).mean == 10
    assert found.get("nopos", seen.SLIDING_WINDOW, 8) == found.get("nopos", seen.SLIDING, 8)
    assert found.get("learned", seen.PLAIN, 16) is None
    assert found.noise() == pytest.approx(math.sqrt(2) / 20 / 10.15)


def verdicts(folder, **longest):
    import claims
    import seen

    write(folder, results(**longest))
    found = claims.Claims(seen.Seen(folder / "results.jsonl", 8)).all()
    return {claim.what.split(" (")[0]: claim.verdict for claim in found}


def test_verdicts_follow_the_numbers(tmp_path):
    said = verdicts(tmp_path, sinusoidal=80, rope=20, nopos=12.01, t5=9.2, kerple_log=8.0)
    assert said["sinusoidal breaks beyond the training length"] == "yes"
    assert said["nopos breaks beyond the training length"] == "unclear"  # 20 % is the limit
    assert said["RoPE breaks more slowly than sinusoidal positions"] == "yes"
    assert said["alibi stays flat to 4 times the length"] == "yes"
    assert said["at the longest length KERPLE's log is better than ALiBi"] == "yes"
    assert said["BiPE extends RoPE: better at 4 times the length"] == "yes"
    said = verdicts(tmp_path, alibi=11, kerple_log=12)
    assert said["sinusoidal breaks beyond the training length"] == "no"
    assert said["alibi stays flat to 4 times the length"] == "no"
    assert said["at the longest length KERPLE's log is better than ALiBi"] == "no"
    assert said["BiPE extends RoPE: better at 4 times the length"] == "unclear"  # they are alike


def test_the_report_has_every_table_and_refuses_to_be_taken_for_valid(tmp_path):
    write(tmp_path, results())
    said = python(STUDY / "report.py", 8, "ngram.json", cwd=tmp_path)
    table = (tmp_path / "table.md").read_text()
    assert table in said and (tmp_path / "claims.md").read_text() in said
    assert table.count("| learned") == 5 and table.count("refused |") == 4 * 2
    for name, number in (("plain", 2 * 28), ("window", 4 * 9)):
        lines = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        windows = {"attention_window" in json.loads(line)["model_overrides"] for line in lines}
        assert (len(lines), windows) == (number, {name == "window"})
    assert "| 3-grams" in table and "20.09" in table and "INVALID" not in said

    import subprocess

    write(tmp_path, results(), nats=100 * math.log(10.15))
    done = subprocess.run(
        [sys.executable, STUDY / "report.py", "8", "ngram.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "INVALID: not better than the n-grams of the text: rope-2, nopos-2" in done.stderr
    for name in ("table.md", "claims.md"):
        assert (tmp_path / name).read_text().startswith("**INVALID")


def test_what_was_begun_goes_on_unless_its_key_changed(tmp_path):
    make = 'make() { echo "$1" >>"$part/file"; }\nbreak_off() { make "$1"; false; }\n'
    code, _ = bash(make + "resumable_step a/b key1 break_off one", tmp_path)
    assert code != 0 and not (tmp_path / "a/b").exists()
    assert bash(make + "resumable_step a/b key1 make two", tmp_path)[0] == 0
    assert (tmp_path / "a/b/file").read_text() == "one\ntwo\n"
    bash(make + "resumable_step a/b key2 break_off three", tmp_path)
    assert not (tmp_path / "a/b").exists()
    assert bash(make + "resumable_step a/b key3 make four", tmp_path)[0] == 0
    assert (tmp_path / "a/b/file").read_text() == "four\n"
    code, said = bash(make + "resumable_step a/b key3 make five", tmp_path)
    assert (code, (tmp_path / "a/b/file").read_text()) == (0, "four\n")
    assert "a/b: finished earlier" in said
