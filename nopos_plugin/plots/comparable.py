"""Which results may stand on one panel: of the same targets, in windows that lie alike."""

from typing import NamedTuple

from nopos_plugin.plots import names

NO_OVERLAP = "window"


class Kind(NamedTuple):
    """What the results of a panel have in common."""

    text: str
    split: str
    documents: str
    opening: str
    targets: str
    stride: int | str | None  # new tokens of a window, NO_OVERLAP, a part of it, or None: none
    first_too: bool  # does the first window score no more than the others?

    def title(self):
        """How the windows lie."""
        said = [] if self.targets == "all" else [self.targets]
        if self.stride == NO_OVERLAP:
            said.append("no overlap (stride = window)")
        elif self.stride is not None:
            first_too = self.first_too and self.targets == "all"
            said.append(f"stride {self.stride}" + ", the first window's too" * first_too)
        return ", ".join(said) or "all"

    def about(self, texts):
        """The text, by its name in `texts`, and what else is not usual."""
        said = [texts[self.text], self.split]
        if self.documents != "none":
            said.append(f"documents: {self.documents}")
        if self.opening != "document":
            said.append(f"opening: {self.opening}")
        return ", ".join(said)

    def source(self):
        return self.text, self.split, self.documents, self.opening

    def without_overlap(self):
        """The kind that a window belongs to which is as long as the stride."""
        return self._replace(stride=NO_OVERLAP, first_too=False)


def kind(row):
    window, stride = row["window_tokens"], row.get("stride_tokens")
    first = row.get("first_window_tokens") or window
    return Kind(
        names.text(row),
        row["split"],
        row.get("documents") or "none",
        row.get("opening") or "document",
        row["targets"],
        NO_OVERLAP if stride == window else stride,
        stride is not None and first == stride < window,
    )


def panels(rows):
    """{kind: rows}: texts in the order of `rows`; of each no overlap, strides, other targets."""
    found = {}
    for row in rows:
        found.setdefault(kind(row), []).append(row)
    found = join_parts(found)
    for key in [key for key in found if key.stride == NO_OVERLAP]:
        if begin_lines(found, key) == {row["window_tokens"] for row in found[key]}:
            del found[key]
    sources = list(dict.fromkeys(key.source() for key in found))

    def rank(key):
        size = key.stride if isinstance(key.stride, int) else 0
        place = (key.stride is None, key.stride != NO_OVERLAP, -size, str(key.stride))
        return sources.index(key.source()), key.targets != "all", key.targets, *place, key.first_too

    return {key: found[key] for key in sorted(found, key=rank)}


def join_parts(found):
    """`found` with one panel for strides that are the same part of windows of several lengths.

    Each would have a panel with a single length otherwise.
    """
    parts, single = {}, set()
    for key, members in found.items():
        overlapping = isinstance(key.stride, int)
        if overlapping and len({row["window_tokens"] for row in members}) == 1:
            single.add(key)
        for row in members if overlapping else ():
            number, rest = divmod(row["window_tokens"], key.stride)
            if not rest:
                joined = key._replace(stride=f"{NO_OVERLAP}/{number}")
                parts.setdefault(joined, {}).setdefault(key, []).append(row)
    for joined, its in parts.items():
        if len(its) > 1 and single.intersection(its):
            found = {key: members for key, members in found.items() if key not in single & {*its}}
            found[joined] = [row for members in its.values() for row in members]
    return found


def begin_lines(found, key):
    """Add results of the kind `key`, without overlap, to the lines that begin with them.

    A window as long as the stride of longer ones is the first point of their line. Returns the
    lengths of those windows; on the panel of `key` they are wanted only if there are others.
    """
    begun = set()
    for other, members in found.items():
        if other != key and other.stride is not None and other.without_overlap() == key:
            begins = [row for row in found[key] if row["window_tokens"] == other.stride]
            members += begins
            begun |= {row["window_tokens"] for row in begins}
    return begun
