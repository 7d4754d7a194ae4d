"""Which arrays of a series are weights: the same at every checkpoint, the rest with a reason."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from trajscope.checkpoints.base import Series, Skipped
from trajscope.checkpoints.choice import choose, decisions
from trajscope.checkpoints.composed import SLICE, composed
from trajscope.checkpoints.outlines import (
    Outline,
    agreeing,
    arrays_of,
    changed_tensors,
    grouped,
    usual_shapes,
)
from trajscope.checkpoints.renames import with_one_set_of_names
from trajscope.checkpoints.sections import select, specs_of
from trajscope.checkpoints.weight_tensors import Weights, assembled, by_layer
from trajscope.errors import OptionError, TrajectoryError, printable

_LISTED = 10


def choose_weights(
    series: Series,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    average: bool = False,
    strict: bool = False,
) -> Weights:
    """The tensors of weights that all checkpoints share.

    Only floating-point arrays of the model itself, see `sections.select`. Checkpoints that share
    less than half of the tensors that most checkpoints hold are skipped as foreign; a tensor that
    is missing or has another shape in one of the others is left out for the whole series.

    Parameters
    ----------
    include :
        Globs on tensor names: only matching tensors, buffers among them too.
    exclude :
        Globs on tensor names to leave out; those in ``series.unmatched`` must match here.
    average :
        Take the averages of the weights that the trainer keeps beside the live ones.
    strict :
        Fail where a tensor is missing or changes shape, or a checkpoint is foreign.

    Raises
    ------
    TrajectoryError
        No tensor is left, there is no average, or with `strict` not all checkpoints hold the same.
    OptionError
        A glob matches nothing.
    """
    outlines, told, left = _outlines(series, tuple(include), tuple(exclude), average)
    _check_globs(outlines, series, include, exclude)
    outlines, renamed = with_one_set_of_names(outlines)
    told.extend(renamed)
    usual = usual_shapes(outlines)
    if not usual:
        raise TrajectoryError(_nothing_left(outlines, series))
    shared = [(agreeing(outline, usual), outline) for outline in outlines]
    native = [outline for count, outline in shared if 2 * count >= len(usual)]
    skipped = [
        Skipped(
            printable(checkpoint.relative),
            f"it shares {count} of the {len(usual)} tensors in most checkpoints: another model?",
        )
        for count, outline in shared
        if 2 * count < len(usual)
        for checkpoint in outline.checkpoints
    ]
    if left and strict:
        raise TrajectoryError(left[0])
    changes = changed_tensors(native, usual)
    names = [name for name in usual if name not in changes]
    warnings = _change_warnings(changes)
    if skipped:
        warnings.insert(
            0,
            f"{len(skipped)} checkpoint{'' if len(skipped) == 1 else 's'} skipped, first "
            f"{skipped[0].path}: {skipped[0].reason}",
        )
    if warnings and strict:
        raise TrajectoryError(
            f"{warnings[0]} All checkpoints are expected to contain the same tensors. Leave out "
            "the tensor or the checkpoint with --exclude."
        )
    if not names:
        raise TrajectoryError(
            f"{printable(series.root)}: no tensor has the same shape in every checkpoint. "
            f"{warnings[0]} Were checkpoints of two models mixed? Leave one out with --exclude."
        )
    weights = assembled(series, native, by_layer(names), changes)
    return replace(
        weights,
        skipped=tuple(skipped),
        warnings=(*left, *warnings),
        decisions=tuple(told),
    )


def _outlines(
    series: Series, include: tuple[str, ...], exclude: tuple[str, ...], average: bool
) -> tuple[list[Outline], list[str], tuple[str, ...]]:
    """Checkpoints grouped by what their headers list, the largest first; decisions; warnings."""
    members = grouped(series)
    made = [composed(arrays_of(series, group[0])) for group in members]
    arrays = [each.arrays for each in made]
    specs = [specs_of(each) for each in arrays]
    choice = choose(specs, average=average and not series.averaged)
    if choice is None:
        raise TrajectoryError(
            f"{printable(series.root)}: --weights ema needs an average of the weights, but no "
            f"section or tensor is named so. Found: {_listed(list(arrays[0]))}. Select some of "
            "them with --include, or another run with --run."
        )
    selected = [
        kind if kind[0] or include else select([own], include, exclude)[0]  # nested otherwise
        for own, kind in zip(arrays, select(arrays, include, exclude, choice), strict=True)
    ]
    outlines = [
        Outline(group, kept, left) for group, (kept, left) in zip(members, selected, strict=True)
    ]
    slices = [name for name, each in selected[0][1].items() if each.reason == SLICE]
    if slices:
        raise TrajectoryError(
            f"{printable(series.root)}: whole tensors are expected, but {len(slices)} are what one "
            f"of several ranks holds of them (DTensor or ShardedTensor), first "
            f"{printable(slices[0])!r}. Save with torch.distributed.checkpoint.save, which is read "
            "whole, or on one rank what torch.distributed.checkpoint.state_dict."
            "get_model_state_dict gives with StateDictOptions(full_state_dict=True)."
        )
    warned = made[0].warnings
    if choice.alone:
        warned = (
            f"These checkpoints contain only an average of the weights, in the section "
            f"'{printable(choice.section)}', and it is read: the live weights were not saved. An "
            "average moves more smoothly than they do. To ask for it, use --weights ema.",
            *warned,
        )
    return outlines, [*decisions(specs, choice), *made[0].decisions], warned


def _check_globs(
    outlines: Sequence[Outline], series: Series, include: Sequence[str], exclude: Sequence[str]
) -> None:
    names = {
        spelling
        for outline in outlines
        for spelling in (
            *outline.kept,
            *outline.left_out,
            *arrays_of(series, outline.checkpoints[0]),
        )
    }
    for option, globs in (("--include", include), ("--exclude", exclude)):
        for glob in globs:
            if option == "--exclude" and glob not in series.unmatched:
                continue
            if not any(fnmatchcase(name, glob) for name in names):
                raise OptionError(
                    f"{option} {printable(glob)!r} matches no tensor"
                    f"{'' if option == '--include' else ' and no file'} of "
                    f"{printable(series.root)}. Tensors there: {_listed(sorted(names))}"
                )


def _change_warnings(changes: Mapping[str, str]) -> list[str]:
    shown = [
        f"Tensor {printable(name)!r} is left out: {reason}."
        for name, reason in list(changes.items())[:_LISTED]
    ]
    if len(changes) > _LISTED:
        shown.append(
            f"{len(changes) - _LISTED} more tensors are left out, since their shapes change too."
        )
    return shown


def _nothing_left(outlines: Sequence[Outline], series: Series) -> str:
    kept = sorted({name for outline in outlines for name in outline.kept})
    if kept:
        return (
            f"{printable(series.root)}: no tensor occurs in more than half of the "
            f"{len(series.checkpoints)} checkpoints; the same tensors in each are expected. "
            f"Found: {_listed(kept)}. Were several models mixed? Leave some out with --exclude."
        )
    left = {name: each for outline in outlines for name, each in outline.left_out.items()}
    shown = "".join(
        f"\n  {printable(name)}: {each.reason}" for name, each in list(left.items())[:_LISTED]
    )
    more = f"\n  and {len(left) - _LISTED} more" if len(left) > _LISTED else ""
    return (
        f"{printable(series.root)}: floating-point weights are expected, but no tensor remains. "
        f"Found:{shown}{more}\nSelect some of them with --include."
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:_LISTED])
    return shown + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
