"""nopos-prepare-text: one's own text, with its documents, its words, and BiPE's separators."""

import json

import pytest
import small_bpe
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDataset

from nopos_plugin.benchmark import processes
from nopos_plugin.cli.prepare_text import main
from nopos_plugin.prepare import batch, lines, vocabulary
from nopos_plugin.prepare.plain import PlainText
from nopos_plugin.prepare.tokenizers import base


@pytest.fixture
def prepare(tmp_path, capsys):
    """prepare(*typed): exit status, folder, and what went to stderr."""

    def run(*typed, dest="bin"):
        status = main([str(x) for x in (*typed, "--dest", tmp_path / dest)])
        return status, tmp_path / dest, capsys.readouterr().err

    return run


def words(folder, split="train"):
    """Lists of words, one a document."""
    dictionary = Dictionary.load(str(folder / "dict.txt"))
    items = MMapIndexedDataset(str(folder / split))
    return [[dictionary[i] for i in items[n].tolist()] for n in range(len(items))]


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_files_of_a_folder_in_their_order(prepare, tmp_path):
    texts = tmp_path / "texts"
    (texts / "b").mkdir(parents=True)
    (texts / "a.txt").write_text("One .\r\nTwo\r\n", newline="")
    (texts / "b" / "c.txt").write_text("Three\n\nfour one\n")
    (tmp_path / "held.txt").write_text("two Two\n")
    status, folder, _ = prepare(texts, "--valid", tmp_path / "held.txt", "--tokenizer", "words")
    assert status == 0
    assert words(folder) == [
        ["One", ".", "<0a>", "Two", "</s>"],
        ["Three", "<0a>", "<0a>", "four", "one", "</s>"],
    ]
    assert words(folder, "valid") == [["<unk>", "Two", "</s>"]]
    made = manifest(folder)
    assert made["separators"] == ["<0a>", "."]
    assert made["splits"]["train"] == {"documents": 2, "tokens": 11, "words": 6, "bytes": 24}
    assert [source["name"] for source in made["sources"]] == ["a.txt", "c.txt", "held.txt"]


# a section, and a line of the text that only looks like a title
ARTICLES = [" \n = A = \n \n = = x = = \n \n = y = \n z\n ", " = B = \n \n z"]


@pytest.mark.parametrize(
    "kind, text, documents",
    [
        ("file", "a\n\nb\n", ["a\n\nb"]),
        ("lines", "a\n\nb\n", ["a", "b"]),
        ("blank-lines", "a\nb\n\n\nc\n\n", ["a\nb", "c"]),
        ("blank-lines", "\n  a\nb \n \t\nc\n  \n", ["  a\nb ", "c"]),
        ("articles", "\n".join(ARTICLES) + "\n", [f" {a.strip()}" for a in ARTICLES]),
    ],
)  # fmt: skip
def test_kinds_of_documents(prepare, tmp_path, kind, text, documents):
    path = tmp_path / "x.txt"
    path.write_text(text)
    status, folder, _ = prepare(path, "--documents", kind, "--tokenizer", "bytes")
    assert status == 0
    items = MMapIndexedDataset(str(folder / "train"))
    found = [bytes((items[n][:-1] - 4).tolist()) for n in range(len(items))]
    assert found == [document.encode() for document in documents]


@pytest.mark.parametrize("kind", ["lines", "blank-lines", "articles"])
def test_blocks_cut_no_document(tmp_path, monkeypatch, kind):
    joints = {"lines": "\n", "blank-lines": "\n\n\n", "articles": "\n \n = T = \n \n "}
    text = joints[kind].join(f"document {n} {'x' * (n % 13)}" for n in range(500))
    path, form = tmp_path / "x.txt", PlainText(kind)
    path.write_text(text)
    whole = [d.text for d in form.parse(text.encode(), {"lines": 0, "empty": 0})]
    for read, block in ((7, 50), (64, 64), (100, 999)):
        monkeypatch.setattr(lines, "READ", read)
        monkeypatch.setattr(lines, "BLOCK", block)
        counts = {"lines": 0, "empty": 0}
        parts = lines.blocks(path, form.ends)
        assert [d.text for part in parts for d in form.parse(part, counts)] == whole


def test_another_encoding_has_to_be_named(prepare, tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes("Preis: 5 £".encode("latin-1"))
    status, folder, said = prepare(path, "--tokenizer", "bytes")
    assert status == 1 and not folder.exists()
    assert "is no utf-8: name the --encoding of the text" in said and "x.txt" in said
    status, folder, _ = prepare(path, "--tokenizer", "bytes", "--encoding", "latin-1")
    assert status == 0 and manifest(folder)["splits"]["train"]["bytes"] == 11


def test_order_and_shuffling(prepare, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text("\n".join(f"{name}{n}" for n in range(50)) + "\n")
    typed = (tmp_path / "a", tmp_path / "b", "--documents", "lines", "--tokenizer", "words")
    expected = [[f"{name}{n}", "</s>"] for name in "ab" for n in range(50)]
    _, folder, _ = prepare(*typed)
    assert words(folder) == expected
    _, folder, _ = prepare(*typed, "--seed", "3", dest="shuffled")
    assert words(folder) != expected and sorted(words(folder)) == sorted(expected)


def test_words_that_are_not_trained_on_are_unknown(prepare, tmp_path):
    (tmp_path / "x").write_text("".join(f"w{n} same\n" for n in range(40)))
    typed = (tmp_path / "x", "--documents", "lines", "--tokenizer", "words", "--seed", "1")
    _, folder, _ = prepare(*typed, "--valid-documents", "10")
    assert [line[1:] for line in words(folder, "valid")] == [["same", "</s>"]] * 10
    assert {line[0] for line in words(folder, "valid")} == {"<unk>"}
    assert Dictionary.load(str(folder / "dict.txt")).count[4] == 30


@pytest.mark.parametrize(
    "typed, sentence",
    [
        (("nothing", "--tokenizer", "bytes"), "nothing: there is no such file"),
        (("x", "x", "--tokenizer", "bytes"), "x is named twice"),
        (("x", "--valid", "./x", "--tokenizer", "bytes"), "x would be in train and in valid"),
        (("empty", "--tokenizer", "bytes"), "empty is empty"),
        (("x", "--tokenizer", "bytes", "--isolate-separators"), "not for --tokenizer bytes"),
        (("x", "--tokenizer", "bytes", "--encoding", "none"), "--encoding: unknown encoding: none"),
        (("x", "--tokenizer", "bytes", "--encoding", "hex"), "'hex' is not a text encoding"),
        *(
            (
                ("x", "--tokenizer", "bytes", "--encoding", name, "--documents", kind),
                f"--encoding {name}: a newline is not the byte 0x0A in it; convert the files",
            )
            for name in ("utf-16", "UTF-32LE", "cp037")
            for kind in ("file", "lines")
        ),
    ],
    ids=str,
)
def test_what_cannot_be_is_a_sentence(prepare, tmp_path, monkeypatch, typed, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_text("a")
    (tmp_path / "empty").write_text("")
    status, folder, said = prepare(*typed)
    assert status == 1 and not folder.exists()
    assert sentence in said


def test_the_mark_at_the_begin_of_a_file_is_no_text(prepare, tmp_path):
    (tmp_path / "x").write_text("one two", encoding="utf-8-sig")
    _, folder, _ = prepare(tmp_path / "x", "--tokenizer", "words")
    assert words(folder) == [["one", "two", "</s>"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_mark_within_a_file_is_text_wherever_a_block_begins(
    prepare, tmp_path, monkeypatch, encoding
):
    monkeypatch.setattr(lines, "READ", 10)
    monkeypatch.setattr(lines, "BLOCK", 20)
    (tmp_path / "x").write_text("\ufeff\ufeffone\n" + "\ufefftwo\n" * 20, encoding="utf-8")
    typed = ("--tokenizer", "words", "--documents", "lines", "--encoding", encoding)
    _, folder, _ = prepare(tmp_path / "x", *typed)
    found = [document[0] for document in words(folder)]
    assert found == ["\ufeffone", *["\ufefftwo"] * 20]


def test_addresses_of_this_machine_are_read_where_they_are(prepare, tmp_path):
    """So that what has changed is never taken from a copy."""
    texts = tmp_path / "my texts"
    texts.mkdir()
    (texts / ".hidden").write_text("zero")
    for name in ("one", "two"):
        (texts / "a.txt").write_text(name)
        for named in (texts / "a.txt", texts):
            dest = f"{name} {named.name}"
            typed = (named.as_uri(), "--tokenizer", "words", "--cache", tmp_path / "cache")
            _, folder, _ = prepare(*typed, dest=dest)
            assert words(folder) == [[name, "</s>"]]
    assert not (tmp_path / "cache").exists()


def test_empty_files_of_a_folder_are_left_out(prepare, tmp_path):
    texts = tmp_path / "texts"
    texts.mkdir()
    for name, text in (("a", ""), ("b", "one"), ("c", "\n\n")):
        (texts / name).write_text(text)
    status, folder, _ = prepare(texts, "--tokenizer", "words")
    assert status == 0 and words(folder) == [["one", "</s>"]]
    (texts / "b").unlink()
    status, _, said = prepare(texts, "--tokenizer", "words", dest="none")
    assert status == 1 and "no document is left to train on" in said


def test_separators_are_tokens_of_their_own(prepare, tmp_path):
    """Unless the standard encoding of the vocabulary is asked for."""
    files = tmp_path / "vocabulary"
    files.mkdir()
    text = 'He said "no."\n\n\nShe...\n\n'
    made = small_bpe.make(files, [text * 99], 300)
    made.save(str(files / "tokenizer.json"))
    (tmp_path / "x").write_text(text + "end.\n")
    gpt2 = ("--tokenizer", "gpt2", "--gpt2-encoder-json", files / "encoder.json")
    json = ("--tokenizer", "json", "--tokenizer-json", files / "tokenizer.json")
    for name, typed in (("gpt2", gpt2), ("json", json)):
        _, folder, _ = prepare(tmp_path / "x", *typed, dest=name)
        (document,) = words(folder)
        dots_and_newlines = [document.count(s) for s in manifest(folder)["separators"]]
        assert dots_and_newlines == [5, 5]  # the last newline of a file is none of its text
        assert manifest(folder)["tokenizer"]["isolate_separators"] is True
        whole = (*typed, "--no-isolate-separators")
        _, folder, _ = prepare(tmp_path / "x", *whole, dest=f"{name}-standard")
        assert len(words(folder)[0]) < len(document)
        assert manifest(folder)["tokenizer"]["isolate_separators"] is False


@pytest.mark.parametrize("kind", ["bytes", "words", "moses"])
def test_long_texts_are_as_short_ones(prepare, tmp_path, monkeypatch, kind):
    """However few bytes are in memory at a time."""
    text = "".join(f"Line {n}, of 3.5 words.\n" * (n % 3) + " \n" * (n % 2) for n in range(99))
    (tmp_path / "x").write_text(text)
    _, folder, _ = prepare(tmp_path / "x", "--tokenizer", kind)
    monkeypatch.setattr(base, "PART", 50)
    monkeypatch.setattr(batch, "PIECE", 7)
    monkeypatch.setattr(vocabulary, "PIECE", 70)
    _, other, _ = prepare(tmp_path / "x", "--tokenizer", kind, dest="other")
    names = ["dict.txt", "train.bin", "train.idx"]
    assert all((folder / n).read_bytes() == (other / n).read_bytes() for n in names)
    assert manifest(folder)["splits"] == manifest(other)["splits"]
    assert manifest(other)["splits"]["train"]["words"] == len(text.split())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bytes", "words"])
def test_the_longest_document_needs_less_than_a_gigabyte(tmp_path, kind):
    text = "Some words of a story, \U0001f642 and more.\n" * (lines.LONGEST // 42)
    (tmp_path / "x").write_text(text, encoding="utf-8")
    typed = ["x", "--tokenizer", kind, "--dest", "bin", "--workers", "2"]
    done = processes.run(["-m", "nopos_plugin.cli.prepare_text", *typed], tmp_path)
    assert done.exit_status == 0, done.last_lines
    assert done.peak_bytes < 10**9
    (tmp_path / "x").write_text(2 * text, encoding="utf-8")
    done = processes.run(["-m", "nopos_plugin.cli.prepare_text", *typed[:-3], "two"], tmp_path)
    assert done.exit_status == 1 and "cut it in several" in done.last_lines[-1]


def test_words_are_what_any_white_space_parts():
    texts = ["", "a", " a  b ", "a\x1cb\x85c\u2028d\u3000e", "é\u00a0f\n", "a b" * 999]
    assert [batch.words(text) for text in texts] == [len(text.split()) for text in texts]
