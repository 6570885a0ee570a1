"""nopos-data-info: what a data-bin holds, and whether its files are as they were made."""

import argparse
import json
import sys

from nopos_plugin.cli import preparing
from nopos_plugin.prepare import manifest

COMMAND = "nopos-data-info"


def parser():
    made = argparse.ArgumentParser(
        prog=COMMAND,
        description="Print what manifest.json says of a data-bin, and check its files against it.",
    )
    made.add_argument("data", nargs="+", metavar="DATA", help="data-bins of nopos-prepare-...")
    made.add_argument("--json", action="store_true", help="print the manifest alone on stdout")
    return made


def main(typed=None):
    """The exit status: 0 if all files are as their manifest says, else 1."""
    options = parser().parse_args(typed)
    return preparing.run(COMMAND, lambda: [show(data, options.json) for data in options.data])


def show(data, as_json):
    """Print the manifest of `data`. Raises ValueError if a file is not as it says."""
    fields = manifest.read(data)
    print(json.dumps(fields, indent=1, ensure_ascii=False) if as_json else described(fields, data))
    wrong = list(manifest.differences(data))
    if wrong:
        raise ValueError(f"{data}: " + "; ".join(wrong))
    said = f"{len(fields['files'])} files are as they were made"
    print(f"{data}: {said}" if as_json else f"  {said}", file=sys.stderr if as_json else sys.stdout)


def described(fields, data):
    lines = [preparing.printed(fields, data), f"  made by {fields.get('made_by')}"]
    for name, value in fields.get("options", {}).items():
        lines.append(f"  {name.replace('_', ' ')}: {json.dumps(value, ensure_ascii=False)}")
    lines.append(f"  tokenizer: {fields.get('tokenizer', {}).get('name')}")
    lines.append(f"  separators: {json.dumps(fields.get('separators'), ensure_ascii=False)}")
    for source in fields.get("sources", []):
        place = source.get("from", source["name"])
        lines.append(f"  from {place}, {source['bytes']:,} bytes, sha256 {source['sha256']}")
    for split, counts in fields["splits"].items():
        for name, its in counts.get("components", {}).items():
            said = f"{its['documents']:,} documents, {its['tokens']:,} tokens"
            lines.append(f"  {split}, {name}: {said}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
