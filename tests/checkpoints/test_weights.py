import warnings

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from trajscope.checkpoints.sections import select
from trajscope.checkpoints.series import find_series
from trajscope.checkpoints.stored import Stored
from trajscope.checkpoints.weights import choose_weights
from trajscope.errors import OptionError, TrajectoryError, TrajscopeWarning
from trajscope.readers.base import TensorSpec
from trajscope.trajectory import open_trajectory


def arrays(*names, **specs):
    """Header entries, of shape (2, 3) unless a spec is given by name."""
    entries = dict.fromkeys(names, TensorSpec((2, 3), "float32")) | specs
    return {name: Stored(0, name, spec) for name, spec in entries.items()}


def kept(entries, include=(), exclude=()):
    ((weights, _),) = select([entries], include, exclude)
    return list(weights)


def left(entries, include=(), exclude=()):
    ((_, left_out),) = select([entries], include, exclude)
    return {name: each.reason for name, each in left_out.items()}


# --- one checkpoint


@pytest.mark.parametrize(
    "section", ["model", "state_dict", "model_state_dict", "module", "net", "params"]
)
def test_the_models_own_section_is_taken_and_its_name_dropped(section):
    entries = arrays(
        f"{section}/fc.weight", f"{section}/fc.bias", "optimizer/state/0/exp_avg", "ema/fc.weight"
    )
    assert kept(entries) == ["fc.weight", "fc.bias"]
    assert left(entries) == {
        "optimizer/*": "optimizer state (1 array)",
        "ema/*": "an average of the weights (1 array)",
    }


def test_live_weights_come_before_an_average_that_took_their_place():
    entries = arrays("state_dict/fc.weight", "current_model_state/fc.weight")
    ((weights, _),) = select([entries])
    assert weights["fc.weight"].name == "current_model_state/fc.weight"
    assert left(entries) == {"state_dict/*": "an average of the weights (1 array)"}


def test_a_lone_number_at_the_top_does_not_hide_the_model():
    entries = arrays("model/fc.weight", loss=TensorSpec((), "float32"))
    assert kept(entries) == ["fc.weight"]


def test_sections_of_unknown_names_are_taken_together():
    entries = arrays("generator/fc.weight", "critic/fc.weight", "optimizer_g/state/0/exp_avg")
    assert kept(entries) == ["generator/fc.weight", "critic/fc.weight"]


def test_a_slash_may_belong_to_the_names_of_layers():
    entries = arrays("dense/kernel", "dense/bias", "gamma", "opt_state/mu")
    assert kept(entries) == ["dense/kernel", "dense/bias", "gamma"]
    assert left(entries) == {"opt_state/*": "optimizer state (1 array)"}


def test_a_layer_that_begins_like_an_optimizer_is_kept():
    assert kept(arrays("opt_proj.weight", "opt.decoder.weight", "optimizer.state.0.m")) == [
        "opt_proj.weight",
        "opt.decoder.weight",
    ]


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."]
)
def test_prefixes_of_wrappers_are_dropped(prefix):
    assert kept(arrays(f"{prefix}fc.weight", f"{prefix}fc.bias")) == ["fc.weight", "fc.bias"]


def test_a_prefix_is_dropped_beside_the_counter_of_an_averaged_model():
    entries = arrays("module.fc.weight", n_averaged=TensorSpec((), "int64"))
    assert kept(entries) == ["fc.weight"]


def test_a_compiled_part_of_a_model_keeps_its_plain_name():
    assert kept(arrays("net._orig_mod.fc.weight", "head.weight")) == [
        "net.fc.weight",
        "head.weight",
    ]


def test_a_prefix_that_only_some_names_have_belongs_to_the_model():
    assert kept(arrays("module.fc.weight", "head.weight")) == ["module.fc.weight", "head.weight"]


def test_prefixes_are_kept_where_two_names_would_become_one():
    names = ["a._orig_mod.w", "a.w"]
    selections = select([arrays(*names), arrays("b._orig_mod.w")])
    assert [list(weights) for weights, _ in selections] == [names, ["b._orig_mod.w"]]


@pytest.mark.parametrize(
    ("name", "spec", "reason"),
    [
        ("bn.running_mean", TensorSpec((3,), "float32"), "running statistic"),
        ("bn.running_var", TensorSpec((3,), "float32"), "running statistic"),
        ("bn.moving_variance", TensorSpec((3,), "float32"), "running statistic"),
        ("bn.num_batches_tracked", TensorSpec((), "int64"), "running statistic"),
        ("bn1_running_var", TensorSpec((3,), "float32"), "running statistic"),
        ("count", TensorSpec((), "int64"), "int64 values, not a supported floating-point dtype"),
        ("n_averaged", TensorSpec((), "float32"), "a counter"),
        ("step", TensorSpec((), "float64"), "a counter"),
        ("emb.position_ids", TensorSpec((1, 4), "float32"), "a constant"),
        ("rotary.inv_freq", TensorSpec((4,), "float32"), "a constant"),
        ("attn.causal_mask", TensorSpec((4, 4), "bool"), "a mask"),
        ("fc.weight_mask", TensorSpec((4, 4), "uint8"), "a mask"),
        ("x", TensorSpec((4,), "float4_unheard_of"), "float4_unheard_of values"),
        ("x", TensorSpec((4,), "complex64"), "complex64 values"),
        ("x", TensorSpec((4,), "bool"), "bool values"),
        ("x", TensorSpec((0, 4), "float32"), "it is empty"),
        ("x", TensorSpec((4,), "float32", role="buffer"), "a buffer, not a parameter"),
        ("loss", TensorSpec((), "float32"), "a logged number"),
        ("optimizer.0.exp_avg", TensorSpec((4,), "float32"), "optimizer state"),
    ],
)
def test_what_is_no_weight_is_left_with_its_reason(name, spec, reason):
    entries = {**arrays("fc.weight"), name: Stored(0, name, spec)}
    assert kept(entries) == ["fc.weight"]
    assert left(entries)[name].startswith(reason) or reason in left(entries)[name]


def test_tied_tensors_are_counted_once():
    shared = TensorSpec((2, 3), "float32", storage="0")
    entries = arrays(**{"emb.weight": shared, "head.weight": shared})
    assert kept(entries) == ["emb.weight"]
    assert left(entries) == {"head.weight": "shares its memory with emb.weight, counted once"}


def test_the_tied_partner_stays_when_the_first_is_excluded():
    shared = TensorSpec((2, 3), "float32", storage="0")
    entries = arrays(**{"emb.weight": shared, "head.weight": shared})
    assert kept(entries, exclude=("emb*",)) == ["head.weight"]


def test_include_takes_only_what_matches_buffers_too():
    entries = arrays("bn.weight", "bn.running_mean", "fc.weight", "model_ema/fc.weight")
    assert kept(entries, include=("bn.*",)) == ["bn.weight", "bn.running_mean"]
    assert kept(entries, include=("*",)) == ["bn.weight", "bn.running_mean", "fc.weight"]


def test_include_never_takes_integers():
    entries = arrays(
        **{"bn.count": TensorSpec((), "int64"), "bn.weight": TensorSpec((2,), "float32")}
    )
    assert kept(entries, include=("bn.*",)) == ["bn.weight"]


def test_include_reaches_a_section_that_it_names():
    entries = arrays("model/fc.weight", "ema/fc.weight")
    assert kept(entries, include=("ema/*",)) == ["ema/fc.weight"]


def test_exclude_matches_shown_and_stored_names_with_case():
    entries = arrays("model/fc.weight", "model/head.weight", "model/Head.weight")
    assert kept(entries, exclude=("head.*",)) == ["fc.weight", "Head.weight"]
    assert kept(entries, exclude=("model/fc*",)) == ["head.weight", "Head.weight"]


# --- a series

A = {"a.weight": np.ones((2, 3), "f4"), "b.weight": np.ones(4, "f4"), "c.weight": np.ones(1, "f4")}


def chosen(tmp_path, **options):
    return choose_weights(find_series(tmp_path), **options)


def test_tensors_of_a_layer_lie_next_to_each_other(save, tmp_path):
    names = ["a.bias", "a.inner.bias", "a.weight", "plain"]
    for step in (1, 5):
        save(f"step_{step}.safetensors", {name: np.ones(2, "f4") for name in names})
    shown = [tensor.name for tensor in chosen(tmp_path).tensors]
    assert shown == ["a.bias", "a.weight", "a.inner.bias", "plain"]


def test_a_changed_shape_leaves_the_tensor_out_and_names_step_and_shapes(save, tmp_path):
    for step in (1, 5, 9):
        save(f"step_{step}.safetensors", A)
    save("step_12.safetensors", {**A, "b.weight": np.ones(6, "f4")})
    weights = chosen(tmp_path)
    assert [tensor.name for tensor in weights.tensors] == ["a.weight", "c.weight"]
    (warning,) = weights.warnings
    assert warning == (
        "Tensor 'b.weight' is left out: shape (6,) at step 12 (step_12.safetensors), but (4,) at "
        "most steps."
    )
    assert any(left_out.name == "b.weight" for left_out in weights.left_out)
    with pytest.raises(TrajectoryError, match=r"shape \(6,\) at step 12 .* to contain the same"):
        chosen(tmp_path, strict=True)


def test_a_missing_tensor_is_left_out_for_the_whole_series(save, tmp_path):
    for step in (1, 5):
        save(f"step_{step}.safetensors", A)
    save("step_9.safetensors", {name: A[name] for name in ("a.weight", "b.weight")})
    weights = chosen(tmp_path)
    assert [tensor.name for tensor in weights.tensors] == ["a.weight", "b.weight"]
    assert weights.warnings[0].startswith("Tensor 'c.weight' is left out: missing at step 9")


def test_a_tensor_that_few_checkpoints_have_is_left_out(save, tmp_path):
    for step in (1, 5):
        save(f"step_{step}.safetensors", A)
    save("step_9.safetensors", {**A, "d.weight": np.ones(1, "f4")})
    weights = chosen(tmp_path)
    assert len(weights.tensors) == 3
    assert "'d.weight' is left out: shape (1,) at step 9" in weights.warnings[0]


def test_a_foreign_checkpoint_is_skipped_rather_than_the_tensors(save, tmp_path):
    for step in (1, 5, 9):
        save(f"step_{step}.safetensors", A)
    save("step_12.safetensors", {"a.weight": A["a.weight"], "other": np.ones(3, "f4")})
    weights = chosen(tmp_path)
    assert len(weights.tensors) == 3
    assert [checkpoint.step for checkpoint in weights.checkpoints] == [1, 5, 9]
    (skipped,) = weights.skipped
    assert skipped.reason.startswith("it shares 1 of the 3 tensors in most checkpoints")
    assert weights.warnings == (
        f"1 checkpoint skipped, first step_12.safetensors: {skipped.reason}",
    )
    with pytest.raises(TrajectoryError, match="1 checkpoint skipped"):
        chosen(tmp_path, strict=True)


def test_models_that_share_nothing_are_refused(save, tmp_path):
    for step in range(3):
        save(f"step_{step}.safetensors", {f"layer{step}.weight": np.ones(2, "f4")})
    with pytest.raises(
        TrajectoryError, match=r"no tensor occurs in more than half of the 3 checkpoint"
    ):
        chosen(tmp_path)


def test_tensors_that_all_change_are_refused(save, tmp_path):
    for step in range(3):
        save(f"step_{step}.safetensors", {"a": np.ones(2, "f4"), "b": np.ones(2 + step, "f4")})
    save("step_3.safetensors", {"a": np.ones(5, "f4"), "b": np.ones(2, "f4")})
    with pytest.raises(TrajectoryError, match="no tensor has the same shape in every checkpoint"):
        chosen(tmp_path)


def test_nothing_but_buffers_is_refused_with_what_was_there(save, tmp_path):
    for step in (1, 5):
        save(
            f"step_{step}.safetensors", {"bn.running_mean": np.ones(2, "f4"), "n": np.ones(1, "i8")}
        )
    with pytest.raises(
        TrajectoryError, match=r"no tensor remains(.|\n)*bn\.running_mean: a running"
    ):
        chosen(tmp_path)


@pytest.mark.parametrize("option", ["include", "exclude"])
def test_a_glob_that_matches_nothing_is_refused(option, save, tmp_path):
    for step in (1, 5):
        save(f"step_{step}.safetensors", A)
    with pytest.raises(OptionError, match=rf"--{option} 'zz\*' matches no tensor.*a\.weight"):
        choose_weights(
            find_series(tmp_path, exclude=("zz*",) if option == "exclude" else ()),
            **{option: ("zz*",)},
        )


def test_a_wrapper_that_appears_half_way_changes_no_name(save, tmp_path):
    for step in (1, 5):
        save(f"step_{step}.safetensors", A)
    save("step_9.safetensors", {f"module.{name}": values for name, values in A.items()})
    weights = chosen(tmp_path, strict=True)
    assert [tensor.name for tensor in weights.tensors] == list(A)
    assert [entry.name for entry in weights.stored[2]] == [f"module.{name}" for name in A]


def test_dtypes_that_differ_between_checkpoints_are_listed(save, tmp_path):
    save("step_1.safetensors", {"a": np.ones(2, "f4")})
    save("step_2.safetensors", {"a": np.ones(2, "f2")})
    assert chosen(tmp_path).tensors[0].stored_dtype == "float16|float32"


def test_hostile_tensor_names_are_shown_harmlessly(save, tmp_path):
    name = "\x1b[31m\n\u202e" + "x" * 900
    for step in (1, 5):
        save(f"step_{step}.safetensors", {**A, name: np.ones(step, "f4")})
    (warning,) = chosen(tmp_path).warnings
    assert warning.isprintable()
    assert len(warning) < 1000


def test_a_name_without_end_is_left_out():
    entries = arrays("fc.weight", "x" * 10_000)
    assert kept(entries) == ["fc.weight"]
    assert left(entries)["x" * 10_000] == "its name has 10,000 characters"


def test_a_model_that_changes_throughout_is_warned_of_in_a_few_lines(save, tmp_path):
    many = {f"layer{i}.weight": np.ones(2, "f4") for i in range(30)}
    for step in (1, 5):
        save(f"step_{step}.safetensors", many)
    fewer = dict(list(many.items())[:16])
    save("step_9.safetensors", fewer)
    warnings = chosen(tmp_path).warnings
    assert len(warnings) == 11
    assert warnings[-1] == "4 more tensors are left out, since their shapes change too."


def test_a_header_without_arrays_is_no_checkpoint(save, tmp_path):
    for step in (1, 5):
        save(f"step_{step}.safetensors", A)
    save_file({}, tmp_path / "step_9.safetensors")
    series = find_series(tmp_path)
    assert [(each.path, each.reason) for each in series.skipped] == [
        ("step_9.safetensors", "it contains no arrays")
    ]


# --- what the arrays of a module say of one another


VECTOR, MATRIX, NUMBER = (TensorSpec(shape, "float32") for shape in ((4,), (3, 4), ()))
COUNT = TensorSpec((), "int64")
MODULES = {
    "Keras batch norm in a wrapper": (
        {f"layers/wrap/layer/vars/{at}": VECTOR for at in range(4)},
        {"layers/wrap/layer/vars/2", "layers/wrap/layer/vars/3"},
    ),
    "Keras batch norm without a scale": (
        {f"layers/norm1/vars/{at}": VECTOR for at in range(3)},
        {"layers/norm1/vars/1", "layers/norm1/vars/2"},
    ),
    "a subclass of it with neither": (
        {f"layers/my_bn_2/vars/{at}": VECTOR for at in range(2)},
        {"layers/my_bn_2/vars/0", "layers/my_bn_2/vars/1"},
    ),
    "Keras layer norm": ({f"layers/norm/vars/{at}": VECTOR for at in range(2)}, set()),
    "five vectors": ({f"layers/own/vars/{at}": VECTOR for at in range(5)}, set()),
    "three vectors with a gap": ({f"layers/own/vars/{at}": VECTOR for at in (0, 1, 3)}, set()),
    "Keras LSTM": (
        {"l/lstm/vars/0": MATRIX, "l/lstm/vars/1": MATRIX, "l/lstm/vars/2": VECTOR}, set(),
    ),
    "Keras normalisation": (
        {"l/n/vars/0": VECTOR, "l/n/vars/1": VECTOR, "l/n/vars/2": COUNT},
        {"l/n/vars/0", "l/n/vars/1", "l/n/vars/2"},
    ),
    "Keras spectral norm": (
        {"l/s/layer/vars/0": MATRIX, "l/s/layer/vars/1": VECTOR, "l/s/vars/0": MATRIX,
         "l/s/vars/1": TensorSpec((1, 4), "float32")},
        {"l/s/vars/0", "l/s/vars/1"},
    ),
    "a wrapper with weights of its own": (
        {"l/s/layer/vars/0": MATRIX, "l/s/vars/0": MATRIX, "l/s/vars/1": VECTOR}, set(),
    ),
    "haiku": (
        {"bn/~/mean_ema/average": VECTOR, "bn/~/mean_ema/hidden": VECTOR,
         "bn/~/mean_ema/counter": COUNT, "cell/average": VECTOR, "cell/hidden": VECTOR},
        {"bn/~/mean_ema/average", "bn/~/mean_ema/hidden", "bn/~/mean_ema/counter"},
    ),
    "linen, in one tree": (
        {"batch_stats.bn.mean": VECTOR, "sn/batch_stats/('kernel', 'u')": MATRIX,
         "bn.mean": VECTOR},
        {"batch_stats.bn.mean", "sn/batch_stats/('kernel', 'u')"},
    ),
    "normalised observations": (
        {"obs.mean": VECTOR, "obs.var": VECTOR, "obs.count": NUMBER, "head.mean": VECTOR,
         "head.std": VECTOR, "head.count": VECTOR},
        {"obs.mean", "obs.var", "obs.count"},
    ),
    "a codebook": (
        {"q.embed": MATRIX, "q.embed_avg": MATRIX, "q.cluster_size": VECTOR, "r.embed_avg": MATRIX},
        {"q.embed_avg", "q.cluster_size"},
    ),
    "BigGAN": (
        {"conv.weight": MATRIX, "conv.u0": VECTOR, "conv.sv0": NUMBER, "head.u0": VECTOR},
        {"conv.u0", "conv.sv0"},
    ),
    "spectral norm of a repository": (
        {"conv.weight_bar": MATRIX, "conv.weight_u": VECTOR, "conv.weight_v": VECTOR},
        {"conv.weight_u", "conv.weight_v"},
    ),
    "spectral norm before torch 1.0": (
        {"conv.weight": MATRIX, "conv.weight_orig": MATRIX, "conv.weight_u": VECTOR},
        {"conv.weight", "conv.weight_u"},
    ),
    "ranges of activations": (
        {"act.x_min": NUMBER, "act.x_max": NUMBER, "own.x_min": VECTOR, "own.x_max": VECTOR},
        {"act.x_min", "act.x_max"},
    ),
    "TensorFlow": ({"bn/moving_mean:0": VECTOR, "bn/gamma:0": VECTOR}, {"bn/moving_mean:0"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", MODULES)
def test_neighbours_show_what_is_no_weight(kind):
    specs, expected = MODULES[kind]
    assert set(left(arrays("fc.weight", **specs))) == expected


# --- averages in the place of the live weights


def mmengine(step):
    """What MMEngine 0.10.7 saves with its EMAHook: the two state dicts are exchanged."""
    live = {"fc.weight": torch.full((4, 8), step + 0.5), "bn.running_mean": torch.zeros(2)}
    average = {name: values + 100 for name, values in live.items()}
    return {
        "meta": {"epoch": 0, "iter": step, "mmengine_version": "0.10.7"},
        "state_dict": average,
        "message_hub": {"runtime_info": {"iter": step - 1}},
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(4, 8)}}},
        "ema_state_dict": {"steps": torch.tensor(step)}
        | {f"module.{name}": values for name, values in live.items()},
    }


@pytest.mark.parametrize(("weights", "shift"), [("live", 0), ("ema", 100)])
def test_mmengine_saves_its_average_in_the_place_of_the_weights(tmp_path, weights, shift):
    for step in (2, 4, 6):
        torch.save(mmengine(step), tmp_path / f"iter_{step}.pth")
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "iter_6.pth"))
    opened = open_trajectory(tmp_path, weights=weights)
    assert opened["step"].values.tolist() == [2, 4, 6]
    assert opened["tensor"].values.tolist() == ["fc.weight"]
    assert opened["weights"][:, 0].to_numpy().tolist() == [each + shift for each in (2.5, 4.5, 6.5)]
    assert "The live weights are in the section 'ema_state_dict'" in str(opened.attrs["decisions"])
    left = {each["name"]: each["reason"] for each in opened.attrs["left_out"]}
    other, reason = (
        ("state_dict/*", "an average of the weights (2 arrays)")
        if weights == "live"
        else ("ema_state_dict/*", "a live weight, where averages are asked for (3 arrays)")
    )
    assert left[other] == reason


def test_an_average_of_another_trainer_keeps_its_meaning(tmp_path):
    for step in (2, 4):
        content = mmengine(step)
        content["ema_state_dict"]["n_averaged"] = content["ema_state_dict"].pop("steps")
        torch.save(content, tmp_path / f"iter_{step}.pth")
    assert open_trajectory(tmp_path)["weights"][:, 0].to_numpy().tolist() == [102.5, 104.5]


@pytest.mark.parametrize("live", [False, True])
def test_yolo_saves_the_average_alone_or_beside_the_live_weights(tmp_path, live):
    for epoch in (0, 1, 2):
        average, model = torch.nn.Linear(3, 2).half(), torch.nn.Linear(3, 2).half()
        for module, value in ((average, epoch + 0.5), (model, epoch)):
            torch.nn.init.constant_(module.weight, value)
        content = {
            "epoch": epoch,
            "best_fitness": None,
            "model": model if live else None,
            "ema": average,
            "updates": 7 * epoch,
            "optimizer": {"state": {}, "param_groups": []},
            "train_args": {"epochs": 3},
            "version": "8.3.0",
        }
        torch.save(content, tmp_path / f"epoch{epoch}.pt")
        torch.save(content, tmp_path / "last.pt")
    expected = [0, 1, 2] if live else [0.5, 1.5, 2.5]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        opened = open_trajectory(tmp_path)
    assert opened["step"].values.tolist() == [0, 1, 2]
    assert opened["weights"][:, 0].to_numpy().tolist() == expected
    assert [str(each.message) for each in told] == (
        []
        if live
        else [
            "These checkpoints contain only an average of the weights, in the section 'ema', and "
            "it is read: the live weights were not saved. An average moves more smoothly than "
            "they do. To ask for it, use --weights ema."
        ]
    )
    asked = open_trajectory(tmp_path, weights="ema")
    assert asked["weights"][:, 0].to_numpy().tolist() == [0.5, 1.5, 2.5]
    assert not asked.attrs["warnings"]
    if not live:
        with pytest.raises(TrajectoryError, match="only an average of the weights"):
            open_trajectory(tmp_path, strict=True)


def test_numpy_arrays_in_a_torch_file_are_listed_and_refused_as_what_they_are(tmp_path):
    for step in (1, 2):
        array = {"v": np.ones(9, "f4"), "rng": np.arange(9, dtype="u4")}
        (tmp_path / "both").mkdir(exist_ok=True)
        (tmp_path / "alone").mkdir(exist_ok=True)
        torch.save({"w": torch.ones(3) * step, **array}, tmp_path / "both" / f"s_{step}.pt")
        torch.save(array, tmp_path / "alone" / f"s_{step}.pt")
    with pytest.warns(TrajscopeWarning, match=r"75% .* left out: a NumPy array"):
        trajectory = open_trajectory(tmp_path / "both")
    why = "a NumPy array, which is not read from a pickle; save it as a tensor"
    reasons = {each["name"]: each["reason"] for each in trajectory.attrs["left_out"]}
    assert reasons == {"v": why, "rng": "the trainer's own state"}
    with pytest.raises(TrajectoryError, match=f"no tensor remains(?s:.*)v: {why}"):
        open_trajectory(tmp_path / "alone")
