"""A file from the first source that has it: resumed after a cut, checked, whole or not there."""

import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

from nopos_plugin.prepare.disk import writing
from nopos_plugin.provenance import digest

ATTEMPTS = 3  # in a row that bring nothing new, before a source is given up
PAUSE = 1.0  # seconds after the first of them, twice as many after the next
TIMEOUT = 60.0  # seconds without a byte
BLOCK = 2**20  # bytes
TEMPORARY = (408, 429, 500, 502, 503, 504)  # HTTP statuses that may go away
# wikitext.smerity.com refuses what does not look like a browser
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


class Cut(Exception):
    """The transfer ended early; another attempt may go on from there."""


def fetch(sources, path, sha256=None):
    """`fetch_from` the first of `sources`, tried in order, that has the file.

    Raises ValueError with a line a source if none has it.
    """
    return first(sources, lambda source: fetch_from(source, path, sha256))


def first(sources, take):
    """take(source) of the first source for which it raises no ValueError, else a ValueError."""
    reasons = []
    for source in sources:
        try:
            return take(source)
        except ValueError as error:
            reasons.append(f"{source}: {error}")
            print(reasons[-1], file=sys.stderr)
    listed = "".join(f"\n  {reason}" for reason in reasons)
    raise ValueError(
        f"no source can be used:{listed}\n"
        "Name another with --source, or a folder of files at hand with --from-dir."
    )


def fetch_from(source, path, sha256=None):
    """`path`, with the file of `source`, a URL (http, https, file) or a path.

    sha256: of the file, where known. What is at `path` already is taken if it has it; where None is
    known, if it came whole from `source`, and that says that it is still the same, or cannot say,
    which is told on stderr. PATH.part holds what has come, and the next call goes on with it if the
    source says that the file is still the same; .NAME.json beside a file is what was said of it.
    Raises ValueError if the source does not have it, OSError if `path` cannot be written.
    """
    path, source = Path(path), str(source)
    if path.is_file() and (_current(source, path) if sha256 is None else digest(path) == sha256):
        return path
    print(f"{source} -> {path}", file=sys.stderr)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(f"{path}.part")
    _complete(source, part)
    if sha256 is not None and (found := digest(part)) != sha256:
        forget(part)
        raise ValueError(f"its sha256 is {found}, not {sha256}")
    with writing(path):
        part.replace(path)
        _notes(part).replace(_notes(path))
    return path


def origin(path):
    """The source that the file at `path` was fetched from, None if it was not."""
    return (_read_notes(path) or {}).get("source")


def forget(path):
    """Remove what was fetched to `path`, so that it is fetched anew."""
    path.unlink(missing_ok=True)
    _notes(path).unlink(missing_ok=True)


def _current(source, path):
    """Whether the file at `path` is what `source` has; if that cannot be known, it is, and said."""
    known = _read_notes(path)
    if not known or known["source"] != source or known["length"] not in (None, _size(path)):
        return False
    try:
        response = _open(source, "0-0")
        if response is None:  # 416: it has no bytes at all
            return False
        with response:
            told = _told(source, response)[1]
        if told["tag"] != known["tag"] or told["length"] not in (None, _size(path)):
            return False
        doubt = "" if told["tag"] else "it does not say whether the file has changed"
    except (Cut, ValueError) as error:
        doubt = str(error)
    if doubt:
        said = f"{path} is taken as it once came; remove it to have it fetched anew"
        print(f"{source}: {doubt}; {said}", file=sys.stderr)
    return True


def _complete(source, part):
    """Transfer until all is there. Raises ValueError when ATTEMPTS in a row brought nothing new."""
    most, fruitless = 0, 0
    while True:
        try:
            return _transfer(source, part)
        except Cut as cut:
            fruitless = 0 if _size(part) > most else fruitless + 1
            most = max(most, _size(part))
            if fruitless == ATTEMPTS:
                raise ValueError(f"{cut}, {ATTEMPTS} times in a row") from cut
            print(f"{cut}; trying again", file=sys.stderr)
        time.sleep(PAUSE * 2 ** max(0, fruitless - 1))


def _transfer(source, part):
    """Add to `part` what it lacks. Raises Cut, or ValueError if trying again would not help."""
    known = _read_notes(part)
    if known and known["source"] != source:  # another began it
        known = None
    start = _size(part) if known else 0
    if known and start == known["length"]:
        return
    response = _open(source, f"{start}-" if start else None)
    if response is None:  # 416: what is here is no beginning of it
        part.unlink()
        raise Cut("the server has no bytes from there on")
    with response:
        begin, told = _told(source, response)
        if begin and (begin, told) != (start, known):
            part.unlink()
            raise Cut("the file has changed since its first part came")
        with writing(part):
            if begin == 0:
                part.unlink(missing_ok=True)
                _notes(part).write_text(json.dumps(told), encoding="utf-8")
            _copy(response, part, told["length"])
    if told["length"] is not None and _size(part) != told["length"]:
        raise Cut(f"cut after {_size(part):,} of {told['length']:,} bytes")


def _open(source, span):
    """The response to a request for the bytes of `span`, None: all; None if there are none."""
    url = source if "://" in source else Path(source).absolute().as_uri()
    headers = {"User-Agent": AGENT, **({"Range": f"bytes={span}"} if span else {})}
    try:
        request = urllib.request.Request(url, headers=headers)
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and span:
            return None
        reason = f"HTTP status {error.code} {error.reason}"
        raise (Cut if error.code in TEMPORARY else ValueError)(reason) from error
    except (OSError, HTTPException) as error:
        cause = getattr(error, "reason", error)
        reason = getattr(cause, "strerror", None) or str(cause)
        raise (ValueError if url.startswith("file:") else Cut)(reason) from error


def _told(source, response):
    """(first byte that comes, what the source says of the whole file)."""
    headers = response.headers
    tag = headers.get("ETag") or headers.get("Last-Modified")
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", ""))
    if response.status == 206 and span:
        return int(span[1]), {"source": source, "tag": tag, "length": int(span[2])}
    if response.status == 206:
        raise ValueError("a part was asked for, and what came does not say which it is")
    length = headers.get("Content-Length")
    if length is None and headers.get("Transfer-Encoding") != "chunked":
        raise ValueError("it does not say how long the file is, so that a cut would not be seen")
    return 0, {"source": source, "tag": tag, "length": length and int(length)}


def _copy(response, part, length):
    with (
        part.open("ab") as file,
        tqdm(
            desc=part.stem,
            total=length,
            initial=_size(part),
            unit="B",
            unit_scale=True,
            disable=None,
        ) as bar,
    ):
        while block := _read(response):
            file.write(block)
            bar.update(len(block))
        file.flush()
        os.fsync(file.fileno())


def _read(response):
    try:
        return response.read1(BLOCK)
    except (OSError, HTTPException) as error:
        raise Cut(f"cut: {error}") from error


def _notes(path):
    return path.with_name(f".{path.name}.json")


def _read_notes(path):
    """What its source said of the file at `path` when it was begun; None if that is not known."""
    try:
        return json.loads(_notes(path).read_text("utf-8")) if path.is_file() else None
    except (OSError, ValueError):
        return None


def _size(path):
    return path.stat().st_size if path.is_file() else 0
