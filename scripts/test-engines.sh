#!/usr/bin/env bash
# The core suite, what of the tests leans on fairseq, under every engine that can be had here. Says which were run, which
# not, and why; fails if one failed, or none was run.
#
#     bash scripts/test-engines.sh                        all engines
#     bash scripts/test-engines.sh -k hydra               arguments are pytest's, for the core suite
#     ENGINES=stock-3.10 bash scripts/test-engines.sh     one of them: fixed-3.11, fixed-3.12, stock-3.10
#     PYTHON310=/path/to/python bash scripts/...          the interpreter of one (PYTHON311, PYTHON312); torch 2.13.0,
#                                                         if that has it, is used
#     TORCH=torch==2.13.0 bash scripts/...                torch from the registry where no CPU build is at hand: several GB
#
# Each has an environment of its own, .venv-ENGINE, made once (3 minutes).
set -uo pipefail
CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
unset PYTHONHOME PYTHONPATH CUDA_HOME # as in install.sh

ENGINES=${ENGINES:-fixed-3.11 fixed-3.12 stock-3.10}
TORCH=${TORCH:-torch==2.13.0+cpu} # without CUDA packages, or not at all
CORE=(architectures bad_input contract data_windowed engine eval_lm faults hydra pose precision processes registration resume
    sliding_window_criterion stock_equality tensorboard training)

say() { printf 'test-engines: %s\n' "$*"; }

is_python() { [ "$("$1" -IS -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$2" ]; }

# find_python VERSION: sets `python`, or `why` there is none.
find_python() {
    local named="PYTHON${1/./}" found
    if [ -n "${!named:-}" ]; then
        python=${!named}
        is_python "$python" "$1" || { why="$named=$python is no Python $1"; return 1; }
        return
    fi
    for found in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        if is_python "$found" "$1"; then python=$found; return; fi
    done
    why="no Python $1 found; name one with $named=/path/to/python"
    return 1
}

# The folder that a Python imports torch from, if it does.
LENT='import torch, os; assert torch.__version__.split("+")[0] == "2.13.0"; print(os.path.dirname(torch.__path__[0]))'

# find_torch: whether `python` has torch, in the folder `lent`, or pip can get it, as `torch`; or sets `why` not.
find_torch() {
    lent=$("$python" -Ic "$LENT" 2>/dev/null) torch=()
    if [ -n "$lent" ]; then return; fi
    torch=("$TORCH")
    # With +cpu this downloads nothing: pip finds such a build, or none.
    [[ $TORCH != *+cpu ]] || "$python" -m pip -q install --dry-run --no-deps --ignore-installed "$TORCH" >/dev/null 2>&1 || {
        why="no CPU build of torch 2.13.0 for $python; TORCH=torch==2.13.0 takes the registry's (several GB), "
        why+="PYTHON${version/./}= an interpreter that has it"
        return 1
    }
}

# install ENGINE VENV: with `python`, and `lent` or `torch`.
install() {
    local pip=("$2/bin/python" -m pip --no-input --disable-pip-version-check install) pins=(-c scripts/constraints.txt)
    "$python" -m venv "$2" || return
    [ -z "$lent" ] || printf '%s\n' "$lent" >"$2/lib/python${1#*-}/site-packages/torch.pth"
    case $1 in
        fixed-*)
            "${pip[@]}" "${pins[@]}" --upgrade pip setuptools wheel cython numpy "${torch[@]}" &&
                "${pip[@]}" "${pins[@]}" --no-build-isolation -e '.[test]'
            ;;
        stock-*) # newer pips refuse the metadata of its omegaconf; the plugin itself is a bare --user-dir
            pins=(numpy==1.26.4 hydra-core==1.0.7 omegaconf==2.0.6 torchaudio==2.11.0)
            "${pip[@]}" 'pip<24.1' 'setuptools<81' wheel cython "${pins[@]:0:1}" "${torch[@]}" &&
                "${pip[@]}" --no-build-isolation "${pins[@]}" fairseq==0.12.2 \
                    matplotlib pyarrow pytest sacremoses tensorboardX tiktoken tokenizers tqdm zstandard
            ;;
    esac
}

# environment ENGINE VENV: makes it unless it is there, whole and of this recipe.
environment() {
    local recipe
    recipe=$(cat setup.py scripts/constraints.txt <(declare -f install; printf '%s\n' "$python" "$lent" "$TORCH" "$PWD") | cksum)
    if [ "$(cat "$2/.recipe" 2>/dev/null)" = "$recipe" ]; then return; fi
    say "$1: an environment, $2, with $python ..."
    rm -rf "$2"
    install "$1" "$2" >"$2.log" 2>&1 || { tail -n 25 "$2.log" >&2; return 1; }
    printf '%s\n' "$recipe" >"$2/.recipe"
}

tests=("${CORE[@]/#/tests/test_}")
tests=("${tests[@]/%/.py}")
num_run=0 num_failed=0 report=()
for engine in $ENGINES; do
    version=${engine#*-} venv=.venv-$engine why=
    case $engine in
        fixed-3.11 | fixed-3.12 | stock-3.10) ;;
        *) say "ENGINES=$engine: known are fixed-3.11, fixed-3.12, stock-3.10" >&2; exit 2 ;;
    esac
    if ! { find_python "$version" && find_torch; }; then
        report+=("$engine: NOT RUN: $why")
        continue
    fi
    num_run=$((num_run + 1)) SECONDS=0
    if ! environment "$engine" "$venv"; then
        report+=("$engine: FAILED to install (see $venv.log)")
        num_failed=$((num_failed + 1))
        continue
    fi
    say "$engine: the core suite ..."
    if "$venv/bin/python" -m pytest -q -m 'not slow' "${tests[@]}" "$@"; then
        report+=("$engine: passed in $SECONDS s")
    else
        report+=("$engine: FAILED")
        num_failed=$((num_failed + 1))
    fi
done

printf 'test-engines: %s\n' "${report[@]}"
[ "$num_failed" = 0 ] && [ "$num_run" != 0 ]
