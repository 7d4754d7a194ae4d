"""Patches of images, which a convolution's gradients are products of."""

import pytest
import torch
from torch import nn

from trajscope.model.layers import patches_of


@pytest.mark.parametrize("kernel", [(1, 1), (3, 2), (5, 5)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
@pytest.mark.parametrize("padding", [(0, 0), (2, 1)])
@pytest.mark.parametrize("stride", [(1, 1), (1, 3)])
@pytest.mark.parametrize("layout", ["rows", "channels last", "part of another"])
def test_patches_are_those_of_unfold(kernel, dilation, padding, stride, layout):
    images = torch.randn(4, 3, 11, 9, generator=torch.manual_seed(0))
    if layout == "channels last":
        images = images.to(memory_format=torch.channels_last)
    elif layout == "part of another":
        images = images[1:3, 1:]
    found = patches_of(images, kernel, dilation, padding, stride)
    torch.testing.assert_close(
        found, nn.functional.unfold(images, kernel, dilation, padding, stride), rtol=0, atol=0
    )
