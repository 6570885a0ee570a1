"""Blocks of whole lines, of files that are compressed, in frames, damaged."""

import gzip
import re

import pytest
import zstandard

from nopos_plugin.prepare import lines

TEXT = b"".join(b"line %d " % n + b"x" * (n % 97) + b"\n" for n in range(9000)) + b"the last"


def zst(*parts, sizes=True):
    compressor = zstandard.ZstdCompressor(write_content_size=sizes)
    return b"".join(map(compressor.compress, parts))


WRITTEN = {
    "plain.jsonl": TEXT,
    "one.jsonl.gz": gzip.compress(TEXT),
    "two.jsonl.gz": gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:]),
    "one.jsonl.zst": zst(TEXT),
    "unsized.jsonl.zst": zst(TEXT, sizes=False),
    "many.jsonl.zst": zst(TEXT[:10], TEXT[10:70_000], b"", TEXT[70_000:]),
    "skipped.jsonl.zst": b"\x51\x2a\x4d\x18\x03\0\0\0any" + zst(TEXT),
    "padded.jsonl.gz": gzip.compress(TEXT) + bytes(3000),  # which gzip -t accepts
    "CAPITALS.JSONL.ZST": zst(TEXT),
    "named by its query": gzip.compress(TEXT),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_blocks_are_whole_lines_and_all_of_the_file(tmp_path, monkeypatch, name):
    monkeypatch.setattr(lines, "READ", 1013)
    monkeypatch.setattr(lines, "BLOCK", 9_000)
    path, seen = tmp_path / name, []
    path.write_bytes(WRITTEN[name])
    found = list(lines.blocks(path, seen=seen.append))
    assert b"".join(found) == TEXT
    assert len(found) > 3 and all(block.endswith(b"\n") for block in found[:-1])
    assert b"".join(seen) == WRITTEN[name]


def test_a_frame_may_refer_far_back(tmp_path):
    frame = bytearray(zst(TEXT, sizes=False))
    frame[5] = (28 - 10) << 3  # the window: 2 ** 28 bytes
    path = tmp_path / "x.zst"
    path.write_bytes(frame)
    assert b"".join(lines.blocks(path)) == TEXT


@pytest.mark.parametrize("name", ["page.jsonl.gz", "PAGE.ZST"])
def test_a_page_under_the_name_of_what_is_compressed_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"<html>\n")
    with pytest.raises(ValueError, match=f"{name} is damaged .*does not begin as .*: remove it"):
        list(lines.blocks(path))


@pytest.mark.parametrize("read", [1, 2, 7, 1000])
def test_the_mark_of_utf8_goes_at_the_begin_of_a_file_alone(tmp_path, monkeypatch, read):
    monkeypatch.setattr(lines, "READ", read)
    monkeypatch.setattr(lines, "BLOCK", 20)
    mark, path = "\ufeff".encode(), tmp_path / "x"
    text = mark + (mark + b" a line\n") * 9
    path.write_bytes(mark + text)
    assert b"".join(lines.blocks(path)) == text
    for short in (b"", b"a", b"ab"):
        path.write_bytes(short)
        assert b"".join(lines.blocks(path)) == short


def test_a_line_may_be_longer_than_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "READ", 100)
    monkeypatch.setattr(lines, "BLOCK", 1000)
    path = tmp_path / "long"
    path.write_bytes(b"a\n" + b"y" * 50_000 + b"\nb\n")
    assert b"".join(lines.blocks(path)) == path.read_bytes()
    assert max(map(len, lines.blocks(path))) >= 50_000


@pytest.mark.parametrize("name", ["one.jsonl.zst", "many.jsonl.zst", "one.jsonl.gz"])
def test_what_is_cut_short_or_damaged_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(WRITTEN[name][:-5])
    with pytest.raises(ValueError, match=f"{name} is damaged .*it is cut short"):
        list(lines.blocks(path))
    middle = len(WRITTEN[name]) // 2
    path.write_bytes(WRITTEN[name][:middle] + b"\xff\x00\xff" * 9 + WRITTEN[name][middle:])
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        list(lines.blocks(path))


def test_a_document_that_does_not_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "READ", 100)
    monkeypatch.setattr(lines, "BLOCK", 1000)
    monkeypatch.setattr(lines, "LONGEST", 5000)
    path = tmp_path / "long"
    path.write_bytes(b"a\n" + b"y" * 4_000 + b"\nb\n")
    assert b"".join(lines.blocks(path)) == path.read_bytes()
    path.write_bytes(b"a\n" + b"y" * 50_000 + b"\nb\n")
    with pytest.raises(ValueError, match="long: a document has more than 5,000 bytes: cut it"):
        list(lines.blocks(path))
    found = list(lines.blocks(path, too_long=lambda data: b"!"))
    assert re.fullmatch(rb"a\n!y{1,5000}\nb\n", b"".join(found))
