"""Train with DeepSpeed on the processor, in a process of its own: folder, ZeRO stage.

Checkpoints go to FOLDER/run as DeepSpeed lays them out, the live weights at each save to
FOLDER/live.npz. Of stage 3, whose weights are slices, DeepSpeed's own script then makes whole
models in FOLDER/whole.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from tests.trainers.records import batch, network, parameters

ONE_RANK = {
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "0",
    "DS_ACCELERATOR": "cpu",
}


def main(folder: Path, stage: int) -> None:
    """Six steps, saved at every second one."""
    os.environ |= ONE_RANK
    import deepspeed

    run, module = folder / "run", network()
    deepspeed.init_distributed(dist_backend="gloo")
    engine, *_ = deepspeed.initialize(
        model=module,
        model_parameters=module.parameters(),
        config={
            "train_batch_size": 5,
            "optimizer": {"type": "AdamW", "params": {"lr": 0.01, "torch_adam": True}},
            "zero_optimization": {"stage": stage},
        },
    )
    live: dict[str, np.ndarray] = {}
    for step in range(1, 7):
        engine.backward(engine(batch()).square().mean())
        engine.step()
        if step % 2:
            continue
        engine.save_checkpoint(str(run), tag=f"global_step{step}")
        with deepspeed.zero.GatheredParameters(list(engine.module.parameters()), enabled=stage > 2):
            weights = parameters(engine.module)
        live |= {f"{step}/{name}": values for name, values in weights.items()}
        if stage > 2:
            whole = folder / "whole" / f"step-{step}"
            script = [sys.executable, "zero_to_fp32.py", ".", str(whole), "--safe_serialization"]
            subprocess.run([*script, "-t", f"global_step{step}"], cwd=run, check=True)
    np.savez(folder / "live.npz", **live)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
