#!/usr/bin/env bash
# Ten position encodings on one text, trained at one short length, scored at 1 to 32 times that length.
#
#     bash examples/study/run.sh                 three seeds of five encodings, up to 32 times the length
#     SCALE=quick bash examples/study/run.sh     eight of them, smaller, one seed, up to 8 times the length
#     SCALE=gpu   bash examples/study/run.sh     a larger model, on a GPU
#     SMOKE=1     bash examples/study/run.sh     minutes, of models that learn nothing: does it all run?
#     WIKITEXT2=folder ...                       with train.txt and valid.txt of WikiText-2; else data/wikitext-2
#                                                in the clone or in a folder beside it, if there
#     TEXT="some book.txt" ...                   any file; without a text, Python's standard library
#     OUT=folder ...                             instead of examples/study/out, or out-$SCALE
#     UPDATES=number ...                         of each training
#
# What is finished is kept, and a training goes on from its last checkpoint: run it again after an interruption.
# What depends on another text, other settings or other code is made anew.
set -euo pipefail

encodings=(nopos sinusoidal alibi kerple_log rope learned t5 bipe_rope kerple_power bipe_alibi)
argued=("${encodings[@]:0:5}") # about these the papers argue: they get more seeds
analysed=(nopos-1 learned-1 sinusoidal-1 alibi-1) # those of figure 2 of Haviv et al.
scale=${SMOKE:+smoke}
scale=${scale:-${SCALE:-full}}
# types: of the vocabulary. length: tokens, in training. most: bytes of training text. sample: targets of all evaluations
# but one. batch: tokens of an update. probing: updates of probes
types=300 length=64 most='' layers=4 width=128 heads=4 lr=3e-3 updates=6000 batch=1024
seeds=(1 2 3) times=(1 2 4 8 16 32) sample=20000 probing=1000
case $scale in
    full) ;;
    quick) # so that NoPos, the slowest to learn, passes the mark
        encodings=("${encodings[@]:0:8}") length=64 most=1200000 width=96 heads=3 lr=4e-3 updates=3600
        seeds=(1) times=(1 2 4 8) sample=5000 probing=200
        ;;
    gpu) types=400 length=128 layers=6 width=384 heads=6 lr=1e-3 updates=2500 batch=8192 ;;
    smoke) layers=1 width=16 updates=201 seeds=(1 2) times=(1 2 4) sample=200 probing=2 ;;
    *) seeds=() ;;
esac
updates=${UPDATES:-$updates}
longest=$((length * times[-1]))
targets=(--targets "$longest:$((longest + sample))" --stride window,window/8)
more=() # flags of training

root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
name=study
[ "$scale" = full ] || OUT=${OUT:-$root/examples/study/out-$scale}
devices=${CUDA_VISIBLE_DEVICES:-0}
. "$root/examples/steps.sh"
wordless "$@"
[ -z "${WIKITEXT2-}" ] || [ -d "$WIKITEXT2" ] || die "WIKITEXT2=$WIKITEXT2: there is no such folder"
[ -z "${WIKITEXT2-}" ] || [ -z "$text" ] || die "WIKITEXT2=$WIKITEXT2 and TEXT=$TEXT: name one text"
((${#seeds[@]})) || die "SCALE=$scale: there are full (without SCALE), quick and gpu"
[[ $updates =~ ^[1-9][0-9]*$ ]] && ((updates > 200)) || die "UPDATES=$updates: name a number above 200 (the warm-up)"

corpus() { # the text: train.txt, valid.txt, source.txt and documents.txt (what a document is) in text/
    local folders=("$root"/data/wikitext-2 "$root"/../*/data/wikitext-2) folder split file
    rm -f text/*
    [ -z "${WIKITEXT2-}" ] || folders=("$(absolute "$WIKITEXT2")")
    for folder in "${folders[@]}"; do
        [ -z "$text" ] && [ -d "$folder" ] || continue
        for split in train valid; do
            for file in "$folder/$split.txt" "$folder/wiki.$split.tokens"; do
                [ ! -f "$file" ] || cp --no-preserve=mode "$file" "text/$split.txt"
            done
            [ -f "text/$split.txt" ] || die "$folder has no $split.txt, nor wiki.$split.tokens, of WikiText-2"
        done
        say "text: $folder"
        echo "WikiText-2" >text/source.txt
        echo articles >text/documents.txt
        break
    done
    if [ ! -f text/source.txt ]; then
        python "$root/examples/quickstart/corpus.py" text "$text"
        echo file >text/documents.txt
    fi
    [ -n "$most" ] && (($(wc -c <text/train.txt) > most)) || return 0
    head -c "$most" text/train.txt | sed '$d' >text/beginning.txt # whole lines
    mv text/beginning.txt text/train.txt
    echo "$(cat text/source.txt), the first $most bytes of its training text" >text/source.txt
}

prepare() {
    say "data: $(cat text/source.txt), a byte-level BPE of $types types"
    cp text/* "$part"
    python "$root/examples/vocabulary.py" "$part/train.txt" "$types" "$part/tokenizer.json"
    logged prepare nopos-prepare-text "$part/train.txt" --valid "$part/valid.txt" --documents "$(cat text/documents.txt)" \
        --tokenizer json --tokenizer-json "$part/tokenizer.json" --seed 1 --dest "$part/bin" --workers "$jobs"
    python "$here/ngram.py" "$part/bin" 3 "$part" >"$part/ngram.json" 2>>logs/prepare.log
}

train() { # train ENCODING-SEED, from its last checkpoint if there is one
    local encoding=${1%-*} seed=${1##*-}
    say "$1: training at $length tokens"
    logged "$1" fairseq-train data/bin --user-dir "$root/nopos_plugin" --task language_modeling \
        --arch "transformer_lm_$encoding" --decoder-layers "$layers" --decoder-attention-heads "$heads" \
        --decoder-embed-dim "$width" --decoder-input-dim "$width" --decoder-output-dim "$width" \
        --decoder-ffn-embed-dim $((4 * width)) --decoder-normalize-before --share-decoder-input-output-embed --dropout 0 \
        --tokens-per-sample "$length" --sample-break-mode none --max-tokens "$batch" --max-update "$updates" \
        --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 0.01 --clip-norm 1 \
        --lr "$lr" --lr-scheduler cosine --warmup-updates 200 --seed "$seed" --num-workers 0 --distributed-world-size 1 "${more[@]}" \
        --save-dir "$part" --save-interval-updates 500 --keep-interval-updates 1 --no-epoch-checkpoints \
        --disable-validation --log-format simple --log-interval 250
    rm -f "$part"/checkpoint_[0-9]*.pt
}

evaluate() { # evaluate ENCODING-SEED: the whole validation text as trained, then the sample in many ways
    local reach=("${times[@]}")
    say "$1: evaluation"
    if [ "${1%-*}" = learned ]; then
        reach=(1)
        refused "$1"
    fi
    score "$1" whole --lengths "$length"
    score "$1" sample --lengths "$(lengths "${reach[@]}")" "${targets[@]}"
    ((${#reach[@]} == 1)) || score "$1" window --lengths "$(lengths "${reach[@]:1}")" "${targets[@]}" \
        --model-overrides "{'attention_window': $length}"
}

score() { # score ENCODING-SEED WHAT FLAG...
    logged "$1-$2" nopos-evaluate data/bin --path "models/$1/checkpoint_last.pt" --output "$part/results.jsonl" "${@:3}"
}

refused() { # refused ENCODING-SEED: the reason, in refused.txt, why it is not evaluated beyond its training length
    if nopos-evaluate data/bin --path "models/$1/checkpoint_last.pt" --lengths $((2 * length)) \
        --output "$part/none.jsonl" >/dev/null 2>"$part/refused.txt"; then
        die "$1 was evaluated beyond its positions"
    fi
    grep -q 'learned positions for' "$part/refused.txt" || die "$1 failed: $(tail -n 1 "$part/refused.txt")"
}

lengths() { # lengths TIMES...: with commas
    local list=() one
    for one; do list+=($((one * length))); done
    (IFS=, && echo "${list[*]}")
}

analyse() { # analyse ENCODING-SEED: where its layers know positions, and what word order is worth to it
    local of=(data/bin --path "models/$1/checkpoint_last.pt")
    say "$1: probes and shuffles"
    logged "$1-probe" nopos-probe "${of[@]}" --updates "$probing" --batch-tokens 1024 --output "$part/probe.jsonl"
    logged "$1-shuffle" nopos-shuffle "${of[@]}" --output "$part/shuffle.jsonl"
    logged "$1-shuffle-4" nopos-shuffle "${of[@]}" --output "$part/shuffle.jsonl" --keep-last 4
}

one_model() { # one_model ENCODING-SEED
    resumable_step "models/$1" "$model_key" train "$1"
    resumable_step "evaluations/$1" "$evaluation_key" evaluate "$1"
    [[ " ${analysed[*]} " != *" $1 "* ]] || resumable_step "analyses/$1" "$evaluation_key $probing" analyse "$1"
}

begin
if [ "$scale" = gpu ]; then
    export CUDA_VISIBLE_DEVICES=$devices
    python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || die "SCALE=gpu: torch finds no CUDA device here"
    jobs=5 more=(--bf16 --dropout 0.1)
fi
mkdir -p text models evaluations analyses
corpus
data_key="$(cat text/* "$root/examples/vocabulary.py" "$here/ngram.py" | cksum) $(commands prepare) $types"
model_key="$data_key $(sources positions attention models engine tasks criterions data) $(commands train)"
model_key+=" $scale $length $updates $batch $layers $width $heads $lr ${more[*]-}"
evaluation_key="$model_key $(sources evaluation cli/{evaluate,measure,checkpoint,analyse,probe,shuffle}.py)"
evaluation_key+=" $(commands evaluate score refused analyse) ${times[*]} ${targets[*]}"
step data "$data_key" prepare

models=("${encodings[@]/%/-1}")
for seed in "${seeds[@]:1}"; do models+=("${argued[@]/%/-$seed}"); done
progress_of "$updates" "${models[@]/#/models/}" "${models[@]/#/evaluations/}" "${analysed[@]/#/analyses/}"
slowest=() others=() # the slowest begin first, so that no core waits for one in the end
for model in "${models[@]}"; do
    case $model in bipe_* | t5-*) slowest+=("$model") ;; *) others+=("$model") ;; esac
done
side_by_side one_model "${slowest[@]}" "${others[@]}"

for model in "${models[@]}"; do cat "evaluations/$model/results.jsonl"; done >results.jsonl
for kind in probe shuffle; do
    for model in "${analysed[@]}"; do cat "analyses/$model/$kind.jsonl"; done >"$kind.jsonl"
    logged "plot-$kind" nopos-plot "$kind.jsonl"
done
paths=
for encoding in alibi kerple_log kerple_power t5 rope; do
    [ ! -d "models/$encoding-1" ] || paths+=,models/$encoding-1/checkpoint_last.pt
done
logged show-bias nopos-show-bias --path "${paths#,}" --output bias
status=0
PYTHONPATH=$root/examples python "$here/report.py" "$length" data/ngram.json || status=$?
for name in plain window; do logged "plot-$name" nopos-plot "$name.jsonl" --over-seeds; done
say "done: table.md, claims.md, results.jsonl, probe.jsonl, shuffle.jsonl and pictures, all in $out"
exit "$status"
