"""The noise budget against descents whose noise is known, and against a trained network."""

import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import save_file
from torch import nn

from tests.gradient_noise.oracle import classify
from trajscope import Problem, diffusion
from trajscope.gradient_noise.budget.alignment import Aligned, expected_alignment
from trajscope.gradient_noise.budget.noise_gain import (
    correlations,
    gain_with_replacement,
    gain_without_replacement,
    overlap,
)
from trajscope.gradient_noise.budget.ratio import Grams, doubling, measured, ratio, without_means
from trajscope.gradient_noise.budget.stretches import n_places
from trajscope.simulate import (
    Optimizer,
    QuadraticLoss,
    diffusion_matrix,
    quadratic_loss,
    stochastic_gradient_descent,
)

PLAIN, HEAVY_BALL = Optimizer(momentum=0.0), Optimizer(momentum=0.9)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("updates", [1, 2, 10, 300])
def test_the_gain_with_replacement_is_the_closed_form(momentum, updates):
    mu, m = momentum, updates
    factor = 1 - 2 * mu * (1 - mu**m) / (m * (1 - mu**2))
    found = gain_with_replacement(overlap(m, Optimizer(momentum=mu)))
    # Batches whose weight has decayed to 1e-6 are left out.
    np.testing.assert_allclose(found, m * factor / (1 - mu) ** 2, rtol=1e-5)


def test_the_gain_without_replacement_is_the_average_over_all_phases_of_the_epoch():
    n_samples, batch, m, mu = 60, 3, 4, 0.5
    n = n_samples // batch
    weights = np.array([sum(mu ** (j - i) for i in range(m) if j >= i) for j in range(m + 25)])
    total = 0.0
    for phase in range(n):
        epoch = (np.arange(len(weights)) + phase) // n
        same = epoch[:, None] == epoch
        covariance = np.where(same, -1 / (n - 1), 0.0)
        np.fill_diagonal(covariance, 1.0)
        total += weights @ covariance @ weights / n
    expected = (n_samples - batch) / (n_samples - 1) * total
    found = gain_without_replacement(overlap(m, Optimizer(momentum=mu)), n_samples, batch)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_shuffled_batches_of_a_whole_epoch_leave_no_noise_on_a_flat_loss():
    # Phases spread evenly: an increment over one epoch reaches into two.
    gain = gain_without_replacement(overlap(20, PLAIN), 60, 3)
    free = gain_with_replacement(overlap(20, PLAIN))
    assert gain < 0.36 * free
    # Two of the same epoch sum to a constant.
    assert gain_without_replacement(overlap(1, PLAIN), 60, 30) == pytest.approx(30 / 59)


def simulated(momentum, updates, sampling, seed, *, n_steps=260, rate=0.01):
    """Inner products as a run gives them, of a quadratic in its steady state; eta^2/b; N, b."""
    n_samples, batch = (40, 4) if sampling == "with" else (400, 4)
    curvatures = np.geomspace(1e-3, 1, 8) * rate * (1 - momentum) / 0.1
    noise = np.diag(np.geomspace(1, 0.1, 8))
    loss = quadratic_loss(np.diag(curvatures), noise, n_samples=n_samples, seed=seed)
    optimizer = Optimizer(0.1, batch, momentum, with_replacement=sampling == "with")
    run = stochastic_gradient_descent(
        n_steps,
        loss=loss,
        optimizer=optimizer,
        seed=seed,
        updates_per_checkpoint=updates,
        # A start in the steady state is known with replacement.
        start=None if sampling == "with" else np.zeros(8),
    )
    increments = np.diff(run.values, axis=0)
    parts = np.array_split(
        np.arange(n_steps - 1), n_places(n_steps - 1, updates, Optimizer(momentum=momentum))
    )
    rows = np.concatenate([part[:60] for part in parts])
    at = np.concatenate([np.full(len(part[:60]), place) for place, part in enumerate(parts)])
    root = np.linalg.cholesky(diffusion_matrix(loss)).T
    gradients = np.tile(root, (len(parts), 1))
    chosen = increments[rows]
    grams = Grams(
        gradients @ gradients.T,
        chosen @ chosen.T,
        gradients @ chosen.T,
        np.repeat(np.arange(len(parts)), 8),
        at,
        updates * rows.astype(float),
    )
    return grams, 0.1**2 / batch, n_samples, batch


def budget_of(momentum, updates, sampling, seed, **options):
    grams, unit, n_samples, batch = simulated(momentum, updates, sampling, seed, **options)
    overlaps = overlap(updates, Optimizer(momentum=momentum))
    gain = (
        gain_with_replacement(overlaps)
        if sampling == "with"
        else gain_without_replacement(overlaps, n_samples, batch)
    )
    traces, drift = measured(grams, overlaps)
    return ratio(traces, unit * gain * grams.noise()), drift


WAYS = [
    (momentum, updates, sampling)
    for momentum in (0.0, 0.9)
    for updates in (1, 10)
    for sampling in ("with", "without")
]


@pytest.mark.parametrize(("momentum", "updates", "sampling"), WAYS)
def test_the_ratio_is_one_for_plain_and_heavy_ball_descent(momentum, updates, sampling):
    found = [budget_of(momentum, updates, sampling, seed)[0] for seed in range(6)]
    error = np.std([each.value for each in found]) / np.sqrt(5)
    assert abs(np.mean([each.value for each in found]) - 1) < 4 * error + 0.01
    assert sum(each.low < 1 < each.high for each in found) >= 4


@pytest.mark.parametrize(("momentum", "updates", "sampling"), WAYS)
@pytest.mark.slow
def test_the_interval_covers_as_often_as_it_says(momentum, updates, sampling):
    n = 150
    covered = sum(
        found.low < 1 < found.high
        for found, _ in (budget_of(momentum, updates, sampling, seed) for seed in range(n))
    )
    # 95% of 150 is 142.5; a binomial count below 133 happens once in six hundred times.
    assert covered >= 133


def test_a_drift_is_taken_off_and_said():
    grams, *_ = simulated(0.0, 10, "with", seed=1)
    overlaps = overlap(10, PLAIN)
    plain, none = measured(grams, overlaps)
    assert none == 0
    # The same increments plus a constant one of the same length, orthogonal to all.
    drifting = Grams(
        grams.gradients,
        grams.increments + plain.mean(),
        grams.cross,
        grams.gradients_at,
        grams.increments_at,
        grams.starts,
    )
    traces, share = measured(drifting, overlaps)
    assert 0.45 < share < 0.55
    np.testing.assert_allclose(traces.mean(), plain.mean(), rtol=0.05)
    rest = without_means(drifting).increments
    for place in range(grams.n_places):
        rows = grams.increments_at == place
        np.testing.assert_allclose(rest[rows].sum(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize(("rate", "coarse"), [(0.001, False), (0.2, True)])
def test_weights_that_are_pulled_back_are_seen_at_twice_the_interval(rate, coarse):
    grams, unit, *_ = simulated(0.0, 60, "with", seed=2, rate=rate)
    pairs = [
        (
            measured(grams, overlap(count * 60, PLAIN), together=count)[0],
            unit * gain_with_replacement(overlap(count * 60, PLAIN)) * grams.noise(),
        )
        for count in (1, 2)
    ]
    factor = doubling(*pairs)
    assert (factor.value < 0.95) == coarse
    assert (factor.high < 1) == coarse


def test_angles_and_cosine_are_those_of_the_dense_matrices():
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((40, 30)) * np.geomspace(1, 0.05, 30)
    increments = rng.standard_normal((25, 30)) * np.geomspace(0.05, 1, 30)
    grams = Grams(
        gradients @ gradients.T,
        increments @ increments.T,
        gradients @ increments.T,
        np.zeros(40, int),
        np.zeros(25, int),
        np.arange(25.0),
    )
    aligned = Aligned.of(grams)
    d, c = gradients.T @ gradients, increments.T @ increments
    cosine = np.trace(d @ c) / np.linalg.norm(d) / np.linalg.norm(c)
    np.testing.assert_allclose(aligned.cosine(), cosine, rtol=1e-9)
    leading = [np.linalg.eigh(matrix)[1][:, ::-1][:, :4] for matrix in (d, c)]
    cosines = np.linalg.svd(leading[0].T @ leading[1], compute_uv=False)
    np.testing.assert_allclose(aligned.angles(4), np.degrees(np.arccos(cosines)), atol=1e-5)


def test_increments_of_the_noise_itself_are_as_aligned_as_expected():
    found, expected, free = [], [], []
    for seed in range(12):
        grams, *_ = simulated(0.9, 1, "with", seed=seed)
        aligned = Aligned.of(grams)
        pair = [
            expected_alignment(aligned, grams, overlap(1, optimizer), n_directions=2, seed=seed)
            for optimizer in (HEAVY_BALL, PLAIN)
        ]
        found.append([*aligned.angles(2), aligned.cosine()])
        expected.append([*pair[0][0], pair[0][1]])
        free.append(pair[1][1])
    # One run is one draw, and the expectation a median of nine: only means can be held together.
    error = np.std(np.subtract(found, expected), axis=0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(np.mean(found, 0) - np.mean(expected, 0)) < 3.5 * error + [1, 1, 0.01]).all()
    assert (error < [5, 12, 0.03]).all()
    # Correlated in time they are fewer: their matrix is farther from D.
    assert np.mean(expected, 0)[2] < np.mean(free)


def test_increments_far_apart_are_not_correlated():
    found = correlations(np.array([0.0, 1.0, 1000.0]), overlap(1, HEAVY_BALL))
    np.testing.assert_allclose(found, [[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]], atol=1e-4)


class Quadratic(nn.Module):
    def __init__(self, n_modes):
        super().__init__()
        self.x = nn.Parameter(torch.zeros(n_modes))


def quadratic_problem(loss: QuadraticLoss):
    """The same loss as a problem for torch: a sample is its g_i."""
    hessian = torch.as_tensor(loss.hessian)

    def of_batch(model, batch):
        x = model.x
        return x @ hessian.to(x.dtype) @ x / 2 + batch[0] @ x

    data = (torch.as_tensor(loss.gradients_at_minimum),)
    return Problem(Quadratic(loss.n_modes), data, of_batch)


def descent(*, momentum=0.0, updates=1, n_steps=120, seed=0, with_replacement=True, flattest=1e-4):
    curvatures, noise = (
        np.diag(np.geomspace(flattest, max(0.05, flattest), 12)),
        np.diag(np.geomspace(1, 0.1, 12)),
    )
    loss = quadratic_loss(curvatures, noise, n_samples=100, seed=seed)
    optimizer = Optimizer(0.1 * (1 - momentum), 4, momentum, with_replacement=with_replacement)
    run = stochastic_gradient_descent(
        n_steps,
        loss=loss,
        optimizer=optimizer,
        seed=seed,
        updates_per_checkpoint=updates,
        start=np.zeros(12),
    )
    settings = {"lr": optimizer.learning_rate, "batch_size": 4, "momentum": momentum}
    return run, quadratic_problem(loss), settings, loss


def noise_of(run, problem, **options):
    defaults = {"at": "100%", "every": 0, "dtype": "float64"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return diffusion(run, problem, **defaults | options)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_run_on_the_quadratic_has_the_budget_of_its_known_noise(momentum):
    run, problem, settings, loss = descent(momentum=momentum, updates=5)
    result = noise_of(run, problem, **settings, sampling="replacement")
    assert result["sampling"].values.tolist() == ["with"]
    gain = gain_with_replacement(overlap(5, Optimizer(momentum=momentum)))
    trace = np.trace(diffusion_matrix(loss))
    predicted = settings["lr"] ** 2 / 4 * gain * trace
    np.testing.assert_allclose(result["budget_predicted_trace"], [predicted], rtol=1e-9)
    # The closed form is also what the Dataset says of D itself.
    np.testing.assert_allclose(result["trace"], trace, rtol=1e-9)
    assert result["budget_ratio_low"] < 1.05
    assert result["budget_ratio_high"] > 0.95
    assert result.attrs["budget_mode"] == "eval"
    assert result.attrs["budget_guard"] == ["optimizer_unknown"]  # both modes are the same here
    assert result.attrs["budget_updates"] == 5
    assert len(result.attrs["budget_steps"]) == 8
    # Half of the twelve directions.
    assert result["budget_angle"].shape == (6,)
    assert result["budget_cosine"] > result["budget_cosine_expected"] - 0.1


def test_train_mode_gives_the_same_budget_where_the_network_has_no_modes():
    run, problem, settings, _ = descent(updates=5)
    # Sixty samples, or batches, at each of eight places vary by some percent.
    eval_, train = (
        noise_of(run, problem, **settings, sampling="replacement", samples=60, mode=mode)
        for mode in ("eval", "train")
    )
    assert train.attrs["budget_mode"] == "train"
    np.testing.assert_allclose(train["budget_ratio"], eval_["budget_ratio"], rtol=0.08)


def test_without_the_sampling_there_are_both_predictions():
    run, problem, settings, _ = descent()
    result = noise_of(run, problem, **settings)
    assert result["sampling"].values.tolist() == ["with", "without"]
    assert result.attrs["budget_guard"] == ["optimizer_unknown", "sampling_unknown"]
    first, second = result["budget_predicted_trace"].values
    np.testing.assert_allclose(second / first, 96 / 99)


@pytest.mark.parametrize(
    ("change", "codes", "words"),
    [
        ({"lr": None}, ["settings_missing"], "Give --lr."),
        ({"lr": None, "momentum": None}, ["settings_missing"], "Give --lr and --momentum."),
        ({"momentum": None}, ["momentum_unknown"], "0 for plain SGD"),
        ({"batch_size": 100}, ["no_noise"], "a batch contains all 100 samples"),
    ],
)
def test_what_is_missing_is_said(change, codes, words):
    run, problem, settings, _ = descent()
    result = noise_of(run, problem, **settings | change)
    assert result.attrs["budget_guard"] == codes
    assert words in result.attrs["budget_words"][0]
    assert "budget_ratio" not in result


def test_steps_that_do_not_count_updates_are_refused():
    run, problem, settings, _ = descent()
    result = noise_of(run.drop_vars("step"), problem, **settings)
    assert result.attrs["budget_guard"] == ["step_unit_unknown"]
    assert "(positions) do not count updates" in result.attrs["budget_words"][0]


def test_too_few_or_uneven_checkpoints_are_refused_and_an_even_part_is_used():
    run, problem, settings, _ = descent()
    result = noise_of(run[:11], problem, **settings)
    assert result.attrs["budget_guard"] == ["too_short"]
    assert "there are 10 evenly spaced intervals, and at least 12 are needed" in str(result.attrs)
    uneven = xr.concat([run[[0, 3]], run[10:]], "step")
    result = noise_of(uneven, problem, **settings, sampling="replacement")
    assert result.attrs["budget_guard"] == ["optimizer_unknown"]
    assert min(result.attrs["budget_steps"]) >= 10


def test_weights_that_do_not_move_and_gradients_that_do_not_differ_have_no_budget():
    run, problem, settings, _ = descent()
    still = noise_of(0 * run, problem, **settings)
    assert still.attrs["budget_guard"] == ["no_noise"]
    assert "the weights do not move" in still.attrs["budget_words"][0]
    alike = Problem(problem.model, (torch.ones(100, 12, dtype=torch.float64),), problem.loss)
    result = noise_of(run, alike, **settings)
    assert "all gradients are equal" in result.attrs["budget_words"][0]


def test_a_large_part_of_a_shuffled_epoch_between_checkpoints_is_refused():
    run, problem, settings, _ = descent(updates=10, with_replacement=False)
    result = noise_of(run, problem, **settings, sampling="shuffle")
    assert result.attrs["budget_guard"] == ["shuffled", "optimizer_unknown"]
    assert np.isnan(result["budget_ratio"]).all()
    assert "10, of 25 in an epoch, updates" in result.attrs["budget_words"][0]
    both = noise_of(run, problem, **settings)
    # Predicted for independent batches, the noise does not add up as it should.
    assert "lag_too_coarse" in both.attrs["budget_guard"]
    assert np.isnan(both["budget_ratio"]).all()


def test_weights_that_are_pulled_back_between_checkpoints_are_refused():
    run, problem, settings, _ = descent(updates=60, flattest=0.5)
    result = noise_of(run, problem, **settings, sampling="replacement")
    assert result.attrs["budget_guard"] == ["lag_too_coarse", "optimizer_unknown"]
    assert "for batches with replacement: a second interval adds" in str(result.attrs)
    assert np.isnan(result["budget_ratio"]).all()
    assert np.isfinite(result["budget_predicted_trace"]).all()


def test_increments_that_are_mostly_drift_are_refused():
    run, problem, settings, _ = descent()
    length = float(np.sqrt((np.diff(run.values, axis=0) ** 2).sum(axis=1).mean()))
    drifting = run + 3 * length / np.sqrt(12) * xr.DataArray(np.arange(120.0), dims="step")
    result = noise_of(drifting, problem, **settings, sampling="replacement")
    assert result.attrs["budget_guard"] == ["drifting"]
    assert result["budget_drift"] > 0.8


def test_a_loss_that_is_no_number_has_no_budget():
    run, problem, settings, _ = descent()
    broken = run.copy()
    broken[24] = np.nan
    with pytest.warns(match="not finite"):
        result = diffusion(
            broken, problem, at=[run["step"].values[24]], every=0, dtype="float64", **settings
        )
    assert "no_noise" in result.attrs["budget_guard"] or "budget_ratio" in result


def test_epochs_count_updates_where_batches_divide_the_data(tmp_path):
    run, problem, settings, _ = descent(updates=25)
    epochs = run.assign_coords(step=np.arange(120))
    named = xr.Dataset(
        {"weights": epochs.variable},
        {
            "step": epochs["step"].values,
            "tensor": ["x"],
            "row_size": ("tensor", [12]),
            "group": ("tensor", ["x"]),
            "shape": ("tensor", ["[12]"]),
            "stored_dtype": ("tensor", ["float64"]),
        },
        {"step_unit": "epoch"},
    )
    result = noise_of(named, problem, **settings, sampling="replacement")
    assert result.attrs["budget_updates"] == 25
    odd = noise_of(named, problem, **settings | {"batch_size": 7}, sampling="replacement")
    assert odd.attrs["budget_guard"] == ["step_unit_unknown"]


def trained(folder, *, n_checkpoints, updates=4, lr=0.02, batch=10):
    """A small network with batch norm, trained by torch in train mode; checkpoints of the end."""
    torch.manual_seed(0)
    inputs = torch.randn(300, 8)
    labels = (inputs[:, :3] + 0.5 * torch.randn(300, 3)).argmax(dim=1)
    model = nn.Sequential(nn.Linear(8, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))
    optimizer = torch.optim.SGD(model.train().parameters(), lr=lr)
    warm = 600
    for step in range(warm + n_checkpoints * updates):
        if step >= warm and (step - warm) % updates == 0:
            state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            save_file(state, folder / f"step-{step}.safetensors")
        chosen = torch.randint(300, (batch,))
        optimizer.zero_grad()
        classify(model, (inputs[chosen], labels[chosen])).backward()
        optimizer.step()
    return Problem(model, (inputs, labels), classify), {"lr": lr, "batch_size": batch}


def test_training_with_batch_norm_has_the_budget_of_train_mode_and_not_that_of_eval(tmp_path):
    problem, settings = trained(tmp_path, n_checkpoints=120)
    options = {"at": "100%", "every": 0, "momentum": 0.0, "sampling": "replacement", "samples": 60}
    train, eval_ = (
        diffusion(tmp_path, problem, mode=mode, **settings, **options) for mode in ("train", "eval")
    )
    assert train.attrs["budget_guard"] == ["optimizer_unknown"]
    assert 0.85 < train["budget_ratio"] < 1.15
    assert train["budget_cosine"] > 0.9 * train["budget_cosine_expected"]
    # The same increments, the wrong noise: said, and seen.
    assert eval_.attrs["budget_guard"] == ["optimizer_unknown", "wrong_mode"]
    assert "--mode train gives the ratio" in eval_.attrs["budget_words"][1]
    assert eval_["budget_ratio"] > 1.15 * train["budget_ratio"]
    assert eval_["budget_cosine"] < 0.85 * eval_["budget_cosine_expected"]
