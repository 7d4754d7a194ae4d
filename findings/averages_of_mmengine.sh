#!/usr/bin/env bash
# MMEngine 0.10.7, torch 2.13.0: which weights a checkpoint holds while EMAHook runs.
#
# The hook exchanges the two state dicts while it saves: `state_dict`, where every reader looks for
# the trained weights, holds their average, and `ema_state_dict` the live weights. Loading by the
# library itself exchanges them back. Whoever takes `state_dict` of a series of such files looks at
# a smoothed path: its increments are correlated and too small.
#
# Seen: the weight trained last is in ema_state_dict ("module.fc.weight"), state_dict has another.
#
# Exits with 1 when `state_dict` holds the live weights.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 "setuptools<81"
"$work/venv/bin/pip" install --quiet mmengine==0.10.7
cd "$work"
"$work/venv/bin/python" -W ignore - "$work" <<'PYTHON' 2>/dev/null
import logging
import sys
from pathlib import Path

import mmengine
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader

work = Path(sys.argv[1])


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 1)

    def forward(self, inputs, mode="loss"):
        return {"loss": (self.fc(inputs) ** 2).mean()}


torch.manual_seed(0)
runner = Runner(
    model=Model(),
    work_dir=str(work / "run"),
    train_dataloader=DataLoader(torch.randn(32, 3), batch_size=4, collate_fn=lambda rows: {"inputs": torch.stack(rows)}),
    train_cfg={"by_epoch": False, "max_iters": 6},
    optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.3}},
    default_hooks={"checkpoint": {"type": "CheckpointHook", "interval": 6, "by_epoch": False}},
    custom_hooks=[{"type": "EMAHook", "momentum": 0.1}],
    log_level=logging.CRITICAL,
)
runner.train()
saved = torch.load(work / "run" / "iter_6.pth", weights_only=False)
live = runner.model.fc.weight.detach()
stored = saved["state_dict"]["fc.weight"]
beside = saved["ema_state_dict"]["module.fc.weight"]
print(f"mmengine {mmengine.__version__}")
print(f"  live weights after training   {live.flatten().tolist()}")
print(f"  state_dict                    {stored.flatten().tolist()}")
print(f"  ema_state_dict                {beside.flatten().tolist()}")
exchanged = torch.equal(beside, live) and not torch.equal(stored, live)
sys.exit(0 if exchanged else 1)
PYTHON
