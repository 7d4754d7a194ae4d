"""Fig. 1 and the table: the eigenvalues of the diffusion matrix during training."""

import os
from typing import Any

import xarray as xr
from networks import named
from plots import panels, save, thinned
from runs import ALLCNN, ANNEALED, Run, Workplace, problem

AT = ("20%", "40%", "100%")
SAMPLES = 4_000  # images that D is computed from: of all, minutes become hours
LENET, FC = ANNEALED[:2]
Row = dict[str, Any]


def fig1a(place: Workplace) -> Row:
    """Eigenvalues of D of small-lenet at 20%, 40% and 100% of training."""
    return spectrum(place, LENET, "fig1a")


def fig1b(place: Workplace) -> Row:
    """The same of small-fc."""
    return spectrum(place, FC, "fig1b")


def spectrum(place: Workplace, run: Run, name: str) -> Row:
    """One curve for each checkpoint, later ones darker, and the threshold of the rank."""
    found = [at_three(place, run, seed) for seed in range(place.seeds)]
    d = named(run.network).n_weights
    (axes,) = panels(title=f"{run.network}, d = {d:,}")
    for at, row, grey in zip(AT, found[0]["eigenvalue"].values, ("0.75", "0.5", "0"), strict=True):
        shown = thinned(int((row > 0).sum()))
        axes.loglog(shown + 1, row[shown], color=grey, label=at)
    largest = float(found[0]["lambda_max"].values[-1])
    axes.axhline(largest * d * 2.0**-23, color="C1", lw=1, ls="--", label="threshold of the rank")
    axes.set_ylim(largest * 1e-12, largest * 3)
    axes.set(xlabel="number of the eigenvalue", ylabel="eigenvalue of D")
    axes.legend(frameon=False)
    save(axes, place.out / f"{name}.png")
    return {"network": run.network, "seeds": [numbers_of(each) for each in found]}


def table(place: Workplace) -> Row:
    """Every number of the paper's table under the readings that its inequalities leave."""
    runs = [*ANNEALED, *([ALLCNN] if "CIFAR_DIR" in os.environ else [])]
    seeds = range(place.seeds)
    return {run.network: [readings(place, run, seed) for seed in seeds] for run in runs}


def readings(place: Workplace, run: Run, seed: int) -> list[Row]:
    """The end of training: all eigenvalues from more and more images, and of mini-batches."""
    network, batch = named(run.network), place.recipe(run).batch
    assert network.paper is not None
    near = round(network.paper[2] * network.n_weights) + 1
    counts = [near] if place.short else [near, 250, 1_000]
    batches = ["--mode", "train", "--batch-size", batch, "--samples", 40 if place.short else 300]
    asked = {f"{n:,} images": ["--samples", n] for n in counts} | {f"batches of {batch}": batches}
    last = ["diffusion", place.trained(run, seed), *problem(run), "--at", "100%"]
    found = {
        what: place.report(
            f"{run.name}-{seed}-{what.replace(' ', '-')}",
            *last,
            *words,
            "--by",
            "none",
            "--every",
            0,
        )["diffusion"].to_dataset()
        for what, words in asked.items()
    }
    found["images of Fig. 1"] = at_three(place, run, seed).isel(step=[-1])
    return [reading(each, what, top=top) for what, each in found.items() for top in (False, True)]


def reading(found: xr.Dataset, what: str, *, top: bool = False) -> Row:
    """Mean, standard deviation and rank of the eigenvalues; with `top` of those that count.

    ``bound`` is ``d m^2 / (m^2 + s^2)`` of all d eigenvalues, their participation ratio, which
    cannot exceed the rank.
    """
    d = int(found.attrs["n_weights"])
    rank = int(found["rank_eps32"].values[-1])
    mean, sd = (float(found[f"eigenvalue_{name}"].values[-1]) for name in ("mean", "std"))
    if top:
        values = found["eigenvalue"].values[-1, :rank]
        mean, sd = float(values.mean()), float(values.std())
    return {
        "eigenvalues": f"the {rank} above the threshold" if top else "all",
        "of": what,
        "n": int(found.attrs["n_samples"]),
        "loss": float(found["loss"].values[-1]),
        "mean": mean,
        "sd": sd,
        "sd_over_mean": sd / mean,
        "rank_share": rank / d,
        "participation": (rank if top else d) * mean**2 / (mean**2 + sd**2),
    }


def at_three(place: Workplace, run: Run, seed: int) -> xr.Dataset:
    """D in eval mode at three checkpoints."""
    samples = 500 if place.short else SAMPLES
    words = [*problem(run), "--at", ",".join(AT), "--samples", samples]
    words += ["--by", "none", "--every", 0]
    report = place.report(f"{run.name}-{seed}", "diffusion", place.trained(run, seed), *words)
    return report["diffusion"].to_dataset()


def numbers_of(found: xr.Dataset) -> Row:
    """The numbers of one run, each at every checkpoint."""
    d = int(found.attrs["n_weights"])
    names = ("loss", "eigenvalue_mean", "eigenvalue_std", "participation_ratio", "directions_90")
    row: Row = {name: found[name].values.tolist() for name in names}
    row |= {
        f"{name}_share": (found[name] / d).values.tolist() for name in ("rank_eps32", "rank_eps64")
    }
    row |= {"steps": found["step"].values.tolist(), "n_samples": int(found.attrs["n_samples"])}
    for name in ("spectrum_distance", "eigenspace_overlap"):
        row[f"{name}_20_100"] = float(found[name].values[0, -1])
    return row
