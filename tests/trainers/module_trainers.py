"""Writers whose modules keep arrays beside the weights."""

from pathlib import Path

import numpy as np
import torch
from torch.nn import Linear, ReLU, Sequential

from tests.trainers.records import Saved, Trainer
from tests.trainers.torch_trainers import looped, plain


def normed() -> torch.nn.Module:
    """A layer for each of torch's parametrizations, in both interfaces."""
    from torch.nn.utils import parametrizations, spectral_norm, weight_norm

    torch.manual_seed(0)
    return Sequential(
        spectral_norm(Linear(4, 3)),
        weight_norm(Linear(3, 3)),
        parametrizations.spectral_norm(Linear(3, 3)),
        parametrizations.weight_norm(Linear(3, 3)),
        parametrizations.orthogonal(Linear(3, 3)),
    )


def quantization_aware() -> torch.nn.Module:
    from torch.ao.quantization import get_default_qat_qconfig, prepare_qat

    torch.manual_seed(0)
    net = Sequential(Linear(4, 3), ReLU(), Linear(3, 2))
    net.qconfig = get_default_qat_qconfig("x86")
    return prepare_qat(net.train())


def scripted(folder, step, net, optimizer):
    torch.jit.save(torch.jit.script(net), folder / f"net_{step}.pt")


def nnx_orbax(folder: Path) -> Saved:
    import jax.numpy as jnp
    import orbax.checkpoint as ocp
    from flax import nnx

    rngs = nnx.Rngs(0)
    model = nnx.Sequential(
        nnx.Linear(4, 3, rngs=rngs),
        nnx.BatchNorm(3, rngs=rngs),
        nnx.SpectralNorm(nnx.Linear(3, 2, rngs=rngs), rngs=rngs),
        nnx.Dropout(0.1, rngs=rngs),
    )
    saved: Saved = {}
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=False)
    with ocp.CheckpointManager(folder, item_handlers=handler) as manager:
        for step in (10, 20, 30):
            model(jnp.ones((5, 4)) * step)
            saved[step] = {}
            for path, variable in nnx.to_flat_state(nnx.state(model, nnx.Param)):
                changed = variable.get_value() + step
                variable.set_value(changed)
                saved[step]["layers/" + ".".join(map(str, path[1:]))] = np.asarray(changed)
            state = nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.RngState)))
            manager.save(step, args=ocp.args.PyTreeSave(state))
        manager.wait_until_finished()
    return saved


TRAINERS = (
    Trainer("torch.nn.utils, norms and parametrizations", "model_10.pt", (), looped(plain, normed)),
    Trainer(
        "torch.ao.quantization, training", "model_10.pt", (), looped(plain, quantization_aware)
    ),
    Trainer("TorchScript", "net_10.pt", (), looped(scripted)),
    Trainer(
        "flax NNX with Orbax",
        "10/default/layers.0.kernel/.zarray",
        ("flax", "orbax", "jax"),
        nnx_orbax,
    ),
)
