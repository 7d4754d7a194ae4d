"""Handwritten digits that ship inside the package."""

from importlib.resources import files

import numpy as np
from numpy.typing import NDArray


def load_digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """1,797 images of handwritten digits, and the digit that each shows.

    Returns
    -------
    images : (image, row, column)
        8 x 8 pixels, each the number of inked points (0 to 16) in a 4 x 4 cell of the scan.
    labels : (image,)
        0 to 9, every digit 174 to 183 times.

    Notes
    -----
    The test set of the UCI "Optical Recognition of Handwritten Digits", CC BY 4.0, see
    DIGITS_LICENSE.txt. The file was made from the copy that scikit-learn bundles, where
    ``digits = sklearn.datasets.load_digits()``, by ``np.savez_compressed("digits.npz",
    images=digits.images.astype("uint8"), labels=digits.target.astype("uint8"))``.

    References
    ----------
    E. Alpaydin, C. Kaynak (1998), https://doi.org/10.24432/C50P49
    """
    with (files("trajscope.demo") / "digits.npz").open("rb") as file, np.load(file) as arrays:
        return arrays["images"], arrays["labels"]
