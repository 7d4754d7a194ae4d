"""What follows from the temperature eta / 2b: equal ratios, architectures, replacement."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from networks import named, tensors
from plots import panels, save, thinned
from runs import ANNEALED, EQUAL, OTHER, QUARTERS, Run, Workplace, problem
from spectra import at_three

import trajscope

Row = dict[str, Any]
BURN_IN, ANNEALED_BURN_IN = "20%", "50%"


def scaling(place: Workplace) -> Row:
    """Runs of equal rate over batch, one of half and one of twice; and three architectures."""
    runs = [*EQUAL, *OTHER]
    timed = [in_time(place.trained(run, 0), run.recipe.first_rate) for run in runs]
    results = trajscope.compare(*timed, labels=[run.name for run in runs])
    trajscope.write_report(results, place.out / "reports" / "scaling")
    cases = list(results["cases"].children.values())
    (axes,) = panels(title="Plain SGD on tiny-fc")
    for index, (run, case) in enumerate(zip(runs, cases, strict=True)):
        seen = case["observables"].to_dataset().sel(group="all").isel(lag=slice(1, None))
        shown = thinned(seen.sizes["lag"], 200)
        style = "-" if run in EQUAL else "--"
        axes.loglog(
            *(seen[name].values[shown] for name in ("lag", "mean_squared_displacement")),
            style,
            color=f"C{index}",
            label=f"η/b = {ratio(run):.0e}, b = {run.recipe.batch}",
        )
    axes.set(xlabel="time η · steps", ylabel="mean squared displacement, weight²")
    axes.legend(frameon=False, fontsize=9)
    save(axes, place.out / "scaling.png")
    return {
        "runs": [
            {"name": run.name, "eta_over_b": ratio(run), **stationary(case)}
            for run, case in zip(runs, cases, strict=True)
        ],
        "pairs": differences(results["compare"].to_dataset()),
        "architectures": [architecture(place, run) for run in ANNEALED],
    }


def in_time(store: Path, rate: float) -> xr.Dataset:
    """A run by its time, rate times steps: in it, runs of equal rate over batch should be alike."""
    run = trajscope.open_trajectory(store, burn_in=BURN_IN, by="none")
    return run.assign_coords(step=run["step"] * rate)


def ratio(run: Run) -> float:
    """Rate over batch."""
    return run.recipe.first_rate / run.recipe.batch


def stationary(case: xr.DataTree) -> Row:
    """Verdict, variance of the weights, and of their increments over one time unit."""
    seen, told = case["observables"].to_dataset().sel(group="all"), case["verdict"].attrs
    first = float(seen["principal_component"].values[:, 0].var())
    return {
        "code": told["code"],
        "rest": told["rest"],
        "course": told["course"],
        "variance": first / float(seen["explained_variance"].values[0]),
        "increment_variance": float(seen["mean_squared_displacement"].values[1]),
    }


def differences(found: xr.Dataset) -> list[Row]:
    """Every pair of runs: effect, its interval and p, of each quantity."""
    rows = []
    for pair in range(found.sizes["pair"]):
        one = found.isel(pair=pair).sel(group="all")
        row: Row = {"runs": str(one["pair"].values)}
        for quantity in one["quantity"].values.tolist():
            at = one.sel(quantity=quantity)
            names = ("effect", "effect_low", "effect_high", "p_value")
            row[quantity] = [float(at[name].values) for name in names]
        rows.append(row)
    return rows


def architecture(place: Workplace, run: Run) -> Row:
    """(eta/b) times the mean eigenvalue of D at 20%, 40% and 100% of training."""
    found, recipe = at_three(place, run, 0), place.recipe(run)
    mean = found["eigenvalue_mean"].values
    epochs = [max(round(share * recipe.epochs), 1) for share in (0.2, 0.4, 1.0)]
    rates = np.array([recipe.rate(epoch) for epoch in epochs])
    noise = rates / recipe.batch * mean
    return {"network": run.network, "mean": mean.tolist(), "noise_scale": noise.tolist()}


def replacement(place: Workplace) -> Row:
    """Batches of a quarter of the images, drawn both ways: their noise differs by ``1 - b/N``."""
    rows = []
    for seed in range(place.seeds):
        stores = {drawn: place.trained(run, seed) for drawn, run in QUARTERS.items()}
        words = ["compare", *stores.values(), "--label", "with", "--label", "without"]
        results = place.report(
            f"quarters-{seed}", *words, "--burn-in", ANNEALED_BURN_IN, "--by", "none"
        )
        (pair,) = differences(results["compare"].to_dataset())
        noise = budget(place, seed, stores["with"])
        losses = {drawn: last_loss(store.parent) for drawn, store in stores.items()}
        rows.append({"seed": seed, **pair, "budget_with": noise, "loss": losses})
    n_images, batch = (
        len(tensors(named("tiny-fc"), "train")[1]),
        place.recipe(QUARTERS["with"]).batch,
    )
    expected = (n_images - batch) / (n_images - 1)
    (axes,) = panels(title="Noise without replacement over noise with")
    for row in rows:
        middle, low, high, _ = row["increment_variance"]
        axes.errorbar(row["seed"], middle, [[middle - low], [high - middle]], fmt="o", color="C0")
    axes.axhline(expected, color="C1", ls="--", label=f"1 - b/N = {expected:.3f}")
    axes.axhline(1, color="0.5", lw=1, label="no difference")
    axes.set(xlabel="seed", ylabel="ratio of increment variances", xticks=range(place.seeds))
    axes.set_xlim(-0.6, place.seeds - 0.4)
    axes.legend(frameon=False, fontsize=9)
    save(axes, place.out / "replacement.png")
    return {"expected": expected, "runs": rows}


def budget(place: Workplace, seed: int, store: Path) -> Row:
    """Noise of increments over that of the gradients, with replacement, and its interval."""
    run = QUARTERS["with"]
    words = [*problem(run), "--mode", "train", "--batch-size", place.recipe(run).batch]
    words += ["--lr", run.recipe.last_rate, "--momentum", 0, "--sampling", "with"]
    words += ["--at", "80%,90%,100%", "--samples", 100, "--every", 0, "--by", "none"]
    name = f"{run.name}-{seed}"
    report = place.report(name, "diffusion", store, *words, "--burn-in", ANNEALED_BURN_IN)
    found = report["diffusion"].to_dataset()
    names = ("budget_ratio", "budget_ratio_low", "budget_ratio_high")
    told = {"words": found.attrs.get("budget_words")}
    return {**told, "ratio": [found[each].item() for each in names if each in found]}


def last_loss(folder: Path) -> float:
    """Mean training loss in eval mode over the second half of the log."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return float(np.mean([line["train_loss"] for line in lines[len(lines) // 2 :]]))
