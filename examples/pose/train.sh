#!/usr/bin/env bash
# PoSE (Zhu et al., 2024): LLaMA-7B extended to 16k and more in windows of 2,048 tokens, as published.
#
#     MODEL=imported/llama bash examples/pose/train.sh SCALING TARGET
#
#     SCALING    linear ntk yarn
#     TARGET     16k 32k 96k 128k      8, 16, 48 and 64 windows
#
#     MODEL=DIR       what nopos-import made of LLaMA (default: imported/llama)
set -euo pipefail

root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
name=pose
. "$root/examples/recipe.sh"
shrink=64

# miniature_llama: a folder as LLaMA's, of random numbers, whose tokens are bytes; imported.
miniature_llama() {
    rm -rf "$out/llama"
    mkdir -p "$out/llama"
    python3 - "$out/llama" <<'END'
import json, pathlib, sys, tokenizers, torch
from tokenizers import decoders, models, pre_tokenizers

folder = pathlib.Path(sys.argv[1])
special = ["<unk>", "<s>", "</s>"]
pieces = special + sorted(pre_tokenizers.ByteLevel.alphabet())
tokenizer = tokenizers.Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, []))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
tokenizer.add_special_tokens(special)
tokenizer.save(str(folder / "tokenizer.json"))
rows, dim, wide, layers = len(pieces), 32, 64, 2
shapes = {"model.embed_tokens": (rows, dim), "model.norm": (dim,), "lm_head": (rows, dim)}
for layer in range(layers):
    within = {f"self_attn.{one}_proj": (dim, dim) for one in "qkvo"}
    within |= {"mlp.gate_proj": (wide, dim), "mlp.up_proj": (wide, dim), "mlp.down_proj": (dim, wide)}
    within |= {"input_layernorm": (dim,), "post_attention_layernorm": (dim,)}
    shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in within.items()}
made = {f"{name}.weight": 0.02 * torch.randn(*shape) + (len(shape) == 1) for name, shape in shapes.items()}
torch.save(made, folder / "pytorch_model.bin")
config = dict(model_type="llama", hidden_size=dim, intermediate_size=wide, num_hidden_layers=layers)
config |= dict(num_attention_heads=4, vocab_size=rows, max_position_embeddings=32, bos_token_id=1, eos_token_id=2)
(folder / "config.json").write_text(json.dumps(config))
END
    run nopos-import "$out/llama" --out "$base"
}

scaling=${given[0]} target=${given[1]:-} length=2048
no_more_than 2
one_of SCALING "$scaling" linear ntk yarn
one_of TARGET "$target" 16k 32k 96k 128k
factor=$((${target%k} / 2))
args=scaling=$scaling,factor=$factor
[ "$scaling" != yarn ] || args=scaling=yarn_pose,factor=$factor,original_length=$(shrunk 2048)

base=${MODEL:-imported/llama}
if [ -n "${SMOKE:-}" ]; then
    base=$out/imported
    [ -e "$base" ] || miniature_llama
fi
[ -f "$base/flags.txt" ] || die "$base has no flags.txt: nopos-import LLAMA --out $base makes it, MODEL= names another"
read -ra flags <"$base/flags.txt"
data_bin data-bin/pose "bash scripts/prepare-pile.sh --preset pose --tokenizer-json $base/tokenizer.json --dest data-bin/pose" \
    miniature_pile 'Pile-CC' --preset pose --tokenizer json --tokenizer-json "$base/tokenizer.json" --min-tokens 32
precision=(--memory-efficient-fp16 --fp16-init-scale 4096)
update $((64 * length)) $((8 * length)) "$length"
train "$scaling-$target" "${flags[@]}" --finetune-from-model "$base/checkpoint.pt" --position-args "$args" \
    --task pose_language_modeling --extension original --extension-factor "$factor" --tokens-per-sample "$length" \
    --add-bos-token --checkpoint-activations --optimizer adam --adam-betas '(0.9, 0.999)' --adam-eps 1e-08 \
    --weight-decay 0 --clip-norm 1.0 --lr 2e-5 --lr-scheduler polynomial_decay --warmup-updates 10 \
    --total-num-update 1000 --max-update 1000 --disable-validation --save-interval-updates 100 --keep-interval-updates 1
