"""Downloads, against a real HTTP server that cuts, lies, forgets and falls silent."""

import hashlib
import random
import signal
import subprocess
import sys
import time

import pytest
from command import ROOT
from http_server import serving
from limits import files_end_at

from nopos_plugin.prepare import download
from nopos_plugin.prepare.download import fetch

BODY = random.Random(1).randbytes(300_000)
OTHER = random.Random(2).randbytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)


@pytest.fixture
def site():
    with serving({"/file": BODY, "/other": OTHER}) as server:
        yield server


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "file"


def ranges(site):
    return [asked for _, asked, _ in site.requests]


def left(path):
    return sorted(one.name for one in path.parent.iterdir())


def interrupted(site, path, size=1000, url="/file"):
    """Leave a part of `size` bytes, then no more."""
    site.cuts = [size, *[0] * download.ATTEMPTS]
    with pytest.raises(ValueError, match=f"cut after {size:,} of 300,000 bytes, 3 times in a row"):
        fetch([site.url + url], path)
    assert left(path) == [".file.part.json", "file.part"]
    site.requests.clear()


def test_whole_file(site, path):
    assert fetch([f"{site.url}/file"], path, SHA256) == path
    assert path.read_bytes() == BODY
    assert left(path) == [".file.json", "file"]
    [(_, asked, agent)] = site.requests
    assert asked is None and agent.startswith("Mozilla/5.0")


def test_what_is_there_is_taken_if_it_is_right(site, path):
    path.parent.mkdir()
    path.write_bytes(BODY)
    fetch([f"{site.url}/other"], path, SHA256)
    assert site.requests == []
    path.write_bytes(b"something else")
    fetch([f"{site.url}/file"], path, SHA256)
    assert path.read_bytes() == BODY


def test_without_a_hash_the_source_is_asked_whether_it_has_changed(site, path):
    for _ in range(2):
        fetch([f"{site.url}/file"], path)
    assert ranges(site) == [None, "bytes=0-0"]
    path.write_bytes(BODY[:-1])  # not what came
    fetch([f"{site.url}/file"], path)
    assert path.read_bytes() == BODY
    fetch([f"{site.url}/other"], path)  # of another source
    assert path.read_bytes() == OTHER
    _, *asked = ranges(site)
    assert asked == ["bytes=0-0", None, None]


@pytest.mark.parametrize("has_ranges", [True, False])
@pytest.mark.parametrize("changed, tag", [(OTHER, '"second"'), (BODY[:500], '"first"')])
def test_what_has_changed_at_its_source_is_fetched_anew(site, path, has_ranges, changed, tag):
    fetch([f"{site.url}/file"], path)
    site.files["/file"], site.tag, site.ranges = changed, tag, has_ranges
    for _ in range(2):
        fetch([f"{site.url}/file"], path)
    assert path.read_bytes() == changed
    assert ranges(site) == [None, "bytes=0-0", None, "bytes=0-0"]


def test_a_page_that_came_instead_of_the_file_is_replaced(site, path):
    site.files["/file"], site.tag, site.framing = b"<html>Log in</html>", None, "chunked"
    fetch([f"{site.url}/file"], path)
    site.files["/file"], site.tag, site.framing = BODY, '"first"', "length"
    fetch([f"{site.url}/file"], path)
    assert path.read_bytes() == BODY


def test_what_cannot_be_asked_for_is_taken_and_that_is_said(site, path, capsys):
    said = f"{path} is taken as it once came; remove it to have it fetched anew\n"
    url, site.tag = f"{site.url}/file", None
    fetch([url], path)
    site.files["/file"] = OTHER  # as long, and of no tag
    capsys.readouterr()
    fetch([url], path)
    doubt = "it does not say whether the file has changed"
    assert capsys.readouterr().err == f"{url}: {doubt}; {said}"
    del site.files["/file"]
    fetch([url], path)
    assert capsys.readouterr().err == f"{url}: HTTP status 404 Not Found; {said}"
    site.shutdown()
    site.server_close()
    fetch([url], path)
    assert "refused; " + said in capsys.readouterr().err
    assert path.read_bytes() == BODY
    path.unlink()
    with pytest.raises(ValueError, match="refused, 3 times in a row"):
        fetch([url], path)


def test_after_a_cut_the_rest_alone_is_asked_for(site, path):
    site.cuts = [1000, 50_000]
    fetch([f"{site.url}/file"], path, SHA256)
    assert path.read_bytes() == BODY
    assert ranges(site) == [None, "bytes=1000-", "bytes=51000-"]


def test_any_number_of_cuts_if_each_time_something_comes(site, path):
    site.cuts = [100] * 12
    fetch([f"{site.url}/file"], path)
    assert path.read_bytes() == BODY
    assert len(site.requests) == 13


def test_a_later_call_goes_on(site, path):
    interrupted(site, path)
    fetch([f"{site.url}/file"], path)
    assert path.read_bytes() == BODY
    assert ranges(site) == ["bytes=1000-"]
    assert left(path) == [".file.json", "file"]


def test_a_silent_server_is_a_cut(site, path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    site.stalls, began = [1000], time.monotonic()
    fetch([f"{site.url}/file"], path)
    assert path.read_bytes() == BODY and time.monotonic() - began < 10
    assert ranges(site) == [None, "bytes=1000-"]


def test_in_chunks_a_cut_is_seen_too(site, path):
    site.framing, site.cuts = "chunked", [1000]
    fetch([f"{site.url}/file"], path)
    assert path.read_bytes() == BODY
    assert len(site.requests) > 1


def test_the_rest_is_asked_for_where_a_redirect_leads(site, path):
    with serving({"/store": BODY}) as store:
        site.moved, store.cuts = {"/file": f"{store.url}/store"}, [1000]
        fetch([f"{site.url}/file"], path)
        assert path.read_bytes() == BODY
        assert ranges(store) == [None, "bytes=1000-"]


def test_server_without_ranges(site, path):
    site.ranges, site.cuts = False, [1000]
    fetch([f"{site.url}/file"], path)
    assert path.read_bytes() == BODY
    assert ranges(site) == [None, "bytes=1000-"]


def test_server_without_ranges_that_always_cuts_is_given_up(site, path):
    site.ranges, site.cuts = False, [1000] * 99
    with pytest.raises(ValueError, match="cut after 1,000 of 300,000 bytes, 3 times in a row"):
        fetch([f"{site.url}/file"], path)
    assert len(site.requests) == 4


@pytest.mark.parametrize(
    "changed, tag",
    [(OTHER, '"second"'), (OTHER + b"longer", '"first"'), (OTHER[:500], '"first"')],
)
def test_a_changed_file_starts_anew(site, path, changed, tag):
    interrupted(site, path)
    site.files["/file"], site.tag = changed, tag
    fetch([f"{site.url}/file"], path)
    assert path.read_bytes() == changed
    assert ranges(site) == ["bytes=1000-", None]


def test_a_part_is_not_continued_from_another_source(site, path):
    interrupted(site, path)
    fetch([f"{site.url}/other"], path)
    assert path.read_bytes() == OTHER
    assert ranges(site) == [None]


def test_a_part_survives_a_source_that_has_nothing(site, path):
    interrupted(site, path)
    fetch([f"{site.url}/nowhere", f"{site.url}/file"], path)
    assert path.read_bytes() == BODY
    assert ranges(site) == [None, "bytes=1000-"]


def test_wrong_hash_then_the_next_source(site, path, capsys):
    fetch([f"{site.url}/other", f"{site.url}/file"], path, SHA256)
    assert path.read_bytes() == BODY
    wrong = hashlib.sha256(OTHER).hexdigest()
    assert f"{site.url}/other: its sha256 is {wrong}, not {SHA256}" in capsys.readouterr().err


def test_no_source_left(site, path, tmp_path):
    with pytest.raises(ValueError) as raised:
        fetch([f"{site.url}/nowhere", f"{site.url}/other", tmp_path / "missing"], path, SHA256)
    first, *sources, last = str(raised.value).splitlines()
    assert first == "no source can be used:"
    assert sources[0] == f"  {site.url}/nowhere: HTTP status 404 Not Found"
    assert sources[1].startswith(f"  {site.url}/other: its sha256 is")
    assert sources[2].startswith(f"  {tmp_path}/missing: ") and "No such file" in sources[2]
    assert "--source" in last and "--from-dir" in last
    assert left(path) == []


def test_a_busy_server_is_asked_again_and_a_dead_one_given_up(site, path):
    site.statuses = {"/file": [503, 429]}
    fetch([f"{site.url}/file"], path)
    assert path.read_bytes() == BODY
    with serving({}) as dead:
        url = dead.url
    with pytest.raises(ValueError, match="refused, 3 times in a row"):
        fetch([f"{url}/file"], path.with_name("second"))


def test_a_server_that_gives_no_length_is_not_trusted(site, path):
    site.framing, site.cuts = "none", [1000]
    with pytest.raises(ValueError, match="does not say how long the file is"):
        fetch([f"{site.url}/file"], path)
    assert left(path) == []


@pytest.mark.parametrize("as_url", [True, False])
def test_files_of_this_machine(path, tmp_path, as_url):
    source = tmp_path / "at hand"
    source.write_bytes(BODY)
    fetch([source.as_uri() if as_url else source], path, SHA256)
    assert path.read_bytes() == BODY


def test_a_killed_download_goes_on(site, path):
    site.stalls = [100_000]
    code = (
        "from nopos_plugin.prepare.download import fetch_from; "
        f"fetch_from({site.url + '/file'!r}, {str(path)!r})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    part = path.with_name("file.part")
    try:
        deadline = time.monotonic() + 60
        while (not part.exists() or part.stat().st_size < 90_000) and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    size = part.stat().st_size
    assert not path.exists() and 90_000 <= size <= 100_000
    fetch([f"{site.url}/file"], path)
    assert path.read_bytes() == BODY
    assert ranges(site) == [None, f"bytes={size}-"]


def test_full_disk(site, path):
    with files_end_at(100_000), pytest.raises(OSError) as raised:
        fetch([f"{site.url}/file"], path)
    assert str(raised.value) == (
        f"{path}.part cannot be written: File too large; make room, or write elsewhere"
    )
    assert left(path) == [".file.part.json", "file.part"]
    site.requests.clear()
    fetch([f"{site.url}/file"], path)
    assert path.read_bytes() == BODY
    assert ranges(site) == ["bytes=100000-"]
