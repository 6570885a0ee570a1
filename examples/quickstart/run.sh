#!/usr/bin/env bash
# Six position encodings, trained at 64 bytes, scored at 64, 128, 256 and 512: one table, one picture.
#
#     bash examples/quickstart/run.sh
#     TEXT="some book.txt" bash examples/quickstart/run.sh    any file instead of Python's standard library
#     OUT=folder           bash examples/quickstart/run.sh    instead of examples/quickstart/out
#     UPDATES=6000         bash examples/quickstart/run.sh    longer training
#
# What is finished is kept: run it again after an interruption, and only the rest is made. What depends on another
# text, other settings or other code is made anew.
set -euo pipefail

encodings=(nopos sinusoidal alibi kerple_log rope bipe_rope)
length=64                 # bytes, in training
lengths=64,128,256,512    # bytes, in evaluation
updates=${UPDATES:-1400}  # of 1024 bytes each

absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s' "$PWD/$1" ;; esac }
say() { printf '[%d:%02d] %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"; }
die() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }

((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 403)) || die "bash $BASH_VERSION is too old, 4.3 is needed"
here=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=${here%/examples/quickstart}
text=${TEXT:+$(absolute "$TEXT")}
out=$(absolute "${OUT:-$here/out}")
[ -z "$text" ] || [ -f "$text" ] || die "TEXT=$TEXT: there is no such file"
[[ $updates =~ ^[1-9][0-9]*$ ]] && ((updates > 100)) || die "UPDATES=$updates: name a number above 100 (the warm-up)"

bash "$root/scripts/install.sh"
unset PYTHONPATH PYTHONHOME
export PATH="$root/.venv/bin:$PATH"
# As many jobs at once as there are cores, one thread each; and no GPU, so that numbers are alike everywhere.
jobs=$(getconf _NPROCESSORS_ONLN)
export OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES='' PYTHONWARNINGS=ignore
SECONDS=0

# piece DIR KEY COMMAND...: COMMAND fills the new folder $part; once it is done, and not before, that becomes DIR.
# A DIR that was made with the same KEY stays.
piece() {
    local dir=$1 key=$2
    shift 2
    if [ "$(cat "$dir/.key" 2>/dev/null)" = "$key" ]; then
        say "$dir: finished earlier"
        return
    fi
    part=$dir.part
    rm -rf "$dir" "$part"
    mkdir -p "$part"
    "$@"
    printf '%s\n' "$key" >"$part/.key"
    mv "$part" "$dir"
}

# logged NAME COMMAND...: the output goes to logs/NAME.log, its progress to the terminal; after a failure, its end.
logged() {
    local log=logs/$1.log
    { "${@:2}" 2>&1 | tee "$log" | progress "$1"; } && return
    tail -n 20 "$log" >&2
    die "$2 failed; above is the end of $out/$log"
}

progress() { # progress NAME: the lines of fairseq-train on stdin, the readable part of them on stdout
    local line
    while IFS= read -r line; do
        if [[ $line =~ train_inner.*\ loss=([0-9.]+),.*\ num_updates=([0-9]+), ]]; then
            say "$1: update ${BASH_REMATCH[2]} of $updates, training at ${BASH_REMATCH[1]} bits per byte"
        fi
    done
}

prepare() {
    say "data: every byte is a token, and the newline is </s>"
    cp text/* "$part"
    python "$here/bigram.py" "$part"
    python "$here/spell.py" "$part"
    logged preprocess fairseq-preprocess --only-source --trainpref "$part/train.bytes" \
        --validpref "$part/valid.bytes" --srcdict "$part/dict.txt" --destdir "$part/bin" --workers 2
    rm "$part"/*.bytes
    # A segment ends with its line, for encodings that count segments (BiPE); a token is a byte.
    local bytes
    bytes=$(wc -c <"$part/valid.txt")
    printf '{"separators": ["</s>"], "splits": {"valid": {"tokens": %d, "bytes": %d}}}\n' "$bytes" "$bytes" \
        >"$part/bin/manifest.json"
}

train() { # train ENCODING
    say "$1: training at $length bytes"
    logged "$1" fairseq-train data/bin --user-dir "$root/nopos_plugin" --task language_modeling \
        --arch "transformer_lm_$1" --decoder-layers 2 --decoder-attention-heads 4 --decoder-ffn-embed-dim 512 \
        --decoder-embed-dim 128 --decoder-input-dim 128 --decoder-output-dim 128 --dropout 0 \
        --share-decoder-input-output-embed \
        --tokens-per-sample "$length" --sample-break-mode none --max-tokens 1024 --max-update "$updates" \
        --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 0.01 --clip-norm 1 \
        --lr 3e-3 --lr-scheduler cosine --warmup-updates 100 --seed 1 --num-workers 0 \
        --save-dir "$part" --no-epoch-checkpoints --no-last-checkpoints --log-format simple --log-interval 100
}

evaluate() { # evaluate ENCODING: each byte of the validation text is scored once at every length
    say "$1: evaluation at ${lengths//,/, } bytes"
    logged "evaluate-$1" nopos-evaluate data/bin --path "models/$1/checkpoint_best.pt" --lengths "$lengths" \
        --output "$part/results.jsonl"
}

one_encoding() { # one_encoding ENCODING: its training, then its evaluation
    piece "models/$1" "$model_key" train "$1"
    piece "evaluations/$1" "$model_key" evaluate "$1"
}

# Each background job is a process group of its own (set -m), so that its end takes its children along.
set -m
stop() { for job in $(jobs -p); do kill -- "-$job" 2>/dev/null || true; done; }
trap stop EXIT
trap 'exit 130' INT TERM HUP

mkdir -p "$out"
cd "$out"
if command -v flock >/dev/null; then
    exec 9>.lock
    flock -n 9 || { say "another run is at work in $out, or its last job is: waiting"; flock 9; }
fi
mkdir -p logs text models evaluations

say "quickstart in $out, $jobs jobs at a time"
python "$here/corpus.py" text "$text"
data_key=$(cat text/* "$here"/{spell,bigram}.py "$here/run.sh" | cksum)
model_key="$data_key $(cat "$root"/nopos_plugin/{,*/}*.py | cksum) $updates"
piece data "$data_key" prepare

running=0
for encoding in "${encodings[@]}"; do
    if ((running == jobs)); then
        wait -n || die "stopped: the failure is above"
        running=$((running - 1))
    fi
    one_encoding "$encoding" </dev/null &
    running=$((running + 1))
done
while ((running)); do
    wait -n || die "stopped: the failure is above"
    running=$((running - 1))
done

for encoding in "${encodings[@]}"; do
    cat "evaluations/$encoding/results.jsonl"
done >results.jsonl
logged plot nopos-plot results.jsonl
python "$here/report.py" results.jsonl data/bigram.json
say "done: $out/results.jsonl, table.md and results-perplexity.png"
