"""nopos-make-task: the data-bin of a task, its tokens, its bad input."""

import pytest
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDataset
from reasoning import SPLITS, lines

from nopos_plugin.cli.make_task import main as make_task
from nopos_plugin.prepare import manifest


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
    "parity --dict LATIN": "LATIN is no dict.txt of fairseq's: Incorrect encoding detected in ",
    "parity --dict WORDS": "WORDS is no dict.txt of fairseq's: Incorrect dictionary format",
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
    (tmp_path / "LATIN").write_bytes("\xe9 1\n".encode("latin-1"))
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
