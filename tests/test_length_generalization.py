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
from reasoning import SPLITS, lines

from nopos_plugin.cli.attention import main as attention
from nopos_plugin.cli.evaluate_answers import main as evaluate
from nopos_plugin.cli.make_task import main as make_task
from nopos_plugin.criterions.answer_accuracy import AnswerAccuracy
from nopos_plugin.evaluation.answers import by_length, share
from nopos_plugin.evaluation.decoding import greedy

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


def a_little(data, folder, arch, *flags):
    """The checkpoint of two updates."""
    code, said = fairseq(
        "train",
        data,
        *("--task", "length_generalization", "--criterion", "answer_accuracy"),
        *("--arch", arch, *TINY, "--max-tokens", "1024", "--max-update", "2", *flags),
        *("--no-epoch-checkpoints", "--save-dir", folder, "--log-format", "simple"),
        *("--cpu", "--num-workers", "0", "--distributed-world-size", "1"),
    )
    assert code == 0 and "answer_accuracy" in said, said[-2000:]
    return folder / "checkpoint_last.pt"


def test_positions_that_end_cut_answers_short(parity, tmp_path, capsys):
    """Twice as many tokens as the longest gold answer has are more than a learned table; and
    longer questions than it has are refused before any is asked."""
    longest = max(len(item) for item in MMapIndexedDataset(str(parity / "valid")))
    arch, end = "transformer_lm_learned_t5tiny", ("--tokens-per-sample", longest)
    checkpoint = a_little(parity, tmp_path, arch, *end)
    command = [str(parity), "--path", str(checkpoint), "--output", str(tmp_path / "a.jsonl")]
    most = max(len(item) for item in MMapIndexedDataset(str(parity / "test"))) - 1
    for asked in (evaluate, attention):
        assert asked(command) == 1
        said = capsys.readouterr().err
        assert f"has positions for {longest} tokens, and test has questions of {most}" in said
        assert f"train one with --tokens-per-sample {most}\n" in said
    model, task = loaded(checkpoint, parity)
    pad, dictionary = task.source_dictionary.pad(), task.source_dictionary
    prompts = [task.questions("valid")[0]["source"].tolist()[:count] for count in (4, longest - 1)]
    found = greedy(model, prompts, 50, len(dictionary) + 1, pad)  # which never ends by itself
    assert [len(answer) for answer in found] == [longest + 1 - len(one) for one in prompts]
    assert found == [greedy(model, [one], 50, len(dictionary) + 1, pad)[0] for one in prompts]


def test_steps_of_scratchpads_are_counted(tmp_path, monkeypatch):
    """Of gold answers, and nothing to one question."""
    data = tmp_path / "bin"
    lengths = ("--train-lengths", "2:3", "--test-lengths", "4:4")
    make = ["parity", "--out", str(data), *lengths, *SPLITS, "--scratchpad", "minimal"]
    assert make_task(make) == 0
    checkpoint = a_little(data, tmp_path, "transformer_lm_nopos_t5tiny")
    gold = {}
    for split in ("valid", "test"):
        items, records = MMapIndexedDataset(str(data / split)), lines(data / f"{split}.jsonl")
        for item, record in zip(items, records, strict=True):
            count = record["question_tokens"]
            gold[tuple(item[:count].tolist())] = item[count:-1].tolist()
    spoilt = min(gold)
    monkeypatch.setattr(
        "nopos_plugin.cli.evaluate_answers.greedy",
        lambda model, prompts, *_: [[] if (p := tuple(q)) == spoilt else gold[p] for q in prompts],
    )
    output = tmp_path / "answers.jsonl"
    assert evaluate([str(data), "--path", str(checkpoint), "--output", str(output)]) == 0
    (row,) = lines(output)
    for split in ("valid", "test"):
        its, share = row["scratchpad"][split], row["accuracy"][split]
        assert its == {
            "correct_computations": share,
            "correct_outputs": share,
            "correct_steps": share,
            "failed_steps": pytest.approx(1 - share),
        }
        buckets = [one for one in row["by_length"] if one["split"] == split]
        assert [one["correct_steps"] for one in buckets] == [one["right"] for one in buckets]
    assert min(row["accuracy"].values()) < 1


def test_answers_are_what_the_most_probable_tokens_say(parity, trained, tmp_path, capsys):
    """nopos-evaluate-answers against token by token decoding without a cache."""
    output = tmp_path / "answers.jsonl"
    command = [str(parity), "--path", str(trained[0]), "--output", str(output), "--samples", "20"]
    assert evaluate(command) == 0
    (row,) = lines(output)
    model, task = loaded(trained[0], parity)
    dictionary = task.source_dictionary
    for split, lengths in (("valid", {2, 3}), ("test", {4})):
        right, tokens_right = {length: [] for length in lengths}, []
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
            gold = dataset.items[index].long()
            with torch.no_grad():
                best = model(gold[None, :-1])[0][0].argmax(-1)
            tokens_right += (best == gold[1:]).tolist()[record["question_tokens"] - 1 :]
        buckets = [one for one in row["by_length"] if one["split"] == split]
        found = {one["length"]: (one["questions"], one["right"]) for one in buckets}
        assert found == {length: (len(its), sum(its)) for length, its in right.items()}
        every = [hit for its in right.values() for hit in its]
        assert row["accuracy"][split] == sum(every) / len(every)
        assert row["token_accuracy"][split] == sum(tokens_right) / len(tokens_right)
        wrong = {one["length"]: one["text"] for one in row["wrong"] if one["split"] == split}
        assert wrong.keys() == {length for length, its in right.items() if not all(its)}
        for text in wrong.values():
            ones = re.findall("[01]", text.partition("[")[2].partition("]")[0]).count("1")
            assert f"The answer is {'No' if ones % 2 else 'Yes'}." not in text
    assert row["wrong"]  # else the last lines have seen nothing
    assert "scratchpad" not in row and row["trained_tokens"] is None
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
    train(parity, "transformer_lm_nopos", tmp_path / "text", "--max-update", "1")
    command = [str(parity), "--path", str(tmp_path / "text/checkpoint_last.pt")]
    assert evaluate([*command, "--output", str(tmp_path / "answers.jsonl")]) == 1
    assert "was not trained with --task length_generalization" in capsys.readouterr().err
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


@pytest.mark.parametrize("count", [0, -3, 500])
def test_a_question_that_is_none_of_its_sample_is_a_sentence(count, parity, trained, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(parity, broken)
    records = lines(broken / "test.jsonl")
    records[7]["question_tokens"] = count
    (broken / "test.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    _, task = loaded(trained[0], broken)
    with pytest.raises(ValueError, match=rf"test.jsonl, line 8: a question of {count} tokens, of"):
        task.questions("test")


def test_a_manifest_that_does_not_say_all_of_the_task(parity, tmp_path):
    from nopos_plugin.tasks.length_generalization import problem

    made = json.loads((parity / "manifest.json").read_text())
    for name in made["problem"]:
        less = {key: value for key, value in made["problem"].items() if key != name}
        (tmp_path / "manifest.json").write_text(json.dumps({**made, "problem": less}))
        with pytest.raises(ValueError, match="no data-bin of nopos-make-task's questions"):
            problem(str(tmp_path))


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
