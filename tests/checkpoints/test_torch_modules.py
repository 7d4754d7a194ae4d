"""The weights of torch's own modules and of small transformers are their parameters, no buffer."""

import inspect
import warnings

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.ao.quantization import fake_quantize, observer
from torch.nn.utils import parametrizations, prune

from trajscope.checkpoints.series import find_series
from trajscope.checkpoints.weights import choose_weights
from trajscope.trajectory import open_trajectory

_RENAMED = {"Container", "NLLLoss2d"}
SIZES = {
    "AdaptiveLogSoftmaxWithLoss": (16, 20, [5, 10], 2.0),
    "Bilinear": (2, 3, 4),
    "Embedding": (5, 3),
    "EmbeddingBag": (5, 3),
    "GRU": (3, 4),
    "GRUCell": (3, 4),
    "GroupNorm": (2, 4),
    "LSTM": (3, 4),
    "LSTMCell": (3, 4),
    "LayerNorm": (4,),
    "LazyLinear": (4,),
    "Linear": (3, 4),
    "LinearCrossEntropyLoss": (3, 4),
    "MultiheadAttention": (4, 2),
    "PReLU": (3,),
    "RMSNorm": (4,),
    "RNN": (3, 4),
    "RNNBase": ("LSTM", 3, 4),
    "RNNCell": (3, 4),
    "Transformer": (4, 2, 1, 1, 8),
    "TransformerDecoderLayer": (4, 2, 8),
    "TransformerEncoderLayer": (4, 2, 8),
}
OBSERVERS = sorted(
    {
        kind.__name__: kind
        for module in (observer, fake_quantize)
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, nn.Module) and not inspect.isabstract(kind)
    }.items()
)


def built(name):
    """A module of torch.nn, `None` where it needs arguments that no module with weights has."""
    kind = getattr(nn, name)
    if "Lazy" in name and "Linear" not in name:
        return kind(4, 3) if "Conv" in name else kind(track_running_stats=True, affine=True)
    if "Conv" in name:
        return kind(2, 4, 3)
    if ("BatchNorm" in name or "InstanceNorm" in name) and name not in SIZES:
        return kind(4, affine=True, track_running_stats=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the Transformer warns of its own defaults
        try:
            return kind(*SIZES.get(name, ()))
        except TypeError:
            return None


MODULES = [
    name
    for name, kind in sorted(vars(nn).items())
    # Two old names of others warn when they are used.
    if inspect.isclass(kind) and issubclass(kind, nn.Module) and name not in _RENAMED
    if (example := built(name)) is not None and list(example.parameters())
]


def materialised(module):
    """Lazy modules as they are after the first batch."""
    for shape in ((2, 3), (2, 3, 8), (2, 3, 8, 8), (2, 3, 8, 8, 8)):
        if any(nn.parameter.is_lazy(each) for each in (*module.parameters(), *module.buffers())):
            try:
                module(torch.randn(shape))
            except (ValueError, RuntimeError):
                continue
    return module


def chosen(tmp_path, module, how):
    """Names of the weights that are read from two checkpoints of a module, and why not others."""
    for step in (1, 2):
        with torch.no_grad():
            for each in module.parameters():
                each.add_(0.1)
        state = module.state_dict()
        if how == "safetensors":
            safetensors.torch.save_model(module, tmp_path / f"step_{step}.safetensors")
        else:
            torch.save({"model": state, "step": step}, tmp_path / f"step_{step}.pt")
    weights = choose_weights(find_series(tmp_path))
    return {each.name for each in weights.tensors}, weights


def parameters(module):
    return {name for name, each in module.named_parameters() if each.numel()}


def memory(module, names):
    return {module.get_parameter(name).data_ptr() for name in names}


@pytest.mark.parametrize("how", ["torch.save", "safetensors"])
@pytest.mark.parametrize("name", MODULES)
def test_the_weights_of_a_module_are_its_parameters(name, how, tmp_path):
    whole = nn.ModuleDict({"first": materialised(built(name)), "head": nn.Linear(3, 2)})
    assert chosen(tmp_path, whole, how)[0] == parameters(whole)


@pytest.mark.parametrize("how", ["torch.save", "safetensors"])
@pytest.mark.parametrize("name", [name for name, _ in OBSERVERS])
def test_ranges_of_observers_are_no_weights(name, how, tmp_path):
    try:
        kept = dict(OBSERVERS)[name]()
    except TypeError:
        pytest.skip("it needs arguments")
    if hasattr(kept, "learning_enabled"):
        pytest.skip("its scale is learned")
    try:
        kept(torch.randn(4, 3))
    except NotImplementedError:
        pytest.skip("it observes nothing")
    whole = nn.ModuleDict({"fc": nn.Linear(3, 4), "any_name": kept})
    assert chosen(tmp_path, whole, how)[0] == {"fc.weight", "fc.bias"}


@pytest.mark.filterwarnings(
    "ignore:torch.ao.quantization is deprecated", "ignore:Please use quant_"
)
def test_a_model_prepared_for_quantisation_keeps_its_weights(tmp_path):
    from torch.ao.quantization import get_default_qat_qconfig, prepare_qat

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    net.qconfig = get_default_qat_qconfig("fbgemm")
    prepare_qat(net.train(), inplace=True)
    net(torch.randn(2, 3, 8, 8))
    assert chosen(tmp_path, net, "torch.save")[0] == parameters(net)


def test_a_scale_that_is_learned_is_a_weight(tmp_path):
    from torch.ao.quantization._learnable_fake_quantize import _LearnableFakeQuantize

    learned = _LearnableFakeQuantize(observer.MinMaxObserver, 0, 255)
    whole = nn.ModuleDict({"fc": nn.Linear(3, 4), "fake": learned})
    names, _ = chosen(tmp_path, whole, "torch.save")
    assert names == parameters(whole)
    assert {"fake.scale", "fake.zero_point"} <= names


class Named(nn.Module):
    """Parameters called as buffers are elsewhere."""

    def __init__(self, *names, shape=(4,)):
        super().__init__()
        for name in names:
            self.register_parameter(name, nn.Parameter(torch.randn(shape)))


@pytest.mark.parametrize(
    "names",
    [
        ("scale", "bias"),
        ("scale", "zero_point"),
        ("min_val", "max_val"),
        ("eps",),
        ("base", "original"),
        ("weight_u", "weight_v"),
        ("u0", "weight"),
        ("mean", "var"),
        ("mean", "var", "logits"),
        ("center",),
        ("embed", "cluster"),
        ("average", "hidden"),
        ("histogram", "queue"),
        ("sum", "step_size", "square_avg", "prev"),
    ],
)
def test_parameters_of_such_names_are_weights_where_nothing_shows_the_contrary(names, tmp_path):
    whole = nn.ModuleDict({"fc": nn.Linear(3, 4), "own": Named(*names)})
    assert chosen(tmp_path, whole, "safetensors")[0] == parameters(whole)


NORMALISED = {
    "spectral norm": parametrizations.spectral_norm,
    "the old spectral norm": nn.utils.spectral_norm,
    "weight norm": parametrizations.weight_norm,
    "the old weight norm": nn.utils.weight_norm,
    "an orthogonal matrix": parametrizations.orthogonal,
    "an orthogonal matrix by Cayley's map": lambda layer: parametrizations.orthogonal(
        layer, orthogonal_map="cayley"
    ),
    "pruning": lambda layer: prune.random_unstructured(layer, "weight", amount=0.5),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated")
@pytest.mark.parametrize("how", ["torch.save", "safetensors"])
@pytest.mark.parametrize("kind", NORMALISED)
@pytest.mark.parametrize("layer", [nn.Linear(4, 4), nn.Conv2d(4, 4, 3)], ids=["linear", "conv"])
def test_what_a_parametrisation_keeps_is_no_weight(layer, kind, how, tmp_path):
    if "orthogonal" in kind and isinstance(layer, nn.Conv2d):
        pytest.skip("torch wants a square matrix here")
    net = nn.Sequential(type(layer)(4, 4, *([3] if isinstance(layer, nn.Conv2d) else [])))
    NORMALISED[kind](net[0])
    names, weights = chosen(tmp_path, net, how)
    if kind == "pruning":  # the weight is the product, and neither factor is one
        assert names == {"0.weight", "0.bias"}
    else:
        assert names == parameters(net)
    left = {each.name for each in weights.left_out}
    assert left == set(net.state_dict()) - names


class Rescaled(nn.Module):
    """A parametrisation of the user's own, with parameters that are learned."""

    def __init__(self):
        super().__init__()
        self.base = nn.Parameter(torch.randn(1))
        self.lora_A = nn.Parameter(torch.randn(2, 4))

    def forward(self, weight):
        return weight * self.base


def test_what_another_parametrisation_learns_is_a_weight(tmp_path):
    net = nn.Sequential(nn.Linear(4, 4))
    nn.utils.parametrize.register_parametrization(net[0], "weight", Rescaled())
    assert chosen(tmp_path, net, "torch.save")[0] == parameters(net)


@pytest.mark.parametrize("field", ["", ".value", "/value", "/raw_value"])
@pytest.mark.parametrize("joint", [".", "/"])
def test_batch_statistics_of_flax_need_their_scale_or_bias(field, joint, save, tmp_path):
    import numpy as np

    def named(module, *leaves):
        return {f"{module}{joint}{leaf}{field}": np.ones(4, "f4") for leaf in leaves}

    for step in (1, 2):
        save(
            f"step_{step}.safetensors",
            named("bn", "mean", "var", "scale", "bias")
            | named("norm", "mean", "var", "bias")
            | named("policy", "mean", "var")
            | named("mixture", "mean", "var", "scale", "weight"),
        )
    weights = choose_weights(find_series(tmp_path))
    left = {each.name for each in weights.left_out}
    assert left == set(named("bn", "mean", "var") | named("norm", "mean", "var"))
    assert len(weights.tensors) == 3 + 2 + 4


SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 11}
TRANSFORMERS = {
    "GPT2LMHeadModel": {"n_embd": 8, "n_layer": 2, "n_head": 2, "vocab_size": 11, "n_positions": 8},
    "LlamaForCausalLM": SMALL | {"intermediate_size": 8, "num_key_value_heads": 2},
    "BertForMaskedLM": SMALL | {"intermediate_size": 8},
    "T5ForConditionalGeneration": {
        "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 11,
    },
    "BartForConditionalGeneration": {
        "d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "vocab_size": 11,
        "max_position_embeddings": 8, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
        "decoder_start_token_id": 2, "forced_eos_token_id": 2,
    },
    "CLIPModel": {
        "projection_dim": 8,
        "text_config": SMALL | {"intermediate_size": 8, "bos_token_id": 0, "eos_token_id": 1},
        "vision_config": SMALL | {"intermediate_size": 8, "image_size": 8, "patch_size": 4},
    },
    "MambaForCausalLM": {
        "hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 11, "state_size": 4,
    },
    "Wav2Vec2ForCTC": {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 8, "conv_dim": (4, 4), "conv_stride": (2, 2), "conv_kernel": (3, 3),
        "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2, "vocab_size": 11, "pad_token_id": 0,
    },
}  # fmt: skip


@pytest.mark.parametrize("how", ["torch.save", "safetensors"])
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_weights_of_a_transformer_are_its_parameters(name, how, tmp_path):
    transformers = pytest.importorskip("transformers")
    kind = getattr(transformers, name)
    net = kind(kind.config_class(**TRANSFORMERS[name]))
    names, _ = chosen(tmp_path, net, how)
    # Of tied tensors safetensors keeps another one than the module.
    assert len(names) == len(parameters(net))
    assert memory(net, names) == memory(net, parameters(net))


@pytest.mark.parametrize(
    "names",
    [("running_mean", "running_var", "count"),
     ("running_mean", "running_variance", "current_count"),
     ("_mean", "_var", "_std", "count"), ("mean", "var", "count")],
)  # fmt: skip
def test_moments_of_inputs_and_rewards_are_no_weights(names, tmp_path):
    for step in (1, 2):
        moments = {
            f"normalizer.{name}": torch.full([1] if "count" in name else [4], float(step))
            for name in names
        }
        torch.save(
            {"fc.weight": torch.full((4, 4), step + 0.5), **moments}, tmp_path / f"{step}.pt"
        )
    opened = open_trajectory(tmp_path)
    assert opened["tensor"].values.tolist() == ["fc.weight"]
    assert {each["reason"] for each in opened.attrs["left_out"]} == {
        "a running statistic, not a weight"
    }


@pytest.mark.parametrize("names", [("_mean", "_var"), ("mean", "count"), ("_mean", "count")])
def test_a_mean_without_a_spread_or_a_count_is_a_weight(names, tmp_path):
    for step in (1, 2):
        torch.save(
            {f"prior.{name}": torch.full((4,), step + 0.5) for name in names},
            tmp_path / f"{step}.pt",
        )
    assert set(open_trajectory(tmp_path)["tensor"].values) == {f"prior.{name}" for name in names}
