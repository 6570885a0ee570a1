"""nopos-import of Hugging Face folders: their tokenizers and vocabularies."""

import json

import pytest
import sentencepiece
import tiny
import tokenizers
import torch
from hugging_face import (
    PIECES,
    ROWS,
    TEXT,
    TOLERANCE,
    assert_same,
    byte_level,
    configured,
    draw,
    model_of,
    their_logits,
    words,
)
from importing import imported, refusal
from tokenizers import models, pre_tokenizers
from transformers import AutoModelForCausalLM

from nopos_plugin.prepare.tokenizers.tokenizer_json import TokenizerJson

HARD = [
    "",
    " lead",
    "caaaaaat  mat\n\n\tThe",
    "<|endoftext|> </s> <unk>",
    "caf\u00e9 \u732b \x00",
    TEXT,
]


def assert_encodes(ours, encode, texts=HARD):
    """By the tokenizer.json that was written, texts are the ids that `encode` gives, mapped."""
    written = TokenizerJson(ours.folder / "tokenizer.json")
    assert written.symbols == ours.dictionary.symbols[4:]
    for text, indices in zip(texts, written.encode(texts), strict=True):
        assert indices.tolist() == [ours.rows[i] for i in encode(text)]


def test_pieces_are_rows_by_name(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    made = byte_level(("<|endoftext|>", "<pad>"))
    made.add_tokens(["[X]"])
    made.save(str(folder / "tokenizer.json"))
    theirs = model_of(folder, 325, bos_token_id=0, eos_token_id=[0, 1])
    ours = imported(folder, tmp_path)
    assert_same(ours, theirs, (20,), rows=325)
    names = [ours.dictionary.symbols[row] for row in ours.rows]
    assert names[0] == "</s>" and names[1] == "<pad>" and names[320] == "[X]"
    assert names[321:] == [f"madeupword000{n}" for n in range(4)]
    absent = ours.flags[ours.flags.index("--absent-symbols") + 1]
    assert absent == "<s>|<unk>"
    made.encode_special_tokens = True
    assert_encodes(ours, lambda text: made.encode(text).ids)
    with torch.no_grad():
        probabilities = ours.model(ours.tokens(draw(325, 2, 9)))[0].softmax(-1)
    assert probabilities[..., [0, 3]].eq(0).all()


def test_pieces_of_a_unigram_model(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    made = tokenizers.Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "<end>", "<unk>"]
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=80, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator([TEXT], trainer)
    made.save(str(folder / "tokenizer.json"))
    rows = made.get_vocab_size() + 2
    theirs = model_of(folder, rows, bos_token_id=None, eos_token_id=1, pad_token_id=0)
    ours = imported(folder, tmp_path)
    ids = 1 + draw(rows - 1, 2, 20)
    tiny.assert_close(ours.logits(ids), their_logits(theirs, ids), TOLERANCE)
    assert ours.rows[:3] == [1, 2, 3]
    texts = [text for text in HARD if "</s>" not in text]  # which is the end to such a model
    assert_encodes(ours, lambda text: made.encode(text).ids, texts)
    edited(folder, lambda content: content["model"]["vocab"].append(["<end>", -3.0]))
    assert "--tokenizer: a piece is there twice" in refusal(folder, tmp_path)


def test_holes_in_a_vocabulary(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    pieces = {piece: i for i, piece in enumerate(PIECES) if i not in (3, 20, 21)}
    made = tokenizers.Tokenizer(models.WordLevel(pieces, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.save(str(folder / "tokenizer.json"))
    theirs = model_of(folder, ROWS + 2)
    ours = imported(folder, tmp_path)
    assert_same(ours, theirs, (20,), rows=ROWS + 2)
    names = [ours.dictionary.symbols[row] for row in ours.rows]
    assert names[3] == "madeupword0000" and names[ROWS:] == ["madeupword0003", "madeupword0004"]
    assert [names[i] for i in pieces.values()] == list(pieces)


def test_specials_are_said(plain_llama, tmp_path):
    theirs = AutoModelForCausalLM.from_pretrained(plain_llama).eval()
    words(plain_llama, [f"w{i}" for i in range(ROWS - 1)] + ["<unk>", "[X]", "[Y]"][:1])
    configured(plain_llama, bos_token_id=None, eos_token_id=None)
    assert "tokenizer.json does not say what ends a text: name it by --eos" in refusal(
        plain_llama, tmp_path
    )
    assert "--eos end: " in refusal(plain_llama, tmp_path, "--eos", "end")
    ours = imported(plain_llama, tmp_path, "--eos", "w4", "--bos", "w9", "--pad", "w8")
    assert [ours.rows[i] for i in (9, 8, 4, ROWS - 1)] == [0, 1, 2, 3]
    without = [i for i in range(ROWS) if i != 8]  # a pad in the middle is nothing that occurs
    ids = torch.tensor(without)[draw(len(without), 2, 20)]
    tiny.assert_close(ours.logits(ids), their_logits(theirs, ids), TOLERANCE)


def test_tokens_that_were_added_without_a_row(plain_llama, tmp_path):
    made = words(plain_llama)
    made.add_special_tokens(["[PAD]", "[MASK]"])
    made.save(str(plain_llama / "tokenizer.json"))
    ours = imported(plain_llama, tmp_path)
    assert len(ours.rows) == ROWS and "[PAD]" not in ours.dictionary.indices
    assert_same(ours, AutoModelForCausalLM.from_pretrained(plain_llama).eval(), (20,))


def edited(plain_llama, change):
    content = json.loads((plain_llama / "tokenizer.json").read_text())
    change(content)
    (plain_llama / "tokenizer.json").write_text(json.dumps(content))


def gap(content):
    content["added_tokens"].append({**content["added_tokens"][0], "id": 45, "content": "[X]"})


def twice(content):
    content["model"]["vocab"]["w9"] = 8


def many(content):
    content["model"]["vocab"].update(more=ROWS, yet=ROWS + 1)


@pytest.mark.parametrize(
    "change, flags, said",
    [
        (gap, (), "'[X]' has the id 45 there, which is another's as well, or the library tokeniz"),
        (twice, (), "has the id 8 there, which is another's as well, or the library tokenizers "),
        (many, (), "its pieces go up to 41, and the model has 40 rows: name the model's own"),
        (dict, ("--eos", "w8"), "'w8' would be </s>, which the piece 7 is: name --eos, --bos and"),
        (dict.clear, (), "tokenizer.json: "),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_vocabularies_that_do_not_fit(plain_llama, tmp_path, change, flags, said):
    edited(plain_llama, change)
    assert said in refusal(plain_llama, tmp_path, *flags)


def test_where_a_vocabulary_is(plain_llama, tmp_path):
    (plain_llama / "tokenizer.json").rename(tmp_path / "words.json")
    said = refusal(plain_llama, tmp_path)
    assert "has no tokenizer.json, no tokenizer.model, no vocab.json: name the model's by" in said
    theirs = AutoModelForCausalLM.from_pretrained(plain_llama).eval()
    ours = imported(plain_llama, tmp_path, "--tokenizer", tmp_path / "words.json")
    assert_same(ours, theirs, (20,))


def test_vocabulary_and_merges(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    made = byte_level()
    made.model.save(str(folder))
    theirs = model_of(folder, 320, bos_token_id=0, eos_token_id=0)
    ours = imported(folder, tmp_path)
    assert_same(ours, theirs, (20,), rows=320)
    made.encode_special_tokens = True
    assert_encodes(ours, lambda text: made.encode(text).ids)
    (folder / "merges.txt").unlink()
    assert f"--tokenizer {folder / 'vocab.json'}: " in refusal(folder, tmp_path)


def sentencepiece_model(folder, **options):
    """A model of SentencePiece's in `folder`, by default of LLaMA's kind."""
    folder.mkdir()
    settings = {
        "model_type": "bpe",
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "split_by_unicode_script": False,
        "vocab_size": 320,
        "minloglevel": 2,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*TEXT.split("\n"), *["c</ t</ Ks> Ls> Ms> Ns>"] * 9]),
        model_prefix=str(folder / "tokenizer"),
        **{**settings, **options},
    )
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def test_sentencepiece(tmp_path):
    folder = tmp_path / "source"
    made = sentencepiece_model(folder)
    theirs = model_of(folder, len(made), bos_token_id=1, eos_token_id=2)
    ours = imported(folder, tmp_path)
    assert_same(ours, theirs, (20,), rows=len(made))
    assert [ours.rows[i] for i in (0, 1, 2)] == [3, 0, 2]
    assert_encodes(ours, made.encode)


@pytest.mark.parametrize(
    "options",
    [
        {"model_type": "unigram"},
        {"normalization_rule_name": "nfkc"},
        {"add_dummy_prefix": False},
        {"user_defined_symbols": ["mat.", "<x>"]},
    ],
    ids=str,
)
def test_sentencepiece_of_another_kind_is_refused(tmp_path, options):
    folder = tmp_path / "source"
    made = sentencepiece_model(folder, **options)
    model_of(folder, len(made), bos_token_id=1, eos_token_id=2)
    assert "otherwise than a BPE with LLaMA's spaces" in refusal(folder, tmp_path)
