"""Gradient noise and the theory on the command line: options as records, bars of progress."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trajscope.cli.process import progress, warnings_kept_for_the_page
from trajscope.cli.training import PROBLEM_NAMES, SETTINGS
from trajscope.errors import OptionError

if TYPE_CHECKING:
    import xarray as xr

    from trajscope.gradient_noise.api import Prepared
    from trajscope.gradient_noise.options import Options
    from trajscope.optimizer import Optimizer
    from trajscope.theory.prepare import Tested


def noise_options(options: Mapping[str, Any]) -> "Options | None":
    """The options of `trajscope.diffusion` that were given, checked; none without --problem."""
    given = {name: options[name] for name in PROBLEM_NAMES if options[name] is not None}
    if options["problem"] is None:
        useless = [name for name in given if name not in SETTINGS]
        if useless:
            raise OptionError(
                f"--{useless[0].replace('_', '-')} concerns gradient noise, which needs a model, "
                "data and a loss. Give them with --problem FILE.py:FUNCTION."
            )
        return None
    from trajscope.gradient_noise.options import Options

    chunk = given.get("chunk", "auto")
    given["chunk"] = int(chunk) if chunk.isdecimal() else chunk
    return Options(**given, **{name: options[name] for name in ("memory", "seed", "momentum")})


def optimizer_of(options: Mapping[str, Any]) -> "Optimizer | None":
    """What the user says of the optimizer; `None` where nothing, nor a problem, asks for theory."""
    if all(options[name] is None for name in ("problem", *SETTINGS)):
        return None
    from trajscope.optimizer import SAMPLINGS, Optimizer

    return Optimizer(
        options["lr"],
        options["batch_size"],
        options["momentum"],
        bool(options["nesterov"]),
        SAMPLINGS[options["sampling"] or "unknown"],
        weight_decay=options["weight_decay"],
    )


def tested_theory(
    trajectory: "xr.Dataset", optimizer: "Optimizer", options: Mapping[str, Any]
) -> "Tested":
    """The test of the theory, with the directions that the pass is to project on."""
    from trajscope.theory.prepare import prepare, without_problem

    if options["problem"] is None:
        prepared = without_problem(trajectory, optimizer, options["seed"])
    else:
        from trajscope.model.compute import Compute

        given = {name: options[name] for name in ("device", "dtype") if options[name] is not None}
        more = {name: options[name] for name in ("mode", "memory", "seed")}
        how = Compute(**given, **more)
        prepared = prepare(trajectory, options["problem"], optimizer, how)
    with progress("eigenvectors of the Hessian", options["quiet"]) as advance:
        return prepared.with_curvature(advance)


def prepared_noise(
    trajectory: "xr.Dataset", problem: Any, noise: "Options | None"
) -> "Prepared | None":
    """What the gradient noise will be measured with, if it was asked for."""
    if noise is None:
        return None
    from trajscope.gradient_noise.api import prepare

    return prepare(trajectory, problem, noise)


def measured_noise(prepared: "Prepared", quiet: bool) -> "xr.Dataset":
    """The diffusion matrix, with a progress bar."""
    with (
        warnings_kept_for_the_page(),
        progress("gradients per sample", quiet) as advance,
    ):
        return prepared.measure(advance)
