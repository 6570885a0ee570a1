#!/usr/bin/env bash
# A model trained at 256 tokens, extended 8 and 16 times in windows of 256: perplexity and passkeys, to 4,096 tokens.
#
#     bash examples/pose/run.sh
#     TEXT="some book.txt" bash examples/pose/run.sh    any file instead of Python's standard library
#     OUT=folder           bash examples/pose/run.sh    instead of examples/pose/out
#
# What is finished is kept: run it again after an interruption, and only the rest is made. What depends on another
# text, other settings or other code is made anew.
set -euo pipefail

window=256                       # tokens, in training
lengths=256,512,1024,2048,4096   # tokens, in evaluation
updates=${UPDATES:-2500}         # of 4,096 tokens at most, to train the model
further=${FURTHER:-500}          # to extend it
trials=${TRIALS:-50}             # passkeys a length

# name = how it is trained further / scaling / factor. `none`: not at all.
models=(
    base=none// linear-only=none/linear/8 ntk-only=none/ntk/8 yarn-only=none/yarn/8
    pose-linear-8=original/linear/8 pose-ntk-8=original/ntk/8 pose-yarn-8=original/yarn_pose/8
    plain-linear-8=plain/linear/8 randpos-linear-8=randpos/linear/8 full-linear-8=full/linear/8
    pose-linear-16=original/linear/16 pose-ntk-16=original/ntk/16 pose-yarn-16=original/yarn_pose/16
    plain-linear-16=plain/linear/16
)

root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
name=pose
. "$root/examples/steps.sh"
wordless "$@"
for number in "$updates" "$further" "$trials"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || die "UPDATES, FURTHER and TRIALS are whole numbers from 1 on, not $number"
done

lessons() { # lessons NAME MAX: passkeys with up to MAX words of filler
    nopos-make-task passkey --out "$part/$1" --documents 9000 --filler "0:$2"
}

data_bin() { # data_bin NAME: of the documents in NAME.jsonl
    logged "prepare-$1" nopos-prepare-text "$part/$1.jsonl" --valid "$part/valid.jsonl" --documents json --seed 1 \
        --tokenizer json --tokenizer-json "$part/tokenizer.json" --dest "$part/$1" --workers "$jobs"
}

prepare() {
    say "data: text and passkeys"
    lessons lessons 100
    lessons long-lessons 1500
    python "$here/documents.py" text "$part" "$window" 8
    for kind in short long full; do
        data_bin "$kind"
    done
}

train() { # train NAME WINDOW DATA FLAG...: windows of the documents in DATA
    local name=$1 tokens=$2 data=$3
    shift 3
    logged "$name" fairseq-train "data/$data" --user-dir "$root/nopos_plugin" --task pose_language_modeling \
        --tokens-per-sample "$tokens" --arch transformer_lm_rope --decoder-layers 4 --decoder-attention-heads 4 \
        --decoder-embed-dim 128 --decoder-input-dim 128 --decoder-output-dim 128 --decoder-ffn-embed-dim 512 \
        --share-decoder-input-output-embed --dropout 0 --max-tokens 4096 --num-workers 0 --seed 1 \
        --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 0.01 --clip-norm 1 --lr-scheduler cosine \
        --disable-validation --no-epoch-checkpoints --save-dir "$part" --log-format simple --log-interval 100 "$@"
}

train_base() {
    OMP_NUM_THREADS=$jobs train base "$window" short --extension plain --extension-factor 1 \
        --max-update "$updates" --lr 2e-3 --warmup-updates 100
}

options() { # options SCALING FACTOR: of the encoding
    printf 'scaling=%s,factor=%s' "$1" "$2"
    case $1 in yarn*) printf ',original_length=%s' "$window" ;; esac
}

extend() { # extend NAME HOW SCALING FACTOR: the model of models/base, trained further
    local name=$1 how=$2 scaling=$3 factor=$4 tokens=$window data=long
    local kind=(--extension "$how" --extension-factor "$factor")
    if [ "$how" = full ]; then
        tokens=$((window * factor)) data=full kind=(--extension plain --extension-factor 1)
    fi
    train "$name" "$tokens" "$data" "${kind[@]}" --finetune-from-model models/base/checkpoint_last.pt \
        --position-args "$(options "$scaling" "$factor")" \
        --max-update "$further" --lr 1e-3 --warmup-updates 50
}

evaluate() { # evaluate NAME CHECKPOINT ARGS: every token of the validation text at every length, then the passkeys
    local given=(--path "$2")
    [ -z "$3" ] || given+=(--position-args "$3")
    say "$1: perplexity"
    logged "evaluate-$1" nopos-evaluate data/long "${given[@]}" --lengths "$lengths" --stride "$window" \
        --output "$part/results.jsonl"
    say "$1: passkeys"
    logged "passkey-$1" nopos-passkey data/long "${given[@]}" --lengths "$lengths" --exact-length --trials "$trials" \
        --tokenizer-json data/tokenizer.json --output "$part/passkey.jsonl"
}

one_model() { # one_model NAME=HOW/SCALING/FACTOR
    local name=${1%%=*} how scaling factor checkpoint args=
    IFS=/ read -r how scaling factor <<<"${1#*=}"
    if [ "$how" = none ]; then
        checkpoint=models/base/checkpoint_last.pt
        [ -z "$scaling" ] || args=$(options "$scaling" "$factor")
    else
        checkpoint=models/$name/checkpoint_last.pt
        step "models/$name" "$model_key $further" extend "$name" "$how" "$scaling" "$factor"
    fi
    step "evaluations/$name" "$model_key $further $trials" evaluate "$name" "$checkpoint" "$args"
}

begin
mkdir -p text models evaluations
python "$root/examples/quickstart/corpus.py" text "$text"
data_key="$(cat text/* "$here"/{documents.py,run.sh} | cksum) $(sources)"
model_key="$data_key $updates"
step data "$data_key" prepare
step models/base "$model_key" train_base
side_by_side one_model "${models[@]}"

for kind in results passkey; do
    for model in "${models[@]}"; do
        cat "evaluations/${model%%=*}/$kind.jsonl"
    done >"$kind.jsonl"
    logged plot nopos-plot "$kind.jsonl"
done
python "$here/report.py" "${models[@]%%=*}"
say "done: $out/table.md, results-perplexity.png and passkey-depth.png"
