#!/usr/bin/env bash
# transformers 5.23.0, torch 2.13.0: names of weights in memory and in the files of save_pretrained.
#
# Since version 5 a model's state_dict() need not have the names, nor the shapes, of the tensors that
# save_pretrained (and so the Trainer) writes: GPT-NeoX (Pythia) has one other name, Mixtral keeps
# its experts merged in memory, three tensors a layer, and one by one on disk. Reading such a
# file with safetensors and load_state_dict(strict=True) fails; from_pretrained converts.
#
# Seen: GPT-NeoX 1 name of 28 not on disk; Mixtral 6 of 21 in memory for 20 others on disk;
# Llama none.
#
# Exits with 1 when the names agree for GPT-NeoX or Mixtral, or differ for Llama.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy
"$work/venv/bin/pip" install --quiet transformers==5.23.0 safetensors
HF_HUB_OFFLINE=1 "$work/venv/bin/python" -W ignore - "$work" <<'PYTHON' 2>/dev/null
import sys

import transformers
from safetensors import safe_open

size = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "vocab_size": 31, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 0,
}
experts = {"num_local_experts": 3, "num_experts_per_tok": 2, "num_key_value_heads": 2}
kinds = {"GPTNeoX": {}, "Mixtral": experts, "Llama": {}}
differing = {}
print(f"transformers {transformers.__version__}")
for kind, options in kinds.items():
    config = getattr(transformers, f"{kind}Config")(**size, **options)
    model = getattr(transformers, f"{kind}ForCausalLM")(config)
    model.save_pretrained(f"{sys.argv[1]}/{kind}")
    with safe_open(f"{sys.argv[1]}/{kind}/model.safetensors", "pt") as file:
        on_disk = set(file.keys())
    in_memory = {name for name, _ in model.named_parameters()}
    differing[kind] = len(in_memory - on_disk)
    print(f"  {kind:8} {len(in_memory)} in memory, {differing[kind]} of them not on disk;"
          f" {len(on_disk - in_memory)} on disk not in memory")
sys.exit(0 if differing["GPTNeoX"] and differing["Mixtral"] and not differing["Llama"] else 1)
PYTHON
