"""What follows from the temperature eta / 2b: equal ratios, architectures, replacement."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from networks import named, tensors
from plots import panels, save
from runs import ANNEALED, BRANCHES, PLATEAU, QUARTERS, Run, Workplace, problem
from spectra import at_three

Row = dict[str, Any]
BURN_IN = "50%"


def scaling(place: Workplace) -> Row:
    """Stationary laws of runs from one plateau by rate over batch; and three architectures."""
    (axes,) = panels(title="Stationary variance of tiny-fc over that of η/b = 2e-3")
    seeds = range(place.seeds)
    found = [laws(place, seed) for seed in seeds]
    for index, run in enumerate(BRANCHES[1:]):
        for seed, rows in enumerate(each["laws"] for each in found):
            low, middle, high = rows[index]["ratio"]
            bars = [[middle - low], [high - middle]]
            at = rows[index]["expected"] * 1.05 ** (index % 2 / 2 + seed - (place.seeds - 1) / 2)
            label = "" if seed else run.name
            axes.errorbar(at, middle, bars, fmt="o", color=f"C{index}", label=label)
    axes.loglog([0.4, 2.5], [0.4, 2.5], color="0.5", lw=1, label="expected")
    axes.set(xlabel="ratio of η/b", ylabel="ratio of variances, 99% interval")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([0.5, 1, 2], ["0.5", "1", "2"])
        axis.set_ticks([], minor=True)
    axes.legend(frameon=False, fontsize=9)
    save(axes, place.out / "scaling.png")
    architectures = [architecture(place, run, seed) for run in ANNEALED for seed in seeds]
    return {"seeds": found, "architectures": architectures}


def laws(place: Workplace, seed: int) -> Row:
    """What `trajscope compare` says of the branches of one plateau, and of each by itself."""
    place.trained(PLATEAU, seed)
    stores = [place.trained(run, seed) for run in BRANCHES]
    words: list[object] = ["compare", *stores, "--burn-in", BURN_IN, "--by", "none"]
    for run in BRANCHES:
        words += ["--label", run.name, "--lr", run.recipe.first_rate]
        words += ["--batch-size", run.recipe.batch]
    results = place.report(f"scaling-{seed}", *words, "--sampling", "replacement")
    found = results["compare"].to_dataset().sel(group="all")
    firsts = [pair for pair in range(found.sizes["pair"]) if found["first"][pair] == "same-1"]
    cases = results["cases"].children.values()
    verdicts = {str(case.attrs["label"]): case["verdict"].attrs["sentence"] for case in cases}
    return {"laws": [law(found.isel(pair=pair)) for pair in firsts], "verdicts": verdicts}


def law(found: xr.Dataset) -> Row:
    """Ratio of the stationary variances of a pair of runs, what is expected of it, and p."""
    names = ("volume_ratio_low", "volume_ratio", "volume_ratio_high")
    return {
        "run": str(found["second"].item()),
        "expected": found["expected_ratio"].item(),
        "ratio": [found[name].item() for name in names],
        "p_same_law": found["p_same_law"].item(),
        "p_same_shape": found["p_same_shape"].item(),
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


def architecture(place: Workplace, run: Run, seed: int) -> Row:
    """(eta/b) times the mean eigenvalue of D at 20%, 40% and 100% of training."""
    found, recipe = at_three(place, run, seed), place.recipe(run)
    mean = found["eigenvalue_mean"].values
    epochs = [max(round(share * recipe.epochs), 1) for share in (0.2, 0.4, 1.0)]
    rates = np.array([recipe.rate(epoch) for epoch in epochs])
    noise = rates / recipe.batch * mean
    return {
        "network": run.network,
        "seed": seed,
        "mean": mean.tolist(),
        "noise_scale": noise.tolist(),
    }


def replacement(place: Workplace) -> Row:
    """Batches of a quarter of the images, drawn both ways: their noise differs by ``1 - b/N``."""
    rows = []
    for seed in range(place.seeds):
        stores = {drawn: place.trained(run, seed) for drawn, run in QUARTERS.items()}
        words = ["compare", *stores.values(), "--label", "with", "--label", "without"]
        results = place.report(f"quarters-{seed}", *words, "--burn-in", BURN_IN, "--by", "none")
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
    axes.legend(frameon=False, fontsize=9, loc="center")
    save(axes, place.out / "replacement.png")
    return {"expected": expected, "runs": rows}


def budget(place: Workplace, seed: int, store: Path) -> Row:
    """Noise of increments over that of the gradients, with replacement, and its interval."""
    run = QUARTERS["with"]
    words = [*problem(run), "--mode", "train", "--batch-size", place.recipe(run).batch]
    words += ["--lr", run.recipe.last_rate, "--momentum", 0, "--sampling", "replacement"]
    words += ["--at", "80%,90%,100%", "--samples", 100, "--every", 0, "--by", "none"]
    name = f"{run.name}-{seed}"
    report = place.report(name, "diffusion", store, *words, "--burn-in", BURN_IN)
    found = report["diffusion"].to_dataset()
    names = ("budget_ratio", "budget_ratio_low", "budget_ratio_high")
    told = {"words": found.attrs.get("budget_words")}
    return {**told, "ratio": [found[each].item() for each in names if each in found]}


def last_loss(folder: Path) -> float:
    """Mean training loss in eval mode over the second half of the log."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return float(np.mean([line["train_loss"] for line in lines[len(lines) // 2 :]]))
