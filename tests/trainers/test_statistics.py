"""What Keras and flax keep beside trainable variables is no weight; all that is trainable is."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from trajscope import open_trajectory


def values_read(folder, position):
    """The values of every tensor at one of the checkpoints, as bytes, sorted."""
    trajectory = open_trajectory(folder)
    weights = trajectory["weights"].to_numpy()[position]
    pieces = np.split(weights, np.cumsum(trajectory["row_size"].to_numpy())[:-1])
    return sorted(piece.tobytes() for piece in pieces)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["ckpt_{}.weights.h5", "model_{}.keras"])
def test_trainable_variables_of_keras_are_what_is_read(name, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    layers = keras.layers

    @keras.saving.register_keras_serializable()
    class MyBN(layers.BatchNormalization):
        pass

    @keras.saving.register_keras_serializable()
    class Wrapped(layers.Wrapper):
        def call(self, inputs, training=None):
            return self.layer(inputs, training=training)

    model = keras.Sequential(
        [keras.Input((6,)), layers.Normalization(), layers.SpectralNormalization(layers.Dense(5)),
         MyBN(name="any"), Wrapped(layers.BatchNormalization()), layers.Dropout(0.1),
         layers.BatchNormalization(scale=False), MyBN(center=False, scale=False),
         Wrapped(layers.LayerNormalization()), layers.PReLU(), layers.Dense(3)]
    )  # fmt: skip
    model.compile(keras.optimizers.RMSprop(momentum=0.9, centered=True), "mse")
    rng = np.random.default_rng(0)
    for step in (1, 2):
        model.fit(rng.normal(size=(8, 6)), rng.normal(size=(8, 3)), verbose=0)
        (model.save_weights if name.endswith("h5") else model.save)(tmp_path / name.format(step))
    expected = [np.asarray(each.value.detach().cpu()) for each in model.trainable_variables]
    assert values_read(tmp_path, -1) == sorted(each.tobytes() for each in expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("joint", [".", "/"])
@pytest.mark.parametrize("field", ["", "value"])
def test_parameters_of_flax_are_what_is_read(joint, field, tmp_path):
    nnx = pytest.importorskip("flax.nnx")
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(
        nnx.Linear(3, 4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs),
        nnx.BatchNorm(4, use_scale=False, rngs=rngs), nnx.LayerNorm(4, rngs=rngs),
        nnx.SpectralNorm(nnx.Linear(4, 4, rngs=rngs), rngs=rngs), nnx.Dropout(0.1, rngs=rngs),
    )  # fmt: skip
    kinds = {True: [], False: []}
    tensors = {}
    for path, variable in nnx.to_flat_state(nnx.state(model)):
        values = variable.get_value() if hasattr(variable, "get_value") else variable.value
        is_parameter = isinstance(variable, nnx.Param)
        kinds[is_parameter].append(path)
        if "key" not in map(str, path):
            name = joint.join(filter(None, (*map(str, path), field)))
            # Every value is another, so that it is known again; the rest stays as it was.
            tensors[name] = np.array(values) + (len(tensors) if is_parameter else 0)
    assert kinds[True]
    assert kinds[False]
    for step in (1, 2):
        save_file(
            {n: np.ascontiguousarray(v, v.dtype) for n, v in tensors.items()},
            tmp_path / f"step_{step}.safetensors",
        )
    names = {joint.join(filter(None, (*map(str, path), field))) for path in kinds[True]}
    assert set(open_trajectory(tmp_path)["tensor"].values) == names
