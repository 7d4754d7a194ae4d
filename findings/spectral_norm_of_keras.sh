#!/usr/bin/env bash
# Keras 3.15.1 (torch backend), h5py 3.16.0: what SpectralNormalization writes to a .weights.h5 file.
#
# A wrapped Dense layer with a kernel and a bias has two trainable variables. The file holds four
# arrays: the wrapper writes the kernel of the layer inside once more, under its own path, and the
# vector of its power iteration beside it. Paths say neither: all are called vars/N. Whoever takes
# every array for a weight counts the kernel twice and follows a vector that nothing trains.
#
# Seen: spectral_normalization/vars/0 equals spectral_normalization/layer/vars/0; vars/1 is (1, 3).
#
# Exits with 1 when the kernel is written once, or the vector not at all.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/venv/bin/pip" install --quiet keras==3.15.1 h5py==3.16.0
KERAS_BACKEND=torch "$work/venv/bin/python" -W ignore - "$work" <<'PYTHON' 2>/dev/null
import sys

import h5py
import keras
import numpy as np

path = f"{sys.argv[1]}/model.weights.h5"
dense = keras.layers.SpectralNormalization(keras.layers.Dense(3))
model = keras.Sequential([keras.Input((4,)), dense])
model(np.ones((2, 4), "float32"), training=True)
model.save_weights(path)
arrays = {}
with h5py.File(path) as file:
    file.visititems(
        lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
    )
print(f"keras {keras.__version__}: {len(model.trainable_variables)} trainable variables")
for name, values in arrays.items():
    print(f"  {name} {values.shape}")
wrapper = "layers/spectral_normalization"
twice = np.array_equal(arrays[f"{wrapper}/vars/0"], arrays[f"{wrapper}/layer/vars/0"])
vector = arrays.get(f"{wrapper}/vars/1", np.empty(0)).shape == (1, 3)
sys.exit(0 if twice and vector and len(arrays) == 4 else 1)
PYTHON
