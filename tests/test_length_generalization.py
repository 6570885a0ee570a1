"""From a data-bin of questions to accuracies: loss, validation, nopos-evaluate-answers."""

import json
import re
import shutil

import pytest
import torch
from command import SIZE, fairseq, train
from fairseq import checkpoint_utils
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDataset
from reasoning import lines

from nopos_plugin.cli.evaluate_answers import main as evaluate
from nopos_plugin.criterions.answer_accuracy import AnswerAccuracy
from nopos_plugin.evaluation.answers import by_length, share

TINY = (
    *("--decoder-layers", "2", "--decoder-embed-dim", "32", "--decoder-head-dim", "8"),
    *("--decoder-ffn-embed-dim", "64", "--optimizer", "adam", "--lr", "3e-3"),
)


@pytest.fixture(scope="module")
def trained(parity, tmp_path_factory):
    """(checkpoint, log) of a few updates on it."""
    folder = tmp_path_factory.mktemp("trained")
    code, said = fairseq(
        "train",
        parity,
        *("--task", "length_generalization", "--criterion", "answer_accuracy"),
        *("--arch", "transformer_lm_rope_t5tiny", *TINY, "--max-tokens", "1024"),
        *("--max-update", "60", "--no-epoch-checkpoints", "--save-dir", folder),
        *("--best-checkpoint-metric", "answer_accuracy"),
        *("--maximize-best-checkpoint-metric", "--log-format", "simple"),
        *("--cpu", "--num-workers", "0", "--distributed-world-size", "1"),
    )
    assert code == 0, said[-3000:]
    return folder / "checkpoint_last.pt", said


def test_every_task_is_known_from_its_data_bin(parity, tmp_path):
    """Whatever its variant, and without the files that it was made of."""
    from nopos_plugin.data import reasoning
    from nopos_plugin.tasks.length_generalization import problem

    for name in reasoning.names():
        made = json.loads((parity / "manifest.json").read_text())
        variant = reasoning.get(name).variants[-1]
        made["problem"] |= {"task": name, "variant": variant}
        (tmp_path / "manifest.json").write_text(json.dumps(made))
        found = problem(str(tmp_path))
        assert (found.name, found.variant) == (name, variant)


def test_what_no_text_shows_is_no_answer(parity):
    from types import SimpleNamespace

    from nopos_plugin.prepare.tokenizers.base import UNKNOWN
    from nopos_plugin.tasks.length_generalization import LengthGeneralizationTask

    dictionary = Dictionary.load(str(parity / "dict.txt"))
    args = SimpleNamespace(data=str(parity), valid_questions=None)
    task = LengthGeneralizationTask(args, dictionary)
    sample = task.questions("valid")[0]
    question, answer = sample["source"].tolist(), [UNKNOWN]
    count = sample["record"]["question_tokens"]
    gold = question[count:]
    assert task.are_right(
        [question[:count]] * 2, [gold, gold + answer], [sample["record"]] * 2
    ) == [
        True,
        False,
    ]


def loaded(checkpoint, data):
    models, _, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(checkpoint)], arg_overrides={"data": str(data)}
    )
    return models[0].eval(), task


def test_the_loss_is_that_of_the_answer_alone(parity, trained):
    """Of each sample by itself, what follows the question; a batch of two, padded, is their sum."""
    model, task = loaded(trained[0], parity)
    dataset = task.questions("train")
    lengths = [dataset.records[index]["length"] for index in (0, 299)]
    assert lengths == [2, 3]
    nats = tokens = right = 0
    for index in (0, 299):
        item, begin = dataset.items[index].long(), dataset.records[index]["question_tokens"]
        with torch.no_grad():
            logs = model(item[None, :-1])[0][0].double().log_softmax(-1)
        for place in range(begin, len(item)):
            nats -= logs[place - 1, item[place]].item()
            right += logs[place - 1].argmax() == item[place]
            tokens += 1
    batch = dataset.collater([dataset[0], dataset[299]])
    criterion = AnswerAccuracy(task).train()
    with torch.no_grad():
        loss, size, logs = criterion(model, batch)
    assert loss.item() == pytest.approx(nats, rel=1e-5)
    assert (size, logs["tokens_right"]) == (tokens, right) and "answers" not in logs


def test_answers_are_counted_by_length(parity, trained, monkeypatch):
    model, task = loaded(trained[0], parity)
    task.load_dataset("train")
    dataset = task.dataset("train")
    batch = dataset.collater([dataset[index] for index in (299, 0, 299)])
    assert [record["length"] for record in batch["records"]] == [3, 2, 3]
    monkeypatch.setattr(AnswerAccuracy, "answered", lambda self, *_: [True, False, False])
    with torch.no_grad():
        _, _, logs = AnswerAccuracy(task).eval()(model, batch)
    counts = {name: logs[name] for name in logs if name.startswith(("answers_", "right_"))}
    assert counts == {"answers_2": 1, "right_2": 0, "answers_3": 2, "right_3": 1}


def test_validation_asks_and_the_best_checkpoint_answers_most(trained):
    _, log = trained
    found = [float(x) for x in re.findall(r"\| answer_accuracy ([0-9.]+)", log)]
    best = [float(x) for x in re.findall(r"best_answer_accuracy ([0-9.]+)", log)]
    assert len(found) > 2 and best[-1] == max(found) > 0
    # by length, too, of which each has half of the questions
    halves = [
        [float(x) for x in re.findall(rf"\| answer_accuracy_{length} ([0-9.]+)", log)]
        for length in (2, 3)
    ]
    assert found == [pytest.approx(sum(pair) / 2) for pair in zip(*halves, strict=True)]
    assert "answer_accuracy_4" not in log


def test_positions_that_end_cut_answers_short(parity, tmp_path):
    """Twice as many tokens as the longest gold answer has are more than a learned table."""
    longest = max(len(item) for item in MMapIndexedDataset(str(parity / "valid")))
    code, said = fairseq(
        "train",
        parity,
        *("--task", "length_generalization", "--criterion", "answer_accuracy"),
        *("--arch", "transformer_lm_learned_t5tiny", *TINY, "--max-tokens", "1024"),
        *("--tokens-per-sample", longest, "--max-update", "2", "--no-epoch-checkpoints"),
        *("--save-dir", tmp_path, "--log-format", "simple"),
        *("--cpu", "--num-workers", "0", "--distributed-world-size", "1"),
    )
    assert code == 0 and "answer_accuracy" in said, said[-2000:]


def test_answers_are_what_the_most_probable_tokens_say(parity, trained, tmp_path, capsys):
    """nopos-evaluate-answers against token by token decoding without a cache."""
    output = tmp_path / "answers.jsonl"
    command = [str(parity), "--path", str(trained[0]), "--output", str(output), "--samples", "20"]
    assert evaluate(command) == 0
    (row,) = lines(output)
    model, task = loaded(trained[0], parity)
    dictionary = task.source_dictionary
    for split, lengths in (("valid", {2, 3}), ("test", {4})):
        right = {length: [] for length in lengths}
        dataset = task.questions(split)
        for index in range(0, 40, 2):
            record = dataset.records[index]
            tokens = dataset.items[index][: record["question_tokens"]].tolist()
            for _ in range(12):
                with torch.no_grad():
                    scores = model(torch.tensor([tokens]))[0][0, -1]
                tokens.append(int(scores.argmax()))
                if tokens[-1] == dictionary.eos():
                    break
            text = "".join(dictionary[token] for token in tokens[:-1]).replace("▁", " ")
            bits = re.findall("[01]", record["question"].partition("[")[2])
            said = "Yes" if bits.count("1") % 2 == 0 else "No"
            right[record["length"]].append(text.endswith(f"The answer is {said}."))
        buckets = [one for one in row["by_length"] if one["split"] == split]
        found = {one["length"]: (one["questions"], one["right"]) for one in buckets}
        assert found == {length: (len(its), sum(its)) for length, its in right.items()}
        every = [hit for its in right.values() for hit in its]
        assert row["accuracy"][split] == sum(every) / len(every)
    assert row["problem"]["task"] == "parity" and row["position_encoding"] == "rope"
    assert evaluate(command) == 0 and len(lines(output)) == 1  # not made again
    assert "parity" in capsys.readouterr().out


def test_sums_by_length():
    rows = [{"length": n, "right": n % 2, "tokens": 10} for n in (3, 2, 3)]
    buckets = by_length(rows)
    assert buckets == [
        {"length": 2, "questions": 1, "right": 0, "tokens": 10},
        {"length": 3, "questions": 2, "right": 2, "tokens": 20},
    ]
    assert share(buckets) == pytest.approx(2 / 3) and share([]) is None


def test_other_models_and_criterions_are_refused(parity, data_bin, tmp_path, capsys):
    train(data_bin, "transformer_lm_nopos", tmp_path, "--max-update", "1")
    command = [str(parity), "--path", str(tmp_path / "checkpoint_last.pt")]
    assert evaluate(command) == 1
    assert "the dictionary" in capsys.readouterr().err
    with pytest.raises(ValueError, match="--criterion answer_accuracy needs --task length_gen"):
        train(data_bin, "transformer_lm_nopos", tmp_path, "--criterion", "answer_accuracy")


def test_a_data_bin_of_something_else_is_refused(data_bin, parity, tmp_path):
    flags = ("--task", "length_generalization", "--arch", "transformer_lm_nopos", *SIZE, "--cpu")
    flags += ("--max-tokens", "512", "--optimizer", "adam", "--distributed-world-size", "1")
    code, said = fairseq("train", data_bin, *flags, "--save-dir", tmp_path)
    assert code != 0 and "manifest.json" in said
    broken = tmp_path / "broken"
    shutil.copytree(parity, broken)
    (broken / "train.jsonl").write_text("")
    code, said = fairseq("train", broken, *flags, "--save-dir", tmp_path)
    assert code != 0 and "300 samples and 0 lines of text" in said


@pytest.mark.parametrize("line", ["{", "[]", '{"length": 2}'])
def test_a_record_of_something_else_is_a_sentence(line):
    from nopos_plugin.tasks.length_generalization import record

    with pytest.raises(ValueError, match=r"^bin/valid.jsonl, line 7: no question of nopos-make"):
        record("bin/valid", 7, line)


@pytest.mark.parametrize("option", ["add_bos_token", "sample_break_mode", "future_target"])
def test_what_says_how_a_text_becomes_samples_is_refused(option, parity):
    from types import SimpleNamespace

    from nopos_plugin.tasks.length_generalization import LengthGeneralizationTask

    args = SimpleNamespace(data=str(parity), valid_questions=None, **{option: "eos"})
    flag = "--" + option.replace("_", "-")
    with pytest.raises(ValueError, match=f"^{flag} has no effect on questions and answers"):
        LengthGeneralizationTask(args, Dictionary.load(str(parity / "dict.txt")))
