#!/usr/bin/env bash
# KERPLE (Chi et al., 2022): a learned penalty on distance, and what it was compared with, trained as published.
#
#     bash examples/kerple/train.sh ENCODING LENGTH [MODEL]
#
#     MODEL             ENCODING                                           LENGTH      published in
#     247m (default)    kerple_log alibi                                   512 2048    Table 10, WikiText-103
#     162m              kerple_log kerple_power alibi t5 rope sinusoidal   512         Table 3, one component of the Pile
#     162m              kerple_log alibi t5                                1024        Table 9
#     1.3b              kerple_log alibi t5                                512         Table 9
set -euo pipefail

root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
name=kerple
. "$root/examples/recipe.sh"

encoding=${given[0]} length=${given[1]:-} size=${given[2]:-247m}
no_more_than 3
one_of MODEL "$size" 247m 162m 1.3b
case $size-$length in
    247m-*) one_of ENCODING "$encoding" kerple_log alibi && one_of LENGTH "$length" 512 2048 ;;
    162m-512) one_of ENCODING "$encoding" kerple_log kerple_power alibi t5 rope sinusoidal ;;
    162m-*) one_of LENGTH "$length" 512 1024 && one_of ENCODING "$encoding" kerple_log alibi t5 ;;
    1.3b-*) one_of ENCODING "$encoding" kerple_log alibi t5 && one_of LENGTH "$length" 512 ;;
esac

if [ "$size" = 247m ]; then
    data_bin data-bin/wikitext-103 'bash scripts/prepare-wikitext-103.sh' miniature_wikitext
    wikitext_103 "$size-$encoding-$length"
    exit
fi

# 32 windows an update. The period of the cosine is all updates, the warm-up not taken off, as in gpt-neox then.
case $size in
    162m) layers=12 dim=768 heads=12 lr=6e-4 updates=50000 precision=(--bf16) ;;
    1.3b) layers=24 dim=2048 heads=16 lr=2e-4 updates=150000 precision=(--fp16) ;;
esac
data_bin data-bin/arxiv 'bash scripts/prepare-pile.sh --preset kerple-arxiv --dest data-bin/arxiv' \
    miniature_pile ArXiv --preset kerple-arxiv
update $((32 * length)) $((32 * length)) "$length"
train "$size-$encoding-$length" --task language_modeling --arch "transformer_lm_$encoding" \
    --decoder-layers "$layers" --decoder-embed-dim "$dim" --decoder-input-dim "$dim" --decoder-output-dim "$dim" \
    --decoder-ffn-embed-dim $((4 * dim)) --decoder-attention-heads "$heads" --decoder-normalize-before \
    --activation-fn gelu --dropout 0 --no-scale-embedding --tokens-per-sample "$length" --sample-break-mode none \
    --optimizer adam --adam-betas '(0.9, 0.999)' --adam-eps 1e-08 --weight-decay 0 --clip-norm 1.0 \
    --lr "$lr" --lr-scheduler cosine --lr-period-updates "$updates" --warmup-updates $((updates / 100)) \
    --max-update "$updates" --disable-validation --save-interval-updates 1000 --keep-interval-updates 1 --seed 1235
