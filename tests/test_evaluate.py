"""nopos-evaluate: numbers equal to fairseq-eval-lm's, the same for every way to get them."""

import argparse
import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest
import torch
from command import ROOT, eval_lm, run, train
from fairseq.data.indexed_dataset import make_builder
from fairseq.sequence_scorer import SequenceScorer

from nopos_plugin.cli.checkpoint import Checkpoint, add_options
from nopos_plugin.cli.evaluate import main
from nopos_plugin.data.split import Split
from nopos_plugin.evaluation import losses, results
from nopos_plugin.evaluation.windows import Sliding

TOKENS = 957


@pytest.fixture
def evaluate(data_bin, tmp_path):
    """evaluate(checkpoint, *flags): status and results of nopos-evaluate on the valid split."""

    def run(checkpoint, *flags, output="results.jsonl", data=data_bin):
        typed = [
            data,
            "--path",
            checkpoint,
            "--device",
            "cpu",
            "--output",
            tmp_path / output,
            *flags,
        ]
        status = main([str(one) for one in typed])
        return status, results.read(tmp_path / output, results.PERPLEXITY)

    return run


def fairseq_preprocess(texts, folder, *flags):
    """A data-bin of the valid text of the folder `texts`, with the dictionary of its data-bin."""
    named = ("--validpref", texts / "valid", "--srcdict", texts / "bin" / "dict.txt")
    status, said = run(
        "-m", "fairseq_cli.preprocess", "--only-source", *named, "--destdir", folder, *flags
    )
    assert status == 0, said


def test_windows_of_the_stream_are_those_of_eval_lm(evaluate, checkpoints, data_bin):
    for encoding in ("alibi", "bipe_rope"):
        path = checkpoints(encoding)
        flags = ("--stride", "8,window", "--first-window", "stride")
        status, rows = evaluate(path, "--lengths", "24,64", *flags, output=encoding)
        assert status == 0
        assert [(row["window_tokens"], row["stride_tokens"]) for row in rows] == [
            (24, 8), (24, 24), (64, 8), (64, 64)
        ]  # fmt: skip
        for row in rows:
            window, stride = row["window_tokens"], row["stride_tokens"]
            stock = ("--tokens-per-sample", window, "--context-window", window - stride)
            expected = float(eval_lm(data_bin, path, *stock)["loss"])
            assert row["bits_per_token"] == pytest.approx(expected, rel=1e-5)
            assert row["tokens"] == row["split_tokens"] == TOKENS
            assert row["perplexity_per_token"] == pytest.approx(math.exp(row["nats"] / TOKENS))


@pytest.mark.parametrize("flags", [(), ("--adaptive-softmax-cutoff", "6,10")], ids=str)
def test_a_stock_checkpoint_has_the_stock_loss(evaluate, data_bin, tmp_path, flags):
    criterion = ("--criterion", "adaptive_loss", "--ddp-backend", "legacy_ddp") if flags else ()
    train(data_bin, "transformer_lm", tmp_path / "stock", *flags, *criterion)
    path = tmp_path / "stock" / "checkpoint_best.pt"
    for window, stride in ((32, 32), (24, 5)):
        grow = ("--lengths", window, "--stride", stride, "--first-window", "stride")
        _, rows = evaluate(path, *grow)
        stock = ("--tokens-per-sample", window, "--context-window", window - stride)
        expected = float(eval_lm(data_bin, path, *stock)["loss"])
        assert rows[-1]["bits_per_token"] == pytest.approx(expected, rel=1e-5)
        assert rows[-1]["position_encoding"] is None
    status, rows = evaluate(path, "--lengths", "33")  # sinusoids go on
    assert (status, len(rows)) == (0, 3)


def loaded(path, data_bin):
    options = argparse.ArgumentParser()
    add_options(options)
    typed = ["--path", str(path), "--device", "cpu"]
    return Checkpoint(str(path), str(data_bin), options.parse_args(typed))


def test_a_stock_checkpoint_token_by_token(data_bin, tmp_path, monkeypatch):
    train(data_bin, "transformer_lm", tmp_path)
    path, theirs, generate = tmp_path / "checkpoint_best.pt", {}, SequenceScorer.generate

    def collected(self, models, sample, **kwargs):
        found = generate(self, models, sample, **kwargs)
        scores = [best["positional_scores"] for best, *_ in found]
        theirs.update(zip(sample["id"].tolist(), scores, strict=True))
        return found

    monkeypatch.setattr(SequenceScorer, "generate", collected)
    eval_lm(data_bin, path, "--tokens-per-sample", "24", "--context-window", "16")
    checkpoint = loaded(path, data_bin)
    dataset = Split(str(data_bin), "valid", checkpoint.task).windows(Sliding(24, 8, 8))
    batches = [dataset.collater([dataset[i]]) for i in range(len(dataset))]
    ours = losses.Losses(TOKENS)
    with torch.inference_mode():
        assert len(list(losses.score(checkpoint.model, dataset, batches, ours, "cpu"))) == 120
    expected = -torch.cat([theirs[i] for i in sorted(theirs)])
    assert len(theirs) == 120 and torch.allclose(ours.nats, expected, rtol=1e-5, atol=1e-5)


def test_stock_learned_positions_end(evaluate, data_bin, tmp_path, capsys):
    train(data_bin, "transformer_lm", tmp_path / "stock", "--decoder-learned-pos")
    path = tmp_path / "stock" / "checkpoint_best.pt"
    assert evaluate(path, "--lengths", "32")[0] == 0
    assert evaluate(path, "--lengths", "33")[0] == 1
    assert "learned positions for 32 tokens only" in capsys.readouterr().err


def nats(rows):
    return [row["nats"] for row in rows]


def test_batches_and_workers_change_nothing(evaluate, checkpoints):
    path, flags = checkpoints("kerple_log"), ("--lengths", "24,100", "--stride", "7,window")
    _, one = evaluate(path, *flags, output="one")
    _, other = evaluate(path, *flags, "--num-workers", "2", output="other")
    assert nats(one) == nats(other)
    _, small = evaluate(path, *flags, "--max-tokens", "100", output="small")
    assert nats(small) == pytest.approx(nats(one), rel=1e-6)


def test_processes_add_up_to_the_same_number(evaluate, checkpoints, data_bin, tmp_path):
    path, flags = checkpoints("kerple_log"), ("--lengths", "24,100", "--stride", "7,window")
    flags = (*flags, "--last-tokens", "5", "--max-tokens", "200")
    _, one = evaluate(path, *flags)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    environment |= {"MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "nopos_plugin.cli.evaluate", data_bin, "--path", path, *flags]
    command += ["--device", "cpu", "--output", tmp_path / "two"]
    started = [
        subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [each.communicate(timeout=200)[0] for each in started]
    assert [each.returncode for each in started] == [0, 0], said
    two = results.read(tmp_path / "two", results.PERPLEXITY)
    assert nats(two) == nats(one)
    assert two[0]["processes"] == 2
    assert [row["loss_by_position"] for row in two] == [row["loss_by_position"] for row in one]


def test_the_last_tokens_are_the_same_at_every_length(evaluate, checkpoints):
    path = checkpoints("nopos")
    _, rows = evaluate(path, "--lengths", "10,50,200", "--last-tokens", "10")
    last = [row for row in rows if row["targets"] != "all"]
    assert {row["targets"] for row in last} == {"the last 10 of each 200"}
    assert [row["window_tokens"] for row in last] == [10, 50, 200]
    assert {row["tokens"] for row in last} == {40}
    assert len({round(row["nats"], 4) for row in last}) == 3
    assert [part["from"] for part in last[1]["loss_by_position"]] == [32]
    status, rows = evaluate(path, "--lengths", "10,2000", "--last-tokens", "10", output="other")
    assert (status, rows) == (1, [])


def test_a_sample_has_the_losses_that_those_tokens_have(
    evaluate, checkpoints, data_bin, monkeypatch
):
    """Of 100 tokens with 64 before them, windows of the whole split that lie alike."""
    path, begin, end = checkpoints("kerple_log"), 64, 164
    found = {}

    def keep(self, start, values):
        found.setdefault(self, {})[start] = values
        put(self, start, values)

    put = losses.Losses.put
    monkeypatch.setattr(losses.Losses, "put", keep)
    sample = ("--targets", f"{begin}:{end}", "--stride", "4,window")
    status, rows = evaluate(path, "--lengths", "32", *sample)
    assert status == 0
    assert [row["stride_tokens"] for row in rows] == [4, 32]
    assert [(row["tokens"], row["targets"]) for row in rows] == [(100, "64 to 163")] * 2
    assert all("bits_per_byte" not in row for row in rows)
    evaluate(path, "--lengths", "32", "--stride", "4,window", output="whole.jsonl")
    each = [torch.cat([made[start] for start in sorted(made)]) for made in found.values()]
    for part, whole in zip(each[:2], each[2:], strict=True):
        torch.testing.assert_close(part, whole[begin:end], rtol=0, atol=1e-5)
    assert rows[0]["nats"] == pytest.approx(each[2][begin:end].double().sum().item(), rel=1e-6)
    assert rows[0]["nats"] != pytest.approx(rows[1]["nats"], rel=1e-5)
    assert all(row["trained_seed"] == 1 for row in rows)


def test_a_stride_can_be_a_part_of_the_window(evaluate, checkpoints):
    path, parts = checkpoints("alibi"), ("--stride", "window/4,window")
    _, rows = evaluate(path, "--lengths", "8,40", *parts)
    sizes = [(row["window_tokens"], row["stride_tokens"]) for row in rows]
    assert sizes == [(8, 2), (8, 8), (40, 10), (40, 40)]
    _, again = evaluate(path, "--lengths", "40", "--stride", "10", output="again.jsonl")
    assert again[0]["nats"] == rows[2]["nats"]


def test_positions_add_up(evaluate, checkpoints):
    _, (row,) = evaluate(checkpoints("rope"), "--lengths", "24", "--stride", "5")
    parts = row["loss_by_position"]
    assert sum(part["tokens"] for part in parts) == TOKENS
    assert sum(part["nats"] for part in parts) == pytest.approx(row["nats"])
    bounds = [(part["from"], part["to"]) for part in parts]
    assert bounds == [(0, 1), (1, 2), (2, 4), (4, 8), (8, 16), (16, 32)]
    # the first window scores 24; all others the last 5 of their 24
    assert [part["tokens"] for part in parts] == [1, 1, 2, 4, 8, TOKENS - 16]


def test_documents_by_line_do_not_see_each_other(evaluate, checkpoints, data_bin):
    flags = ("--sample-break-mode", "eos", "--tokens-per-sample", "64")
    path = checkpoints("alibi")
    _, (row,) = evaluate(path, "--lengths", "64", "--documents", "lines")
    expected = float(eval_lm(data_bin, path, *flags)["loss"])
    assert row["bits_per_token"] == pytest.approx(expected, rel=1e-5)
    assert row["longest_window_tokens"] <= 31


def test_what_is_finished_is_kept(evaluate, checkpoints, capsys):
    path = checkpoints("alibi")
    _, first = evaluate(path, "--lengths", "16,32")
    capsys.readouterr()
    status, second = evaluate(path, "--lengths", "16,32,64")
    assert status == 0
    assert second[:2] == first and len(second) == 3
    assert len(capsys.readouterr().out.splitlines()) == 1 + 3  # all are printed
    _, third = evaluate(path, "--lengths", "16", "--position-args", "")
    assert len(third) == 4


def test_killed_it_goes_on(evaluate, checkpoints, data_bin, tmp_path):
    path, lengths = checkpoints("alibi"), ("--lengths", "16,24,32,40,48", "--stride", "1")
    typed = [data_bin, "--path", path, *lengths, "--device", "cpu", "--output", tmp_path / "killed"]
    command = [sys.executable, "-m", "nopos_plugin.cli.evaluate", *map(str, typed)]
    started = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    heading, first = started.stdout.readline(), started.stdout.readline()
    started.kill()
    started.communicate()
    before = results.read(tmp_path / "killed", results.PERPLEXITY)
    assert "encoding" in heading and "alibi" in first and 1 <= len(before) < 5
    status, rows = evaluate(path, *lengths, output="killed")
    assert (status, len(rows)) == (0, 5)
    assert rows[: len(before)] == before


def test_overrides_are_named_and_work(evaluate, checkpoints):
    path = checkpoints("rope")
    _, rows = evaluate(path, "--lengths", "64")
    _, rows = evaluate(path, "--lengths", "64", "--position-args", "theta=500000")
    _, rows = evaluate(path, "--lengths", "64", "--model-overrides", "{'attention_window': 8}")
    assert len(set(nats(rows))) == 3
    assert rows[1]["model_overrides"] == {"position_args": "theta=500000"}
    assert "theta=500000" in rows[1]["position_args"]


def test_words_and_bytes(evaluate, checkpoints, data_bin):
    _, (row,) = evaluate(checkpoints("rope"), "--lengths", "64", "--tokens-are", "words")
    assert row["words"] == TOKENS - 60  # lines
    assert row["perplexity_per_word"] == pytest.approx(math.exp(row["nats"] / row["words"]))
    text = data_bin.parent.joinpath("valid").read_bytes()
    assert row["bytes"] == len(text)


def test_words_are_added_to_what_is_finished(evaluate, checkpoints):
    flags = (checkpoints("rope"), "--lengths", "64", "--last-tokens", "8")
    _, before = evaluate(*flags)
    _, after = evaluate(*flags, "--tokens-are", "words")
    assert before[0]["words"] is None
    assert after == [*before, {**before[0], **after[-1]}]
    assert after[-1]["seconds"] == before[0]["seconds"]
    assert after[-1]["words"] == TOKENS - 60
    assert evaluate(*flags, "--tokens-are", "words")[1] == after
    assert evaluate(*flags)[1] == after


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (("--lengths", "8", "--stride", "9"), "stride 9 with window 8: .* would go unscored"),
        (("--lengths", "8,12", "--stride", "window/8"), "window/8: --lengths 12 has no such part"),
        (("--lengths", "8", "--split", "dev"), "there is no split dev"),
        (
            ("--lengths", "8", "--targets", "900:958"),
            "valid has 957 tokens, and these windows need 958: .* --targets that end earlier",
        ),
        (
            ("--lengths", "8", "--targets", "1:9", "--last-tokens", "4"),
            "--targets says what is scored: leave out --last-tokens",
        ),
        (("--lengths", "8,33", "--max-tokens", "32"), "--max-tokens 32 holds no window of 33"),
        (("--lengths", "8,960,970"), "--lengths 970: no window here has more than 957 tokens"),
        (
            ("--lengths", "8,64,65", "--documents", "lines"),
            "--lengths 65: no window here has more than 31 tokens, as at shorter",
        ),
        (
            ("--lengths", "8", "--model-overrides", "{'attention_windw': 2}"),
            "has no option attention_windw",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_is_a_sentence(evaluate, checkpoints, capsys, flags, sentence):
    status, rows = evaluate(checkpoints("rope"), *flags)
    assert (status, rows) == (1, [])
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "nopos-evaluate:" in line]
    assert re.search(sentence, said)


def test_an_output_that_cannot_be_is_known_at_once(evaluate, tmp_path, capsys):
    output = str(tmp_path / "no" / "file")
    assert main([".", "--path", __file__, "--lengths", "8", "--output", output])
    assert "No such file or directory" in capsys.readouterr().err


def test_all_checkpoints_have_to_be_there(evaluate, checkpoints, capsys):
    status, rows = evaluate(f"{checkpoints('rope')},none.pt", "--lengths", "8")
    assert (status, rows) == (1, [])
    assert "--path none.pt: there is no such file" in capsys.readouterr().err


def test_learned_positions_end(evaluate, checkpoints, capsys):
    status, rows = evaluate(checkpoints("learned"), "--lengths", "16,33")
    assert (status, rows) == (1, [])
    assert "--lengths 33" in capsys.readouterr().err


def test_another_dictionary_is_a_sentence(evaluate, checkpoints, data_bin, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    for name in ("valid.bin", "valid.idx"):
        (other / name).write_bytes((data_bin / name).read_bytes())
    (other / "dict.txt").write_text((data_bin / "dict.txt").read_text() + "more 1\n" * 1)
    state = torch.load(checkpoints("rope"), weights_only=False)
    state["cfg"]["model"]["trained_dictionary"] = None  # as in a checkpoint of stock fairseq
    torch.save(state, tmp_path / "rope.pt")
    status, rows = evaluate(tmp_path / "rope.pt", "--lengths", "16", data=other)
    assert (status, rows) == (1, [])
    assert "does not fit the dictionary" in capsys.readouterr().err


def test_other_symbols_in_a_dictionary_of_the_same_size_are_a_sentence(
    evaluate, checkpoints, data_bin, tmp_path, capsys
):
    other = tmp_path / "other"
    other.mkdir()
    for name in ("valid.bin", "valid.idx"):
        (other / name).write_bytes((data_bin / name).read_bytes())
    first, *rest = (data_bin / "dict.txt").read_text().splitlines(keepends=True)
    (other / "dict.txt").write_text("".join([*rest, first]))
    status, rows = evaluate(checkpoints("rope"), "--lengths", "16", data=other)
    assert (status, rows) == (1, [])
    assert "is not the one that the checkpoint was trained with" in capsys.readouterr().err


def test_stock_models_take_no_position_args(evaluate, data_bin, tmp_path, capsys):
    train(data_bin, "transformer_lm", tmp_path / "stock")
    path = tmp_path / "stock" / "checkpoint_best.pt"
    assert evaluate(path, "--lengths", "8", "--position-args", "theta=3") == (1, [])
    assert "has no option position_args" in capsys.readouterr().err


def test_a_bos_token_is_as_in_eval_lm(evaluate, data_bin, tmp_path):
    train(data_bin, "transformer_lm", tmp_path / "stock", "--add-bos-token")
    path = tmp_path / "stock" / "checkpoint_best.pt"
    _, (row,) = evaluate(path, "--lengths", "31")
    stock = eval_lm(data_bin, path, "--tokens-per-sample", "31", "--add-bos-token")
    assert row["bits_per_token"] == pytest.approx(float(stock["loss"]), rel=1e-5)
    assert row["tokens"] == TOKENS


def test_an_imported_model_opens_texts_as_it_was_trained(evaluate, checkpoints, data_bin, tmp_path):
    """Not with `</s>`, as fairseq's do."""
    state = torch.load(checkpoints("rope"), weights_only=False)
    state["cfg"]["model"]["trained_opener"] = "<s>"
    torch.save(state, tmp_path / "imported.pt")
    flags = ("--lengths", "957", "--documents", "none")
    _, (usual,) = evaluate(checkpoints("rope"), *flags)
    _, rows = evaluate(tmp_path / "imported.pt", *flags)
    assert "opener" not in usual and rows[-1]["opener"] == "<s>"
    subject = loaded(tmp_path / "imported.pt", data_bin)
    text = Split(str(data_bin), "valid", subject.task).text.tokens(0, TOKENS)
    for row, opener in ((usual, 2), (rows[-1], 0)):
        source = torch.cat([torch.tensor([opener]), text[:-1]]).unsqueeze(0)
        with torch.no_grad():
            logits = subject.model(source)[0][0].double()
        nats = torch.nn.functional.cross_entropy(logits, text.long(), reduction="sum").item()
        assert row["nats"] == pytest.approx(nats, rel=1e-5)


@pytest.mark.parametrize("impl", ["lazy", "cached"])
def test_older_kinds_of_data_bins(evaluate, checkpoints, data_bin, tmp_path, impl):
    fairseq_preprocess(data_bin.parent, tmp_path / "old", "--dataset-impl", impl)
    flags = (checkpoints("alibi"), "--lengths", "24", "--stride", "7")
    _, (row,) = evaluate(*flags, data=tmp_path / "old")
    _, (mine,) = evaluate(*flags, output="mmap")
    assert row["nats"] == mine["nats"]


def test_an_empty_split_is_a_sentence(evaluate, checkpoints, data_bin, tmp_path, capsys):
    shutil.copytree(data_bin, tmp_path / "bin")
    make_builder(str(tmp_path / "bin/valid.bin"), impl="mmap", vocab_size=9).finalize(
        str(tmp_path / "bin/valid.idx")
    )
    status, rows = evaluate(checkpoints("rope"), "--lengths", "16", data=tmp_path / "bin")
    assert (status, rows) == (1, [])
    assert "the split valid in" in capsys.readouterr().err
    with pytest.raises(ValueError, match="the split valid of .* is empty"):
        eval_lm(tmp_path / "bin", checkpoints("rope"))


@pytest.mark.parametrize("content", [b"text", b"", b"PK\x03\x04 cut"], ids=str)
def test_a_file_that_is_no_checkpoint(evaluate, tmp_path, capsys, content):
    (tmp_path / "x.pt").write_bytes(content)
    assert evaluate(tmp_path / "x.pt", "--lengths", "8") == (1, [])
    (said,) = [x for x in capsys.readouterr().err.splitlines() if "nopos-evaluate:" in x]
    assert "x.pt is no whole checkpoint" in said


def test_a_dictionary_that_is_no_checkpoint(evaluate, tmp_path, capsys):
    torch.save({"a": 1}, tmp_path / "x.pt")
    assert evaluate(tmp_path / "x.pt", "--lengths", "8") == (1, [])
    assert "x.pt is no checkpoint that fairseq loads" in capsys.readouterr().err


def test_processes_that_are_not_there(evaluate, checkpoints, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert evaluate(checkpoints("rope"), "--lengths", "8") == (1, [])
    assert "environment variable RANK expected" in capsys.readouterr().err


def test_a_manifest_that_is_none(evaluate, checkpoints, data_bin, tmp_path, capsys):
    shutil.copytree(data_bin, tmp_path / "bin")
    (tmp_path / "bin" / "manifest.json").write_text("{")
    train(data_bin, "transformer_lm", tmp_path / "stock")
    path = tmp_path / "stock" / "checkpoint_best.pt"
    assert evaluate(path, "--lengths", "8", data=tmp_path / "bin") == (1, [])
    assert "manifest.json: not a manifest" in capsys.readouterr().err


def test_a_loss_that_is_no_number_names_its_window(evaluate, checkpoints, tmp_path, capsys):
    state = torch.load(checkpoints("rope"), weights_only=False)
    for name, weight in state["model"].items():
        if name.endswith("fc1.bias"):
            weight[:] = torch.nan
    torch.save(state, tmp_path / "nan.pt")
    status, rows = evaluate(tmp_path / "nan.pt", "--lengths", "16")
    assert (status, rows) == (1, [])
    assert "the loss of token 0 is nan, in window 0" in capsys.readouterr().err


def test_a_file_of_others_is_left_alone(evaluate, checkpoints, tmp_path, capsys):
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps({"mine": 1}) + "\n")
    assert main([".", "--path", __file__, "--lengths", "8", "--output", str(path)]) == 1
    assert "line 1, is no result of nopos-evaluate" in capsys.readouterr().err
    assert path.read_text() == json.dumps({"mine": 1}) + "\n"
