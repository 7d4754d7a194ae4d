"""Weights made of several arrays: pruned, quantised; and complex ones, made of two numbers each."""

import os

import h5py
import numpy as np
import pytest
import torch
import zarr
from safetensors.torch import save_file
from torch.nn.utils import prune

from trajscope.errors import TrajectoryError, TrajscopeWarning
from trajscope.trajectory import open_trajectory, tensor

STEPS = (0, 10, 20)


def rng(step):
    return torch.Generator().manual_seed(step)


def written(folder, make, save=torch.save, ending=".pt"):
    """``make(step)`` is (what is saved, the weights by name); returns the weights of all steps."""
    expected = []
    for step in STEPS:
        content, weights = make(step)
        save(content, folder / f"step_{step}{ending}")
        expected.append(weights)
    return expected


def check(folder, expected, **options):
    """What is opened is `expected`, whole, and read in pieces that cut rows and blocks."""
    opened = open_trajectory(folder, **options)
    assert sorted(opened["tensor"].values) == sorted(expected[0])
    for row, weights in enumerate(expected):
        for name, values in weights.items():
            np.testing.assert_array_equal(tensor(opened, name)[row], values)
    whole = opened["weights"].to_numpy()
    for first, last in ((0, 1), (3, 11), (7, whole.shape[1] - 2), (5, 5)):
        np.testing.assert_array_equal(opened["weights"][1:, first:last], whole[1:, first:last])
    return opened


def left_out(opened):
    return {each["name"]: each["reason"] for each in opened.attrs["left_out"]}


def told(opened):
    return " ".join(opened.attrs["decisions"])


# --- pruned


def pruned_layer(step):
    torch.manual_seed(step)
    layer = torch.nn.Linear(5, 4)
    prune.random_unstructured(layer, "weight", 0.5)
    return layer


@pytest.mark.parametrize("whole", [False, True])
def test_a_pruned_weight_is_what_is_left_times_the_mask(tmp_path, whole):
    def make(step):
        layer = pruned_layer(step)
        weights = {"weight": layer.weight.detach().numpy(), "bias": layer.bias.detach().numpy()}
        return layer if whole else layer.state_dict(), weights

    opened = check(tmp_path, written(tmp_path, make))
    assert "1 tensor is pruned: read as the weights times their mask (first: weight)." in told(
        opened
    )
    assert left_out(opened) == {
        "weight_orig": "part of the weight 'weight'",
        "weight_mask": "part of the weight 'weight'",
    }


def test_a_run_is_one_whether_pruning_begins_ends_or_both(tmp_path):
    expected = []
    for step in STEPS:
        layer = pruned_layer(step)
        if step == 20:
            prune.remove(layer, "weight")
        state = (
            {"weight": torch.ones(4, 5), "bias": layer.bias} if step == 0 else layer.state_dict()
        )
        torch.save(state, tmp_path / f"step_{step}.pt")
        weight = np.ones((4, 5), "f4") if step == 0 else layer.weight.detach().numpy()
        expected.append({"weight": weight, "bias": layer.bias.detach().numpy()})
    check(tmp_path, expected)


def test_the_stored_arrays_of_a_pruned_weight_can_be_asked_for(tmp_path):
    layers = {step: pruned_layer(step) for step in STEPS}
    written(tmp_path, lambda step: (layers[step].state_dict(), {}))
    opened = open_trajectory(tmp_path, include="weight_*")
    assert list(opened["tensor"].values) == ["weight_orig", "weight_mask"]
    np.testing.assert_array_equal(
        tensor(opened, "weight_orig")[1], layers[10].weight_orig.detach().numpy()
    )


@pytest.mark.filterwarnings("ignore:.*of the model's values")
@pytest.mark.parametrize("mask", [None, torch.ones(4, 1)])
def test_an_original_without_a_mask_of_its_shape_is_a_weight_itself(tmp_path, mask):
    def make(step):
        state = {"weight_orig": torch.rand(4, 5, generator=rng(step))}
        weights = {name: values.numpy() for name, values in state.items()}
        return state | ({} if mask is None else {"weight_mask": mask}), weights

    check(tmp_path, written(tmp_path, make))


# --- quantised


@pytest.mark.parametrize(
    ("scale", "name"),
    [
        ((), "weight_scale"),
        ((1,), "weight_scale"),
        ((300, 1), "weight_scale"),
        ((300,), "weight_scale"),
        ((3, 2), "weight_scale_inv"),
        ((300, 8), "weight_scale"),
        ((300, 1), "scale_weight"),
    ],
)
def test_float8_is_multiplied_with_its_scale(tmp_path, scale, name):
    def make(step):
        codes = torch.randn(300, 160, generator=rng(step)).to(torch.float8_e4m3fn)
        factor = torch.rand(scale, generator=rng(step + 1)) + 0.5
        full = factor.reshape(-1, 1) if len(scale) == 1 else factor
        if len(scale) == 2:
            block = 128 if scale == (3, 2) else 1
            full = full.repeat_interleave(block, 0)[:300]
            full = full.repeat_interleave(128 if scale == (3, 2) else 160 // scale[1], 1)[:, :160]
        state = {
            "fc.weight": codes,
            f"fc.{name}": factor,
            "fc.bias": torch.rand(3, generator=rng(step)),
            "fc.input_scale": torch.ones(()),
        }
        weights = {"fc.weight": (codes.float() * full).numpy(), "fc.bias": state["fc.bias"].numpy()}
        return state, weights

    expected = written(tmp_path, make, save_file, ".safetensors")
    opened = check(tmp_path, expected)
    assert "1 tensor is quantised: read as codes times scale" in told(opened)
    assert dict(zip(opened["tensor"].values, opened["stored_dtype"].values, strict=True)) == {
        "fc.weight": "float8_e4m3fn",
        "fc.bias": "float32",
    }
    assert left_out(opened)[f"fc.{name}"] == "part of the weight 'fc.weight'"


def test_a_scale_may_lie_in_another_shard_than_its_codes(tmp_path):
    expected = []
    for step in STEPS:
        codes = torch.randn(6, 4, generator=rng(step)).to(torch.float8_e5m2)
        scale = torch.rand(6, 1, generator=rng(step))
        folder = tmp_path / f"step_{step}"
        folder.mkdir()
        save_file({"w": codes}, folder / "model-00001-of-00002.safetensors")
        save_file({"w_scale": scale}, folder / "model-00002-of-00002.safetensors")
        expected.append({"w": (codes.float() * scale).numpy()})
    check(tmp_path, expected)


def test_files_whose_headers_differ_in_length_have_scales_elsewhere(tmp_path):
    expected = []
    for step in STEPS:
        codes = torch.randint(-128, 128, (6, 4), generator=rng(step)).to(torch.int8)
        scale = torch.rand(6, 1, generator=rng(step))
        metadata = {"note": "x" * step}
        path = tmp_path / f"step_{step}.safetensors"
        save_file({"fc.weight": codes, "fc.weight_scale": scale}, path, metadata)
        expected.append({"fc.weight": (codes.float() * scale).numpy()})
    opened = check(tmp_path, expected)
    assert opened["stored_dtype"].values == ["float32"]


def test_int8_of_bitsandbytes_is_scaled_by_the_largest_magnitude_of_each_row(tmp_path):
    def make(step):
        weights = torch.randn(6, 4, generator=rng(step))
        largest = weights.abs().amax(1)
        codes = torch.round(weights * 127 / largest[:, None]).to(torch.int8)
        state = {"fc.weight": codes, "fc.SCB": largest, "fc.weight_format": torch.tensor(0)}
        # bitsandbytes.functional.int8_vectorwise_dequant of version 0.45
        return state, {"fc.weight": (codes * (largest[:, None] / 127)).numpy()}

    check(tmp_path, written(tmp_path, make, save_file, ".safetensors"))


@pytest.mark.filterwarnings("ignore:torch.quantize_per", "ignore:.*quantized", "ignore:.*Storage")
@pytest.mark.parametrize("dtype", [torch.qint8, torch.quint8, torch.qint32])
@pytest.mark.parametrize("legacy", [False, True])
def test_torchs_quantised_tensors_are_dequantised(tmp_path, dtype, legacy):
    def make(step):
        weights = torch.randn(4, 6, generator=rng(step))
        whole = torch.quantize_per_tensor(weights, 0.013 * (step + 1), 3, dtype)
        scales = torch.rand(6, generator=rng(step)) * 0.1 + 0.01
        zeros = torch.arange(6)
        rows = torch.quantize_per_channel(weights, scales, zeros, 1, dtype)
        state = {"whole": whole, "rows": rows, "plain": weights}
        return state, {name: each.dequantize().numpy() for name, each in state.items()}

    def save(content, path):
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)

    opened = check(tmp_path, written(tmp_path, make, save))
    assert set(opened["stored_dtype"].values) == {"float32"}
    assert {"whole:scale", "whole:zero_point", "rows:scale"} <= left_out(opened).keys()


@pytest.mark.filterwarnings("ignore:.*quantize", "ignore:torch.ao")
def test_torchs_dynamically_quantised_layers_have_a_weight_and_a_bias(tmp_path):
    def make(step):
        torch.manual_seed(step)
        net = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))
        net = torch.ao.quantization.quantize_dynamic(net, {torch.nn.Linear})
        weights = {}
        for index in (0, 2):
            weights[f"{index}.weight"] = net[index].weight().dequantize().numpy()
            weights[f"{index}.bias"] = net[index].bias().detach().numpy()
        return net.state_dict(), weights

    if torch.backends.quantized.engine == "none":
        pytest.skip("this build of torch cannot quantise")
    check(tmp_path, written(tmp_path, make))


@pytest.mark.filterwarnings("ignore:.*of the model's values")
@pytest.mark.parametrize(
    "extra",
    [
        {"fc.qweight": torch.int32, "fc.scales": torch.float16, "fc.qzeros": torch.int32},
        {"fc.weight": torch.uint8, "fc.weight.absmax": torch.float32},
        {"fc.weight": torch.uint8, "fc.weight_scale": torch.float32},
        {"fc.weight_packed": torch.int32, "fc.weight_scale": torch.bfloat16},
        {"fc.weight": torch.int8, "fc.weight_scale": torch.float32, "fc.weight_g_idx": torch.int32},
        {"fc.weight": torch.int8, "fc.weight_scale": torch.int32},
    ],
)
def test_codes_of_other_layouts_are_left_out_with_their_scales(tmp_path, extra):
    def make(step):
        state = {"head.weight": torch.rand(2, 3, generator=rng(step))}
        weights = {name: values.numpy() for name, values in state.items()}
        return state | {name: torch.ones(8, 5, dtype=kind) for name, kind in extra.items()}, weights

    expected = written(tmp_path, make, save_file, ".safetensors")
    with pytest.warns(TrajscopeWarning, match="Most of this model is quantised in a layout"):
        opened = check(tmp_path, expected)
    codes, *companions = extra
    assert "codes of a quantised weight" in left_out(opened)[codes]
    for name in companions:
        assert left_out(opened)[name] == f"belongs to the quantised '{codes}', not a weight"
    with pytest.raises(TrajectoryError, match=r"Most of this model is quantised.*dequantize"):
        open_trajectory(tmp_path, strict=True)


@pytest.mark.filterwarnings("ignore:Most of this model", "ignore:.*of the model's values")
@pytest.mark.parametrize("shape", [(4,), (3, 2), (5, 7), (6, 1, 1), (0,)])
def test_a_scale_of_a_shape_that_is_not_certain_is_no_scale(tmp_path, shape):
    def make(step):
        state = {
            "fc.weight": torch.ones(6, 5).to(torch.float8_e4m3fn),
            "fc.weight_scale": torch.ones(shape),
            "fc.bias": torch.rand(6, generator=rng(step)),
        }
        return state, {"fc.bias": state["fc.bias"].numpy()}

    check(tmp_path, written(tmp_path, make, save_file, ".safetensors"))


def test_a_scale_beside_plain_weights_is_a_weight(tmp_path):
    def make(step):
        shapes = {"norm.scale": (4,), "fc.weight": (4, 4), "fc.weight_scale": (4, 1)}
        state = {name: torch.rand(each, generator=rng(step)) for name, each in shapes.items()}
        state["attn.logit_scale"] = torch.rand(2, generator=rng(step))
        weights = {name: values.numpy() for name, values in state.items()}
        state["attn.relative_position_index"] = torch.ones(4, 4, dtype=torch.int64)
        return state, weights

    check(tmp_path, written(tmp_path, make))


def test_only_the_values_of_a_scale_that_are_needed_are_read(tmp_path, monkeypatch):
    scale = torch.rand(4000, 1)
    for step in STEPS:
        path = tmp_path / f"step_{step}.safetensors"
        codes = torch.full((4000, 3), step % 100, dtype=torch.int8)
        save_file({"w": codes, "w_scale": scale}, path)
    opened = open_trajectory(tmp_path)
    amounts, real = [], os.preadv

    def counted(descriptor, buffers, offset):
        amounts.append(sum(map(len, buffers)))
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", counted)
    block = opened["weights"][2, 30:60].to_numpy()
    np.testing.assert_array_equal(block, np.repeat(20 * scale.numpy().ravel()[10:20], 3))
    assert sum(amounts) <= 4 * 30 + 4 * 100  # of 16,000 bytes of scales


def test_weights_in_one_store_are_composed_too(tmp_path):
    values = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("f4")
    mask = (values > 0).astype("f4")
    with h5py.File(tmp_path / "run.h5", "w") as file:
        for step in range(3):
            group = file.create_group(f"step_{step}")
            group["w_orig"], group["w_mask"] = values[step], mask[step]
    check(tmp_path, [{"w": each} for each in values * mask])


# --- complex


def complex_values(step, dtype):
    generator = np.random.default_rng(step)
    return (generator.normal(size=(3, 5)) + 1j * generator.normal(size=(3, 5))).astype(dtype)


def in_pairs(values):
    return np.stack([values.real, values.imag], axis=-1)


@pytest.mark.parametrize("dtype", ["<c8", "<c16", ">c8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_complex_arrays_of_numpy_are_read_as_pairs(tmp_path, dtype, order, save):
    def make(step):
        values = complex_values(step, dtype)
        return np.asarray(values, order=order), {"w": in_pairs(values)}

    expected = written(tmp_path, make, lambda values, path: save(path, w=values), ".npz")
    assert "1 tensor is complex: read as pairs of real and imaginary part" in told(
        check(tmp_path, expected)
    )


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize("dtype", [torch.complex32, torch.complex64, torch.complex128])
@pytest.mark.parametrize("transposed", [False, True])
def test_complex_tensors_of_torch_are_read_as_pairs(tmp_path, dtype, transposed):
    def make(step):
        values = torch.from_numpy(complex_values(step, "c16")).to(dtype)
        values = values.T if transposed else values
        return {"w": values, "b": torch.ones(2)}, {
            "w": torch.view_as_real(values.resolve_conj()).to(torch.float64).numpy(),
            "b": np.ones(2),
        }

    check(tmp_path, written(tmp_path, make))


def test_complex_tensors_of_safetensors_are_read_as_pairs(tmp_path):
    def make(step):
        values = torch.from_numpy(complex_values(step, "c8"))
        return {"w": values}, {"w": torch.view_as_real(values).numpy()}

    check(tmp_path, written(tmp_path, make, save_file, ".safetensors"))


@pytest.mark.parametrize("options", [{}, {"chunks": (2, 3), "compression": "gzip"}])
@pytest.mark.parametrize("dtype", ["<c8", ">c16"])
def test_complex_datasets_of_hdf5_are_read_as_pairs(tmp_path, dtype, options):
    def save(values, path):
        with h5py.File(path, "w") as file:
            file.create_dataset("w", data=values, **options)

    def make(step):
        values = complex_values(step, dtype)
        return values, {"w": in_pairs(values)}

    check(tmp_path, written(tmp_path, make, save, ".h5"))


@pytest.mark.parametrize("grouped", [True, False])
def test_complex_weights_in_one_hdf5_file_are_read_as_pairs(tmp_path, grouped):
    values = [complex_values(step, "c8") for step in STEPS]
    with h5py.File(tmp_path / "run.h5", "w") as file:
        if grouped:
            for step, each in zip(STEPS, values, strict=True):
                file[f"step_{step}/w"] = each
        else:
            file["step"], file["w"] = STEPS, np.stack(values)
    check(tmp_path, [{"w": in_pairs(each)} for each in values])


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_complex_arrays_of_zarr_are_read_as_pairs(tmp_path, dtype, zarr_format):
    values = [complex_values(step, dtype) for step in STEPS]
    for step, each in zip(STEPS, values, strict=True):
        group = zarr.open_group(tmp_path / f"step_{step}.zarr", mode="w", zarr_format=zarr_format)
        group.create_array("w", data=each, chunks=(2, 3))
    check(tmp_path, [{"w": in_pairs(each)} for each in values])
    store = zarr.open_group(tmp_path / "all" / "run.zarr", mode="w", zarr_format=zarr_format)
    store.create_array("w", data=np.stack(values))
    check(tmp_path / "all", [{"w": in_pairs(each)} for each in values])
