"""Runs side by side, as the figures need them: their curves, and mean and spread of these."""

from collections.abc import Sequence
from dataclasses import dataclass

import xarray as xr

from trajscope.report.content.cases import label_of
from trajscope.report.content.curves import Curves, curves
from trajscope.schema import GROUP, SCALE, cases_of


@dataclass(frozen=True)
class Several:
    """Runs side by side; every curve keeps its place, which is its colour.

    Attributes
    ----------
    pooled :
        Mean over runs, and one standard deviation below and above it; empty where the runs are no
        repetitions of one training.
    """

    labels: tuple[str, ...]
    curves: tuple[Curves, ...]
    pooled: tuple[Curves, ...] = ()

    @property
    def counts_steps(self) -> bool:
        """Whether time is counted in steps, since checkpoints lie differently far apart."""
        spacings = {each.window.spacing for each in self.curves}
        units = {each.window.unit for each in self.curves}
        return len(spacings) > 1 and None not in spacings and len(units) == 1

    @property
    def unit(self) -> str:
        """What time is counted in."""
        if not self.counts_steps:
            return "checkpoint"
        return {"step": "optimizer step", "epoch": "epoch"}.get(self.curves[0].window.unit, "index")


def several(results: xr.DataTree) -> Several:
    """The runs of a comparison."""
    cases = cases_of(results)
    own = tuple(curves(case) for case in cases)
    pool: tuple[Curves, ...] = ()
    if "ensemble" in results.children:
        pool = pooled_curves(results["ensemble"].to_dataset(), own)
    return Several(tuple(label_of(case) for case in cases), own, pool)


def pooled_curves(ensemble: xr.Dataset, runs: Sequence[Curves]) -> tuple[Curves, ...]:
    """Mean of the runs' curves, and one standard deviation below and above, as curves of a run.

    Empty where the runs have no common spacing, so that their curves have no common places.
    """
    first = runs[0]
    if len({each.window.spacing for each in runs}) > 1 or first.window.spacing is None:
        return ()
    names = [
        str(name).removesuffix("_mean")
        for name in ensemble.data_vars
        if str(name).endswith("_mean") and f"{str(name).removesuffix('_mean')}_sd" in ensemble
    ]
    found = []
    for times in (0, -1, 1):
        whole = xr.Dataset(
            {name: ensemble[f"{name}_mean"] + times * ensemble[f"{name}_sd"] for name in names},
            attrs={"stride": first.stride},
        )
        # Lengths are told from the shortest, which must be that of the runs.
        if SCALE in whole and float(whole[SCALE][0]) != float(first.tests[SCALE][0]):
            whole = whole.drop_dims(SCALE)
        found.append(Curves(first.window, whole.isel({GROUP: 0}), whole, None))
    return tuple(found)
