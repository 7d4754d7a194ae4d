import warnings

import numpy as np
import pytest
import xarray as xr
from safetensors.numpy import save_file

import trajscope
from trajscope.errors import TrajectoryError, TrajscopeWarning
from trajscope.report import summary
from trajscope.simulate import brownian, double_well, hopf, ornstein_uhlenbeck

SIZES = (600, 40, 900, 60)


def run_of(x, *, steps=None, by="layer"):
    """Weights as a trajectory of four tensors, every 100 steps."""
    steps = 100 * np.arange(len(x)) if steps is None else steps
    names = [f"{layer}.{kind}" for layer in ("fc1", "fc2") for kind in ("weight", "bias")]
    groups = {"layer": [name.split(".")[0] for name in names], "none": ["all"] * 4, "tensor": names}
    return xr.Dataset(
        {"weights": (("step", "weight"), x)},
        {
            "step": steps, "tensor": names, "row_size": ("tensor", list(SIZES)),
            "group": ("tensor", groups[by]), "stored_dtype": ("tensor", [str(x.dtype)] * 4),
        },
        {"step_unit": "step"},
    )  # fmt: skip


def walk(n=120, seed=0, size=2e-3):
    """A walk away from random weights, float32."""
    rng = np.random.default_rng(seed)
    start = 0.05 * rng.standard_normal(sum(SIZES))
    return (start + size * rng.standard_normal((n, sum(SIZES))).cumsum(axis=0)).astype(np.float32)


def well(n=120, seed=0):
    rng = np.random.default_rng(seed)
    modes = np.asarray(double_well(n, strength=0.0, interval=0.5, seed=seed))
    centre = 0.05 * rng.standard_normal(sum(SIZES))
    return (centre + 0.02 * modes @ rng.standard_normal((2, sum(SIZES)))).astype(np.float32)


def found_in(x, **options):
    return [
        (each["kind"], [int(step) // 100 for step in each["steps"]])
        for each in trajscope.audit(run_of(x, **options))
    ]


def narrowed(x, bits):
    """Rounded towards zero to fewer bits, as stored in float32."""
    mask = np.uint32(0xFFFFFFFF << bits & 0xFFFFFFFF)
    return (x.view(np.uint32) & mask).view(np.float32)


def analyzed(x, **options):
    """Of a trajectory, the result and all that was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TrajscopeWarning)
        results = trajscope.analyze(run_of(x), n_surrogates=199, **options)
    return results, " ".join(str(each.message) for each in caught)


PROCESSES = pytest.mark.parametrize("make", [walk, well])


@PROCESSES
def test_nothing_is_found_in_a_run_in_order(make):
    for seed in range(5):
        assert found_in(make(seed=seed)) == []


@PROCESSES
@pytest.mark.parametrize(("copy", "of"), [(40, 90), (90, 40), (119, 50), (60, 62)])
def test_the_copy_and_not_what_it_copies_is_left_out(make, copy, of):
    x = make()
    x[copy] = x[of]
    assert found_in(x) == [("identical", sorted((copy, of)))]
    results, warned = analyzed(x)
    assert "left out by the audit" in warned
    kept = results["trajectory"]["step"].values // 100
    if make is walk:
        assert sorted(set(range(120)) - set(kept.tolist())) == [copy]
    (skipped,) = results["trajectory"].attrs["skipped"]
    assert "are equal" in skipped["reason"]


def test_many_copies_of_the_last_checkpoint_leave_the_last():
    x = walk(154)
    copies = np.random.default_rng(1).choice(np.arange(5, 150), 66, replace=False)
    x[copies] = x[-1]
    ((kind, rows),) = found_in(x)
    assert (kind, rows) == ("identical", sorted([*copies.tolist(), 153]))
    results, warned = analyzed(x)
    assert "66 of 154" in warned
    assert results["trajectory"]["step"].values[-1] == 15300
    assert results["verdict"].attrs["code"]


def test_if_most_are_copies_there_is_no_verdict_and_all_of_them_are_shown():
    x = walk(154)
    x[20:106] = x[-1]
    results, warned = analyzed(x)
    assert "86 of 154 checkpoints are spoilt" in warned
    assert results["trajectory"].sizes["step"] == 154
    assert not results["verdict"].attrs.get("code")
    assert "86 of 154" in results["verdict"].attrs["reason"]


@PROCESSES
@pytest.mark.parametrize("by", ["layer", "none", "tensor"])
def test_a_tensor_of_another_step_is_named(make, by):
    x = make()
    x[70, 640:1540] = x[20, 640:1540]
    (finding,) = trajscope.audit(run_of(x, by=by))
    assert (finding["kind"], finding["tensors"]) == ("identical_tensors", ["fc2.weight"])
    assert finding["steps"] == [2000, 7000]


def test_a_shard_of_several_tensors_is_one_finding_that_spoils_one_checkpoint():
    x = walk()
    x[70, :640] = x[20, :640]  # 40 weights are too few to tell anything alone
    (finding,) = trajscope.audit(run_of(x))
    assert finding["tensors"] == ["fc1.weight"]
    assert finding["detail"].endswith("step 2000 is near its neighbours, step 7000 is a copy.")


def test_checkpoints_before_anything_moves_are_left_out_but_one():
    x = walk()
    x[:13] = x[12]
    assert found_in(x) == [("unmoved", list(range(13)))]
    assert "Nothing moved before step 1200" in trajscope.audit(run_of(x))[0]["detail"]
    kept = analyzed(x)[0]["trajectory"]["step"].values
    assert kept[0] == 1200


def test_checkpoints_after_everything_stands_are_left_out_but_the_first():
    x = walk()
    x[100:] = x[100]
    assert found_in(x) == [("unmoved", list(range(100, 120)))]


@PROCESSES
@pytest.mark.parametrize(("bits", "name"), [(16, "bfloat16"), (13, "float16")])
@pytest.mark.parametrize("row", [30, 119])
def test_a_checkpoint_cast_to_fewer_bits_is_named(make, bits, name, row):
    x = make()
    x[row] = narrowed(x[row], bits)
    (finding,) = trajscope.audit(run_of(x))
    assert (finding["kind"], finding["steps"]) == ("cast", [100 * row])
    assert name in finding["detail"]


def test_single_precision_in_a_run_of_doubles_is_a_cast():
    x = walk().astype(np.float64) + 1e-9 * np.random.default_rng(0).standard_normal((120, 1600))
    x[33] = x[33].astype(np.float32)
    assert found_in(x) == [("cast", [33])]


@PROCESSES
def test_a_checkpoint_of_another_seed_is_off_the_road(make):
    x = make()
    x[64] = make(seed=5)[64]
    assert found_in(x) == [("detour", [64])]


@PROCESSES
def test_the_start_of_another_seed_is_no_ancestor(make):
    x = make()
    x[0] = make(seed=5)[0]
    assert found_in(x) == [("foreign_start", [0])]


def test_constants_that_all_runs_start_from_do_not_hide_a_foreign_start():
    x, other = walk(), walk(seed=5)
    for each in (x, other):
        each[:, 600:640] += 1  # gains of a norm
    x[0] = other[0]
    assert found_in(x, by="tensor") == [("foreign_start", [0])]


def test_a_run_that_goes_on_from_another_one_gets_no_verdict_and_its_sides_do():
    x = walk()
    x[60:] = walk(seed=5)[60:]
    assert found_in(x) == [("jump", [59, 60])]
    results, _ = analyzed(x, windows="0:6000,6000:")
    assert "--steps :6000 or --steps 6000:" in results["verdict"].attrs["reason"]
    assert summary(results)["verdict"] is None
    for case in results["cases"].children.values():
        assert case["verdict"].attrs["code"] == "brownian"


@pytest.mark.parametrize("back", [0.005, 0.02, 0.1])
def test_weights_that_are_drawn_anew_and_pulled_back_are_a_jump_and_no_detour(back):
    x = walk(size=2e-4)
    rng = np.random.default_rng(1)
    # A new head: training takes back a part of what it moved, less and less.
    left = 0.9 + 0.1 * np.exp(-back / 0.1 * np.arange(60))
    x[60:] += (0.3 * left[:, np.newaxis] * rng.standard_normal(sum(SIZES))).astype(np.float32)
    assert found_in(x) == [("jump", [59, 60])]


@pytest.mark.parametrize("next_ones", [(), (0.05,), (0.15, 0.04, 0.02, 0.01), (0.3, 0.2, 0.1)])
def test_a_jump_with_what_follows_it_is_a_jump(next_ones):
    x = walk(size=2e-4)
    rng = np.random.default_rng(1)
    for row, share in enumerate((1.0, *next_ones), 60):
        x[row:] += (0.5 * share * rng.standard_normal(sum(SIZES))).astype(np.float32)
    assert found_in(x) == [("jump", [59, 60])]


def test_checkpoints_that_are_mostly_equal_to_their_neighbours_are_judged_without_them():
    once = walk()
    found, warned = analyzed(np.repeat(once, 8, axis=0))
    assert "identical" in warned or "left out" in warned
    # Of the first ones, which nothing moved before, the last stays.
    np.testing.assert_array_equal(found["trajectory"]["step"][1:], 800 * np.arange(1, 120))
    assert found["verdict"].attrs["code"] == "brownian"


def branches(size, share, more=0):
    """A walk that is resumed at half of it, and goes another way, between its old checkpoints.

    The old one lacks the last `more` checkpoints.
    """
    first, second = walk(size=size), walk(seed=7, size=size)
    half = len(first) // 2
    resumed = first[half] + (second[half + 1 :] - second[half]) * np.float32(share)
    later = 100 * np.arange(half + 1, len(first)) - 50
    first = first[: len(first) - more]
    steps = np.concatenate([100 * np.arange(len(first)), later])
    order = np.argsort(steps)
    return np.concatenate([first, resumed])[order], steps[order]


@pytest.mark.parametrize("share", [0.7, 1.0, 1.5])
def test_a_run_resumed_into_its_own_folder_is_two_branches(share):
    x, steps = branches(2e-3, share)
    (finding,) = trajscope.audit(run_of(x, steps=steps))
    assert (finding["kind"], finding["steps"]) == ("interleaved", [6000, 11900])
    with pytest.warns(TrajscopeWarning, match="unevenly spaced"):
        found = trajscope.analyze(run_of(x, steps=steps), n_surrogates=199)
    assert "resumed into the same folder" in found["verdict"].attrs["reason"]
    assert "--steps 6000::2" in found["verdict"].attrs["reason"]
    one = (steps >= 6000).nonzero()[0][::2]
    assert not trajscope.audit(run_of(x[one], steps=steps[one]))


def test_one_of_two_branches_ends_where_the_other_goes_on(tmp_path):
    x, steps = branches(2e-3, 1.0, more=20)
    for row, step in zip(x, steps, strict=True):
        save_file({"w": row}, tmp_path / f"step_{step}.safetensors")
    (finding,) = trajscope.audit(tmp_path)
    assert finding["steps"] == [6000, 9950]
    assert "One of them: --steps 6000:9950:2." in finding["detail"]
    opened = trajscope.open_trajectory(tmp_path, steps="6000:9950:2")
    np.testing.assert_array_equal(opened["weights"], walk(size=2e-3)[60:100])
    assert not trajscope.audit(tmp_path, steps="6000:9950:2")


@pytest.mark.parametrize("closer", [True, False])
def test_a_path_that_alternates_or_is_saved_more_often_is_no_two_branches(closer):
    x = walk(180)
    steps = np.concatenate([100 * np.arange(60), 6000 + 50 * np.arange(120)])
    if not closer:  # it turns round at every checkpoint from the start
        steps = 100 * np.arange(180)
        x += np.float32(0.02) * (-1) ** np.arange(180)[:, np.newaxis]
    assert not [
        each for each in trajscope.audit(run_of(x, steps=steps)) if each["kind"] == "interleaved"
    ]


def test_exponential_growth_and_gaps_are_told_and_nothing_is_left_out():
    grown = walk() * np.exp(0.1 * np.maximum(np.arange(120) - 80, 0))[:, None].astype(np.float32)
    (finding,) = trajscope.audit(run_of(grown))
    assert finding["kind"] == "growth"
    steps = np.array([*range(0, 6000, 100), *range(9000, 15000, 100)])
    (finding,) = trajscope.audit(run_of(walk(), steps=steps))
    assert (finding["kind"], finding["steps"]) == ("gap", [5900, 9000])


def test_weights_that_are_no_numbers_are_among_the_findings():
    x = walk()
    x[7, 3] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrajscopeWarning)
        assert found_in(x) == [("nonfinite", [7])]
    results, _ = analyzed(x)
    (finding,) = summary(results)["audit"]
    assert finding["steps"] == [700]
    assert "fc1.weight" in finding["detail"]


def test_several_kinds_of_damage_are_found_together():
    x = walk()
    x[20] = walk(seed=5)[20]
    x[50] = x[80]
    x[100] = narrowed(x[100], 16)
    assert sorted(found_in(x)) == [("cast", [100]), ("detour", [20]), ("identical", [50, 80])]


def test_the_audit_alone_and_that_of_an_analysis_find_the_same():
    x = walk()
    x[50] = x[80]
    assert trajscope.audit(run_of(x)) == analyzed(x)[0]["trajectory"].attrs["audit"]


def walk_at(rates):
    rng = np.random.default_rng(4)
    noise = 2e-3 * np.reshape(rates, (-1, 1)) * rng.standard_normal((120, 1600))
    return (0.05 * rng.standard_normal(1600) + noise.cumsum(axis=0)).astype(np.float32)


def embedded(modes):
    modes = np.asarray(modes)
    rng = np.random.default_rng(4)
    directions = 0.01 * rng.standard_normal((modes.shape[1], 1600))
    return (0.05 * rng.standard_normal(1600) + modes @ directions).astype(np.float32)


def first_narrowed():
    x = walk()
    x[0] = narrowed(x[0], 16)
    return x


def last_narrowed():
    x = walk()
    x[70:] = narrowed(x[70:], 16)
    return x


def frozen(rows):
    x = walk()
    x[rows, :600] = x[rows, :600][-1]
    return x


HONEST = {
    "a stage at a tenth of the rate": lambda: walk(seed=3) * 0.1
    + np.where(np.arange(120) < 60, 1, 0)[:, None] * 0,
    "warm-up and decay": lambda: walk_at(np.sin(np.linspace(0, np.pi, 120)) + 1e-3),
    "cyclic rate": lambda: walk_at(1.1 + np.cos(np.arange(120) / 3)),
    "oscillation of period two": lambda: walk() + 0.05 * np.float32(
        np.outer((-1.0) ** np.arange(120), np.random.default_rng(2).standard_normal(1600))
    ),
    "limit cycle": lambda: embedded(hopf(120, mu=0.2, angular_velocity=0.3, noise=1e-3, seed=1)),
    "quadratic well": lambda: embedded(ornstein_uhlenbeck(120, taus=[3.0] * 10, seed=2)),
    "drift": lambda: embedded(brownian(120, 10, drift=0.3, seed=2)),
    "walk stored in bfloat16": lambda: narrowed(walk(), 16),
    "starts from a model in bfloat16": first_narrowed,
    "saves bfloat16 from a step on": last_narrowed,
    "a tensor is frozen at first": lambda: frozen(slice(0, 50)),
    "a tensor never moves": lambda: frozen(slice(None)),
}  # fmt: skip


@pytest.mark.parametrize("make", HONEST.values(), ids=HONEST)
def test_what_training_honestly_does_is_no_finding(make):
    assert found_in(make().astype(np.float32)) == []


def test_steps_of_public_suites_are_no_gaps():
    steps = np.array([0, *(2**k for k in range(10)), *range(1000, 110_000, 1000)])
    assert found_in(walk(len(steps)), steps=steps) == []


def test_a_few_coarse_weights_come_back_honestly():
    rng = np.random.default_rng(0)
    x = walk()
    x[:, 600:640] = rng.choice([0.5, 0.50390625], (120, 40))  # one spacing of bfloat16
    assert found_in(x) == []


def test_a_run_of_two_weights_is_audited_too():
    x = np.asarray(double_well(200, strength=1.0, interval=0.5, seed=3))
    assert trajscope.audit(x) == []
    x[30] = x[150]
    assert [(each["kind"], each["steps"]) for each in trajscope.audit(x)] == [
        ("identical", [30, 150])
    ]


def test_equal_files_are_known_without_their_weights():
    known = [{"steps": [300, 900], "files": ["a", "b"], "whole": True}]
    run = run_of(narrowed(walk(size=0), 16)).assign_attrs(equal_files=known)
    assert trajscope.audit(run) == []  # nothing ever moves: files are equal of course
    x = walk()
    x[3] = x[9]
    (finding,) = trajscope.audit(run_of(x).assign_attrs(equal_files=known))
    assert finding["steps"] == [300, 900]


@pytest.mark.parametrize("remedy", [{"strict": False}, {"steps": "7100:"}, {"steps": ":7000"}])
def test_strict_refuses_spoilt_checkpoints_and_names_remedies_that_work(tmp_path, remedy):
    x = walk()
    x[70] = walk(seed=5)[70]
    for row, values in enumerate(x):
        tensors = {"fc.weight": values[:1500].reshape(30, 50), "fc.bias": values[1500:]}
        save_file(tensors, tmp_path / f"step-{100 * row}.safetensors")
    for call in (trajscope.audit, trajscope.analyze):
        with pytest.raises(TrajectoryError, match=r"step-7000.*--steps, or drop --strict"):
            call(tmp_path, strict=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TrajscopeWarning)
            call(tmp_path, **{"strict": True} | remedy)


def test_runs_that_are_compared_are_audited_each():
    one, other = walk(), walk(seed=7)
    one[40] = one[90]
    other[20] = walk(seed=8)[20]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrajscopeWarning)
        results = trajscope.compare(run_of(one), run_of(other), labels=["a", "b"], n_surrogates=199)
    told = summary(results)["cases"]
    assert [[(f["kind"], f["steps"]) for f in case["audit"]] for case in told] == [
        [("identical", [4000, 9000])],
        [("detour", [2000])],
    ]
    assert [case["trajectory"]["checkpoints"] for case in told] == [119, 119]


def test_a_window_loses_its_spoilt_checkpoints():
    x = walk()
    x[40] = x[90]
    results, _ = analyzed(x, windows="0:6000,6000:")
    cases = [results["cases"][name]["trajectory"].sizes["step"] for name in ("1", "2")]
    assert cases == [59, 60]


@pytest.fixture(scope="module")
def gpt():
    """Weights of a small GPT from its start on, AdamW and a cosine that ends at zero."""
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    token, head = nn.Embedding(16, 16), nn.Linear(16, 16, bias=False)
    block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, norm_first=True)
    model = nn.ModuleDict({"token": token, "block": block, "norm": nn.LayerNorm(16), "head": head})
    rule = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(rule, 118)
    mask = nn.Transformer.generate_square_subsequent_mask(8)
    states = [{name: t.detach().numpy().copy() for name, t in model.state_dict().items()}]
    for _ in range(118):
        text = (torch.randint(16, (16, 1)) + torch.arange(9)) % 16
        hidden = model["norm"](block(token(text[:, :-1]), src_mask=mask, is_causal=True))
        loss = nn.functional.cross_entropy(head(hidden).flatten(0, 1), text[:, 1:].flatten())
        rule.zero_grad()
        loss.backward()
        rule.step()
        decay.step()
        states.append({name: t.detach().numpy().copy() for name, t in model.state_dict().items()})
    return states


def _written(states, folder):
    for row, state in enumerate(states):
        save_file(state, folder / f"step-{100 * row}.safetensors")
    return folder


def test_a_trained_network_is_in_order(gpt, tmp_path):
    assert trajscope.audit(_written(gpt, tmp_path)) == []


def test_damage_to_a_trained_network_is_found(gpt, tmp_path):
    _written(gpt, tmp_path)
    rng = np.random.default_rng(0)

    def change(row, state):
        save_file(state, tmp_path / f"step-{100 * row}.safetensors")

    change(30, gpt[80])
    attention = {name: values for name, values in gpt[10].items() if "attn" in name}
    change(50, gpt[50] | attention)
    change(65, {name: narrowed(values, 16) for name, values in gpt[65].items()})
    change(100, {name: rng.permuted(values) for name, values in gpt[100].items()})
    found = {each["kind"]: each for each in trajscope.audit(tmp_path)}
    assert {kind: each["steps"] for kind, each in found.items()} == {
        "identical": [3000, 8000],
        "identical_tensors": [1000, 5000],
        "cast": [6500],
        "detour": [10000],
    }
    (spliced,) = (set(each["tensors"]) for each in found.values() if each["tensors"])
    assert {name for name in attention if attention[name].size >= 256} <= spliced <= set(attention)
