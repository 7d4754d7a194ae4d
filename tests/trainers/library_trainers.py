"""Trainers from packages of their own; each function imports its own."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tests.trainers.records import Saved, Trainer, network, parameters, step_with


def _gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=17, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    return GPT2LMHeadModel(config)


def _hf_train(folder: Path, model: torch.nn.Module, callbacks=(), **settings) -> Saved:
    from transformers import Trainer as HFTrainer
    from transformers import TrainerCallback, TrainingArguments

    saved: Saved = {}

    class Watch(TrainerCallback):
        def on_save(self, args, state, control, model=None, **kwargs):
            saved[state.global_step] = parameters(model)

    torch.manual_seed(1)
    data = [{"input_ids": torch.randint(0, 17, (8,))} for _ in range(16)]
    data = [{**each, "labels": each["input_ids"]} for each in data]
    arguments = TrainingArguments(
        str(folder), save_steps=5, per_device_train_batch_size=4, report_to=[], use_cpu=True,
        disable_tqdm=True, logging_steps=1000, **settings,
    )  # fmt: skip
    trainer = HFTrainer(
        model=model, args=arguments, train_dataset=data, callbacks=[Watch(), *callbacks]
    )
    trainer.train(resume_from_checkpoint=settings.get("max_steps") == 25)
    trainer.save_model()
    return saved


def hf(folder: Path) -> Saved:
    return _hf_train(folder, _gpt2(), max_steps=15)


def hf_limited(folder: Path) -> Saved:
    first = _hf_train(folder, _gpt2(), max_steps=10)
    second = _hf_train(folder, _gpt2(), max_steps=25, save_total_limit=3)
    kept = sorted(int(path.name.split("-")[1]) for path in folder.glob("checkpoint-*"))
    return {step: ({**first, **second})[step] for step in kept}


def hf_sharded(folder: Path) -> Saved:
    saved, model = {}, _gpt2()
    for step in (10, 20):
        with torch.no_grad():
            model.transformer.wte.weight.mul_(1.5)
        model.save_pretrained(folder / f"checkpoint-{step}", max_shard_size="3KB")
        saved[step] = parameters(model)
    return saved


def hf_dense(folder: Path) -> Saved:
    from trajscope.callbacks.transformers import SaveTrajectory

    dense = folder / "dense"
    saved = _hf_train(folder / "own", _gpt2(), [SaveTrajectory(dense, every=5)], max_steps=15)
    assert sorted(path.name for path in dense.iterdir())[0] == "step-0.safetensors"
    (dense / "step-0.safetensors").unlink()
    return saved


def peft(folder: Path) -> Saved:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(_gpt2(), LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True))
    return {
        step: {
            name.replace(".default", ""): values
            for name, values in weights.items()
            if "lora_" in name
        }
        for step, weights in _hf_train(folder, model, max_steps=10).items()
    }


def _lightning_module():
    import lightning

    class Net(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = network()

        def training_step(self, rows, _):
            loss = self.model(rows[0]).square().mean()
            self.log("val_loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-2)

    return Net()


def _lightning(folder: Path, *callbacks, logger=False) -> Saved:
    import lightning

    saved: Saved = {}

    class Watch(lightning.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            saved[trainer.global_step] = parameters(module)

    rows = torch.utils.data.TensorDataset(torch.randn(32, 4))
    trainer = lightning.Trainer(
        default_root_dir=folder, max_epochs=3, callbacks=[Watch(), *callbacks], logger=logger,
        enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(_lightning_module(), torch.utils.data.DataLoader(rows, batch_size=8))
    return saved


def lightning_default(folder: Path) -> Saved:
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger

    saved = _lightning(
        folder, ModelCheckpoint(save_top_k=-1, every_n_epochs=1, save_last=True),
        logger=CSVLogger(folder),
    )  # fmt: skip
    return {step: saved[step] for step in (4, 8, 12)}


def lightning_named(folder: Path) -> Saved:
    from lightning.pytorch.callbacks import ModelCheckpoint

    name = "{epoch}-{step}-{val_loss:.2f}"
    keep = ModelCheckpoint(folder, filename=name, save_top_k=-1, every_n_train_steps=3)
    saved = _lightning(folder, keep)
    return {step: saved[step] for step in (3, 6, 9, 12)}


def lightning_ema(folder: Path) -> Saved:
    from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint

    keep = ModelCheckpoint(folder, save_top_k=-1, every_n_train_steps=4)
    saved = _lightning(folder, keep, EMAWeightAveraging(decay=0.9))
    return {step: saved[step] for step in (4, 8, 12)}


def lightning_dense(folder: Path) -> Saved:
    from trajscope.callbacks.lightning import SaveTrajectory

    saved = _lightning(folder, SaveTrajectory(folder))
    (folder / "step-0.safetensors").unlink()
    return saved


def _accelerate(folder: Path, save) -> Saved:
    from accelerate import Accelerator
    from accelerate.utils import ProjectConfiguration

    project = ProjectConfiguration(
        project_dir=str(folder), automatic_checkpoint_naming=save is None
    )
    accelerator = Accelerator(cpu=True, project_config=project)
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    net, optimizer = accelerator.prepare(net, optimizer)
    saved = {}
    for step in (10, 20, 30):
        step_with(net, optimizer)
        accelerator.save_state(None if save is None else str(folder / save.format(step)))
        saved[step] = parameters(accelerator.unwrap_model(net))
    return saved


def accelerate_named(folder: Path) -> Saved:
    return _accelerate(folder, "step_{}")


def accelerate_counted(folder: Path) -> Saved:
    return {step // 10 - 1: each for step, each in _accelerate(folder, None).items()}


def accelerate_two(folder: Path) -> Saved:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    _, second = accelerator.prepare(network(), network())
    saved = {}
    for step in (10, 20):
        with torch.no_grad():
            second[0].weight.add_(step)
        accelerator.save_state(str(folder / f"step_{step}"))
        saved[step] = parameters(accelerator.unwrap_model(second))
    return saved


def _keras(folder: Path, name: str, **settings) -> Saved:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.BatchNormalization(),
         keras.layers.Dense(2)]
    )  # fmt: skip
    model.compile("adam", "mse")
    saved: Saved = {}
    paths = ("dense", "batch_normalization", "dense_1")

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            saved[epoch + 1] = {
                f"layers/{path}/vars/{number}": np.array(keras.ops.convert_to_numpy(values))
                for path, layer in zip(paths, model.layers, strict=True)
                for number, values in enumerate(layer.trainable_weights)
            }

    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(32, n)).astype("f4") for n in (4, 2)]
    keep = keras.callbacks.ModelCheckpoint(str(folder / name), **settings)
    model.fit(*rows, epochs=3, verbose=0, callbacks=[Watch(), keep])
    return saved


def keras_weights(folder: Path) -> Saved:
    return _keras(folder, "ckpt.{epoch:02d}-{loss:.2f}.weights.h5", save_weights_only=True)


def keras_whole(folder: Path) -> Saved:
    return _keras(folder, "model_{epoch}.keras")


def sentence_transformer(folder: Path) -> Saved:
    from sentence_transformers import SentenceTransformer, models
    from transformers import BertConfig, BertModel, BertTokenizer

    base = folder / "base"
    base.mkdir()
    (base / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]))
    BertTokenizer(str(base / "vocab.txt")).save_pretrained(base)
    BertModel(
        BertConfig(vocab_size=6, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                   intermediate_size=8, max_position_embeddings=16)
    ).save_pretrained(base)  # fmt: skip
    parts = [models.Transformer(str(base)), models.Pooling(8), models.Dense(8, 4)]
    model = SentenceTransformer(modules=parts, device="cpu")
    saved = {}
    for step in (3, 6):
        with torch.no_grad():
            for values in model.parameters():
                values.add_(0.1)
        model.save(str(folder / f"run/checkpoint-{step}"))
        (bert,) = (m for m in model[0].modules() if type(m).__name__ == "BertModel")
        saved[step] = parameters(bert) | parameters(model[2], "2_Dense/")
    return saved


def _orbax(folder: Path, **settings) -> Saved:
    import jax.numpy as jnp
    import orbax.checkpoint as ocp

    saved = {}
    handler = ocp.PyTreeCheckpointHandler(**settings)
    with ocp.CheckpointManager(folder, item_handlers=handler) as manager:
        for step in (10, 20):
            kernel = np.arange(12, dtype="f4").reshape(4, 3) * step
            tree = {
                "params": {"dense": {"kernel": jnp.asarray(kernel), "bias": jnp.ones(3) * step}},
                "opt_state": {"mu": jnp.zeros(3)},
            }
            manager.save(step, args=ocp.args.PyTreeSave(tree))
            saved[step] = {"dense.kernel": kernel, "dense.bias": np.full(3, step, "f4")}
        manager.wait_until_finished()
    return saved


def orbax_zarr(folder: Path) -> Saved:
    return _orbax(folder, use_ocdbt=False, use_zarr3=False)


def orbax_zarr3(folder: Path) -> Saved:
    return _orbax(folder, use_ocdbt=False, use_zarr3=True)


def orbax_database(folder: Path) -> Saved:
    return _orbax(folder)


warnings.filterwarnings("ignore", module="keras")

HF, LIGHTNING, ORBAX = ("transformers", "accelerate"), ("lightning",), ("orbax", "jax")


def deepspeed(stage: int) -> Callable[[Path], Saved]:
    """In a process of its own, for it starts torch.distributed for good."""

    def train(folder: Path) -> Saved:
        command = [sys.executable, "-m", "tests.trainers.deepspeed_run", str(folder), str(stage)]
        subprocess.run(command, check=True, capture_output=True)
        saved: Saved = {}
        with np.load(folder / "live.npz") as live:
            for key in live.files:
                step, name = key.split("/")
                saved.setdefault(int(step), {})[name] = live[key]
        return saved

    return train


TRAINERS = (
    Trainer("transformers Trainer", "checkpoint-5/model.safetensors", HF, hf),
    Trainer("transformers Trainer, resumed, save_total_limit", "as above, uneven", HF, hf_limited),
    Trainer("transformers, sharded", "checkpoint-10/model-0000x-of-0000y.safetensors", HF,
            hf_sharded),
    Trainer("transformers with trajscope's callback", "step-5.safetensors", HF, hf_dense,
            below="dense"),
    Trainer("PEFT", "checkpoint-5/adapter_model.safetensors", ("peft", *HF), peft),
    Trainer("Lightning", "lightning_logs/version_0/checkpoints/epoch=0-step=4.ckpt", LIGHTNING,
            lightning_default),
    Trainer("Lightning, metric in the name", "epoch=0-step=3-val_loss=0.31.ckpt", LIGHTNING,
            lightning_named),
    Trainer("Lightning, EMAWeightAveraging", "epoch=0-step=4.ckpt", LIGHTNING, lightning_ema),
    Trainer("Lightning with trajscope's callback", "step-1.safetensors", LIGHTNING,
            lightning_dense),
    Trainer("accelerate", "step_10/model.safetensors", ("accelerate",), accelerate_named),
    Trainer("accelerate, automatic names", "checkpoints/checkpoint_0/model.safetensors",
            ("accelerate",), accelerate_counted),
    Trainer("accelerate, two models", "step_10/{model,model_1}.safetensors", ("accelerate",),
            accelerate_two, {"run": "step_*/model_1.safetensors"}),
    Trainer("DeepSpeed", "global_step2/mp_rank_00_model_states.pt", ("deepspeed",), deepspeed(0),
            below="run"),
    Trainer("DeepSpeed, ZeRO stage 2", "as above, zero_pp_rank_0_..._optim_states.pt",
            ("deepspeed",), deepspeed(2), below="run"),
    Trainer("DeepSpeed, ZeRO stage 3", "global_step2/zero_pp_rank_0_..._model_states.pt",
            ("deepspeed",), deepspeed(3), below="run", refusal="run its zero_to_fp32.py"),
    Trainer("DeepSpeed, ZeRO stage 3, after zero_to_fp32.py", "step-2/model.safetensors",
            ("deepspeed",), deepspeed(3), below="whole"),
    Trainer("Keras, weights", "ckpt.01-0.77.weights.h5", ("keras", "h5py"), keras_weights),
    Trainer("Keras, whole model", "model_1.keras", ("keras", "h5py"), keras_whole),
    Trainer("sentence-transformers", "checkpoint-3/{model,2_Dense/model}.safetensors",
            ("sentence_transformers",), sentence_transformer, below="run"),
    Trainer("Orbax, zarr", "10/default/params.dense.kernel/.zarray", ORBAX, orbax_zarr),
    Trainer("Orbax, zarr format 3", "10/default/params.dense.kernel/zarr.json", ORBAX, orbax_zarr3),
    Trainer("Orbax, OCDBT (its default)", "10/default/manifest.ocdbt", ORBAX, orbax_database,
            refusal="only tensorstore reads"),
)  # fmt: skip
