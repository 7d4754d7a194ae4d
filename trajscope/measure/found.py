"""What a pass finds of one run, or of a window of it, group by group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from trajscope.kernels.factors import factor_width
from trajscope.kernels.gram import Floats
from trajscope.measure.catalogue import OBSERVABLES
from trajscope.measure.evidence import Evidence, Moves
from trajscope.measure.groups import Groups
from trajscope.measure.labels import Arrays, labels, observables, stacked
from trajscope.measure.observables import Measured
from trajscope.measure.paths import Path, Size
from trajscope.measure.plan import Part
from trajscope.measure.pooled import increment_factor, pooled_quantities
from trajscope.measure.room import keeps_groups, layer_width
from trajscope.measure.span import WHOLE, add_sums
from trajscope.measure.trace import Trace
from trajscope.schema import INTERVAL, LAYER

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Measurement:
    """What one pass found of a run, or of a window of it.

    Attributes
    ----------
    reductions :
        The sums, from which the observables follow again without the checkpoints; none for a
        window.
    observables :
        As `OBSERVABLES` lists them, and their Brownian references; those of single weights are
        missing for a window.
    factors :
        (interval, component) of every group: its increments as `increment_factor` has them, in
        float32; fewer columns for a layer than for all weights.
    path, components :
        Names of the path taken and of the matrix behind the principal components.
    evidence :
        For the audit; none for a window, nor for a result that was read from a file.
    """

    reductions: xr.Dataset
    observables: xr.Dataset
    factors: "Sequence[NDArray[np.float32]]"
    path: str
    components: str
    evidence: Evidence | None = None


@dataclass
class Found:
    """What was found of one part of the rows, a run or a window, group by group.

    Attributes
    ----------
    is_run :
        Else it is a window, whose Gram matrix is part of that of the run.
    """

    part: Part
    is_run: bool
    groups: Groups
    size: Size
    path: Path
    seed: int
    everything: Arrays = field(default_factory=dict)
    whole: Arrays = field(default_factory=dict)
    kept: dict[int, Arrays] = field(default_factory=dict)
    observed: dict[int, Arrays] = field(default_factory=dict)
    factors: "dict[int, NDArray[np.float32]]" = field(default_factory=dict)
    moves: dict[int, Moves] = field(default_factory=dict)

    def add(self, group: int, sums: Arrays, run: Mapping[str, Floats]) -> None:
        """Take the sums of one group; `run` has those of the run which a window is part of."""
        if not self.is_run and "increment_gram" in run and "increment_gram" not in sums:
            start, rows = self.part.start, slice(self.part.start, self.part.stop - 1)
            gram = run["increment_gram"]
            # <x_w, y_t> = <x_0, y_t> + <d_w, y_t>, w the first step of the window
            origin = run["first_products"][rows] + gram[:start, rows].sum(axis=0)
            sums = {
                "squared_positions": run["squared_positions"][start : self.part.stop],
                "increment_gram": gram[rows, rows],
                "first_products": origin,
                **sums,
            }
        if group == WHOLE:
            self.whole = sums
            return
        add_sums(self.everything, sums)
        if self.groups.are_layers:
            self._observe(group + 1, sums, layer_width(self.size))
            if self.is_run and self._keeps_groups:
                self.kept[group + 1] = {name: sums[name] for name in self._kept_dims}

    def finish(self) -> None:
        """Make what is of all weights, when every group has come."""
        self._observe(0, self.everything | self.whole, factor_width(self.part.n_steps - 1))
        if self.is_run:
            self.kept[0] = {name: self.everything[name] for name in self._kept_dims}
        self.everything, self.whole = {}, {}

    def measurement(
        self, steps: "NDArray[Any]", unit: str, evidence: Evidence | None = None
    ) -> Measurement:
        """With labels: the steps of the checkpoints and what they count."""
        named, names = labels(steps, unit), self.groups.with_all
        factors = [self.factors[group] for group in sorted(self.factors)]
        reductions = xr.Dataset(
            attrs={"reason": "Sums over a window are part of those over the run."}
        )
        if self.is_run:
            reductions = stacked(self.kept, self._kept_dims, names, named)
        if self.is_run and not (self.path.components == "gram" and self._keeps_groups):
            reductions = reductions.assign(_stored(factors, names))
        return Measurement(
            reductions,
            observables(self.observed, names, named),
            factors,
            self.path.name,
            self.path.components,
            evidence,
        )

    def evidence(self, trace: Trace, run: int) -> Evidence:
        """What the audit goes by, of a run with this number."""
        return Evidence(trace.of_run(run, (self.part.start, self.part.stop)), self.moves)

    @property
    def _keeps_groups(self) -> bool:
        return keeps_groups(self.size, self.path)

    @property
    def _kept_dims(self) -> Mapping[str, tuple[str, ...]]:
        return {name: dims for r in self.path.reductions for name, dims in r.kept.items()}

    def _observe(self, group: int, sums: Mapping[str, Floats], width: int) -> None:
        n_steps = self.part.n_steps
        measured = Measured(sums, pooled_quantities(sums, n_steps, self.seed))
        self.observed[group] = {
            each.name: np.asarray(each.values(measured))
            for each in OBSERVABLES
            if self.is_run or not each.is_per_weight
        }
        if self.is_run:
            pooled = measured.pooled
            self.moves[group] = Moves(
                pooled.squared_increments,
                pooled.neighbour_products,
                pooled.squared_displacements,
                sums["squared_positions"],
            )
        self.factors[group] = increment_factor(sums, width).astype(np.float32)


def _stored(
    factors: "Sequence[NDArray[np.float32]]", names: Sequence[str]
) -> dict[str, xr.Variable]:
    """Factors as a result keeps them where it does not keep a Gram matrix of every group."""
    texts = {"units": "weight", "long_name": "increments along principal axes, not centred"}
    stored = {"factor_all": xr.Variable((INTERVAL, "axis_all"), factors[0], texts)}
    if len(factors) > 1:
        stored["factor_layer"] = xr.Variable(
            (LAYER, INTERVAL, "axis_layer"), np.stack(factors[1:]), texts
        )
        stored[LAYER] = xr.Variable(LAYER, list(names[1:]))
    return stored
