# What the papers' train.sh and evaluate.sh share: the words of a command, updates of the published size on any number
# of GPUs, and all of it in miniature. A script sources it with $root (the clone) and $name (its folder in examples/) set.

. "$root/examples/steps.sh"

out=${OUT:-checkpoints/$name${SMOKE:+-smoke}}
shrink=16 # with SMOKE=1, what lengths are divided by
miniature=(--decoder-layers 2 --decoder-embed-dim 32 --decoder-input-dim 32 --decoder-output-dim 32
    --decoder-ffn-embed-dim 64 --decoder-attention-heads 4 --max-tokens 2048 --update-freq 1 --max-update 2
    --num-workers 0 --log-format simple --log-interval 1)

usage() { # usage: the comment at the top of the script, and what all of them read
    sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"
    cat <<'END'

    DATA=DIR        the data-bin
    OUT=DIR         of models and results (default: checkpoints/ and the paper's name)
    GPUS=N          that train, 0: the CPU (default: as many as torch finds)
    MAX_TOKENS=N    that one GPU holds at once, where the published number is too many: updates stay as they are
    DRY=1           print the command and run nothing
    SMOKE=1         run it in miniature on the CPU: a small model, the project's own pages as text, two updates

Further arguments, from the first with a dash on, are the command's, and override its own.
END
}

# `given`: the words before the first with a dash; `more`: that and what follows.
given=() more=()
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    usage
    exit
fi
while (($#)) && [[ $1 != -* ]]; do
    given+=("$1")
    shift
done
more=("$@")
if ((!${#given[@]})); then
    usage >&2
    ((!$#)) || printf '\n%s: %s comes after the words, which say what to make\n' "$name" "$1" >&2
    exit 2
fi

one_of() { # one_of WHAT WORD CHOICE...: ends unless WORD is one of them
    local choice
    for choice in "${@:3}"; do
        [ "$2" != "$choice" ] || return 0
    done
    die "$1 ${2:-is missing}: choose one of ${*:3}"
}

no_more_than() { # no_more_than COUNT: words were given
    ((${#given[@]} <= $1)) || die "${given[$1]} is one word too many; see --help"
}

# The commands of the clone's .venv, else those on the PATH.
[ ! -x "$root/.venv/bin/fairseq-train" ] || export PATH="$root/.venv/bin:$PATH"
[ -n "${DRY:-}" ] || type fairseq-train nopos-evaluate >/dev/null 2>&1 ||
    die "fairseq-train and nopos-evaluate are not installed: bash scripts/install.sh"
if [ -n "${SMOKE:-}" ]; then
    export CUDA_VISIBLE_DEVICES='' OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
fi

run() { # run COMMAND...: prints it as one would type it; runs it unless DRY is set
    local word line=
    for word; do
        [[ $word =~ ^[][:alnum:]_./:=,@+%-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
        if [[ $word == --* ]] && ((${#line} + ${#word} > 100)); then
            printf '%s \\\n' "$line"
            line='   '
        fi
        line+="${line:+ }$word"
    done
    printf '%s\n' "$line"
    [ -n "${DRY:-}" ] || "$@"
}

# data_bin DIR COMMAND MINIATURE...: $data is DATA, or DIR, which COMMAND makes; in miniature MINIATURE... makes it.
data_bin() {
    data=${DATA:-${SMOKE:+$out/data}}
    data=${data:-$1}
    [ -z "${DRY:-}" ] || return 0
    [ -z "${SMOKE:-}" ] || [ -n "${DATA:-}" ] || [ -e "$data/dict.txt" ] || "${@:3}"
    [ -e "$data/dict.txt" ] || die "$data has no dict.txt, so it is no data-bin: $2 makes it, DATA= names another"
}

# miniature_wikitext: words and lines, as WikiText has them.
miniature_wikitext() {
    mkdir -p "$out"
    run nopos-prepare-text "$root"/README.md "$root"/examples/*/README.md --valid "$root"/nopos_plugin/*/README.md \
        --documents lines --tokenizer words --workers 1 --dest "$data"
}

# miniature_pile COMPONENT FLAG...: documents of 2,600 characters, as lines of the Pile's JSON; a token is a byte.
miniature_pile() {
    mkdir -p "$out"
    python3 - "$1" "$root"/README.md "$root"/{examples,nopos_plugin}/*/README.md >"$out/pages.jsonl" <<'END'
import json, pathlib, sys

text = "\n".join(pathlib.Path(page).read_text("utf-8") for page in sys.argv[2:])
for begin in range(0, len(text) - 2600, 2600):
    print(json.dumps({"text": text[begin : begin + 2600], "meta": {"pile_set_name": sys.argv[1]}}))
END
    run nopos-prepare-pile "$out/pages.jsonl" --tokenizer bytes --valid-documents 3 --test-documents 1 --workers 1 \
        "${@:2}" --dest "$data"
}

# filled MAX LENGTH: tokens in a batch of at most MAX: beyond 8, fairseq takes windows by eights.
filled() {
    local windows=$(($1 / $2))
    ((windows <= 8)) || windows=$((windows / 8 * 8))
    printf '%d' $((windows * $2))
}

# update TOKENS MAX LENGTH: the published update is TOKENS, in batches of at most MAX a GPU. Sets $update, the flags for
# as many on $gpus.
update() {
    local max=${MAX_TOKENS:-$2} tokens=$(($1 / $2 * $(filled "$2" "$3"))) processes batch
    processors
    processes=$((gpus ? gpus : 1))
    [[ $max =~ ^[1-9][0-9]*$ ]] && ((max >= $3)) || die "MAX_TOKENS=$max holds no window of $3 tokens"
    if [ -z "${MAX_TOKENS:-}" ] && ((processes * $(filled "$max" "$3") > tokens)); then
        max=$((tokens / processes))
    fi
    batch=$(filled "$max" "$3")
    ((batch && tokens % (processes * batch) == 0)) ||
        die "an update of $tokens tokens is no multiple of $processes GPUs times $batch: set GPUS or MAX_TOKENS so that it is"
    [ -n "${SMOKE:-}" ] || say "an update of $tokens tokens: $processes x $batch x $((tokens / processes / batch))" >&2
    update=(--max-tokens "$max" --update-freq $((tokens / processes / batch)))
}

processors() { # sets $gpus
    local found
    if [ -n "${SMOKE:-}" ]; then
        gpus=0
        return
    fi
    gpus=${GPUS:-}
    [[ $gpus =~ ^(0|[1-9][0-9]*)?$ ]] || die "GPUS=$gpus is no number"
    [ -z "$gpus" ] || [ -z "${DRY:-}" ] || return 0
    found=$(python3 -c 'import torch; print(torch.cuda.device_count())') || die "python3 has no torch: bash scripts/install.sh"
    gpus=${gpus:-$found}
    ((gpus <= found)) || die "GPUS=$gpus: torch finds $found here; for more hosts print the command by DRY=1"
}

# train MODEL FLAG...: trains $out/MODEL on $data by $update, at $length, on GPUs with $precision. The same command goes
# on where it ended.
train() {
    local where=(--cpu --distributed-world-size 1)
    ((!gpus)) || where=(--distributed-world-size "$gpus" "${precision[@]}")
    local command=(fairseq-train "$data" --user-dir "$root/nopos_plugin" "${@:2}" "${update[@]}" "${where[@]}"
        --save-dir "$out/$1" --no-epoch-checkpoints)
    [ -z "${SMOKE:-}" ] || command+=("${miniature[@]}" --tokens-per-sample "$(shrunk "$length")")
    run "${command[@]}" ${more[@]+"${more[@]}"}
}

# wikitext_103 MODEL: the published command of ALiBi's code, by which NoPos and KERPLE were trained as well, for $encoding
# at $length.
wikitext_103() {
    local most=9216
    ((length < 3072)) || most=3072
    update 73728 "$most" "$length"
    precision=(--fp16)
    miniature+=(--adaptive-input-cutoff 100,200 --adaptive-softmax-cutoff 100,200)
    train "$1" --task language_modeling --arch "transformer_lm_${encoding}_wiki103" \
        --tokens-per-sample "$length" --sample-break-mode none --criterion adaptive_loss --ddp-backend legacy_ddp \
        --optimizer nag --clip-norm 0.1 --lr 1.0 --lr-scheduler cosine --lr-period-updates 270000 --t-mult 2 \
        --lr-shrink 0.75 --warmup-updates 16000 --warmup-init-lr 1e-07 --min-lr 0.0001 --stop-min-lr 1e-09 \
        --max-update 286000 --seed 1
}

# known: ends unless train.sh knows a model of the `given` words.
known() {
    local said
    said=$(MAX_TOKENS='' GPUS=1 DRY=1 bash "$root/examples/$name/train.sh" "${given[@]}" 2>&1) && return
    printf '%s\n' "$said" >&2
    exit 1
}

made() { # made CHECKPOINT: ends unless train.sh has made it
    [ -n "${DRY:-}" ] || [ -f "$1" ] || die "$1 is not there: examples/$name/train.sh ${given[*]} makes it"
}

# shrunk LENGTH,...: the lengths; in miniature each divided by $shrink, once.
shrunk() {
    local length
    if [ -z "${SMOKE:-}" ]; then
        printf '%s' "$1"
        return
    fi
    for length in ${1//,/ }; do printf '%d\n' $((length > shrink ? length / shrink : 1)); done | sort -nu | paste -sd, -
}

# at_least LENGTH LENGTH,...: those that are not below the first.
at_least() {
    local length
    for length in ${2//,/ }; do ((length < $1)) || printf '%d\n' "$length"; done | paste -sd, -
}

# evaluate CHECKPOINT LENGTHS FLAG...: its perplexity on $data, added to $out/results.jsonl, and all of that drawn.
evaluate() {
    run nopos-evaluate "$data" --path "$1" --lengths "$(shrunk "$2")" "${@:3}" --output "$out/results.jsonl" \
        ${more[@]+"${more[@]}"}
    run nopos-plot "$out/results.jsonl"
}
