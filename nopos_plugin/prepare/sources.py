"""Files, folders, patterns and URLs, as a user names them."""

from collections import Counter
from glob import glob
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from nopos_plugin.prepare.disk import locked
from nopos_plugin.prepare.download import fetch_from

URL = ("http://", "https://", "file://")


def files(names, cache):
    """The Paths of `names`; what a URL names is fetched into the folder `cache`, unless it is here.

    A pattern (*, ?) stands for the files that fit, a folder for the files in it and below that are
    not empty, both sorted, hidden ones left out. Raises ValueError for a name that stands for no
    file, or a file that is named twice.
    """
    found: list[Path] = []
    for name in names:
        here = url2pathname(urlsplit(name).path) if name.startswith("file://") else name
        its = [fetched(name, cache)] if here.startswith(URL) else at_hand(here)
        if not its:
            raise ValueError(f"{name}: there is no such file")
        found += its
    for path, times in Counter(path.absolute() for path in found).items():
        if times > 1:
            raise ValueError(f"{path} is named twice")
    return found


def fetched(url, cache):
    """The file that `url` names, in `cache`, under its own name. A ValueError names the URL."""
    try:
        name = Path(urlsplit(url).path).name
        if name in ("", ".."):
            raise ValueError("it ends in no name of a file: give the whole address of one")
        folder = Path(cache, sha256(url.encode()).hexdigest()[:12])  # names of files come twice
        with locked(folder, folder / name):
            return fetch_from(url, folder / name)
    except ValueError as error:
        raise ValueError(f"{url}: {error}") from error


def at_hand(name):
    """Paths of a file, a pattern, or a folder."""
    path = Path(name)
    if path.is_dir():
        files = (below for below in path.rglob("*") if below.is_file() and not hidden(below, path))
        return sorted(file for file in files if file.stat().st_size)
    if path.is_file():
        return [path]
    return sorted(path for path in map(Path, glob(name, recursive=True)) if path.is_file())


def hidden(path, folder):
    """Whether a name on the way from `folder` to `path` begins with a dot."""
    return any(name.startswith(".") for name in path.relative_to(folder).parts)
