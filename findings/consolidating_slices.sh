#!/usr/bin/env bash
# torch 2.13.0: joining the slices that torch.distributed.checkpoint's Hugging Face writer leaves.
#
# With save_distributed=True every rank writes its slices under the full names of the tensors, and
# consolidate_safetensors_files joins them. Its docstring calls the mapping of names to output files
# optional: "If None, all tensors will be consolidated into a single file." It is not: None raises.
# A mapping of every name to 1 gives the single file.
#
# Seen: AttributeError: 'NoneType' object has no attribute 'values'; with the mapping, one file.
#
# Exits with 1 when None is taken, or the mapping is not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 safetensors==0.8.0
"$work/venv/bin/python" -W ignore - "$work" <<'PYTHON' 2>/dev/null
import sys
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file
from torch.distributed.checkpoint import HuggingFaceStorageWriter
from torch.distributed.checkpoint._consolidate_hf_safetensors import consolidate_safetensors_files

slices, joined = Path(sys.argv[1], "slices"), Path(sys.argv[1], "joined")
weight = torch.arange(6.0).reshape(2, 3)
writer = HuggingFaceStorageWriter(path=str(slices), save_distributed=True)
dcp.save({"weight": weight}, storage_writer=writer, no_dist=True)
joined.mkdir()
print(f"torch {torch.__version__}")
try:
    consolidate_safetensors_files(str(slices), str(joined), None)
    refused = ""
except AttributeError as error:
    refused = f"{type(error).__name__}: {error}"
print(f"  None: {refused or 'taken'}")
consolidate_safetensors_files(str(slices), str(joined), {"weight": 1})
(file,) = joined.glob("*.safetensors")
print(f"  a mapping: {file.name}")
sys.exit(0 if refused and torch.equal(load_file(file)["weight"], weight) else 1)
PYTHON
