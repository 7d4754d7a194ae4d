#!/usr/bin/env bash
# safetensors 0.8.0 with torch 2.13.0: tensors that torch conjugates or negates only when they are
# used are saved without it.
#
# conj() of a complex tensor, and the imaginary part of that, share the memory of the original; a
# bit says that signs differ. They are contiguous, so save_file and save take them, write the bytes
# as they lie in memory, and the file that is loaded has other signs. torch.save and
# torch.distributed.checkpoint keep them; numpy() refuses them. Known upstream:
# github.com/safetensors/safetensors/issues/831, open.
#
# Seen: 1-2j came back as 1+2j, the imaginary part -2 as 2; resolve_conj() and resolve_neg() before
# saving keep both.
#
# Exits with 1 when the signs are kept, or when resolving does not help.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 safetensors==0.8.0
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import io

import torch
from safetensors.torch import load, load_file, save, save_file

numbers = torch.tensor([1 + 2j])
lazy = {"conjugated": numbers.conj(), "imaginary part of it": numbers.conj().imag}
for name, tensor in lazy.items():
    assert tensor.is_contiguous()
    save_file({"w": tensor}, "lazy.safetensors")
    found = [load_file("lazy.safetensors")["w"], load(save({"w": tensor}))["w"]]
    kept = io.BytesIO()
    torch.save(tensor, kept)
    kept.seek(0)
    by_torch = torch.load(kept)
    resolved = tensor.resolve_conj().resolve_neg()
    after = load(save({"w": resolved}))["w"]
    print(f"{name}: {tensor.tolist()}, safetensors {found[0].tolist()}, "
          f"torch.save {by_torch.tolist()}, resolved first {after.tolist()}")
    assert not any(torch.equal(each, tensor) for each in found)
    assert torch.equal(by_torch, tensor)
    assert torch.equal(after, tensor)
PYTHON
