#!/usr/bin/env bash
# All checks: lint, format, types, tests. Stops at the first that fails.
#
#     bash scripts/test.sh                   without the tests marked slow
#     bash scripts/test.sh --all             with them
#     bash scripts/test.sh -k alibi -x       other arguments are pytest's (paths count from the repository's root);
#                                            tests run in a process for each core, four at most, with -n 0 in one
set -euo pipefail
CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A file's tests share what they train, so they stay together.
arguments=(-m "not slow" -n auto --maxprocesses 4 --dist loadfile)
for argument; do
    # Of several -m pytest takes the last.
    if [ "$argument" = --all ]; then argument="-mslow or not slow"; fi
    arguments+=("$argument")
done

check() {
    echo "test: $*"
    ".venv/bin/$1" "${@:2}" || { echo "test: FAILED: $*" >&2; exit 1; }
}

bash scripts/install.sh
check ruff check .
check ruff format --check .
check mypy
# Last, and in this shell's place: its summary is the last line, its exit status ours.
exec .venv/bin/pytest "${arguments[@]}"
