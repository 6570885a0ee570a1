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

root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
name=quickstart
. "$root/examples/steps.sh"
wordless "$@"
[[ $updates =~ ^[1-9][0-9]*$ ]] && ((updates > 100)) || die "UPDATES=$updates: name a number above 100 (the warm-up)"

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
    step "models/$1" "$model_key" train "$1"
    step "evaluations/$1" "$model_key" evaluate "$1"
}

begin
mkdir -p text models evaluations

python "$here/corpus.py" text "$text"
data_key=$(cat text/* "$here"/{spell,bigram}.py "$here/run.sh" | cksum)
model_key="$data_key $(sources) $updates"
step data "$data_key" prepare

side_by_side one_encoding "${encodings[@]}"

for encoding in "${encodings[@]}"; do
    cat "evaluations/$encoding/results.jsonl"
done >results.jsonl
logged plot nopos-plot results.jsonl
python "$here/report.py" results.jsonl data/bigram.json
say "done: $out/results.jsonl, table.md and results-perplexity.png"
