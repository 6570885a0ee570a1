#!/usr/bin/env bash
# Six position encodings on problems that get longer: trained on short ones, asked long ones (Kazemnejad et al., 2023).
#
#     bash examples/length_generalization/run.sh                 six tasks, three of them with three seeds
#     SCALE=quick bash examples/length_generalization/run.sh     three tasks, shorter, one seed
#     SMOKE=1     bash examples/length_generalization/run.sh     minutes, of models that learn nothing: does it all run?
#     SCAN="some tasks.txt" ...    of brendenlake/SCAN; else data/scan/tasks.txt in the clone or in a folder beside it;
#                                  if that is not there either, SCAN is left out
#     OUT=folder ...               instead of examples/length_generalization/out, or out-$SCALE
#     UPDATES=number ...           of each training
#
# What is finished is kept, and a training goes on from its last checkpoint: run it again after an interruption.
# What depends on other settings or other code is made anew.
set -euo pipefail

encodings=(nopos t5 alibi rope sinusoidal kerple_log)
tasks=(copy reverse parity addition sorting scan)
thrice=" copy reverse parity " # with all seeds; the others with the first
scale=${SMOKE:+smoke}
scale=${scale:-${SCALE:-full}}
# symbols: lengths that are trained on, and those beyond, of copy and reverse. bits: of parity. questions: of training.
# asked: in validation, and again beyond. batch: tokens of an update. samples: whose attention is looked at, of each length
symbols=(2:10 11:20) bits=(2:8 9:16) questions=200000 asked=1000 samples=10 seeds=(1 2 3)
layers=4 width=64 heads=4 lr=2e-3 updates=4000 batch=1024
case $scale in
    full) ;;
    quick) tasks=(copy reverse parity) symbols=(2:5 6:10) bits=(2:4 5:8) asked=500 seeds=(1) layers=3 updates=1500 ;;
    smoke) tasks=(copy scan) seeds=(1 2) questions=300 asked=30 updates=101 layers=1 width=16 samples=1 ;;
    *) seeds=() ;;
esac
updates=${UPDATES:-$updates}

problem() { # problem TASK: what nopos-make-task is told of it
    case $1 in
        copy) echo "--variant cmc --train-lengths ${symbols[0]} --test-lengths ${symbols[1]}" ;;
        reverse) echo "--variant mc --train-lengths ${symbols[0]} --test-lengths ${symbols[1]}" ;;
        parity) echo "--train-lengths ${bits[0]} --test-lengths ${bits[1]} --scratchpad minimal" ;;
        addition) echo "--train-lengths 1:2 --test-lengths 3:4 --scratchpad minimal" ;;
        sorting) echo "--variant single --train-lengths 2:8 --test-lengths 9:16" ;;
        scan) echo "" ;;
    esac
}

root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
name=length_generalization
[ "$scale" = full ] || OUT=${OUT:-$root/examples/$name/out-$scale}
. "$root/examples/steps.sh"
wordless "$@"
((${#seeds[@]})) || die "SCALE=$scale: there are full (without SCALE) and quick"
[[ $updates =~ ^[1-9][0-9]*$ ]] && ((updates > 100)) || die "UPDATES=$updates: name a number above 100 (the warm-up)"
[ -z "${SCAN-}" ] || [ -f "$SCAN" ] || die "SCAN=$SCAN: there is no such file"

scan=
for file in ${SCAN:+"$(absolute "$SCAN")"} "$root/data/scan/tasks.txt" "$root"/../*/data/scan/tasks.txt; do
    [ -n "$scan" ] || [ ! -f "$file" ] || scan=$file
done

prepare() { # prepare TASK
    local options
    say "$1: questions and answers"
    read -ra options <<<"$(problem "$1")"
    if [ "$1" = scan ]; then options+=(--files "$scan"); else options+=(--train-size "$questions" --valid-size "$asked"); fi
    logged "prepare-$1" nopos-make-task "$1" --out "$part/made" --test-size "$asked" "${options[@]}"
    mv "$part"/made/* "$part"
    rmdir "$part/made"
}

train() { # train TASK-ENCODING-SEED, from its last checkpoint if there is one
    local task encoding seed args=()
    IFS=- read -r task encoding seed <<<"$1"
    [ "$encoding" != rope ] || args=(--position-args fraction=0.25,layout=interleaved) # as theirs
    say "$1: training"
    logged "$1" fairseq-train "data/$task" --user-dir "$root/nopos_plugin" --task length_generalization \
        --arch "transformer_lm_${encoding}_t5tiny" "${args[@]}" --decoder-layers "$layers" --decoder-attention-heads "$heads" \
        --decoder-embed-dim "$width" --decoder-ffn-embed-dim $((4 * width)) \
        --criterion answer_accuracy --valid-questions 200 --validate-interval-updates 500 --max-tokens-valid 8192 \
        --best-checkpoint-metric answer_accuracy --maximize-best-checkpoint-metric \
        --max-tokens "$batch" --max-update "$updates" --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 0.05 \
        --clip-norm 1 --lr "$lr" --lr-scheduler cosine --warmup-updates 100 --seed "$seed" \
        --save-dir "$part" --save-interval-updates 500 --keep-interval-updates 1 --no-epoch-checkpoints \
        --num-workers 0 --distributed-world-size 1 --log-format simple --log-interval 250
    rm -f "$part"/checkpoint_[0-9]*.pt "$part/checkpoint_last.pt"
}

evaluate() { # evaluate TASK-ENCODING-SEED
    say "$1: evaluation"
    logged "$1-answers" nopos-evaluate-answers "data/${1%%-*}" --path "models/$1/checkpoint_best.pt" --samples "$asked" \
        --output "$part/results.jsonl"
}

attend() { # attend TASK-ENCODING-SEED: how far its attention is from that of NoPos of the same seed; NoPos': of the next
    local task encoding seed against=()
    IFS=- read -r task encoding seed <<<"$1"
    [ "$encoding" != nopos ] || seed=$((seed % ${#seeds[@]} + 1))
    [ "$1" = "$task-nopos-$seed" ] || against=(--against "models/$task-nopos-$seed/checkpoint_best.pt")
    say "$1: attention"
    logged "$1-attention" nopos-attention "data/$task" --path "models/$1/checkpoint_best.pt" --samples "$samples" \
        "${against[@]}" --output "$part/attention.jsonl"
}

one_model() { # one_model TASK-ENCODING-SEED
    resumable_step "models/$1" "$(model_key "${1%%-*}")" train "$1"
    resumable_step "evaluations/$1" "$(model_key "${1%%-*}") $answers_key" evaluate "$1"
}

one_analysis() { # one_analysis TASK-ENCODING-SEED
    resumable_step "analyses/$1" "$(model_key "${1%%-*}") $attention_key" attend "$1"
}

data_key() { # data_key TASK
    echo "$1 $(problem "$1") $questions $asked $task_key$([ "$1" != scan ] || cksum <"$scan")"
}

model_key() { # model_key TASK
    echo "$(data_key "$1") $training_key"
}

begin
task_key="$(sources data/reasoning prepare cli/{make_task,questions}.py) $(commands prepare)"
training_key="$(sources positions attention models engine tasks criterions data) $(commands train)"
training_key+=" $updates $batch $layers $width $heads $lr"
answers_key="$(sources evaluation cli/{analyse,asking,checkpoint,evaluate_answers}.py) $(commands evaluate)"
attention_key="$(sources evaluation cli/{analyse,asking,checkpoint,attention}.py) $(commands attend) $samples ${#seeds[@]}"
mkdir -p data models evaluations analyses

models=() analysed=()
for task in "${tasks[@]}"; do
    [ "$task" != scan ] || [ -n "$scan" ] || { say "scan is left out: there is no tasks.txt" && continue; }
    step "data/$task" "$(data_key "$task")" prepare "$task"
    for seed in "${seeds[@]}"; do
        ((seed == 1)) || [[ $thrice = *" $task "* ]] || continue
        for encoding in "${encodings[@]}"; do models+=("$task-$encoding-$seed"); done
        [ "$task" != copy ] || analysed+=("${models[@]: -${#encodings[@]}}")
    done
done
progress_of "$updates" "${models[@]/#/models/}" "${models[@]/#/evaluations/}" "${analysed[@]/#/analyses/}"
side_by_side one_model "${models[@]}"
side_by_side one_analysis "${analysed[@]}"

for model in "${models[@]}"; do cat "evaluations/$model/results.jsonl"; done >results.jsonl
for model in "${analysed[@]}"; do cat "analyses/$model/attention.jsonl"; done >attention.jsonl
for kind in results attention; do logged "plot-$kind" nopos-plot "$kind.jsonl" --over-seeds; done
PYTHONPATH=$root/examples python "$here/report.py"
say "done: table.md, claims.md, results.jsonl, attention.jsonl and pictures, all in $out"
