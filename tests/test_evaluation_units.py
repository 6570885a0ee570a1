"""Words and bytes: counted, or not claimed."""

import json
import math

import pytest

from nopos_plugin.evaluation import units

SYMBOLS = ["<s>", "<pad>", "</s>", "<unk>", "the", "cat", "\u00e4"]


def test_words_and_bytes_of_a_word_level_text():
    text = "the cat\n\n\u00e4 the the\n"
    counts = [0, 0, 3, 0, 3, 1, 1]
    found = units.from_tokens("words", SYMBOLS, counts, lines=2)
    assert found == {"words": 5, "bytes": len(text.encode())}
    counts[3] = 2
    found = units.from_tokens("words", SYMBOLS, counts, lines=2)
    assert found == {"words": 7, "bytes": None}
    found = units.from_tokens("bytes", SYMBOLS, counts, lines=2)
    assert found == {"words": None, "bytes": 10}


def test_a_manifest_knows(tmp_path):
    assert units.from_manifest(tmp_path, "valid", 10) is None
    manifest = {"splits": {"valid": {"tokens": 10, "words": 4, "bytes": 30}, "test": {"words": 1}}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert units.from_manifest(tmp_path, "valid", 10) == {"words": 4, "bytes": 30}
    assert units.from_manifest(tmp_path, "test", 99) == {"words": 1, "bytes": None}
    assert units.from_manifest(tmp_path, "train", 10) is None
    with pytest.raises(ValueError, match="valid has 10 tokens, and it has 11"):
        units.from_manifest(tmp_path, "valid", 11)


def test_per_unit():
    found = units.per_unit(100.0, words=40, bytes=200)
    assert found["perplexity_per_word"] == pytest.approx(math.exp(2.5))
    assert found["bits_per_byte"] == pytest.approx(0.5 / math.log(2))
    found = units.per_unit(100.0, words=None, bytes=None)
    assert found["perplexity_per_word"] is found["bits_per_byte"] is None
