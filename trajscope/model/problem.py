"""What checkpoints alone cannot say: the model, the data and the loss, as the user gives them."""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from trajscope.errors import OptionError, TrajscopeError, printable

if TYPE_CHECKING:
    from types import ModuleType

    from torch import Tensor, nn


Rename = Mapping[str, str] | Callable[[str], str]


@dataclass(frozen=True)
class Problem:
    """A model, its training data, and the loss that was minimised.

    Attributes
    ----------
    model :
        Any module that the checkpoint's weights fit; its own weights do not matter.
    data :
        A dataset with ``len(data)`` and ``data[i]``, each sample made of tensors and numbers of the
        same shapes in tuples, lists or mappings; or a tuple of tensors, samples along their first
        axis.
    loss :
        ``loss(model, batch) -> mean loss of the batch``, or one number per sample. `batch` holds
        samples as `data` gives them, stacked along a new first axis. For the gradient of a sample
        it is called with a batch of that sample alone, so weights, masks or padding within a
        sample count as they do there. Terms in the weights alone (an L2 penalty) cancel in the
        diffusion matrix, but not in the gradient.
    rename :
        Where the checkpoints call tensors otherwise than the model: a dict from names in a
        checkpoint to names in the model, or a function of one name that gives the other. Not
        needed for the prefixes of wrappers, nor for what transformers and peft write.

    Examples
    --------
    >>> import torch, trajscope
    >>> def make_problem():
    ...     def loss(model, batch):
    ...         images, labels = batch
    ...         return torch.nn.functional.cross_entropy(model(images), labels)
    ...     images, labels = torch.randn(30, 4), torch.arange(30) % 3
    ...     return trajscope.Problem(torch.nn.Linear(4, 3), (images, labels), loss)
    >>> len(make_problem().data)
    2
    """

    model: "nn.Module"
    data: Any
    loss: Callable[["nn.Module", Any], "Tensor"]
    rename: Rename | None = None

    def __post_init__(self) -> None:
        from torch import nn

        if not isinstance(self.model, nn.Module):
            raise OptionError(
                f"The problem's model is a {type(self.model).__name__}; a torch.nn.Module was "
                "expected."
            )
        if not callable(self.loss):
            raise OptionError(
                f"The problem's loss is a {type(self.loss).__name__}; a function "
                "loss(model, batch) was expected."
            )
        if not (hasattr(self.data, "__len__") and hasattr(self.data, "__getitem__")):
            raise OptionError(
                f"The problem's data is a {type(self.data).__name__}; an indexable dataset with a "
                "length, or a tuple of tensors, was expected. Convert an iterable dataset to a "
                "list."
            )
        if not (self.rename is None or isinstance(self.rename, Mapping) or callable(self.rename)):
            raise OptionError(
                f"The problem's rename is a {type(self.rename).__name__}; a dict from names in the "
                "checkpoint to names in the model, or a function of one name, was expected."
            )


def load_problem(place: str) -> Problem:
    """What the function at `place` returns.

    Parameters
    ----------
    place :
        ``"module:function"`` or ``"folder/file.py:function"``. The module's code is run: it is the
        user's own. Modules are found as Python finds them, and in the working directory; a file
        also finds the modules beside it.

    Raises
    ------
    OptionError
        There is no such module, file or function, its code raises something or ends the process,
        or it returns no `Problem`.
    """
    source, colon, name = place.rpartition(":")
    if not (colon and source and name.isidentifier()):
        raise OptionError(
            f"--problem {printable(place)}: module:function or file.py:function was expected, "
            "such as my_problem.py:make_problem."
        )
    with blamed(f"--problem {printable(place)}: {printable(source)}"):
        module = _from_file(Path(source)) if source.endswith(".py") else _from_name(source)
    function = getattr(module, name, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        raise OptionError(
            f"--problem {printable(place)}: {printable(source)} lacks a function {name}. It "
            f"contains {', '.join(known[:10]) or 'none'}."
        )
    with blamed(f"--problem {printable(place)}: {name}"):
        problem = function()
    if not isinstance(problem, Problem):
        raise OptionError(
            f"--problem {printable(place)} returned a {type(problem).__name__}; "
            "trajscope.Problem(model, data, loss) was expected."
        )
    return problem


@contextmanager
def blamed(what: str) -> Iterator[None]:
    """Whatever the user's code within raises as one message: what it was, and on which line.

    Parameters
    ----------
    what :
        Whose code it is, as the beginning of a sentence.

    Raises
    ------
    OptionError
        In the place of any exception, an end of the process (``sys.exit``) among them.
    """
    try:
        yield
    except (TrajscopeError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        words = printable(str(error).strip().partition("\n")[0], limit=300)
        ended = isinstance(error, SystemExit)
        raised = "ended the process" if ended else f"raised {type(error).__name__}"
        raise OptionError(
            f"{what} {raised}{f': {words}' if words else ''}{_line_of(error)}."
        ) from error


def _line_of(error: BaseException) -> str:
    """The last line of the user's own files that led to it, " (problem.py, line 12)"."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({printable(error.filename)}, line {error.lineno})"
    foreign = ("<", str(Path(contextlib.__file__).parent), str(Path(__file__).parents[1]))
    frames = [(f.f_code.co_filename, line) for f, line in walk_tb(error.__traceback__)]
    own = [each for each in frames if not each[0].startswith(foreign)]
    own = [each for each in own if "site-packages" not in each[0]]
    return f" ({printable(own[-1][0])}, line {own[-1][1]})" if own else ""


def _from_file(path: Path) -> "ModuleType":
    if not path.is_file():
        raise OptionError(f"--problem: file {printable(path)} not found.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    _find_in(path.resolve().parent)
    module = importlib.util.module_from_spec(spec)
    # Data loaders and pickles look their classes up here.
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


def _from_name(name: str) -> "ModuleType":
    _find_in(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A module that the user's own code imports is the user's to find.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise OptionError(
            f"--problem: module {printable(name)} not found in {printable(Path.cwd())} or among "
            "installed modules. A file is possible too: path/to/file.py:function."
        ) from error


def _find_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
