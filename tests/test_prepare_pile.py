"""nopos-prepare-pile: documents of lines of JSON, whole, in an order that only the seed decides."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import zstandard
from command import ROOT
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDataset, make_builder
from http_server import serving

from nopos_plugin.cli import data_info
from nopos_plugin.cli.prepare_pile import main, parsed
from nopos_plugin.evaluation import units
from nopos_plugin.prepare import lines, spooling
from nopos_plugin.prepare.disk import locked
from nopos_plugin.prepare.documents import PILE, check_components
from nopos_plugin.prepare.presets import PRESETS

COMPONENTS = ("ArXiv", "Github", "Pile-CC")
BYTES = ("--tokenizer", "bytes")


def text_of(n):
    return f"document {n}.\n\nIts second paragraph: é, {'word ' * (n * 7 % 40)}.\n\tEnd"


def line(text, component="ArXiv"):
    return json.dumps({"text": text, "meta": {"pile_set_name": component}})


@pytest.fixture
def shards(tmp_path):
    """Two shards of 60 documents each, and their texts."""
    texts = [text_of(n) for n in range(120)]
    for shard in (0, 1):
        numbers = range(60 * shard, 60 * shard + 60)
        written = "\n".join(line(texts[n], COMPONENTS[n % 3]) for n in numbers) + "\n"
        packed = zstandard.ZstdCompressor().compress(written.encode())
        (tmp_path / f"{shard:02}.jsonl.zst").write_bytes(packed)
    return SimpleNamespace(
        names=[tmp_path / "00.jsonl.zst", tmp_path / "01.jsonl.zst"], texts=texts
    )


@pytest.fixture
def prepare(tmp_path, capsys):
    """prepare(*typed, dest): exit status, folder and what was said."""

    def run(*typed, dest="bin"):
        folder = tmp_path / dest
        status = main([str(x) for x in (*typed, "--dest", folder, "--cache", tmp_path / "cache")])
        return status, folder, capsys.readouterr()

    return run


def read(folder, split="train"):
    """The texts of a split of bytes."""
    dictionary, items = (
        Dictionary.load(str(folder / "dict.txt")),
        MMapIndexedDataset(str(folder / split)),
    )
    spelled = {symbol: byte for byte, symbol in enumerate(symbols())}
    found = []
    for number in range(len(items)):
        *indices, end = items[number].tolist()
        assert end == dictionary.eos()
        found.append(bytes(spelled[dictionary[i]] for i in indices).decode())
    return found


def symbols():
    from nopos_plugin.prepare.tokenizers import build

    return build("bytes").symbols


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_documents_are_whole_and_shuffled_alike_for_any_workers(prepare, shards):
    status, one, said = prepare(*shards.names, *BYTES, "--workers", "1")
    assert status == 0
    found = read(one)
    assert sorted(found) == sorted(shards.texts) and found != shards.texts
    assert "train: 120 documents" in said.out
    _, three, _ = prepare(*shards.names, *BYTES, "--workers", "3", dest="three")
    assert files(one) == files(three)
    _, other, _ = prepare(*shards.names, *BYTES, "--seed", "2", dest="other")
    assert sorted(read(other)) == sorted(found) and read(other) != found
    assert not one.with_name("bin.work").exists()


def test_the_index_is_fairseqs_own(prepare, shards, tmp_path):
    _, folder, _ = prepare(*shards.names, *BYTES)
    items = MMapIndexedDataset(str(folder / "train"))
    builder = make_builder(str(tmp_path / "x.bin"), impl="mmap", vocab_size=len(symbols()) + 4)
    for number in range(len(items)):
        builder.add_item(items[number])
    builder.finalize(str(tmp_path / "x.idx"))
    for suffix in (".bin", ".idx"):
        assert (tmp_path / f"x{suffix}").read_bytes() == (folder / f"train{suffix}").read_bytes()


def test_components_splits_and_the_manifest(prepare, shards, tmp_path):
    held = ("--valid-documents", "0.1", "--test-documents", "7")
    status, folder, _ = prepare(*shards.names, *BYTES, "--exclude", "Github", *held)
    assert status == 0
    texts = {split: read(folder, split) for split in ("train", "valid", "test")}
    assert {split: len(found) for split, found in texts.items()} == {
        "train": 65,
        "valid": 8,
        "test": 7,
    }
    kept = [text for n, text in enumerate(shards.texts) if n % 3 != 1]
    assert sorted(sum(texts.values(), [])) == sorted(kept)
    manifest = json.loads((folder / "manifest.json").read_text())
    for split, found in texts.items():
        counts = manifest["splits"][split]
        assert counts["documents"] == len(found)
        assert counts["bytes"] == sum(len(text.encode()) for text in found)
        assert counts["tokens"] == counts["bytes"] + len(found)
        assert counts["words"] == sum(len(text.split()) for text in found)
        assert set(counts["components"]) <= {"ArXiv", "Pile-CC"}
        assert sum(c["tokens"] for c in counts["components"].values()) == counts["tokens"]
        known = units.from_manifest(folder, split, counts["tokens"])
        assert known == {"words": counts["words"], "bytes": counts["bytes"]}
    assert manifest["options"]["exclude"] == ["Github"] and manifest["options"]["seed"] == 1
    assert [source["name"] for source in manifest["sources"]] == ["00.jsonl.zst", "01.jsonl.zst"]
    assert [source["from"] for source in manifest["sources"]] == list(map(str, shards.names))
    assert {source["split"] for source in manifest["sources"]} == {"train"}
    assert manifest["sources"][0]["counts"]["not wanted"] == 20


def test_weights_and_given_splits(prepare, shards):
    typed = (shards.names[0], "--valid", shards.names[1], *BYTES)
    _, folder, said = prepare(*typed, "--weights", "ArXiv=1,Github=1")
    assert len(read(folder, "valid")) <= 40 and 20 < len(read(folder)) <= 40
    found = re.findall(r"(ArXiv|Github): (\d+)\.\d% of the tokens \(wanted: 50.0%\)", said.out)
    assert len(found) == 2 and all(45 <= int(share) <= 55 for _, share in found)
    _, all_of_it, _ = prepare(*typed, dest="all")
    assert sorted(read(all_of_it, "valid")) == sorted(shards.texts[60:])


@pytest.mark.parametrize(
    "typed, sentence",
    [
        (("--include", "ArXive"), "'ArXive' is no component of the Pile; these are: ArXiv, "),
        (("--include", "Books3"), "no document is of Books3; the sources have ArXiv, Github"),
        (("--valid-documents", "500"), "no document is left to train on"),
        (("--max-tokens", "3"), "no document is left to train on"),
        (("--tokenizer", "gpt2"), "--gpt2-encoder-json"),
        (("none.jsonl",), "none.jsonl: there is no such file"),
        (("--weights", "ArXiv=1", "--include", "Github"), "--weights and --include: name one"),
        (("--include", "ArXiv", "--exclude", "Github"), "--include and --exclude: name one"),
        (("--trim", "0.5"), "'0.5' is no number from 0 on, below 0.5"),
        (("--weights", "ArXiv=1,ArXiv=2"), "ArXiv has two weights"),
        (("--threshold", "5"), "--tokenizer bytes has a vocabulary of its own"),
        (("--valid", "typo.jsonl", "http://127.0.0.1:9/x.jsonl"), "typo.jsonl: there is no such"),
    ],
    ids=str,
)
def test_what_cannot_be_is_a_sentence(prepare, shards, capsys, typed, sentence):
    try:
        status, folder, said = prepare(*shards.names, *BYTES, *typed)
        assert status == 1
        error = said.err
        assert not folder.exists()
    except SystemExit as stopped:
        assert stopped.code == 2
        error = capsys.readouterr().err
    assert sentence in error
    if "no component" in sentence:
        assert all(name in error for name in PILE)


def test_lines_that_are_no_document(prepare, tmp_path):
    bad = [b"{", b"[1]", b'{"text": 5}', b'{"text": "\\ud800"}', b'{"text": "\xff"}', b'"text"']
    bad.append(b"[" * 100_000)
    good = [line(text_of(n)).encode() for n in range(20)]
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n".join([*good, *bad, b"", line("  \n").encode()]))
    status, folder, said = prepare(path, *BYTES)
    assert status == 1 and not folder.exists()
    assert "x.jsonl: 7 of 28 lines hold no document" in said.err
    status, folder, _ = prepare(path, *BYTES, "--max-invalid", "0.3")
    assert status == 0 and len(read(folder)) == 20
    counts = json.loads((folder / "manifest.json").read_text())["sources"][0]["counts"]
    assert counts == {"lines": 28, "invalid": 7, "empty": 1, "of ArXiv": 20, "documents": 20}


def test_a_damaged_source_leaves_nothing_that_looks_whole(prepare, shards):
    data = shards.names[1].read_bytes()
    shards.names[1].write_bytes(data[:-20])
    status, folder, said = prepare(*shards.names, *BYTES)
    assert status == 1 and not folder.exists()
    assert "01.jsonl.zst is damaged" in said.err
    shards.names[1].write_bytes(data)
    assert prepare(*shards.names, *BYTES)[0] == 0


def test_what_is_finished_is_kept(prepare, shards, monkeypatch):
    made, whole = [], spooling.Spooler.batches

    def interrupted(self, source, hashed):
        made.append(source.path.name)
        if len(made) == 2:
            raise KeyboardInterrupt
        return whole(self, source, hashed)

    monkeypatch.setattr(spooling.Spooler, "batches", interrupted)
    status, folder, said = prepare(*shards.names, *BYTES)
    assert status == 130 and not folder.exists() and "run it again to go on" in said.err
    assert prepare(*shards.names, *BYTES)[0] == 0
    assert made == ["00.jsonl.zst", "01.jsonl.zst", "01.jsonl.zst"]
    monkeypatch.undo()
    _, straight, _ = prepare(*shards.names, *BYTES, dest="straight")
    assert files(folder) == files(straight)


def test_another_recipe_or_source_starts_anew(prepare, shards, monkeypatch):
    def broken(spools, given, wanted):
        raise OSError("no space")

    with monkeypatch.context() as patched:
        patched.setattr("nopos_plugin.prepare.assemble.choice", broken)
        assert prepare(*shards.names, *BYTES)[0] == 1
    _, folder, _ = prepare(*shards.names, *BYTES, "--seed", "2")
    _, straight, _ = prepare(*shards.names, *BYTES, "--seed", "2", dest="straight")
    assert files(folder) == files(straight)


def test_killed_it_goes_on(shards, prepare, tmp_path):
    big = tmp_path / "big.jsonl"
    big.write_text("\n".join(line(text_of(n)) for n in range(30_000)) + "\n")
    typed = [*shards.names, big, *BYTES, "--dest", tmp_path / "bin", "--workers", "2"]
    command = [sys.executable, "-m", "nopos_plugin.cli.prepare_pile", *map(str, typed)]
    started = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
    while not (tmp_path / "bin.work" / "0002.part").exists():
        assert started.poll() is None
        time.sleep(0.01)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    assert not (tmp_path / "bin").exists()
    _, straight, _ = prepare(*typed[:-4], dest="straight")
    status, folder, _ = prepare(*typed[:-4])
    assert status == 0
    assert files(folder) == files(straight)


def test_killed_alone_it_takes_its_workers_along(shards, prepare, tmp_path):
    big = tmp_path / "big.jsonl"
    big.write_text("\n".join(line(text_of(n)) for n in range(60_000)) + "\n")
    typed = [shards.names[0], big, *BYTES, "--dest", tmp_path / "bin", "--workers", "2"]
    command = [sys.executable, "-m", "nopos_plugin.cli.prepare_pile", *map(str, typed)]
    started = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    while not (tmp_path / "bin.work" / "0001.part").exists():
        assert started.poll() is None
        time.sleep(0.01)
    started.kill()
    started.wait()
    with locked(tmp_path / "bin.work", tmp_path / "bin"):
        pass  # nobody holds it any more, or this would be a ValueError
    assert prepare(*typed[:4])[0] == 0


def killed(block, source, line):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_a_sentence(prepare, shards, monkeypatch):
    monkeypatch.setattr("nopos_plugin.prepare.batch.work", killed)
    status, folder, said = prepare(*shards.names, *BYTES)
    assert status == 1 and not folder.exists()
    assert "a worker process was killed" in said.err and "with fewer --workers" in said.err


def test_a_full_disk_leaves_nothing_that_looks_whole(shards, tmp_path):
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "from nopos_plugin.cli.prepare_pile import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    typed = [*shards.names, *BYTES, "--dest", tmp_path / "bin"]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, typed)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1 and not (tmp_path / "bin").exists()
    assert re.search(r"bin.work\S* cannot be written: File too large; make room", done.stderr)


def test_a_data_bin_that_is_there_is_left_alone(prepare, shards):
    _, folder, _ = prepare(*shards.names, *BYTES)
    before = files(folder)
    status, _, said = prepare(*shards.names, *BYTES)
    assert status == 1 and "is there already" in said.err and files(folder) == before


def test_equal_texts_are_not_neighbours(prepare, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(line(text) for text in [*map(text_of, range(40)), *["same"] * 10]))
    found = read(prepare(path, *BYTES)[1])
    places = [n for n, text in enumerate(found) if text == "same"]
    assert len(places) == 10 and places[-1] - places[0] > 20


def test_held_out_sources_are_taken_as_they_are(prepare, shards):
    typed = (shards.names[0], "--valid", shards.names[1], *BYTES, "--trim", "0.2")
    _, folder, _ = prepare(*typed, "--min-tokens", "150", "--weights", "ArXiv=1,Github=1,Pile-CC=1")
    assert sorted(read(folder, "valid")) == sorted(shards.texts[60:])
    assert len(read(folder)) < 45


def test_many_sources_need_few_open_files(prepare, tmp_path, monkeypatch):
    monkeypatch.setattr("nopos_plugin.prepare.assemble.OPEN", 3)
    for n in range(20):
        (tmp_path / f"{n}.jsonl").write_text(line(text_of(n)))
    _, folder, _ = prepare(str(tmp_path / "*.jsonl"), *BYTES)
    assert sorted(read(folder)) == sorted(map(text_of, range(20)))


@pytest.mark.parametrize("content", ["", "{", '{"other": 1}'])
def test_a_recipe_that_cannot_be_read_is_another(prepare, shards, tmp_path, content):
    (tmp_path / "bin.work").mkdir()
    (tmp_path / "bin.work" / "recipe.json").write_text(content)
    assert prepare(*shards.names, *BYTES)[0] == 0


def test_a_folder_of_others_is_left_alone(prepare, shards, tmp_path):
    (tmp_path / "bin.work").mkdir()
    (tmp_path / "bin.work" / "mine").write_text("x")
    status, _, said = prepare(*shards.names, *BYTES)
    assert status == 1 and "bin.work holds something else" in said.err
    assert (tmp_path / "bin.work" / "mine").read_text() == "x"


def test_the_manifest_says_what_was_typed(prepare, shards):
    _, folder, _ = prepare(*shards.names, *BYTES, "--seed", "0")
    assert json.loads((folder / "manifest.json").read_text())["options"]["seed"] == 0


def test_two_at_once_do_not_mix(prepare, shards, tmp_path):
    with locked(tmp_path / "bin.work", tmp_path / "bin"):
        status, folder, said = prepare(*shards.names, *BYTES)
        assert status == 1 and "another process makes it" in said.err and not folder.exists()
    assert prepare(*shards.names, *BYTES)[0] == 0


def test_data_info_checks_the_files(prepare, shards, capsys):
    _, folder, _ = prepare(*shards.names, *BYTES)
    assert data_info.main([str(folder)]) == 0
    said = capsys.readouterr().out
    assert "120 documents" in said and "3 files are as they were made" in said
    data = np.fromfile(folder / "train.bin", np.uint16)
    data[5] ^= 1
    data.tofile(folder / "train.bin")
    assert data_info.main([str(folder)]) == 1
    assert "train.bin has other content than when it was made" in capsys.readouterr().err
    index = (folder / "train.idx").read_bytes()
    for content in (b"", index[:-4]):
        (folder / "train.idx").write_bytes(content)
        assert data_info.main([str(folder)]) == 1
        assert "train.idx has" in capsys.readouterr().err
    (folder / "train.bin").unlink()
    assert data_info.main([str(folder)]) == 1
    assert "train.bin is missing" in capsys.readouterr().err
    for content in (
        "{",
        "[]",
        '{"files": {}, "splits": {}}',
        '{"files": {"a": 5}, "splits": {"train": 3}}',
        '{"files": {"a": {"bytes": 5, "sha256": "x"}}, "splits": {"train": {"tokens": "3"}}}',
        '{"files": {"a": {"bytes": 5, "sha256": "x"}}, "splits": {}, "sources": [5]}',
        '{"files": {"a": {"bytes": 5, "sha256": "x"}}, "splits": {}, "options": []}',
    ):
        (folder / "manifest.json").write_text(content)
        assert data_info.main([str(folder)]) == 1
        assert "is no manifest" in capsys.readouterr().err


def raised(counts, name, number):
    counts[name] += number


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda made: raised(made["splits"]["train"], "documents", 5), "114 documents, not 119"),
        (lambda made: raised(made["splits"]["train"], "words", 99), "components of train have "),
        (lambda made: raised(made["splits"]["train"], "bytes", -9), "components of train have "),
        (lambda made: made["files"].pop("train.bin"), "train.bin is not among the files of manif"),
        (lambda made: made["splits"].pop("valid"), "valid is not among the splits of manifest"),
        (lambda made: made["splits"].update(test=made["splits"]["valid"]), "test is missing"),
    ],
)
def test_data_info_checks_the_manifest(prepare, shards, capsys, change, sentence):
    _, folder, _ = prepare(*shards.names, *BYTES, "--valid-documents", "6")
    path = folder / "manifest.json"
    made = json.loads(path.read_text())
    change(made)
    path.write_text(json.dumps(made))
    assert data_info.main([str(folder)]) == 1
    assert sentence in capsys.readouterr().err


def test_data_info_knows_what_was_added_later(prepare, shards, capsys):
    _, folder, _ = prepare(*shards.names, *BYTES)
    (folder / "notes.md").touch()
    assert data_info.main([str(folder)]) == 0
    for suffix in ("bin", "idx"):
        (folder / f"test.{suffix}").write_bytes((folder / f"train.{suffix}").read_bytes())
    assert data_info.main([str(folder)]) == 1
    error = capsys.readouterr().err
    assert "test.bin is not among the files of manifest.json; test.idx is not among" in error


def test_documents_of_no_component_are_in_the_sums_alone(prepare, tmp_path, capsys):
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join([line("one"), line("two", "none of the Pile's")]))
    _, folder, _ = prepare(path, *BYTES)
    assert data_info.main([str(folder)]) == 0


def test_data_info_prints_nothing_but_json(prepare, shards, capsys):
    _, folder, _ = prepare(*shards.names, *BYTES)
    capsys.readouterr()
    assert data_info.main([str(folder), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == json.loads((folder / "manifest.json").read_text())
    assert said.err == f"{folder}: 3 files are as they were made\n"


def test_sources_may_be_addresses(prepare, shards):
    served = {f"/train/{path.name}": path.read_bytes() for path in shards.names}
    _, expected, _ = prepare(*shards.names, *BYTES, dest="expected")
    with serving(served) as site:
        urls = [f"{site.url}{name}" for name in served]
        status, folder, _ = prepare(*urls, *BYTES)
        assert status == 0 and read(folder) == read(expected)
        status, _, said = prepare(f"{site.url}/train/02.jsonl.zst", *BYTES, dest="none")
        sentence = f"nopos-prepare-pile: {site.url}/train/02.jsonl.zst: HTTP status 404 Not Found"
        assert status == 1 and said.err.splitlines()[-1] == sentence
        for url in (site.url, f"{site.url}/", f"{site.url}/train/..?x=y.jsonl"):
            status, _, said = prepare(url, *BYTES, dest="none")
            assert status == 1
            assert f"{url}: it ends in no name of a file" in said.err.splitlines()[-1]


def test_what_a_source_has_repaired_is_read_anew(prepare, shards, tmp_path):
    content = shards.names[0].read_bytes()
    name = "/get?file=00.jsonl.zst"
    with serving({name: content[:-9]}) as site:
        url = f"{site.url}{name}"
        status, _, said = prepare(url, *BYTES)
        assert status == 1
        [copy] = (tmp_path / "cache").rglob("get")
        assert f"{copy} is damaged (it is cut short): remove it and get it again" in said.err
        site.files, site.tag = {name: content}, '"second"'
        status, folder, _ = prepare(url, *BYTES)
        assert status == 0 and sorted(read(folder)) == sorted(shards.texts[:60])
        # and into another data-bin what the source has by then
        site.files, site.tag = {name: shards.names[1].read_bytes()}, '"third"'
        _, folder, _ = prepare(url, *BYTES, dest="other")
        assert sorted(read(folder)) == sorted(shards.texts[60:])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_options_that_there_are(name):
    vocabulary = {"gpt2": "--gpt2-encoder-json", "json": "--tokenizer-json"}
    options = parsed(["--preset", name, "--dest", "x", vocabulary[PRESETS[name]["tokenizer"]], "f"])
    assert PRESETS[name].items() <= vars(options).items()
    assert all(url.startswith("https://") for url in options.sources)
    typed = parsed(["mine", "--preset", name, "--dest", "x", "--seed", "7", "--tokenizer", "bytes"])
    assert (typed.sources, typed.seed, typed.tokenizer) == (["mine"], 7, "bytes")
    check_components([*(options.include or ()), *(options.exclude or ())])
    chosen = parsed(
        ["f", "--preset", name, "--dest", "x", "--include", "ArXiv", "--tokenizer", "bytes"]
    )
    assert (chosen.include, chosen.exclude) == (["ArXiv"], None)


def test_a_line_that_is_too_long_is_no_document(prepare, tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "BLOCK", 100)
    monkeypatch.setattr(lines, "READ", 50)
    monkeypatch.setattr(lines, "LONGEST", 5_000)
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join([line("one"), line("long " * 9_000), line("two"), line("x" * 4000)]))
    status, folder, said = prepare(path, *BYTES)
    assert status == 1 and "x.jsonl: 1 of 4 lines hold no document" in said.err
    status, folder, _ = prepare(path, *BYTES, "--max-invalid", "0.3")
    assert status == 0 and sorted(read(folder)) == ["one", "two", "x" * 4000]


def test_what_was_finished_is_held_to_the_share_of_this_run(prepare, tmp_path, monkeypatch):
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join([*map(line, "abc"), "{"]))

    def broken(spools, given, wanted):
        raise OSError("no space")

    with monkeypatch.context() as patched:
        patched.setattr("nopos_plugin.prepare.assemble.choice", broken)
        assert prepare(path, *BYTES, "--max-invalid", "0.5")[0] == 1
    status, _, said = prepare(path, *BYTES)
    assert status == 1 and "x.jsonl: 1 of 4 lines hold no document" in said.err
    assert prepare(path, *BYTES, "--max-invalid", "0.5")[0] == 0


def test_a_file_of_something_else_is_soon_given_up(prepare, tmp_path, monkeypatch):
    monkeypatch.setattr(spooling, "SOON", 30)
    monkeypatch.setattr(lines, "BLOCK", 100)
    monkeypatch.setattr(lines, "READ", 50)
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(map(line, "abc")) + "\nplain text" * 5_000)
    status, _, said = prepare(path, *BYTES)
    found = re.search(r"x.jsonl: (\d+) of \d+ lines hold no document", said.err)
    assert status == 1 and int(found[1]) < 1_000


def test_data_info_ends_when_nobody_reads_on(prepare, shards):
    _, folder, _ = prepare(*shards.names, *BYTES)
    command = [sys.executable, "-m", "nopos_plugin.cli.data_info", *[str(folder)] * 3]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_order_is_that_of_the_text_however_it_is_compressed(prepare, shards, tmp_path):
    plain = [zstandard.ZstdDecompressor().decompress(path.read_bytes()) for path in shards.names]
    (tmp_path / "plain").mkdir()
    made = []
    for name, data in zip(("00.jsonl", "01.jsonl"), plain, strict=True):
        made.append(tmp_path / "plain" / name)
        made[-1].write_bytes(data)
    typed = (*BYTES, "--valid-documents", "20")
    _, packed, _ = prepare(*shards.names, *typed)
    _, unpacked, _ = prepare(*reversed(made), *typed, dest="unpacked")
    assert read(packed) == read(unpacked) and read(packed, "valid") == read(unpacked, "valid")


def test_a_share_of_few_documents_is_one(prepare, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(map(line, "abcde")))
    _, folder, _ = prepare(path, *BYTES, "--valid-documents", "0.05")
    assert len(read(folder, "valid")) == 1 and len(read(folder)) == 4


def test_names_that_are_no_components(prepare, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join([line("a", "GitHub"), line("b", "Github"), line("c", "ArXiv")]))
    status, folder, said = prepare(path, *BYTES, "--exclude", "Github")
    assert status == 1 and not folder.exists()
    assert "these names in the sources are none of the Pile's: 'GitHub' (1 documents)" in said.err
    _, folder, _ = prepare(path, *BYTES)
    counts = json.loads((folder / "manifest.json").read_text())["splits"]["train"]
    assert counts["components"]["no component of the Pile"]["documents"] == 1
    assert sum(its["tokens"] for its in counts["components"].values()) == counts["tokens"]


def test_what_cannot_be_is_said_before_anything_is_fetched(prepare, shards, tmp_path):
    _, folder, _ = prepare(*shards.names, *BYTES)
    status, _, said = prepare("http://127.0.0.1:9/x.jsonl", *BYTES)
    assert status == 1 and "is there already" in said.err and "127.0.0.1" not in said.err
    status, _, said = prepare(*BYTES, "--preset", "nopos", "--include", "OpenWebText2", dest="b")
    assert status == 1 and "the uncopyrighted Pile has no OpenWebText2" in said.err


def test_another_file_of_the_same_name_is_another(prepare, tmp_path, monkeypatch):
    paths = []
    for folder, text in (("a", "one"), ("b", "two")):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "x.jsonl")
        paths[-1].write_text(line(text))
        os.utime(paths[-1], (1, 1))

    def broken(spools, given, wanted):
        raise OSError("no space")

    with monkeypatch.context() as patched:
        patched.setattr("nopos_plugin.prepare.assemble.choice", broken)
        assert prepare(paths[0], *BYTES)[0] == 1
    _, folder, _ = prepare(paths[1], *BYTES)
    assert read(folder) == ["two"]


def test_given_splits_replace_those_of_a_preset():
    typed = ["--preset", "kerple-arxiv", "--valid", "x", "--dest", "y"]
    options = parsed(typed)
    assert (options.valid, options.valid_documents, options.test_documents) == (["x"], 0, 0.001)
    options = parsed(["--preset", "bipe", "--valid-documents", "9", "--dest", "y"])
    assert (options.valid, options.valid_documents) == ([], 9) and options.test
