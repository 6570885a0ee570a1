"""Tokenizers of data preparation, on vocabularies that are made here."""

import argparse
import json
import pickle
import random
import re
import runpy
from collections import Counter
from pathlib import Path

import pytest
import small_bpe
import tokenizers
from command import run
from fairseq.data import Dictionary
from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode, get_encoder
from fairseq.tasks import FairseqTask
from fairseq.tokenizer import tokenize_line
from sacremoses import MosesTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from nopos_plugin.prepare import dictionary
from nopos_plugin.prepare.tokenizers import add_options, base, build, names
from nopos_plugin.prepare.tokenizers.base import SPECIAL
from nopos_plugin.prepare.tokenizers.tokenizer_json import piece_of, symbol_of

ROOT = Path(__file__).parents[1]
SPECIMEN = (
    "It's 3.5 km. \n\nНовый мир. 中文，日本語。 naïve café... 'll 've\t\u00a0end \U0001f642. "
)
TEXTS = [
    "",
    " ",
    "\n",
    "\n\n\n",
    ".",
    "...",
    ". \n. \n",
    "a.b\n.c .\n d",
    "  two  spaces   three \n  x  .  y  ",
    "no newline at the end.",
    "\r\n\r\n\x00\x1f\x85\u2028\u3000\ufeff",
    SPECIMEN,
    "<|endoftext|> <s> </s> <pad> <unk> <0a> <0x0A> \\x0a",
    "Ċ Ġ ▁ is text, ▁Ċ.Ċ",
]
BROKEN = "lone \ud800, pair \ud83d\ude42, low \udc00."
MENDED = "lone \ufffd, pair \U0001f642, low \ufffd."


def random_text(draw, length):
    kinds = [
        lambda: draw.choice(" \n\t.,'\u00a0\r"),
        lambda: draw.choice("etaoinsrhl 0123456789"),
        lambda: draw.choice(SPECIMEN),
        lambda: chr(draw.choice([*range(0xD800), *range(0xE000, 0x11000)])),
        lambda: draw.choice(["...", "\n\n", " the", "'s", " .", ".\n", "  ", "   \n"]),
    ]
    return "".join(draw.choice(kinds)() for _ in range(length))


DRAW = random.Random(0)
RANDOM = [random_text(DRAW, DRAW.randint(1, 200)) for _ in range(150)]
WHOLE = [*((text, text) for text in [*TEXTS, *RANDOM]), (BROKEN, MENDED)]


def symbols_of(tokenizer, text):
    """The symbols that `text` becomes."""
    (indices,) = tokenizer.encode([text])
    assert indices.dtype.kind in "iu"
    return [[*SPECIAL, *tokenizer.symbols][i] for i in indices]


def words_of(tokenizer, text):
    """The words of a text, by a tokenizer without a vocabulary."""
    return [word for part in tokenizer.split(text) for word in part]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small byte-level BPE as GPT-2's three files, and as a tokenizer.json."""
    folder = tmp_path_factory.mktemp("vocabularies")
    texts = [Path(__file__).read_text("utf-8"), *RANDOM, "\n\n .\n" * 99]
    made = small_bpe.make(folder, texts, 800)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>"])
    made.enable_truncation(5)
    made.enable_padding(length=100)
    made.save(str(folder / "bytes.json"))
    return folder


@pytest.fixture(scope="module")
def reference(folder):
    """fairseq's own encoder of the same files."""
    return get_encoder(folder / "encoder.json", folder / "vocab.bpe")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A tokenizer.json of LLaMA's make, with two holes, and pieces that dict.txt cannot hold."""
    path = tmp_path_factory.mktemp("llama") / "tokenizer.json"
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["madeupword0000", "▁", "▁a", "a", "b", "▁b", ".", "▁.", "..", "...", ".\r", ".."]
    pieces += ["\r", "\u3000", "▁\u3000", " ", "\\", "\\x0", "x", "0", "x0", "\\x0a", ".a"]
    vocabulary = {piece: i + (i > 3) + (i > 290) for i, piece in enumerate(dict.fromkeys(pieces))}
    merges = [("▁", "a"), ("▁", "b"), (".", "\r"), (".", "."), ("..", "."), ("▁", ".")]
    merges += [("▁", "\u3000"), ("x", "0"), ("\\", "x0"), ("\\x0", "a"), (".", "a")]
    made = tokenizers.Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    prepend, replace = normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")
    made.normalizer = normalizers.Sequence([prepend, replace])
    made.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    made.save(str(path))
    return path


def gpt2(folder, **options):
    return build("gpt2", gpt2_encoder_json=str(folder / "encoder.json"), **options)


def every(folder, llama):
    """Every tokenizer, and both ways of those that can isolate."""
    for isolate in (False, True):
        yield gpt2(folder, isolate_separators=isolate)
        yield build("json", tokenizer_json=folder / "bytes.json", isolate_separators=isolate)
        yield build("json", tokenizer_json=str(llama), isolate_separators=isolate)
        yield build("words", isolate_separators=isolate)
    yield build("bytes")
    yield build("moses", moses_language="de")
    yield build("pieces")
    yield build("characters")


def answers(tokenizer):
    """What a tokenizer makes of the texts, as plain lists."""
    if tokenizer.symbols is None:
        return [words_of(tokenizer, text) for text in [*TEXTS, BROKEN]]
    return [made.tolist() for made in tokenizer.encode([*TEXTS, BROKEN])]


# GPT-2's BPE


def test_gpt2_gives_what_fairseqs_encoder_gives(folder, reference):
    tokenizer = gpt2(folder)
    for text in [*TEXTS, *RANDOM]:
        assert symbols_of(tokenizer, text) == [str(i) for i in reference.encode(text)], repr(text)


def test_gpt2_has_fairseqs_dictionary(folder, tmp_path):
    tokenizer = gpt2(folder)
    dictionary.of_symbols(tokenizer.symbols, tokenizer.counts).save(str(tmp_path / "dict.txt"))
    assert (tmp_path / "dict.txt").read_bytes() == (folder / "dict.txt").read_bytes()


def test_gpt2_decoded_is_the_text(folder, reference):
    tokenizer = gpt2(folder)
    for text, whole in WHOLE:
        assert reference.decode([int(s) for s in symbols_of(tokenizer, text)]) == whole


def test_gpt2_isolated_is_the_text_cut_at_separators(folder, reference):
    tokenizer = gpt2(folder, isolate_separators=True)
    stop, newline = (str(reference.encoder[c]) for c in (".", bytes_to_unicode()[ord("\n")]))
    assert tokenizer.separators == (stop, newline)
    plain, merged = gpt2(folder), 0
    for text in [*TEXTS, *RANDOM]:
        parts = re.split(r"([.\n])", text)
        expected = [str(i) for part in parts for i in reference.encode(part)]
        assert symbols_of(tokenizer, text) == expected, repr(text)
        assert expected.count(stop) == text.count(".")
        assert expected.count(newline) == text.count("\n")
        merged += symbols_of(plain, text) != expected
    assert merged > 50


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("around", ["{}x", "a{}.b", "a{}", "a {}\n{}  b{}\n", "{}\u00a0c"])
@pytest.mark.parametrize("blank", [" ", "\t  \n"])
def test_gpt2_cuts_long_blanks_where_its_pattern_does(folder, reference, isolate, around, blank):
    text = around.replace("{}", blank * (70_000 // len(blank)))
    parts = re.split(r"([.\n])", text) if isolate else [text]
    tokenizer = gpt2(folder, isolate_separators=isolate)
    expected = [str(i) for part in parts for i in reference.encode(part)]
    assert symbols_of(tokenizer, text) == expected


@pytest.mark.parametrize("isolate, behind", [(False, "b"), (True, "\n b")])
def test_gpt2_takes_a_million_blanks(folder, reference, isolate, behind):
    text = "a" + " " * 1_050_000 + behind
    tokenizer = gpt2(folder, isolate_separators=isolate)
    assert reference.decode([int(s) for s in symbols_of(tokenizer, text)]) == text


def test_gpt2_names_what_is_missing(folder, tmp_path, caplog):
    def sentence(**options):
        with pytest.raises(ValueError) as caught:
            build("gpt2", **options)
        return str(caught.value)

    assert "--tokenizer gpt2 needs --gpt2-encoder-json" in sentence()
    for name in ("encoder.json", "vocab.bpe", "dict.txt"):
        path = tmp_path / "encoder.json"
        said = sentence(gpt2_encoder_json=str(path))
        assert f"{tmp_path / name}: no such file; get https://dl.fbaipublicfiles.com" in said
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    caplog.clear()
    build("gpt2", gpt2_encoder_json=str(path))
    assert "encoder.json is not the encoder.json that GPT-2 was published with" in caplog.text
    (tmp_path / "dict.txt").write_text("1 1\n2 1\n")
    assert "dict.txt: has no symbol" in sentence(gpt2_encoder_json=str(path))
    assert build("gpt2", gpt2_encoder_json=path, gpt2_dict=folder / "dict.txt").symbols
    path.write_text('{"a": 1}')
    assert "do not go together" in sentence(gpt2_encoder_json=str(path))


# tokenizer.json


def test_json_byte_level_gives_what_gpt2_gives(folder, reference):
    tokenizer, same = build("json", tokenizer_json=folder / "bytes.json"), gpt2(folder)
    isolated = build("json", tokenizer_json=folder / "bytes.json", isolate_separators=True)
    assert tokenizer.separators == isolated.separators == (".", "Ċ")
    for text in [*TEXTS, *RANDOM, BROKEN]:
        ids = [int(s) for s in symbols_of(same, text)]
        assert symbols_of(tokenizer, text) == [reference.decoder[i] for i in ids]
        made = symbols_of(isolated, text)
        assert [made.count("."), made.count("Ċ")] == [text.count("."), text.count("\n")]
        pieces = "".join(made)
        assert pieces == "".join(symbols_of(tokenizer, text))
        assert all(len(piece) == 1 for piece in made if {".", "Ċ"} & set(piece))


def test_json_llama_has_fairseqs_four_and_keeps_the_order_of_ids(llama):
    tokenizer = build("json", tokenizer_json=llama)
    assert not set(SPECIAL) & set(tokenizer.symbols)
    # The hole in id 4 is no madeupword0000, which is a piece here.
    assert tokenizer.symbols[:3] == ["<0x00>", "madeupword0001", "<0x01>"]
    vocabulary = json.loads(llama.read_text("utf-8"))["model"]["vocab"]
    ids = {piece: i for piece, i in vocabulary.items() if piece not in SPECIAL}
    for piece, i in ids.items():
        assert tokenizer.symbols[i - 3] == symbol_of(piece)
    assert tokenizer.separators == (".", "▁.", "<0x0A>")


def test_json_llama_encodes_text_alone(llama):
    tokenizer = build("json", tokenizer_json=llama)
    assert symbols_of(tokenizer, "a b. .\n...\n") == [
        *("▁a", "▁b", ".", "▁.", "<0x0A>", "...", "<0x0A>")
    ]
    assert symbols_of(tokenizer, "") == []
    bytes_of = [f"<0x{byte:02X}>" for byte in b"</s>"]
    assert symbols_of(tokenizer, "a</s>") == ["▁a", *bytes_of]
    assert symbols_of(tokenizer, "\u3000 .\r\\x0a") == [
        *(r"▁\u3000", "▁", r".\x0d", r"\x5cx0a")  # ▁ . merge after . \r
    ]


def test_json_llama_isolated(llama):
    tokenizer = build("json", tokenizer_json=llama, isolate_separators=True)
    assert symbols_of(tokenizer, "a b. .\n...a\n\n") == [
        *("▁a", "▁b", ".", "▁", ".", "<0x0A>", ".", ".", ".", "a", "<0x0A>", "<0x0A>")
    ]


def test_json_isolates_behind_metaspace_and_from_added_pieces(tmp_path):
    path = tmp_path / "metaspace.json"
    pieces = ["▁", "a", ".", "▁a", "\n", "\n\n", "a."]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    made = tokenizers.Tokenizer(models.BPE(vocabulary, [("▁", "a"), ("a", "."), ("\n", "\n")]))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    made.add_tokens(["\n\n"])
    made.save(str(path))
    newline, twice = r"\x0a", r"\x0a\x0a"
    plain = build("json", tokenizer_json=path)
    assert plain.separators == (".", newline)
    assert symbols_of(plain, "a a.\n\na.") == ["▁a", "▁a", ".", twice, "▁a", "."]
    isolated = build("json", tokenizer_json=path, isolate_separators=True)
    assert isolated.symbols == plain.symbols
    assert symbols_of(isolated, "a a.\n\na.") == [*("▁a", "▁a", ".", newline, newline, "a", ".")]


def test_json_a_control_symbol_in_a_text_never_is_one(tmp_path):
    path = tmp_path / "unigram.json"
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("a", -1.0)]
    made = tokenizers.Tokenizer(models.Unigram(pieces, 0, False))
    made.add_special_tokens(["<s>", "</s>", "<unk>"])
    made.save(str(path))
    assert symbols_of(build("json", tokenizer_json=path), "a</s>a") == ["a", "<unk>", "a"]


def test_json_has_one_encoding_of_a_text(tmp_path):
    path = tmp_path / "dropout.json"
    vocabulary = {piece: i for i, piece in enumerate(["a", "b", "ab"])}
    tokenizers.Tokenizer(models.BPE(vocabulary, [("a", "b")], dropout=0.9)).save(str(path))
    assert symbols_of(build("json", tokenizer_json=path), "ab" * 50) == ["ab"] * 50


def test_json_names_the_file(tmp_path):
    with pytest.raises(ValueError, match="--tokenizer-json .*none.json: no such file"):
        build("json", tokenizer_json=tmp_path / "none.json")
    with pytest.raises(ValueError, match="name the tokenizer.json"):
        build("json")
    (tmp_path / "empty.json").write_text("{}")
    with pytest.raises(ValueError, match="--tokenizer-json .*empty.json: "):
        build("json", tokenizer_json=tmp_path / "empty.json")


def test_symbols_are_escaped_and_back():
    draw = random.Random(3)
    for _ in range(2000):
        piece = "".join(draw.choices("\\xu05ca \n\r\t\u00a0\u3000▁", k=draw.randint(1, 9)))
        symbol = symbol_of(piece)
        assert piece_of(symbol) == piece
        assert tokenize_line(symbol) == [symbol]


# Bytes and words


def test_bytes_there_and_back():
    tokenizer = build("bytes")
    for text, whole in WHOLE:
        (indices,) = tokenizer.encode([text])
        assert bytes((indices - 4).tolist()).decode() == whole
    assert symbols_of(tokenizer, "a .\né") == ["a", "<20>", ".", "<0a>", "<c3>", "<a9>"]
    assert tokenizer.separators == ("<0a>", ".")


def test_bytes_are_spelled_as_in_the_quickstart():
    spelled = runpy.run_path(str(ROOT / "examples/quickstart/spell.py"))["SYMBOLS"]
    assert build("bytes").symbols == spelled


def test_words_are_those_of_fairseq_preprocess_and_newlines():
    tokenizer = build("words")
    for text in [*TEXTS, *RANDOM]:
        if "<" in text:
            continue
        lines = [tokenize_line(line) for line in text.split("\n")]
        expected = [word for line in lines for word in [*line, "<0a>"]][:-1]
        assert words_of(tokenizer, text) == expected
    assert words_of(tokenizer, "a. <s> </s> <pad> <unk>") == [
        *("a.", r"\x3cs>", r"\x3c/s>", r"\x3cpad>", "<unk>")
    ]
    assert words_of(build("words", isolate_separators=True), "a.b...\n") == [
        *("a", ".", "b", ".", ".", ".", "<0a>")
    ]


def test_moses_cuts_as_wikitext_has_it():
    tokenizer = build("moses")
    text = (
        "Sega's 3.5-inch \"disk\" (1,000,000 km) cost $2,500.50, or T4.5, 12.2M; it didn't end.\n\n"
        "The U.S. well-known Dr. Smith went on... He ended here. Then, in 1914–18, </s>"
    )
    assert " ".join(words_of(tokenizer, text)) == (
        'Sega \'s 3 @.@ 5 @-@ inch " disk " ( 1 @,@ 000 @,@ 000 km ) cost $ 2 @,@ 500 @.@ 50 '
        ", or T4.5 , 12.2M ; it didn 't end . <0a> <0a> The U.S. well @-@ known Dr. Smith went "
        "on ... He ended here . Then , in 1914 – 18 , < / s >"
    )
    assert words_of(tokenizer, "") == []
    assert words_of(tokenizer, "\n\n") == ["<0a>", "<0a>"]
    assert words_of(build("moses", moses_language="fr"), "l'eau") == ["l'", "eau"]
    with pytest.raises(ValueError, match="--moses-language klingon: unknown; known are as, bn"):
        build("moses", moses_language="klingon")


@pytest.mark.parametrize("language", ["en", "de", "zh"])
def test_moses_is_sacremoses_but_for_numbers(language):
    ours, theirs = build("moses", moses_language=language), MosesTokenizer(language)
    texts = [
        "x.y.z. It",
        "(3.x). It",
        "1.2. a",
        "No. 3 No. x",
        "z. B. das",
        "ü.Ü. Ü",
        "中.文. 中文",
    ]
    for text in [*texts, SPECIMEN, *RANDOM]:
        expected = [
            [
                re.sub(r"[.,]", r" @\g<0>@ ", word)
                if re.fullmatch(r"[0-9]+([.,][0-9]+)*", word)
                else word
                for word in theirs.tokenize(line, aggressive_dash_splits=True, escape=False)
            ]
            for line in text.split("\n")
        ]
        assert " ".join(words_of(ours, text)) == " ".join(
            " <0a> ".join(map(" ".join, expected)).split()
        )


# All of them


def test_long_texts_are_cut_where_tokens_end(folder, llama, tmp_path, monkeypatch):
    metaspace = tokenizers.Tokenizer.from_file(str(llama))
    metaspace.normalizer = normalizers.Replace("\n", " ")
    metaspace.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    metaspace.save(str(tmp_path / "metaspace.json"))
    long = ["a b.\nThree 's ...\n\n \nfour\n  Mr. X.\nY. a . b\n", " x " + SPECIMEN * 3]
    for tokenizer in [
        *every(folder, llama),
        build("json", tokenizer_json=tmp_path / "metaspace.json"),
        build("words"),
    ]:
        texts = [*TEXTS, *RANDOM, *long, BROKEN]
        whole = [made_of(tokenizer, text) for text in texts]
        with monkeypatch.context() as patch:
            patch.setattr(base, "PART", 2)
            assert len(list(base.parts(long[0]))) > 5
            for text, expected in zip(texts, whole, strict=True):
                assert made_of(tokenizer, text) == expected, (tokenizer, text)


def test_a_text_without_white_space_is_cut_in_the_end(llama, monkeypatch):
    tokenizer, text = build("json", tokenizer_json=llama), "ab" * 100
    whole = symbols_of(tokenizer, text)
    monkeypatch.setattr(base, "PART", 5)
    monkeypatch.setattr(base, "MOST", 20)
    assert [len(part) for part in base.parts(text, most=20)] == [20] * 10
    assert list(base.parts(text)) == [text]
    assert "".join(symbols_of(tokenizer, text)) == "".join(whole)


def made_of(tokenizer, text):
    return (symbols_of if tokenizer.symbols else words_of)(tokenizer, text)


def test_symbols_survive_fairseqs_dictionary(folder, llama, tmp_path):
    for tokenizer in every(folder, llama):
        if tokenizer.symbols is None:
            texts = [*TEXTS, *RANDOM, BROKEN]
            made = dictionary.of_words(
                Counter(w for text in texts for w in words_of(tokenizer, text))
            )
        else:
            made = dictionary.of_symbols(tokenizer.symbols, tokenizer.counts)
            assert made.symbols == [*SPECIAL, *tokenizer.symbols]
        made.save(str(tmp_path / "dict.txt"))
        loaded = Dictionary.load(str(tmp_path / "dict.txt"))
        assert loaded.symbols == made.symbols and loaded.indices == made.indices
        assert set(tokenizer.separators) <= set(loaded.symbols)
        assert len(tokenizer.separators) >= 2
        assert tokenize_line(" ".join(made.symbols)) == made.symbols


def test_pickled_they_are_their_options(folder, llama):
    for tokenizer in every(folder, llama):
        packed = pickle.dumps(tokenizer)
        assert len(packed) < 1000
        again = pickle.loads(packed)
        assert answers(again) == answers(tokenizer)
        assert again.described() == tokenizer.described()


WORKERS = """
import multiprocessing, pickle, sys
from concurrent.futures import ProcessPoolExecutor
sys.path.insert(0, sys.argv[1])
from test_prepare_tokenizers import answers
made = pickle.load(open(sys.argv[2], "rb"))
for method in ("fork", "spawn"):
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        assert list(pool.map(answers, made)) == [answers(tokenizer) for tokenizer in made]
"""


def test_workers_give_the_same(folder, llama, tmp_path):
    packed = tmp_path / "made"
    packed.write_bytes(pickle.dumps(list(every(folder, llama))))
    status, said = run("-c", WORKERS, Path(__file__).parent, packed)
    assert status == 0, said


def test_described(folder):
    tokenizer = gpt2(folder, isolate_separators=True)
    described = tokenizer.described()
    assert json.loads(json.dumps(described)) == described
    assert described["name"] == "gpt2" and described["isolate_separators"] is True
    assert re.fullmatch(r"tiktoken \d+\.\d+.*", described["library"])
    files = {file["name"]: file["bytes"] for file in described["files"]}
    assert files == {
        name: (folder / name).stat().st_size for name in ("encoder.json", "vocab.bpe", "dict.txt")
    }
    assert build("moses").described()["moses_language"] == "en"


def test_options_of_the_command_line(folder):
    parser = argparse.ArgumentParser()
    add_options(parser)
    path = str(folder / "encoder.json")
    given = vars(parser.parse_args(["--tokenizer", "gpt2", "--gpt2-encoder-json", path]))
    assert build(given.pop("tokenizer"), **given).symbols
    given = vars(parser.parse_args(["--tokenizer", "bytes"]))
    assert build(given.pop("tokenizer"), **given).symbols
    with pytest.raises(
        ValueError, match="--tokenizer x: unknown tokenizer; known are bytes, characters, gpt2"
    ):
        build("x")
    with pytest.raises(ValueError, match="--isolate-separators: not for --tokenizer bytes, .*none"):
        build("bytes", isolate_separators=True)
    with pytest.raises(ValueError, match="--gpt2-dict d: not for --tokenizer words"):
        build("words", gpt2_dict="d")
    assert names() == ["bytes", "characters", "gpt2", "json", "moses", "pieces", "words"]


# Dictionaries


@pytest.mark.parametrize("limits", [{}, {"threshold": 8}, {"nwords": 20}, {"nwords": 9999}])
def test_counted_words_are_in_the_order_of_fairseq_preprocess(tmp_path, limits):
    draw = random.Random(4)
    words = [draw.choice("abcdefgh") * draw.randint(1, 6) for _ in range(400)] + ["<unk>"]
    counts = {word: words.count(word) for word in words}
    (tmp_path / "text").write_text("\n".join(words) + "\n")
    theirs = FairseqTask.build_dictionary(
        [str(tmp_path / "text")], workers=1, padding_factor=8, **limits
    )
    ours = dictionary.of_words(counts, **limits)
    assert ours.symbols == theirs.symbols
    assert ours.count[4:] == theirs.count[4:]


def test_a_symbol_twice_is_refused():
    assert dictionary.of_symbols(["a", "b"], [5, 6]).count[4:] == [5, 6]
    with pytest.raises(ValueError, match="'a' would be twice"):
        dictionary.of_symbols(["a", "b", "a"])
    with pytest.raises(ValueError, match="'</s>' would be twice"):
        dictionary.of_symbols(["</s>"])


# back to text


def test_text_comes_back_from_byte_level_symbols(folder):
    for isolate in (False, True):
        both = gpt2(folder, isolate_separators=isolate), build("bytes")
        json_file = folder / "bytes.json"
        for tokenizer in (*both, build("json", tokenizer_json=json_file)):
            for text, whole in WHOLE:
                said = symbols_of(tokenizer, text)
                assert tokenizer.decode(said) == whole
                assert tokenizer.decode([*said, "none of its own"]) == whole


@pytest.mark.parametrize(
    "text, pieces",
    [
        ("Compute 5 3 + 12?", "Compute ▁5 ▁3 ▁+ ▁1 2 ?"),
        ("a[SEP] b [SEP] c [NEXT]d", "a [SEP] ▁b ▁[SEP] ▁c ▁[NEXT] d"),
        ("[SEP [ SEP] []", "[ SEP ▁[ ▁SEP ] ▁[ ]"),
        ("in  6,  out   . Thus,", "in ▁ ▁6 , ▁ ▁out ▁ ▁ ▁. ▁Thus ,"),
        ("remove_first w6052 A1 7a ** _", "remove_first ▁w6052 ▁A1 ▁7 a ▁* * ▁_"),
        ("1's = -1.", "1 ' s ▁= ▁- 1 ."),
        ("a \t\n▁é <0a>", "a ▁<09> <0a> <2581> é ▁< 0 a >"),
        (" ", "▁"),
        ("", ""),
    ],
)
def test_pieces(text, pieces):
    tokenizer = build("pieces")
    assert words_of(tokenizer, text) == pieces.split()
    assert tokenizer.decode(pieces.split()) == text


@pytest.mark.parametrize("name", ["pieces", "characters"])
def test_any_text_comes_back_from_pieces(name):
    tokenizer, draw = build(name), random.Random(1)
    known = [*map(chr, range(1, 127)), *"▁é\u00a0\u2028\U0001f600", " ", "[SEP]", "<0a>"]
    for _ in range(300):
        text = "".join(draw.choice(known) for _ in range(60))
        symbols = words_of(tokenizer, text)
        assert tokenizer.decode(symbols) == text
        assert not any(symbol != "".join(symbol.split()) for symbol in symbols)


def test_llamas_symbols_come_back_joined(llama):
    made = tokenizers.Tokenizer.from_file(str(llama))
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    made.save(str(llama.with_name("decoded.json")))
    tokenizer = build("json", tokenizer_json=llama.with_name("decoded.json"))
    assert tokenizer.decode(symbols_of(tokenizer, "a\nb 12\u3000.")) == " a\nb 12\u3000."


def test_words_come_back_between_blanks():
    tokenizer = build("words")
    text = "a  b\n\n c </s> <unk>\nd"
    assert tokenizer.decode(words_of(tokenizer, text)) == "a b\n\nc </s> <unk>\nd"
    tokenizer = build("moses")
    assert tokenizer.decode(words_of(tokenizer, "It's so.\nYes")) == "It 's so .\nYes"
