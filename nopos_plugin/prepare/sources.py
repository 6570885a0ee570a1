"""Files, folders, patterns and URLs, as a user names them."""

from collections import Counter
from glob import glob
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from nopos_plugin.prepare.disk import locked
from nopos_plugin.prepare.download import fetch_from

URL = ("http://", "https://", "file://")


def files(names, cache):
    """The Paths of `names`; what a URL names is fetched into the folder `cache`.

    A pattern (*, ?) stands for the files that fit, a folder for the files in it and below that are
    not empty, both sorted. Raises ValueError for a name that stands for no file, or a file that is
    named twice.
    """
    found: list[Path] = []
    for name in names:
        its = [fetched(name, cache)] if name.startswith(URL) else at_hand(name)
        if not its:
            raise ValueError(f"{name}: there is no such file")
        found += its
    for path, times in Counter(path.absolute() for path in found).items():
        if times > 1:
            raise ValueError(f"{path} is named twice")
    return found


def fetched(url, cache):
    """The file that `url` names, in `cache`, under its own name."""
    folder = Path(cache, sha256(url.encode()).hexdigest()[:12])  # names of files come twice
    path = folder / Path(urlsplit(url).path).name
    with locked(folder, path):
        fetch_from(url, path)
    return path


def at_hand(name):
    """Paths of a file, a pattern, or a folder."""
    path = Path(name)
    if path.is_dir():
        files = (below for below in path.rglob("*") if below.is_file())
        return sorted(file for file in files if file.stat().st_size)
    if path.is_file():
        return [path]
    return sorted(path for path in map(Path, glob(name, recursive=True)) if path.is_file())
