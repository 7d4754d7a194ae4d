"""Data that is not the same each time it is read: augmented at random, or written meanwhile."""

import numpy as np
import pytest
import torch

from tests.gradient_noise.oracle import found, write_run
from trajscope import OptionError, Problem
from trajscope.model.samples import Samples, contents


class Noisy(torch.utils.data.Dataset):
    """Vectors, a share of which are turned round at random each time they are read."""

    def __init__(self, share=0.0, n=120):
        self.values = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
        self.share, self.rng, self.read = share, np.random.default_rng(1), 0

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        self.read += 1
        turned = self.rng.random() < self.share
        return (-self.values[index] if turned else self.values[index]), index % 2


def loss(model, batch):
    values, labels = batch
    return torch.nn.functional.cross_entropy(model(values), labels)


def problem(data):
    torch.manual_seed(0)
    return Problem(torch.nn.Linear(4, 2), data, loss)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_random_augmentation_is_noticed_even_of_a_tenth_of_the_samples(share, tmp_path):
    its = problem(Noisy(share))
    write_run(tmp_path, its.model)
    with pytest.raises(OptionError, match="a different sample each time the same index is read"):
        found(tmp_path, its)


class Rewritten(Noisy):
    """Is written again after so many readings."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def __getitem__(self, index):
        if self.read == self.after:
            self.values = self.values + 1
        return super().__getitem__(index)


def test_data_that_changes_between_checkpoints_is_noticed(tmp_path):
    still = Rewritten(10**9)
    its = problem(still)
    write_run(tmp_path, its.model)
    found(tmp_path, its)
    changing = problem(Rewritten(still.read * 3 // 4))
    with pytest.raises(OptionError, match=r"changed while the checkpoint at step \d was"):
        found(tmp_path, changing)


def test_samples_with_nan_are_their_own_equal():
    data = (torch.tensor([[np.nan], [1.0]]),)
    samples = Samples(data, np.arange(2), torch.device("cpu"), torch.float64)
    assert contents(samples) == contents(samples)
    other = Samples((torch.tensor([[np.nan], [2.0]]),), np.arange(2), samples.device, samples.dtype)
    assert contents(samples) != contents(other)
