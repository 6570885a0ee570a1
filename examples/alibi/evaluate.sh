#!/usr/bin/env bash
# ALiBi: the perplexity of a model of train.sh, at the lengths of a table of the paper.
#
#     bash examples/alibi/evaluate.sh ENCODING LENGTH [TABLE]
#
#     TABLE      nonoverlapping   windows without overlap, up to 3072 tokens: Tables 5 and 6 (default)
#                extrapolation    the same from LENGTH to more than 10,000: Table 2 (512), 3 (1024), 4 (3072)
#                sliding          the whole window before each token, stride 1: Tables 13 to 15 (512, 1024, 3072)
#                stride512        windows of 3072 that score 512 new tokens: Table 7
set -euo pipefail

root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
name=alibi
. "$root/examples/recipe.sh"

encoding=${given[0]} length=${given[1]:-} table=${given[2]:-nonoverlapping}
no_more_than 3
given=("${given[@]:0:2}")
checkpoint=$out/$encoding-$length/checkpoint_best.pt
one_of TABLE "$table" nonoverlapping extrapolation sliding stride512
known
made "$checkpoint"

stride=window
case $table-$length in
    nonoverlapping-*) lengths=64,128,256,512,1024,1536,2048,3072 ;;
    extrapolation-512) lengths=512,513,562,612,712,812,1012,1112,1512,2512,3512,4512,5512,7512,10512,12512,15512 ;;
    extrapolation-1024) lengths=1024,1025,1074,1124,1224,1524,1824,2024,3024,4024,5024,8024,10024,12024,16024 ;;
    extrapolation-3072) lengths=3072,3092,3272,3572,3872,4072,5072,6072,8072,10072,13072,16072 ;;
    sliding-512 | sliding-1024 | sliding-3072) lengths=512,1024,1536,2048,3072 stride=1 ;;
    stride512-*) lengths=3072 stride=$(shrunk 512) ;;
    *) die "TABLE $table has models of LENGTH 512, 1024 and 3072, none of $length" ;;
esac
data_bin data-bin/wikitext-103 'bash scripts/prepare-wikitext-103.sh' miniature_wikitext
evaluate "$checkpoint" "$(at_least "$length" "$lengths")" --stride "$stride"
