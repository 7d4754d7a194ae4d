"""Fig. 3: the long run of tiny-fc, its increments, its autocorrelation and its gradient."""

from typing import Any

import numpy as np
import xarray as xr
from networks import Recipe
from plots import binned, log_binned, panels, save
from runs import LONG, Workplace, problem

Row = dict[str, Any]
PARTS = ("code", "sentence", "noise", "course", "rest")


def fig3a(place: Workplace) -> Row:
    """FFT of the increments: mean of every seed, standard deviation over weights of the first."""
    results = [analyzed(place, seed) for seed in range(place.seeds)]
    (axes,) = panels(title="FFT of the increments of tiny-fc")
    for seed, each in enumerate(results):
        seen = each["observables"].to_dataset().sel(group="all")
        mean, sd = (seen[f"increment_fft_{name}"].values for name in ("mean", "sd"))
        x = log_binned(seen["frequency"].values)
        low, middle, high = (log_binned(each) for each in (mean - sd, mean, mean + sd))
        if not seed:
            axes.fill_between(x, np.maximum(low, 1e-3), high, color="C0", alpha=0.25, lw=0)
            axes.set_ylim(0.1, 2 * float(high.max()))
        axes.loglog(x, middle, color=f"C{seed}", lw=1, label=labelled(seed))
    white = float(results[0]["observables"].attrs["white_noise_fft_mean"])
    axes.axhline(white, color="0.4", ls="--", lw=1, label="white noise")
    axes.set(xlabel="frequency, cycles per step", ylabel="amplitude over rms")
    axes.legend(frameon=False)
    save(axes, place.out / "fig3a.png")
    return {"seeds": [{**fft_of(each), **verdict_of(each)} for each in results]}


def fig3b(place: Workplace) -> Row:
    """Autocorrelation of the weights, with the 99% band of white noise and that of a walk."""
    results = [analyzed(place, seed) for seed in range(place.seeds)]
    band = float(results[0]["observables"].attrs["white_noise_band"])
    (axes,) = panels(title="Autocorrelation of the weights of tiny-fc")
    for seed, each in enumerate(results):
        seen = each["observables"].to_dataset().sel(group="all")
        mean, sd = (seen[f"autocorrelation_{name}"].values for name in ("mean", "sd"))
        x = binned(seen["lag"].values)
        if not seed:
            axes.fill_between(x, binned(mean - sd), binned(mean + sd), color="C0", alpha=0.25, lw=0)
        axes.plot(x, binned(mean), color=f"C{seed}", lw=1, label=labelled(seed))
    brownian = binned(seen["autocorrelation_brownian"].values)
    axes.plot(x, brownian, color="k", ls="--", lw=1, label="Brownian motion, expected")
    axes.axhspan(-band, band, color="0.7", alpha=0.6, lw=0, label="99% band of white noise")
    axes.set(xlabel="lag, steps", ylabel="autocorrelation")
    axes.legend(frameon=False)
    save(axes, place.out / "fig3b.png")
    return {"band": band, "seeds": [autocorrelation_of(each) for each in results]}


def labelled(seed: int) -> str:
    """What is drawn of the run in the legend."""
    return f"seed {seed}, mean" + ("" if seed else " ± sd over weights")


def fig3c(place: Workplace) -> Row:
    """Length of the gradient over sqrt(d), from the first epoch on, and its trend."""
    found, recipe = [], place.recipe(LONG)
    for seed in range(place.seeds):
        every = max(recipe.epochs // 1_000, 1)
        words = [*problem(LONG), "--at", "100%", "--by", "none", "--every", every]
        name = f"tiny-fc-gradient-{seed}"
        report = place.report(name, "diffusion", place.trained(LONG, seed), *words)
        found.append(report["diffusion"].to_dataset())
    (axes,) = panels(title="Gradient of tiny-fc")
    for seed, each in enumerate(found):
        epochs, norms = gradients(each, recipe)
        axes.loglog(epochs, norms, color=f"C{seed}", lw=0.5, alpha=0.2)
        means = [log_binned(values, 40) for values in (epochs, norms)]
        axes.loglog(*means, color=f"C{seed}", lw=1.5, label=f"seed {seed}, mean")
    axes.axvline(recipe.anneal, color="0.6", ls=":", label="end of annealing")
    axes.set(xlabel="epoch", ylabel="|∇f| / √d")
    axes.legend(frameon=False)
    save(axes, place.out / "fig3c.png")
    return {"seeds": [gradient_of(each, recipe) for each in found]}


def analyzed(place: Workplace, seed: int) -> xr.DataTree:
    """What `trajscope analyze` says of the run after its first epochs, and of four parts of it."""
    run, recipe = place.trained(LONG, seed), place.recipe(LONG)
    words = ["--burn-in", recipe.anneal, "--momentum", recipe.momentum, "--windows", 4]
    words += ["--surrogates", 199] if place.short else []
    return place.report(f"tiny-fc-{seed}", "analyze", run, *words)


def fft_of(results: xr.DataTree) -> Row:
    """Amplitudes at the lowest, the middle and the highest frequencies."""
    mean = results["observables"].to_dataset().sel(group="all")["increment_fft_mean"].values
    bins = log_binned(mean)
    return {
        "lowest": float(mean[0]),
        "smallest": float(bins.min()),
        "highest": float(mean[-max(len(mean) // 100, 1) :].mean()),
    }


def verdict_of(results: xr.DataTree) -> Row:
    """Verdict, tests and detection limits of the whole window, and the verdicts of its parts."""
    told = results["verdict"].attrs
    row = {name: told[name] for name in (*PARTS, "unseen")}
    row["circulation"] = results["tests"].attrs["summary"].get("circulation")
    row["evidence"] = told["evidence"]
    row["windows"] = [
        {name: case["verdict"].attrs[name] for name in PARTS}
        for case in results["cases"].children.values()
    ]
    return row


def autocorrelation_of(results: xr.DataTree) -> Row:
    """Where the curve crosses zero and how far it lies from the band at large lags."""
    mean = results["observables"].to_dataset().sel(group="all")["autocorrelation_mean"].values
    band = float(results["observables"].attrs["white_noise_band"])
    return {
        "first_zero_share": float(np.argmax(mean <= 0) / len(mean)),
        "minimum": float(mean.min()),
        "share_of_lags_outside": float((np.abs(mean[1:]) > band).mean()),
        "last_lag_outside_share": float(np.flatnonzero(np.abs(mean) > band)[-1] / len(mean)),
    }


def gradients(found: xr.Dataset, recipe: Recipe) -> tuple[Any, Any]:
    """Epochs from 1 on, and |grad f| / sqrt(d)."""
    norms = found["checkpoint_gradient_norm"].values[1:]
    steps = found["checkpoint"].values[1:]
    return steps / steps[-1] * recipe.epochs, norms


def gradient_of(found: xr.Dataset, recipe: Recipe) -> Row:
    """Where it begins, after annealing and at the end, and its trend over the whole run."""
    epochs, norms = gradients(found, recipe)
    row = {"first": float(norms[0]), "last_tenth": float(np.median(norms[-len(norms) // 10 :]))}
    row["annealed"] = float(np.median(norms[(epochs > recipe.anneal)][: max(len(norms) // 100, 1)]))
    names = ("slope", "slope_low", "slope_high", "p_value", "correlation_time", "n_points")
    return {**row, **{name: float(found[f"gradient_norm_trend_{name}"]) for name in names}}
