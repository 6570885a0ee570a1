#!/usr/bin/env bash
# Makes .venv in the repository's root: this package (editable), fairseq and the test tools, at the versions of
# constraints.txt. A finished .venv that still fits is left alone, so scripts call this first, each time.
#
#     bash scripts/install.sh
#     PYTHON=/path/to/python3.12 bash scripts/install.sh
set -euo pipefail
CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$(pwd -P)
log=.venv-install.log
# This file marks .venv as ours (from its first moment, empty) and as finished (its content, written last).
stamp=.venv/.nopos-plugin

# pip takes whatever is on PYTHONPATH for installed. CUDA_HOME makes fairseq's setup compile CUDA kernels that
# language models never call.
unset PYTHONHOME PYTHONPATH CUDA_HOME

say() { printf 'install: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }

version() { "$1" -IS -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

# Everything that makes another .venv necessary. The folder is part of it: a venv's scripts carry absolute paths.
key() {
    "$1" -IS - "$root" 2>/dev/null <<'EOF' || true
import hashlib, sys
parts = [sys.argv[1].encode(), b"%d.%d" % sys.version_info[:2]]
parts += [open(name, "rb").read() for name in ("setup.py", "scripts/constraints.txt")]
print(hashlib.sha256(b"\0".join(parts)).hexdigest())
EOF
}

# Without PYTHON= the venv's own Python is asked, so that a .venv made with another one is kept.
finished() { [ -s "$stamp" ] && [ "$(cat "$stamp")" = "$(key "${PYTHON:-.venv/bin/python}")" ]; }

done_already() { say ".venv is ready (Python $(version .venv/bin/python))"; exit 0; }

find_python() {
    local name names=(python3.11 python3.12 python3)
    if [ -n "${PYTHON:-}" ]; then names=("$PYTHON"); fi
    for name in "${names[@]}"; do
        case $(version "$name") in
            3.11 | 3.12)
                # Where links end: in an activated .venv, python3.11 is the one that is about to be removed.
                python=$("$name" -IS -c 'import os, sys; print(os.path.realpath(sys.executable))')
                return
                ;;
        esac
    done
    if [ -n "${PYTHON:-}" ]; then die "PYTHON=$PYTHON is not a working Python 3.11 or 3.12."; fi
    die "no Python 3.11 or 3.12 found: install one, or name it with PYTHON=/path/to/python."
}

check_python() {
    "$python" -Ic 'import ensurepip, venv' 2>/dev/null ||
        die "$python cannot make virtual environments: install its venv package (Debian: python$(version "$python")-venv)."
    # The one platform with a wheel of fairseq-fixed; everywhere else it is compiled.
    if [ "$(version "$python") $(uname -sm)" = "3.12 Linux x86_64" ]; then return; fi
    local other="or use Python 3.12 on Linux x86_64, which needs none."
    [ -n "$(command -v gcc || command -v cc)" ] && [ -n "$(command -v g++ || command -v c++)" ] ||
        die "no C and C++ compiler (gcc, g++) to build fairseq with: install one, $other"
    [ -e "$("$python" -Ic 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] ||
        die "no Python.h to build fairseq with: install $python's headers (Debian: python$(version "$python")-dev), $other"
}

step() { # step "what" command ...
    say "$1 ..."
    shift
    "$@" >>"$log" 2>&1 || {
        tail -n 25 "$log" >&2
        die "that failed (above: the end of $log). Once the cause is gone, run this again: it starts anew."
    }
}

pip() { .venv/bin/python -m pip --no-input --disable-pip-version-check "$@"; }

# -I keeps the current folder off sys.path: what is imported is what was installed.
verify() { .venv/bin/python -Ic 'import torch, fairseq, nopos_plugin' && .venv/bin/nopos-encodings --help; }

if finished; then done_already; fi
find_python
check_python

# One at a time. Without flock (macOS) two calls at once are up to the caller.
if command -v flock >/dev/null; then
    exec 9>.venv.lock
    flock -n 9 || { say "another install is at work, waiting for it ..."; flock 9; }
    if finished; then done_already; fi
fi

if [ ! -e "$stamp" ] && [ -n "$(ls -A .venv 2>/dev/null)" ]; then
    die ".venv exists, but this script did not make it: move it away first."
fi
if [ -e "$stamp" ]; then say "emptying .venv: unfinished, or made for other versions or another folder"; fi
mkdir -p .venv
: >"$stamp"
find .venv/ -mindepth 1 ! -path "$stamp" -delete
: >"$log"
say "Python $(version "$python") ($python): about 3 minutes, 2 to 6 GB (torch); log in $log"

# fairseq's setup imports torch. Built in isolation, as is pip's way, it would get a second torch of several GB and of
# any version; so its build requirements come first, pinned, and it is built against them.
SECONDS=0
step "1/4 an empty environment" "$python" -m venv .venv
step "2/4 torch and what fairseq is built with" \
    pip install --upgrade -c scripts/constraints.txt pip setuptools wheel cython numpy torch
step "3/4 fairseq, the test tools and this package" \
    pip install --no-build-isolation -c scripts/constraints.txt -e '.[test]'
step "4/4 does it import" verify
key .venv/bin/python >"$stamp"
say "done in $SECONDS s"
