"""nopos-make-task passkey, nopos-prepare-text, fairseq-train, nopos-passkey, in that order."""

import json
import re
import shutil

import pytest
from command import run, train

from nopos_plugin.cli.make_task import main as make_task
from nopos_plugin.cli.passkey import main
from nopos_plugin.cli.prepare_text import main as prepare_text
from nopos_plugin.evaluation import passkey, results

LENGTHS = ("--lengths", "99,160")  # one copy of the filler, and three


def prepared(folder, *flags, tokenizer="words", task=("--spaced",)):
    """A data-bin of passkeys."""
    task = [
        "passkey",
        "--out",
        folder / "text",
        "--documents",
        "300",
        "--valid-documents",
        "9",
        *task,
    ]
    assert make_task([str(one) for one in task]) == 0
    texts = [folder / "text" / "train.jsonl", "--valid", folder / "text" / "valid.jsonl"]
    more = ["--documents", "json", "--tokenizer", tokenizer, "--workers", "1"]
    typed = [*texts, *more, "--dest", folder / "bin", *flags]
    assert prepare_text([str(one) for one in typed]) == 0
    return folder / "bin"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("passkey"))


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    train(data, "transformer_lm_rope", folder)
    return folder / "checkpoint_last.pt"


@pytest.fixture
def ask(checkpoint, tmp_path):
    """ask(*flags): status and results of nopos-passkey."""

    def run(*flags, path=checkpoint, output="passkey.jsonl"):
        typed = ["--path", path, "--device", "cpu", "--output", tmp_path / output, *flags]
        status = main([str(one) for one in typed])
        return status, results.read(tmp_path / output, results.PASSKEY)

    return run


def test_texts_are_lessons_that_a_seed_decides(tmp_path, capsys):
    def made(name, *flags):
        typed = ["passkey", "--out", tmp_path / name, "--documents", "40", *flags]
        assert make_task([str(one) for one in typed]) == 0
        lines = (tmp_path / name / "train.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line)["text"] for line in lines]

    first = made("a", "--filler", "3:30")
    assert "train.jsonl: 40 documents" in capsys.readouterr().out
    assert first == made("b", "--filler", "3:30") and first != made(
        "c", "--filler", "3:30", "--seed", "2"
    )
    assert len(set(first)) == 40
    valid = (tmp_path / "a" / "valid.jsonl").read_text("utf-8")
    assert valid.count("\n") == 100 and not any(json.dumps(text) in valid for text in first)
    for text in first:
        (key,) = set(re.findall("[0-9]+", text))
        lines = text.split("\n")
        assert lines[0] == passkey.TASK and lines[4] == f"{passkey.QUESTION} {key}."
        assert 3 <= len((lines[1] + " " + lines[3]).split()) <= 30
    spaced = made("d", "--filler", "3:30", "--spaced")
    assert [re.sub(r" *([0-9.?]) *", r"\1", text) for text in spaced] == [
        re.sub(r" *([0-9.?]) *", r"\1", text) for text in first
    ]
    assert not re.search(r"[0-9.?]\S|\S[0-9.?]", " ".join(spaced))


def test_texts_that_are_there_are_kept(tmp_path, capsys):
    typed = ["passkey", "--out", str(tmp_path), "--documents", "3"]
    (tmp_path / "valid.jsonl").write_text("mine")
    assert make_task(typed) == 1
    assert "valid.jsonl is there already; name another folder" in capsys.readouterr().err
    assert [one.name for one in tmp_path.iterdir()] == ["valid.jsonl"]
    for flags in (["--filler", "9:3"], ["--filler", "7"], ["--documents", "0"]):
        with pytest.raises(SystemExit):
            make_task([*typed, *flags])
    assert "is no MIN:MAX such as 0:100" in capsys.readouterr().err


def test_a_result_says_what_was_asked_and_answered(ask, checkpoint, capsys):
    status, rows = ask(*LENGTHS, "--trials", "7")
    assert status == 0
    said = capsys.readouterr().out.splitlines()
    assert (
        len(said) == 3 and said[0].split()[:5] == "checkpoint encoding length prompt right".split()
    )
    assert [row["length_tokens"] for row in rows] == [99, 160]
    for row, line, copies in zip(rows, said[1:], (1, 3), strict=True):
        assert row["position_encoding"] == "rope" and row["extension"] is None
        assert row["checkpoint"] == str(checkpoint) and len(row["checkpoint_sha256"]) == 64
        assert row["tokenizer"]["name"] == "words" and row["seed"] == 1
        answers = row["answers"]
        hits = [passkey.right(one["answer"], one["key"]) for one in answers]
        assert row["trials"] == len(answers) == 7 and row["correct"] == sum(hits)
        assert row["accuracy"] == sum(hits) / 7
        assert {one["depth"] for one in answers} <= {
            round(n / copies, 4) for n in range(copies + 1)
        }
        assert sum(one["trials"] for one in row["by_depth"]) == 7
        assert sum(one["correct"] for one in row["by_depth"]) == row["correct"]
        assert f"{row['correct']} of 7" in line
        bare = len(passkey.spaced(passkey.Passkey(0, 0, 1).text()).split()) + 4  # newlines
        filler = len(passkey.spaced(passkey.FILLER * copies).split())
        # opened by </s>; three numbers of one to five digits
        assert row["prompt_tokens"]["least"] >= 1 + bare + filler
        assert row["prompt_tokens"]["most"] <= 1 + bare + filler + 2 * 4


def test_a_result_that_is_there_is_not_made_again(ask):
    before = ask(*LENGTHS, "--trials", "3")[1]
    assert ask(*LENGTHS, "--trials", "3") == (0, before)
    for flags in (["--seed", "2"], ["--exact-length"], ["--position-args", "theta=5e5"]):
        count = len(before)
        status, before = ask("--lengths", "99", "--trials", "3", *flags)
        assert status == 0 and len(before) == count + 1
    assert before[-1]["position_args"].startswith("theta=500000.0")


def test_a_line_that_lacks_something_is_a_sentence(ask, tmp_path, capsys):
    (row,) = ask("--lengths", "99", "--trials", "1")[1]
    del row["prompt_tokens"]
    (tmp_path / "passkey.jsonl").write_text(json.dumps(row))
    capsys.readouterr()
    assert ask("--lengths", "99", "--trials", "1")[0] == 1
    assert "at 99 tokens is not whole (KeyError('prompt_tokens'))" in sentence(capsys)


def test_exact_lengths_are_those_of_prompt_and_answer(ask):
    rows = ask("--lengths", "90,101,150", "--trials", "5", "--exact-length")[1]
    for row in rows:
        size = row["length_tokens"] - passkey.NEW_TOKENS
        assert row["prompt_tokens"] == {"least": size, "most": size}


def test_batches_change_nothing(ask):
    rows = [
        ask(*LENGTHS, "--trials", "6", "--max-tokens", size, output=size)[1]
        for size in ("1", "9999")
    ]
    one, other = ([row["answers"] for row in made] for made in rows)
    assert one == other


def test_numbers_of_digits_by_bytes(tmp_path, ask):
    data = prepared(tmp_path, tokenizer="bytes", task=())
    train(data, "transformer_lm_alibi", tmp_path / "ck", "--tokens-per-sample", "64")
    status, rows = ask("--lengths", "69", "--trials", "2", path=tmp_path / "ck/checkpoint_last.pt")
    assert status == 0
    assert rows[0]["prompt_tokens"]["least"] > len(passkey.Passkey(0, 0, 1).text())


def sentence(capsys):
    error = capsys.readouterr().err
    said = [line for line in error.splitlines() if line.startswith("nopos-passkey: ")]
    assert len(said) == 1 and "Traceback" not in error, error
    return said[0]


def test_bad_input_is_one_sentence(ask, data, checkpoint, tmp_path, capsys):
    def refused(*flags, path=checkpoint):
        status, rows = ask(*flags, path=path)
        assert status == 1 and rows == []
        return sentence(capsys)

    assert "there is no such file" in refused(*LENGTHS, path=tmp_path / "none.pt")
    assert "--lengths 20: a prompt without filler counts as 69 tokens" in refused("--lengths", "20")
    exact = refused("--lengths", "99,40", "--exact-length")
    assert (
        "--lengths 40: the prompt is opened by one token and answered by 10, and without" in exact
    )
    assert "not its own" in refused(*LENGTHS, "--tokenizer", "bytes")
    bare = tmp_path / "bare"
    shutil.copytree(data, bare)
    (bare / "manifest.json").unlink()
    said = refused(bare, *LENGTHS)
    assert "has no manifest.json" in said and "or name another DATA, or the --tokenizer" in said
    assert ask(bare, "--lengths", "99", "--trials", "1", "--tokenizer", "words")[0] == 0


def test_a_dictionary_without_digits_or_words_is_refused(data_bin, checkpoints, ask, capsys):
    flags = ("--tokenizer", "words")
    assert ask(data_bin, *LENGTHS, *flags, path=checkpoints("rope"))[0] == 1
    assert "--tokenizer words does not give numbers back" in sentence(capsys)


def test_learned_positions_end(data, ask, tmp_path, capsys):
    train(data, "transformer_lm_learned", tmp_path / "ck", "--tokens-per-sample", "90")
    path = tmp_path / "ck" / "checkpoint_last.pt"
    assert ask("--lengths", "99", "--trials", "2", path=path)[0] == 1
    said = sentence(capsys)
    assert "--lengths 99: prompt and answer have 1" in said
    assert "has learned positions for 90 only; ask for less, by --exact-length" in said
    assert ask("--lengths", "90", "--trials", "2", "--exact-length", path=path)[0] == 0


def test_where_the_data_bin_of_the_training_is_not(data, checkpoint, ask, tmp_path, capsys):
    away = tmp_path / "away"
    shutil.copytree(data.parent, away)
    train(away / "bin", "transformer_lm_rope", tmp_path / "ck")
    shutil.rmtree(away)
    path = tmp_path / "ck" / "checkpoint_last.pt"
    assert ask("--lengths", "99", "--trials", "1", path=path)[0] == 1
    assert "DATA" in sentence(capsys)
    assert ask(data, "--lengths", "99", "--trials", "1", path=path)[0] == 0


def test_help_and_torchrun(tmp_path):
    for module in ("passkey", "make_task"):
        code, said = run("-m", f"nopos_plugin.cli.{module}", "--help", cwd=tmp_path)
        assert code == 0 and "usage: nopos-" in said
    code, said = run(
        *("-m", "nopos_plugin.cli.passkey", "--path", "x", "--lengths", "99"), WORLD_SIZE="2"
    )
    assert code == 1 and "runs in one process" in said
