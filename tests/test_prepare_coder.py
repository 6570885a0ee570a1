"""Text to indices and back by the tokenizer that a data-bin's manifest names."""

import json

import pytest
import small_bpe
from fairseq.data import Dictionary

from nopos_plugin.cli.prepare_text import main
from nopos_plugin.prepare.tokenizers import build
from nopos_plugin.prepare.tokenizers.coder import Coder, of_data_bin

TEXT = "one two 12.\nthree one\n"


@pytest.fixture
def made(tmp_path):
    """made(tokenizer, *flags): a data-bin of TEXT."""
    (tmp_path / "text").write_text(TEXT * 50)
    small_bpe.make(tmp_path, [TEXT * 50], 270).save(str(tmp_path / "tokenizer.json"))

    def make(name, *flags):
        dest = tmp_path / f"bin-{name}"
        typed = [tmp_path / "text", "--tokenizer", name, "--dest", dest, "--workers", "1", *flags]
        assert main([str(one) for one in typed]) == 0
        return str(dest)

    return make


def coder(data, **given):
    return Coder(of_data_bin(data, **given), Dictionary.load(f"{data}/dict.txt"))


def test_a_coder_gives_what_is_in_the_data_bin(made, tmp_path):
    files = {
        "bytes": {},
        "words": {},
        "moses": {"moses_language": "de"},
        "json": {"tokenizer_json": str(tmp_path / "tokenizer.json")},
        "gpt2": {"gpt2_encoder_json": str(tmp_path / "encoder.json")},
    }
    for name, options in files.items():
        flags = [x for key, value in options.items() for x in (f"--{key.replace('_', '-')}", value)]
        data = made(name, *flags)
        given = {key: value for key, value in options.items() if key != "moses_language"}
        one = coder(data, **given, isolate_separators=None)
        assert one.tokenizer.described() == json.load(open(f"{data}/manifest.json"))["tokenizer"]
        indices = one.encode(TEXT)
        assert 3 not in indices or name in ("words", "moses")
        assert one.decode([2, *indices, 2]).split() == one.decode(indices).split()
        spelled = one.decode(indices).replace(" ", "")
        assert spelled == TEXT.replace(" ", "")


def test_a_word_that_is_not_in_the_dictionary_is_unknown(made):
    one = coder(made("words"))
    assert one.encode("one four")[1] == 3 and one.decode(one.encode("one four two")) == "one two"


def test_what_does_not_go_together_is_a_sentence(made, tmp_path):
    words = made("words")
    with pytest.raises(ValueError, match="--tokenizer bytes: the dictionary .* is not its own"):
        Coder(build("bytes"), Dictionary.load(f"{words}/dict.txt"))
    path = tmp_path / "tokenizer.json"
    data = made("json", "--tokenizer-json", str(path))
    with pytest.raises(ValueError, match="--isolate-separators: .* was made with True"):
        of_data_bin(data, tokenizer_json=str(path), isolate_separators=False)
    with pytest.raises(ValueError, match="--tokenizer-json .*: not for --tokenizer words"):
        of_data_bin(words, tokenizer_json=str(path))
    (tmp_path / "other").mkdir()
    small_bpe.make(tmp_path / "other", [TEXT], 265).save(str(tmp_path / "other.json"))
    with pytest.raises(ValueError, match="other.json is not the file that"):
        of_data_bin(data, tokenizer_json=str(tmp_path / "other.json"))
    with pytest.raises(ValueError, match="has no manifest.json"):
        of_data_bin(str(tmp_path))
    fields = json.load(open(f"{words}/manifest.json"))
    del fields["tokenizer"]
    json.dump(fields, open(f"{words}/manifest.json", "w"))
    with pytest.raises(ValueError, match="names no tokenizer"):
        of_data_bin(words)


def test_files_that_lie_in_the_data_bin_need_not_be_named(made, tmp_path):
    data = made("json", "--tokenizer-json", str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer.json").unlink()  # the data-bin has a copy
    assert coder(data).decode(coder(data).encode(TEXT)) == TEXT
    (tmp_path / "bin-json" / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match="name the tokenizer.json for --tokenizer json"):
        of_data_bin(data)
