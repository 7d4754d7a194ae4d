"""Tensors and scalars found in an unpickled checkpoint, by name.

A checkpoint is a tree of dictionaries, lists, modules and objects of the user's own classes. Here
it is walked and flattened. Levels are joined by ``/``; inside a module, pickled or scripted, by
``.``, as in its state_dict.
"""

from dataclasses import dataclass, field, replace

from trajscope.errors import printable
from trajscope.readers.base import UNREADABLE, Header, TensorSpec
from trajscope.readers.torch.arrays import array_spec
from trajscope.readers.torch.quantised import companions
from trajscope.readers.torch.records import Dictionary, Global, Record
from trajscope.readers.torch.storages import Resolve, TensorError
from trajscope.readers.torch.tensors import is_tensor, tensor_spec

COMPANION = ":"
"""Between the name of a quantised tensor and that of what is kept beside its codes."""

Scalar = str | int | float | bool

_MAX_DEPTH = 64
"""Levels of containers that are entered; no trainer nests its weights deeper than a dozen."""

_MAX_REPEATS = 100_000
"""Entries looked at again after which a shared container is not listed under another name."""

_MAX_TENSORS = 200_000
_MAX_NAME = 1000
"""Characters of a name; containers and scalars with longer ones are passed over."""

# Of a key that is a tuple, so that names which share their texts stay short.
_KEY_PARTS = 8
_KEY_LENGTH = 32

_MAX_METADATA = 1000
_METADATA_LEVELS = 3
_MAX_STRING = 1000


def flatten(value: object, resolve: Resolve) -> Header:
    """Every tensor and, of the upper levels, every scalar in a checkpoint, by name.

    Raises
    ------
    TensorError
        A tensor lies outside its storage, two have the same name, or there are too many.
    """
    walk = _Walk(resolve)
    walk.visit(value, "", 0, joint="")
    return Header(walk.tensors, walk.metadata)


@dataclass
class _Walk:
    """A depth-first walk over the tree, and what it has found so far.

    Containers that contain themselves are not entered from inside. Shared ones are listed under
    every name, until `_MAX_REPEATS` is spent: doubling by reference then stays cheap, and yet
    everything is listed once. Objects of unknown classes are entered once, since their
    attributes refer to one another in any number of ways.
    """

    resolve: Resolve
    tensors: dict[str, TensorSpec] = field(default_factory=dict)
    metadata: dict[str, Scalar] = field(default_factory=dict)
    inside: set[int] = field(default_factory=set)
    objects: set[int] = field(default_factory=set)
    seen: set[int] = field(default_factory=set)
    repeats: int = 0

    def visit(self, value: object, path: str, depth: int, *, joint: str = "/") -> None:
        """Flatten `value`, whose name is `path`; a module's is joined to its parts by `joint`."""
        if is_tensor(value):
            self.add(path or "tensor", value, "")
            return
        if _is_sharded(value):
            self.tensors[path or "tensor"] = TensorSpec((), UNREADABLE, original="ShardedTensor")
            return
        if (array := array_spec(value)) is not None:
            if len(path) <= _MAX_NAME and len(self.tensors) < _MAX_TENSORS:
                self.tensors.setdefault(path or "array", array)
            return
        if depth > _MAX_DEPTH or len(path) > _MAX_NAME or id(value) in self.inside:
            return
        self.inside.add(id(value))
        attributes = self.attributes(value)
        if {"_parameters", "_modules"} <= attributes.keys():
            self.visit_module(attributes, path, depth, joint)
        elif not _is_object(value) or id(value) not in self.objects:
            self.objects.add(id(value))
            scalars = depth < _METADATA_LEVELS and not isinstance(value, (list, tuple))
            children = _both(attributes, self.entries(value))
            self.visit_children(children, path, depth, scalars, "." if _is_script(value) else "/")
        self.inside.discard(id(value))

    def visit_children(
        self, children: dict[str, object], path: str, depth: int, scalars: bool, joint: str
    ) -> None:
        """Flatten what a dictionary, a list or an object holds: first its scalars, if wanted."""
        for name, child in children.items() if scalars else ():
            scalar = _scalar(child)
            if scalar is not None and len(name) <= _MAX_NAME and len(self.metadata) < _MAX_METADATA:
                self.metadata.setdefault(_joined(path, joint, name), scalar)
            if depth == 0 and name in _COUNTED and isinstance(child, list):
                self.number(name, child)
        for name, child in children.items():
            if isinstance(child, _CONTAINERS):
                self.visit(child, _joined(path, joint, name), depth + 1)

    def number(self, name: str, values: list[object]) -> None:
        """List the steps that are kept beside a list of states."""
        if len(values) <= _MAX_TENSORS and all(type(each) in (int, float) for each in values):
            found = {f"{name}/{place}": _scalar(each) for place, each in enumerate(values)}
            self.metadata |= {key: each for key, each in found.items() if each is not None}

    def visit_module(
        self, attributes: dict[str, object], path: str, depth: int, joint: str
    ) -> None:
        """Flatten a pickled module: its parameters, its buffers, its submodules."""
        for role, part in (("parameter", "_parameters"), ("buffer", "_buffers")):
            for name, child in self.entries(attributes.get(part)).items():
                if is_tensor(child):
                    self.add(_joined(path, joint, name), child, role)
        for name, child in self.entries(attributes["_modules"]).items():
            if isinstance(child, Record):
                self.visit(child, _joined(path, joint, name), depth + 1, joint=".")

    def add(self, name: str, record: object, role: str) -> None:
        """List one tensor."""
        if name in self.tensors:
            raise TensorError(f"two tensors have the name '{printable(name)}'")
        if len(name) > _MAX_NAME or len(self.tensors) >= _MAX_TENSORS:
            raise TensorError(
                f"tensor '{printable(name)}' exceeds the limit of {_MAX_TENSORS} tensors with "
                f"names of {_MAX_NAME} characters"
            )
        try:
            spec = tensor_spec(record, self.resolve)
            beside = companions(record, self.resolve) if spec.original else {}
        except TensorError as error:
            raise TensorError(f"tensor '{printable(name)}' {error}") from error
        self.tensors[name] = replace(spec, role=role) if role else spec
        for companion, own in beside.items():
            self.tensors.setdefault(f"{name}{COMPANION}{companion}", own)

    def attributes(self, value: object) -> dict[str, object]:
        """The attributes of an object, by name; also those in ``__slots__``.

        What else it was made from or restored from, such as the fields of a named tuple, is called
        by its place.
        """
        if not isinstance(value, Record) or not _is_object(value):
            return {}
        given = value.arguments if isinstance(value.arguments, tuple) else ()
        found = self.entries(given) if given else {}
        state = self.entries(value.state) if isinstance(value.state, tuple) else {"0": value.state}
        named = {place for place in ("0", "1") if isinstance(state.get(place), Dictionary)}
        for place in sorted(named):
            found = _both(found, self.entries(state[place]))
        others: dict[str, object] = {
            place: part
            for place, part in state.items()
            if place not in named and isinstance(part, _CONTAINERS)
        }
        return _both(found, others)

    def entries(self, value: object) -> dict[str, object]:
        """What a container holds, by name; of lists only what may hold tensors."""
        if isinstance(value, (list, tuple)):
            if not self.affordable(value, len(value)):
                return {}
            return {str(i): each for i, each in enumerate(value) if isinstance(each, _CONTAINERS)}
        if isinstance(value, Dictionary):
            return _named(value.pairs) if self.affordable(value, len(value.pairs)) else {}
        if not isinstance(value, Record) or not self.affordable(value, len(value.pairs)):
            return {}
        found = _both(self.entries(value.items), self.initial(value))
        return _both(found, _named(value.pairs))

    def initial(self, record: Record) -> dict[str, object]:
        """The pairs a dictionary was constructed from, as Python 2 wrote an OrderedDict."""
        arguments = record.arguments
        if _is_object(record) or not isinstance(arguments, tuple) or len(arguments) != 1:
            return {}
        pairs = arguments[0]
        if not isinstance(pairs, list) or not self.affordable(pairs, len(pairs)):
            return {}
        return _named(
            [
                (pair[0], pair[1])
                for pair in pairs
                if isinstance(pair, (list, tuple)) and len(pair) == 2
            ]
        )

    def affordable(self, container: object, size: int) -> bool:
        """Whether `size` entries may be looked at: always the first time, later within limits."""
        if id(container) not in self.seen:
            self.seen.add(id(container))
            return True
        self.repeats += size + 1
        return self.repeats <= _MAX_REPEATS


_COUNTED = frozenset(
    {"step", "steps", "global_step", "global_steps", "iteration", "iterations"}
    | {"iter", "iters", "epoch", "epochs"}
)

_CONTAINERS = (Dictionary, Record, list, tuple)

_DICTIONARIES = frozenset(
    {
        Global("collections", "OrderedDict"),
        Global("collections", "defaultdict"),
        Global("builtins", "dict"),
        Global("__builtin__", "dict"),
    }
)


def _is_object(value: object) -> bool:
    """Whether a value is a record of something that is not known to be a dictionary."""
    if not isinstance(value, Record):
        return False
    return not isinstance(value.origin, Global) or value.origin not in _DICTIONARIES


def _is_sharded(value: object) -> bool:
    """Whether a value is what one rank holds of a tensor, as FSDP's first version saves it."""
    origin = value.origin if isinstance(value, Record) else None
    return (
        isinstance(origin, Global)
        and origin.name == "ShardedTensor"
        and origin.module.startswith("torch.distributed")
    )


def _is_script(value: object) -> bool:
    """Whether a value is a module that torch.jit wrote."""
    origin = value.origin if isinstance(value, Record) else None
    return isinstance(origin, Global) and origin.module.partition(".")[0] == "__torch__"


def _named(pairs: list[tuple[object, object]]) -> dict[str, object]:
    """The pairs by the names of their keys; of equal keys the last, as in Python."""
    texts = {key: value for key, value in pairs if isinstance(key, str)}
    if len(texts) == len(pairs):
        return texts
    others = {
        _key(key, place): value
        for place, (key, value) in enumerate(pairs)
        if not isinstance(key, str)
    }
    return _both(others, texts)


def _key(key: object, place: int) -> str:
    """The name of a key that is no text: a number, a tuple of texts and numbers, or its place."""
    parts = key if isinstance(key, tuple) else (key,)
    if isinstance(key, (float, int, tuple)) and len(parts) <= _KEY_PARTS:
        scalars = [_scalar(part) for part in parts]
        if all(each is not None and len(str(each)) <= _KEY_LENGTH for each in scalars):
            return str(key)
    return f"<key {place}>"


def _both(first: dict[str, object], second: dict[str, object]) -> dict[str, object]:
    """The two together; what only shares its name with another of the second is ``<name>``."""
    clash = {name for name in first.keys() & second.keys() if first[name] is not second[name]}
    return {f"<{name}>" if name in clash else name: each for name, each in first.items()} | second


def _joined(path: str, joint: str, name: str) -> str:
    return f"{path}{joint}{name}" if path else name


def _scalar(value: object) -> Scalar | None:
    """The value, if it is a number or a text of sensible length."""
    if isinstance(value, str):
        return value if len(value) <= _MAX_STRING else None
    if isinstance(value, int):
        return value if value.bit_length() < 64 else None
    return value if isinstance(value, float) else None
