"""Which results make one line, and the shortest names that tell lines apart."""

import json
import os


def line(row):
    """What the results of one line have in common, apart from the panel that they are on."""
    return (
        row.get("position_encoding"),
        row.get("position_args"),
        json.dumps(row.get("model_overrides"), sort_keys=True),
        row.get("model"),
        row.get("dtype"),
        row.get("trained_tokens"),
        row.get("extension"),
        row.get("checkpoint_sha256") or row["checkpoint"],
    )


def lines(rows):
    """{line: name} in the order of `rows`: the encoding, and only what else it takes."""
    first = first_of_each(rows, line)
    lengths = {row.get("trained_tokens") for row in first.values()}
    names = {
        key: (row.get("position_encoding") or "stock")
        + trained(row) * (len(lengths) > 1)
        + (f", {row['extension']}" if row.get("extension") else "")
        for key, row in first.items()
    }
    tells = [arguments, overrides, *map(kinds, ("dtype", "model"))]
    tells += [paths("checkpoint"), digests("checkpoint_sha256")]
    return told_apart(names, first, tells)


def text(row):
    """Which text, by its hash where that is known."""
    return row.get("data_sha256") or row["data"]


def texts(rows):
    """{text: name}, of the data-bins."""
    first = first_of_each(rows, text)
    names = {key: os.path.basename(os.path.normpath(row["data"])) for key, row in first.items()}
    return told_apart(names, first, (paths("data"), digests("data_sha256")))


def first_of_each(rows, key):
    """{key: the first row that has it}"""
    found = {}
    for row in rows:
        found.setdefault(key(row), row)
    return found


def told_apart(names, first, tells):
    """`names` of keys, those that are shared made longer by each of `tells` until none is.

    A tell: rows -> a text for each, empty where there is nothing to say.
    """
    for tell in tells:
        shared = {}
        for key, name in names.items():
            shared.setdefault(name, []).append(key)
        for name, keys in shared.items():
            if len(keys) > 1:
                said = tell([first[key] for key in keys])
                names |= {
                    key: f"{name}, {more}" if more else name
                    for key, more in zip(keys, said, strict=True)
                }
    return names


def trained(row):
    length = row.get("trained_tokens")
    return f", trained on {length}" if length else ", trained on ?"


def arguments(rows):
    """The options of the encoding that differ, and whether they were given at evaluation."""
    items = [(row.get("position_args") or "").split(",") for row in rows]
    said = different([dict(item.partition("=")[::2] for item in some if item) for some in items])
    late = ["position_args" in (row.get("model_overrides") or {}) for row in rows]
    return [
        f"{text}, at evaluation" if at and text else text
        for text, at in zip(said, late, strict=True)
    ]


def overrides(rows):
    """The overrides of the model that differ, but for what `arguments` says."""
    return different(
        [
            {
                key: value
                for key, value in (row.get("model_overrides") or {}).items()
                if key != "position_args"
            }
            for row in rows
        ]
    )


def different(dictionaries):
    names = list(dict.fromkeys(name for one in dictionaries for name in one))
    differ = [name for name in names if len({str(one.get(name)) for one in dictionaries}) > 1]
    return [
        ", ".join(f"{name}={one[name]}" for name in differ if name in one) for one in dictionaries
    ]


def kinds(field):
    """A tell: the field, if it differs."""

    def tell(rows):
        said = [row.get(field) or "" for row in rows]
        return said if len(set(said)) > 1 else [""] * len(said)

    return tell


def paths(field):
    """A tell: the paths in this field, without what they begin and end with in common."""

    def tell(rows):
        parts = [os.path.normpath(row[field]).split(os.sep) for row in rows]
        while all(parts) and len({part[-1] for part in parts}) == 1:
            parts = [part[:-1] for part in parts]
        while all(parts) and len({part[0] for part in parts}) == 1:
            parts = [part[1:] for part in parts]
        return ["/".join(part) for part in parts]

    return tell


def digests(field):
    """A tell: the first digits of a hash."""
    return lambda rows: [(row.get(field) or "")[:8] for row in rows]
