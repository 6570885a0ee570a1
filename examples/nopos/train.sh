#!/usr/bin/env bash
# NoPos (Haviv et al., 2022): language models without position encodings, and those with, trained as published.
#
#     bash examples/nopos/train.sh ENCODING wikitext-103                              Table 1, 247M at 512 tokens
#     bash examples/nopos/train.sh ENCODING pile [SIZE [LENGTH [paper|scripts]]]      Tables 1 to 3
#
#     ENCODING   nopos learned sinusoidal alibi
#     SIZE       1.3b (default) 760m 350m 125m: Table 2
#     LENGTH     1024 (default) 256 512 2048: Table 3, where SIZE is 1.3b
#     paper      as Table 5 of the paper says (default); scripts: as its published scripts do, which have 1.3b at 1024
#                of nopos, sinusoidal and alibi
set -euo pipefail

root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
name=nopos
. "$root/examples/recipe.sh"

encoding=${given[0]} corpus=${given[1]:-} size=${given[2]:-1.3b} length=${given[3]:-1024} source=${given[4]:-paper}
one_of ENCODING "$encoding" nopos learned sinusoidal alibi
one_of CORPUS "$corpus" wikitext-103 pile

if [ "$corpus" = wikitext-103 ]; then
    no_more_than 2
    length=512
    data_bin data-bin/wikitext-103 'bash scripts/prepare-wikitext-103.sh' miniature_wikitext
    wikitext_103 "wikitext-103-$encoding"
    exit
fi

no_more_than 5
one_of SIZE "$size" 125m 350m 760m 1.3b
one_of LENGTH "$length" 256 512 1024 2048
one_of SOURCE "$source" paper scripts
case $size in
    125m) arch=gpt3_small ;;
    350m) arch=gpt3_medium ;;
    760m) arch=gpt3_large ;;
    1.3b) arch=gpt3_xl ;;
esac
case $source in
    paper)
        [[ $size = 1.3b || $length = 1024 ]] || die "$size was trained at 1024 tokens; 1.3b at $length, too"
        own=(--dropout 0 --attention-dropout 0 --lr 2e-3 --warmup-updates 500 --total-num-update 10000 --max-update 10000)
        tokens=262144 most=8192
        ;;
    scripts)
        [[ $encoding != learned && $size-$length = 1.3b-1024 ]] ||
            die "the published scripts train 1.3b at 1024, of nopos, sinusoidal and alibi: not $encoding, $size at $length"
        own=(--dropout 0.1 --attention-dropout 0.1 --lr 2e-4 --warmup-updates 1000 --total-num-update 20000
            --max-update 20000)
        tokens=786432 most=12288
        ;;
esac
precision=(--memory-efficient-fp16)
data_bin data-bin/pile 'bash scripts/prepare-pile.sh --preset nopos --dest data-bin/pile' miniature_pile 'Wikipedia (en)' --preset nopos
update "$tokens" "$most" "$length"
train "pile-$encoding-$size-$length-$source" --task language_modeling --arch "transformer_lm_${encoding}_$arch" \
    --tokens-per-sample "$length" --sample-break-mode none --checkpoint-activations \
    --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 0.01 --clip-norm 0.0 --lr-scheduler polynomial_decay \
    "${own[@]}" --validate-interval-updates 100 --save-interval-updates 100 --keep-interval-updates 1 --seed 1
