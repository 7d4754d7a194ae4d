"""Writers whose weights are made of several arrays, rounded, averaged, or many in one file."""

import itertools
import os
import warnings
from pathlib import Path

import numpy as np
import torch

from tests.trainers.records import Saved, Trainer, network, parameters, step_with


def pruned(folder: Path) -> Saved:
    from torch.nn.utils import prune

    net, saved = network(), {}
    prune.random_unstructured(net[0], "weight", 0.5)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for step in (10, 20, 30):
        step_with(net, optimizer)
        torch.save(net.state_dict(), folder / f"model_{step}.pt")
        saved[step] = parameters(net)
        left = saved[step].pop("0.weight_orig")
        saved[step]["0.weight"] = left * net[0].weight_mask.numpy()
    return saved


def in_one_file(folder: Path) -> Saved:
    net, saved, states = network(), {}, {}
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for step in (10, 20, 30):
        step_with(net, optimizer)
        states[step] = {name: values.clone() for name, values in net.state_dict().items()}
        saved[step] = parameters(net)
    torch.save(states, folder / "run.pt")
    return saved


def _torchao(folder: Path, kind: str, *, flat: bool = False) -> Saved:
    from safetensors.torch import save_file
    from torchao import quantization

    net, saved = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Linear(32, 16)), {}
    for step in (10, 20, 30):
        with torch.no_grad():
            for values in net.parameters():
                values.add_(torch.randn_like(values))
        low = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Linear(32, 16))
        low.load_state_dict(net.state_dict())
        quantization.quantize_(low, getattr(quantization, kind)())
        if flat:
            from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict

            arrays, metadata = flatten_tensor_state_dict(low.state_dict())
            save_file(arrays, folder / f"model_{step}.safetensors", metadata)
        else:
            torch.save(low.state_dict(), folder / f"model_{step}.pt")
        saved[step] = {
            name: (values.dequantize() if "weight" in name else values).detach().numpy().copy()
            for name, values in low.state_dict().items()
        }
    return saved


def int8(folder: Path) -> Saved:
    return _torchao(folder, "Int8WeightOnlyConfig")


def float8(folder: Path) -> Saved:
    return _torchao(folder, "Float8WeightOnlyConfig")


def float8_flat(folder: Path) -> Saved:
    return _torchao(folder, "Float8WeightOnlyConfig", flat=True)


def int8_flat(folder: Path) -> Saved:
    return _torchao(folder, "Int8WeightOnlyConfig", flat=True)


def mmengine_average(folder: Path) -> Saved:
    from mmengine.hooks import Hook
    from mmengine.model import BaseModel
    from mmengine.runner import Runner

    class Model(BaseModel):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, inputs, mode="loss"):
            return {"loss": self.net(inputs).square().mean()}

    saved: Saved = {}

    class Watch(Hook):
        priority = "LOWEST"

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if (runner.iter + 1) % 2 == 0:
                saved[runner.iter + 1] = parameters(runner.model)

    data = [{"inputs": values} for values in torch.randn(16, 4)]
    Runner(
        Model(),
        work_dir=str(folder),
        train_dataloader=torch.utils.data.DataLoader(data, batch_size=4),
        train_cfg={"by_epoch": False, "max_iters": 6},
        optim_wrapper={"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1}},
        default_hooks={"checkpoint": {"type": "CheckpointHook", "interval": 2, "by_epoch": False}},
        custom_hooks=[{"type": "EMAHook", "momentum": 0.3}, Watch()],
        log_level="ERROR",
        experiment_name=f"run_{next(_RUNS)}",
    ).train()
    return saved


_RUNS = itertools.count()


def keras_sharded(folder: Path) -> Saved:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((50,)), keras.layers.Dense(300), keras.layers.Dense(200)])
    model.compile("adam", "mse")
    saved, rng = {}, np.random.default_rng(0)
    for step in (1, 2, 3):
        model.fit(rng.normal(size=(8, 50)), rng.normal(size=(8, 200)), verbose=0)
        model.save_weights(folder / f"model_{step}.weights.json", max_shard_size=3e-4)
        saved[step] = {
            f"layers/{layer}/vars/{number}": np.array(keras.ops.convert_to_numpy(values))
            for layer, own in zip(("dense", "dense_1"), model.layers, strict=True)
            for number, values in enumerate(own.trainable_weights)
        }
    return saved


def _orbax_bfloat16(folder: Path, *, use_zarr3: bool) -> Saved:
    import jax.numpy as jnp
    import orbax.checkpoint as ocp

    saved = {}
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=False, use_zarr3=use_zarr3)
    with ocp.CheckpointManager(folder, item_handlers=handler) as manager:
        for step in (10, 20):
            kernel = jnp.asarray(np.arange(12).reshape(4, 3) * step / 7, jnp.bfloat16)
            manager.save(step, args=ocp.args.PyTreeSave({"params": {"dense": {"kernel": kernel}}}))
            saved[step] = {"dense.kernel": np.asarray(kernel, "f4")}
        manager.wait_until_finished()
    return saved


def orbax_bfloat16(folder: Path) -> Saved:
    return _orbax_bfloat16(folder, use_zarr3=False)


def orbax_bfloat16_zarr3(folder: Path) -> Saved:
    return _orbax_bfloat16(folder, use_zarr3=True)


warnings.filterwarnings("ignore", module="torchao")

_ORBAX = ("orbax", "jax")
TRAINERS = (
    Trainer("torch.nn.utils.prune", "model_10.pt", (), pruned),
    Trainer("torch loop, one file with a state dict for each step", "run.pt", (), in_one_file),
    Trainer("torchao, int8", "model_10.pt", ("torchao",), int8),
    Trainer("torchao, float8", "model_10.pt", ("torchao",), float8),
    Trainer("torchao, int8 in safetensors", "model_10.safetensors", ("torchao",), int8_flat),
    Trainer("torchao, float8 in safetensors", "model_10.safetensors", ("torchao",), float8_flat),
    Trainer("MMEngine, EMAHook", "iter_2.pth", ("mmengine",), mmengine_average),
    Trainer("Keras, weights in shards", "model_1.weights.json", ("keras", "h5py"), keras_sharded),
    Trainer("Orbax, zarr, bfloat16", "10/default/params.dense.kernel", _ORBAX, orbax_bfloat16),
    Trainer(
        "Orbax, zarr format 3, bfloat16",
        "10/default/params.dense.kernel",
        _ORBAX,
        orbax_bfloat16_zarr3,
    ),
)
