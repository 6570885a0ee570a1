"""WikiText from zip, parquet and folder to data-bin, on small texts that are `published` here."""

import hashlib
import io
import json
import random
import shutil
import subprocess
import zipfile

import pyarrow
import pytest
from command import run
from conftest import VALID_TOKENS
from http_server import serving
from limits import files_end_at
from pyarrow import parquet

from nopos_plugin.cli import data_info
from nopos_plugin.cli.prepare_wikitext import wikitext2
from nopos_plugin.prepare import binarize, disk, download, manifest, wikitext_published
from nopos_plugin.prepare.wikitext_published import RELEASES, SPLITS, Release, Text

ARTICLES = {"train": 12, "valid": 3, "test": 2}
# White space of Unicode parts words, and ends no line. A title is between blank lines.
LINES = (" = no title = \n", " a \u2028 b \u3000 \u0085 . \n", " = none = \n", " = nor this = \n")
PARQUET = {"train": 2, "valid": 1, "test": 1}
VALID = "validation-00000-of-00001.parquet"
OTHERS = {"documents": 1, "tokens": 2, "words": 1, "bytes": 4}


def text(split, seed=0):
    """Of so many articles, in WikiText's form."""
    draw, lines = random.Random(f"{split} {seed}"), []
    for number in range(ARTICLES[split]):
        lines += [" \n", f" = Title {number} = \n", " \n", *LINES, " \n", " = = Part = = \n", " \n"]
        lines += [f" {' '.join(draw.choices('abcdefgh.', k=9))} <unk> , \n" for _ in range(5)]
    return "".join([*lines, " \n"])


def zipped(release, texts, suffix="tokens", **others):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.mkdir(release)
        for split, content in texts.items():
            archive.writestr(f"{release}/wiki.{split}.{suffix}", content)
        for name, content in others.items():
            archive.writestr(name, content)
    return memory.getvalue()


def parquets(texts):
    """{name: file} as the Hugging Face dataset has them: `` for a blank line."""
    files = {}
    for split, content in texts.items():
        rows = ["" if line == " " else line + "\n" for line in content.split("\n")[:-1]]
        called, count = "validation" if split == "valid" else split, PARQUET[split]
        for number in range(count):
            memory, share = io.BytesIO(), len(rows) // count
            part = rows[number * share : (number + 1) * share if number + 1 < count else None]
            parquet.write_table(pyarrow.table({"text": part}), memory, row_group_size=7)
            files[f"{called}-{number:05}-of-{count:05}.parquet"] = memory.getvalue()
    return files


def sha256(content):
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def published(content, types=None):
    lines = content.count("\n")
    return Text(lines, len(content.split()) + lines, types, sha256(content))


@pytest.fixture
def site(monkeypatch):
    """A server of two small releases, which are the published ones from now on."""
    monkeypatch.setattr(download, "PAUSE", 0.0)
    words = {split: text(split) for split in SPLITS}
    raw = {split: text(split).replace("<unk>", "rare") for split in SPLITS}
    files = {}
    for release, texts, suffix in (("wikitext-2", words, "tokens"), ("wikitext-2-raw", raw, "raw")):
        archive, columns = zipped(release, texts, suffix), parquets(texts)
        files[f"/zips/{release}-v1.zip"] = archive
        files.update({f"/hf/{release}-v1/{name}": file for name, file in columns.items()})
        hashes = iter([sha256(file) for file in columns.values()])
        known = {split: tuple(next(hashes) for _ in range(PARQUET[split])) for split in SPLITS}
        types = {"train": None if suffix == "raw" else len(set(texts["train"].split()))}
        counts = {split: published(texts[split], types.get(split)) for split in SPLITS}
        release = monkeypatch.setitem(RELEASES, release, Release(sha256(archive), known, counts))
    with serving(files) as server:
        monkeypatch.setattr(wikitext_published, "ZIPS", f"{server.url}/zips")
        monkeypatch.setattr(wikitext_published, "PARQUETS", f"{server.url}/hf")
        yield server


@pytest.fixture
def at_hand(tmp_path):
    """A folder of the word-level texts."""
    folder = tmp_path / "at hand"
    folder.mkdir()
    for split in SPLITS:
        folder.joinpath(f"{split}.txt").write_bytes(text(split).encode())
    return folder


def requested(site):
    return [path for path, _, _ in site.requests]


def published_as(monkeypatch, **changed):
    monkeypatch.setitem(RELEASES, "wikitext-2", RELEASES["wikitext-2"]._replace(**changed))


def test_zip_parquet_and_folder_give_the_same_data_bin(
    site, at_hand, tmp_path, capsys, monkeypatch
):
    commands, run = [], subprocess.run
    spy = lambda command, **kwargs: commands.append(command) or run(command, **kwargs)  # noqa: E731
    monkeypatch.setattr(binarize.subprocess, "run", spy)
    made = [tmp_path / name for name in ("zip", "parquet", "folder")]
    assert wikitext2(["--dest", str(made[0]), "--workers", "1"]) == 0
    assert requested(site) == ["/zips/wikitext-2-v1.zip"]
    del site.files["/zips/wikitext-2-v1.zip"]
    cache = str(tmp_path / "cache")
    assert wikitext2(["--dest", str(made[1]), "--workers", "2", "--cache", cache]) == 0
    assert wikitext2(["--dest", str(made[2]), "--workers", "3", "--from-dir", str(at_hand)]) == 0
    assert [command[-2:] for command in commands] == [["--workers", number] for number in "123"]
    zipped, columns, folder = (json.loads((one / "manifest.json").read_text()) for one in made)
    assert zipped["files"] == columns["files"] == folder["files"]
    assert zipped["splits"] == columns["splits"] == folder["splits"]
    assert sorted(zipped["files"]) == [
        "dict.txt",
        *(f"{split}.{kind}" for split in ("test", "train", "valid") for kind in ("bin", "idx")),
    ]
    for one in made:
        assert list(manifest.differences(one)) == []
        assert sorted(path.name for path in one.iterdir()) == sorted(
            [*zipped["files"], "manifest.json"]
        )
    content = text("valid")
    assert zipped["splits"]["valid"] == {
        "documents": 3,
        "lines": content.count("\n"),
        "tokens": len(content.split()) + content.count("\n"),
        "words": len(content.split()),
        "bytes": len(content.encode()),
        "sha256": sha256(content),
    }
    assert zipped["made_by"] == "nopos-prepare-wikitext2"
    assert zipped["tokenizer"] == {"name": "words"} and zipped["separators"] == [".", "</s>"]
    assert [one["name"] for one in zipped["sources"]] == ["wikitext-2-v1.zip"]
    assert [one["name"] for one in columns["sources"]] == [
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
        VALID,
        "test-00000-of-00001.parquet",
    ]
    assert folder["sources"][0]["sha256"] == sha256(text("train"))
    assert zipped["sources"][0]["from"] == f"{site.url}/zips/wikitext-2-v1.zip"
    assert columns["sources"][2]["from"] == f"{site.url}/hf/wikitext-2-v1/{VALID}"
    assert folder["sources"][0]["from"] == f"{at_hand}/train.txt"
    # nothing unfinished is left, and what is there is not made again
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"zip", "parquet", "folder", "cache", "at hand", ".downloads"}
    before = len(site.requests)
    capsys.readouterr()
    assert wikitext2(["--dest", str(made[0])]) == 0
    assert wikitext2(["--dest", str(made[0]), "--from-dir", str(at_hand)]) == 0
    assert len(site.requests) == before
    assert capsys.readouterr().out.count("is there already") == 2
    made[0].joinpath("train.bin").write_bytes(b"damaged")
    assert wikitext2(["--dest", str(made[0])]) == 1
    assert "train.bin has 7 bytes" in capsys.readouterr().err


def test_other_texts_than_those_of_the_data_bin_are_refused(
    site, at_hand, tmp_path, capsys, monkeypatch
):
    made = tmp_path / "bin"
    made.mkdir()
    for name in ("train.bin", "train.idx"):
        made.joinpath(name).touch()
    monkeypatch.setattr(manifest, "differences", lambda _: [])
    manifest.write(made, made_by="nopos-prepare-wikitext2", splits={"train": OTHERS})
    assert wikitext2(["--dest", str(made), "--from-dir", str(at_hand)]) == 1
    assert "is made of other texts; remove it, or name another --dest" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["folder", "file", "data-bin of others"])
def test_other_things_are_left_alone(site, tmp_path, capsys, what):
    there = tmp_path / "bin"
    if what == "file":
        there.write_text("mine")
    else:
        there.mkdir()
        there.joinpath("notes.txt").write_text("mine")
    if what == "data-bin of others":
        manifest.write(there, made_by="nopos-prepare-pile", splits={})
    assert wikitext2(["--dest", str(there)]) == 1
    error = capsys.readouterr().err
    assert f"{there} is there, but is not a whole wikitext-2" in error
    assert "Remove it, or name another --dest" in error
    assert site.requests == []


@pytest.mark.parametrize("what", ["lines", "tokens", "types", "sha256"])
def test_other_texts_are_refused(site, tmp_path, capsys, monkeypatch, what):
    texts = RELEASES["wikitext-2"].texts
    found = published(text("valid"), len(set(text("valid").split())))._asdict()[what]
    changed = texts["valid"]._replace(**{what: "1,234" if what == "sha256" else 1234})
    published_as(monkeypatch, texts={**texts, "valid": changed})
    assert wikitext2(["--dest", str(tmp_path / "bin")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    sentence = f"has {what} {found}, expected 1,234, in "
    assert f"nopos-prepare-wikitext2: valid of wikitext-2 {sentence}" in error
    assert "nopos-prepare-text" in error and "wiki.valid.tokens" in error
    assert [path.name for path in tmp_path.iterdir()] == [".downloads"]


def test_exit_status_and_sentence_of_the_command(at_hand, tmp_path):
    """Against what was really published."""
    code, output = run(
        *("-c", "from nopos_plugin.cli import prepare_wikitext as cli; exit(cli.wikitext2())"),
        *("--from-dir", at_hand, "--dest", tmp_path / "bin"),
    )
    assert code == 1
    assert output == (
        "nopos-prepare-wikitext2: train of wikitext-2 has lines 181, expected 36,718, in "
        f"{at_hand}/train.txt: not the published text; a text of your own is for "
        "nopos-prepare-text\n"
    )
    assert not (tmp_path / "bin").exists()


def test_raw(site, tmp_path, capsys):
    made = tmp_path / "raw"
    assert wikitext2(["--raw", "--dest", str(made)]) == 0
    assert f"nopos-prepare-text {made}/wiki.train.raw --valid " in capsys.readouterr().out
    assert {path.name: path.read_bytes().decode() for path in made.iterdir()} == {
        f"wiki.{split}.raw": text(split).replace("<unk>", "rare") for split in SPLITS
    }
    again = tmp_path / "again"
    assert wikitext2(["--raw", "--dest", str(again), "--from-dir", str(made)]) == 0
    assert wikitext2(["--raw", "--dest", str(again)]) == 0
    assert "is there already" in capsys.readouterr().out
    assert requested(site) == ["/zips/wikitext-2-raw-v1.zip"]
    again.joinpath("wiki.test.raw").write_text("other\n")
    assert wikitext2(["--raw", "--dest", str(again)]) == 1
    assert "test of wikitext-2-raw has lines 1" in capsys.readouterr().err


def test_sources_are_tried_in_order(site, tmp_path, capsys):
    mirror = tmp_path / "wikitext-2-raw-v1.zip"
    mirror.write_bytes(b"no zip")
    rows = tmp_path / "rows"
    rows.mkdir()
    for path, file in site.files.items():
        if path.startswith("/hf/wikitext-2-raw-v1/"):
            rows.joinpath(path.rpartition("/")[2]).write_bytes(file)
    sources = ["--source", str(mirror), "--source", f"{site.url}/no.zip", "--source", str(rows)]
    made = tmp_path / "raw"
    assert wikitext2(["--raw", "--dest", str(made), *sources]) == 0
    error = capsys.readouterr().err
    assert f"{mirror}: its sha256 is" in error
    assert f"{site.url}/no.zip: HTTP status 404 Not Found" in error
    assert requested(site) == ["/no.zip"]
    assert made.joinpath("wiki.train.raw").read_bytes().decode() == text("train").replace(
        "<unk>", "rare"
    )


def test_an_address_with_a_query_may_be_of_an_archive(site, tmp_path, capsys):
    site.files["/mine/any.zip?download=true"] = site.files.pop("/zips/wikitext-2-v1.zip")
    url, made = f"{site.url}/mine/any.zip?download=true", tmp_path / "bin"
    assert wikitext2(["--dest", str(made), "--source", url]) == 0
    assert requested(site) == ["/mine/any.zip?download=true"]
    assert [one["from"] for one in manifest.read(made)["sources"]] == [url]
    assert data_info.main([str(made)]) == 0
    assert f"  from {url}, " in capsys.readouterr().out
    # of a copy that serves again it is said where it came from
    again = tmp_path / "again"
    assert wikitext2(["--dest", str(again)]) == 0
    assert [one["from"] for one in manifest.read(again)["sources"]] == [url]


def test_no_source(site, tmp_path, capsys):
    site.files.clear()
    assert wikitext2(["--dest", str(tmp_path / "bin")]) == 1
    error = capsys.readouterr().err
    assert error.endswith(
        "nopos-prepare-wikitext2: no source can be used:\n"
        f"  {site.url}/zips/wikitext-2-v1.zip: HTTP status 404 Not Found\n"
        f"  {site.url}/hf/wikitext-2-v1: HTTP status 404 Not Found\n"
        "Name another with --source, or a folder of files at hand with --from-dir.\n"
    )
    assert not (tmp_path / "bin").exists()


def test_an_archive_of_other_members_is_refused(site, tmp_path, capsys, monkeypatch):
    words = {split: text(split) for split in SPLITS}
    evil = zipped("wikitext-2", words, **{"../evil": "evil"})
    site.files = {"/zips/wikitext-2-v1.zip": evil}
    published_as(monkeypatch, zip=sha256(evil))
    assert wikitext2(["--dest", str(tmp_path / "bin")]) == 1
    assert "holds ['../evil', 'wikitext-2/wiki.test.tokens'" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*evil*")) and not list(tmp_path.rglob("*.tokens"))


@pytest.mark.parametrize(
    "table, reason",
    [
        (None, f"{VALID} is no parquet file of lines: "),
        ({"words": ["a\n"]}, f"{VALID} is no parquet file of lines: "),
        ({"text": ["no end"]}, f"{VALID} is no parquet file of lines: a row is no line, 'no end'"),
        ({"text": ["another text\n"]}, f"the text of {VALID} has the sha256 "),
    ],
)
def test_parquet_files_of_other_things(site, tmp_path, capsys, monkeypatch, table, reason):
    memory = io.BytesIO(b"<html>")
    if table:
        parquet.write_table(pyarrow.table(table), memory)
    known = RELEASES["wikitext-2"].parquet
    published_as(monkeypatch, parquet={**known, "valid": (None,)})
    del site.files["/zips/wikitext-2-v1.zip"]
    site.files[f"/hf/wikitext-2-v1/{VALID}"] = memory.getvalue()
    assert wikitext2(["--dest", str(tmp_path / "bin")]) == 1
    assert reason in capsys.readouterr().err
    # what is of no known hash and of no use is not kept
    assert not list(tmp_path.rglob("validation*"))


def test_texts_at_hand(site, at_hand, tmp_path, capsys):
    at_hand.joinpath("test.txt").unlink()
    command = ["--dest", str(tmp_path / "bin"), "--from-dir", str(at_hand)]
    assert wikitext2(command) == 1
    assert f"{at_hand}: there is no wiki.test.tokens or test.txt" in capsys.readouterr().err
    at_hand.joinpath("test.txt").write_bytes(b"caf\xe9\n")
    assert wikitext2(command) == 1
    assert "test.txt, line 1: not UTF-8" in capsys.readouterr().err


def test_a_data_bin_of_other_counts_is_refused(data_bin):
    items, tokens = manifest.held(data_bin, "valid")
    assert tokens == VALID_TOKENS
    binarize.check(data_bin, "valid", items, tokens)
    for other in ((items + 1, tokens), (items, tokens - 1)):
        with pytest.raises(ValueError, match=f"made {items} items and {tokens} tokens of valid"):
            binarize.check(data_bin, "valid", *other)


def test_a_data_bin_that_fairseq_makes_otherwise_is_refused(
    site, at_hand, data_bin, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(binarize, "binarize", lambda _, made, __: shutil.copytree(data_bin, made))
    assert wikitext2(["--dest", str(tmp_path / "bin"), "--from-dir", str(at_hand)]) == 1
    assert "fairseq-preprocess made 400 items" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["at hand"]


def test_full_disk(site, at_hand, tmp_path, capsys):
    made = str(tmp_path / "bin")
    with files_end_at(1500):
        assert wikitext2(["--dest", made]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("nopos-prepare-wikitext2: ")
    assert "wikitext-2-v1.zip.part cannot be written: File too large" in error
    with files_end_at(1500):  # fairseq-preprocess has no room for the training text
        assert wikitext2(["--dest", made, "--from-dir", str(at_hand), "--workers", "1"]) == 1
    error = capsys.readouterr().err
    assert "fairseq-preprocess failed with status 1:\n" in error and "File too large" in error
    assert {path.name for path in tmp_path.iterdir()} == {"at hand", ".downloads"}


def test_options_without_effect_are_refused(capsys):
    for options, sentence in (
        (["--raw", "--workers", "2"], "--workers has no effect with --raw"),
        (["--from-dir", "x", "--cache", "y"], "--cache has no effect with --from-dir"),
        (["--from-dir", "x", "--source", "y"], "not allowed with argument"),
    ):
        with pytest.raises(SystemExit) as exit:
            wikitext2(options)
        assert exit.value.code == 2 and sentence in capsys.readouterr().err


def test_one_at_a_time(tmp_path):
    made = tmp_path / "bin"
    with disk.workspace(made) as work:
        work.joinpath("half").touch()
        with pytest.raises(ValueError, match="bin: another process makes it"):
            with disk.workspace(made):
                pass
        assert work.joinpath("half").exists()
    assert list(tmp_path.iterdir()) == []
    # what a killed run leaves is gone once the next one is done
    made.with_name(".bin.part").joinpath("old").mkdir(parents=True)
    with disk.workspace(made) as work:
        assert [path.name for path in work.parent.iterdir()] == [work.name]
    assert list(tmp_path.iterdir()) == []


def test_the_published_tables_are_whole():
    assert list(RELEASES) == ["wikitext-103", "wikitext-103-raw", "wikitext-2", "wikitext-2-raw"]
    for release in RELEASES.values():
        assert list(release.texts) == list(release.parquet) == list(SPLITS)
        known = [release.zip, *sum(release.parquet.values(), ())]
        known += [one.sha256 for one in release.texts.values()]
        assert all(len(one) == 64 and int(one, 16) for one in known if one)
