"""The digits against what their publisher says of them."""

import numpy as np

from trajscope.demo.digits import load_digits


def test_the_digits_are_the_published_test_set():
    images, labels = load_digits()
    assert images.shape == (1797, 8, 8)
    assert images.dtype == labels.dtype == np.uint8
    assert images.max() == 16
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_first_image_is_the_published_nought():
    images, labels = load_digits()
    assert labels[0] == 0
    assert images[0, :2].tolist() == [[0, 0, 5, 13, 9, 1, 0, 0], [0, 0, 13, 15, 10, 15, 5, 0]]


def test_labels_belong_to_their_images():
    # The nearest class mean is right for about nine digits in ten; shuffled labels: one in ten.
    images, labels = load_digits()
    points = images.reshape(len(images), -1).astype(float)
    means = np.stack([points[labels == digit].mean(axis=0) for digit in range(10)])
    nearest = ((points[:, None] - means) ** 2).sum(axis=-1).argmin(axis=1)
    assert (nearest == labels).mean() > 0.88
