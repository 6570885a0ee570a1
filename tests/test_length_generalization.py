"""From questions to accuracies: the data-bin, the loss, validation, nopos-evaluate-answers."""

import json
import re
import shutil

import pytest
import torch
from command import SIZE, fairseq, train
from fairseq import checkpoint_utils
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDataset

from nopos_plugin.cli.evaluate_answers import main as evaluate
from nopos_plugin.cli.make_task import main as make_task
from nopos_plugin.criterions.answer_accuracy import AnswerAccuracy
from nopos_plugin.evaluation.answers import by_length, share
from nopos_plugin.prepare import manifest

TINY = (
    *("--decoder-layers", "2", "--decoder-embed-dim", "32", "--decoder-head-dim", "8"),
    *("--decoder-ffn-embed-dim", "64", "--optimizer", "adam", "--lr", "3e-3"),
)
SPLITS = ("--train-size", "300", "--valid-size", "40", "--test-size", "40")


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def parity(tmp_path_factory):
    """A data-bin of parity, trained on 2 and 3 bits, tested with 4."""
    folder = tmp_path_factory.mktemp("parity") / "bin"
    lengths = ("--train-lengths", "2:3", "--test-lengths", "4:4")
    assert make_task(["parity", "--out", str(folder), *lengths, *SPLITS]) == 0
    return folder


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


def test_the_data_bin_is_the_text(parity):
    dictionary = Dictionary.load(str(parity / "dict.txt"))
    assert dictionary.symbols[4:] == sorted(dictionary.symbols[4:])
    for split, size in (("train", 300), ("valid", 40), ("test", 40)):
        items, records = MMapIndexedDataset(str(parity / split)), lines(parity / f"{split}.jsonl")
        assert len(items) == len(records) == size
        for item, record in zip(items, records, strict=True):
            symbols = [dictionary[index] for index in item]
            assert symbols.pop() == "</s>"
            text = "".join(symbols).replace("▁", " ")
            assert text == record["question"] + record["completion"]
            question = "".join(symbols[: record["question_tokens"]]).replace("▁", " ")
            assert question == record["question"].rstrip(" ")
    made = manifest.read(parity)
    assert list(manifest.differences(parity)) == []
    assert made["problem"]["train_lengths"] == [2, 3] and made["problem"]["test_lengths"] == [4, 4]


def test_the_same_seed_makes_the_same_files(tmp_path):
    made = []
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        command = ["addition", "--out", str(tmp_path / name), *SPLITS, "--seed", str(seed)]
        assert make_task([*command, "--scratchpad", "full"]) == 0
        names = ("train.bin", "valid.jsonl", "dict.txt")
        made.append([(tmp_path / name / file).read_bytes() for file in names])
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize("tokenizer", ["characters", "json"])
def test_other_tokens(tokenizer, tmp_path):
    """Characters; and a tokenizer.json, whose pieces may not straddle question and answer."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from tokenizers.decoders import ByteLevel

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({piece: n for n, piece in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = ByteLevel()
    made.save(str(tmp_path / "tokenizer.json"))
    given = {"json": ["--tokenizer-json", str(tmp_path / "tokenizer.json")]}.get(tokenizer, [])
    command = ["summation", "--out", str(tmp_path / "bin"), *SPLITS, "--tokenizer", tokenizer]
    assert make_task([*command, *given]) == 0
    record, item = (
        lines(tmp_path / "bin/test.jsonl")[0],
        MMapIndexedDataset(str(tmp_path / "bin/test"))[0],
    )
    assert len(item) == len(record["question"] + record["completion"]) + 1
    assert record["question_tokens"] == len(record["question"].rstrip(" "))


def test_every_task_is_known_from_its_data_bin(parity, tmp_path):
    """Whatever its variant, and with the lengths that it was made of."""
    from nopos_plugin.data import reasoning
    from nopos_plugin.tasks.length_generalization import problem

    for name in reasoning.names():
        made = json.loads((parity / "manifest.json").read_text())
        variant = reasoning.get(name).variants[-1]
        made["problem"] |= {"task": name, "variant": variant}
        (tmp_path / "manifest.json").write_text(json.dumps(made))
        found = problem(str(tmp_path))
        assert (found.name, found.variant) == (name, variant)
        assert (found.train, found.test) == (range(2, 4), range(4, 5))


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


def words_alone(path):
    """A tokenizer.json that forgets blanks: answers can be read, steps of scratchpads cannot."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    from nopos_plugin.data import reasoning

    made = Tokenizer(models.WordLevel(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    texts = [one.source + one.completion("icovr") for one in reasoning.build("parity").covering()]
    texts.append("0 1 Yes No")
    words = {word for text in texts for word, _ in made.pre_tokenizer.pre_tokenize_str(text)}
    known = {word: index for index, word in enumerate(["<unk>", *sorted(words)])}
    made.model = models.WordLevel(known, unk_token="<unk>")
    made.save(str(path))


BAD = {
    "parity --test-lengths 10:2000": (
        "--test-lengths 10:2000: parity can make 1 to 1000 bits; give lengths of these"
    ),
    "lego --train-lengths 1:5": "--train-lengths 1:5: lego can make 2 to 26 clauses",
    "sorting --scratchpad 11111": "--scratchpad 11111: the steps of sorting have no variables",
    "addition --scratchpad all": "--scratchpad all: addition knows none, full, minimal, no-input",
    "scan --files nowhere": "nowhere",
    "parity --dict DICT": "lacks 21 symbols of parity, such as",
    "parity --tokenizer json": "--tokenizer-json: name the tokenizer.json",
    "parity --dict TWICE": "Duplicate word found when loading Dictionary: 'one'",
    "parity --out HERE": "is there already: name another, or move it away",
    "scan --files PAIRS --train-lengths 1:1 --test-lengths 2:9": "no question is left for valid",
    "scan --files DICT": "DICT, line 1: 'one 1' is not",
    "scan --files NONE": "NONE: nothing is in there",
    "parity --scratchpad full --tokenizer json --tokenizer-json WORDS": "does not give",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_a_sentence_and_makes_nothing(line, tmp_path, capsys):
    (tmp_path / "DICT").write_text("one 1\n")
    (tmp_path / "TWICE").write_text("one 1\none 1\n")
    (tmp_path / "NONE").write_text("")
    (tmp_path / "PAIRS").write_text("IN: walk OUT: I_WALK\nIN: walk twice OUT: I_WALK I_WALK\n")
    words_alone(tmp_path / "WORDS")
    (tmp_path / "HERE").mkdir()
    there = sorted(tmp_path.iterdir())
    words = [str(tmp_path / word) if word.isupper() else word for word in line.split()]
    out = () if "--out" in words else ("--out", str(tmp_path / "made"))
    assert make_task([*words, *out, *SPLITS]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("nopos-make-task: ") and BAD[line] in said.err
    assert said.err.count("\n") == 1 and sorted(tmp_path.iterdir()) == there


@pytest.mark.parametrize("command", ["copy --scratchpad full", "parity --train-lengths 5:2"])
def test_what_the_command_line_does_not_have(command, tmp_path):
    with pytest.raises(SystemExit) as ended:
        make_task([*command.split(), "--out", str(tmp_path / "bin")])
    assert ended.value.code == 2


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
