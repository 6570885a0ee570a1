#!/usr/bin/env bash
# BiPE (He et al., 2024): a position inside a segment, another between segments; trained as its published scripts do.
#
#     bash examples/bipe/train.sh ENCODING [scripts|paper]
#
#     ENCODING   bipe_rope bipe_alibi rope alibi    of LLaMA's blocks ("151M"), at 1024 tokens
#     scripts    a segment ends with a newline, or a full stop after a space, as the published code counts (default)
#     paper      with a newline, or any full stop
set -euo pipefail

root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
name=bipe
. "$root/examples/recipe.sh"

encoding=${given[0]} source=${given[1]:-scripts} length=1024
no_more_than 2
one_of ENCODING "$encoding" bipe_rope bipe_alibi rope alibi
one_of SOURCE "$source" scripts paper
case $encoding-$source in
    bipe_*-scripts) separators=(--position-args 'separators=▁.|<0x0A>') ;;
    bipe_*-paper) separators=(--position-args 'separators=▁.|.|<0x0A>') ;;
    *-paper) die "$encoding has no segments, so nothing of the paper's own: leave $source out" ;;
    *) separators=() ;;
esac
((!${#separators[@]})) || miniature+=(--position-args 'separators=.|<0a>')
precision=(--fp16)
data_bin data-bin/bipe 'bash scripts/prepare-pile.sh --preset bipe --tokenizer-json llama/tokenizer.json --dest data-bin/bipe' \
    miniature_pile 'Wikipedia (en)' --preset bipe
update $((8 * 32 * length)) $((32 * length)) "$length"
train "$encoding-$source" --task language_modeling --arch "transformer_lm_${encoding}_bipe_151m" \
    ${separators[@]+"${separators[@]}"} --tokens-per-sample "$length" --sample-break-mode none \
    --optimizer adam --adam-betas '(0.9, 0.999)' --adam-eps 1e-08 --weight-decay 0.01 --clip-norm 1.0 --lr 1e-4 \
    --lr-scheduler polynomial_decay --warmup-updates 10000 --end-learning-rate 1e-07 --total-num-update 1000000 \
    --max-update 1000000 --validate-interval-updates 10000 --save-interval-updates 10000 --keep-interval-updates 1 \
    --seed 1
