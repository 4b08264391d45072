"""GEM's implicit function: several samples in one step, as on a GPU, give what one after another gives."""

from __future__ import annotations

import pytest
import torch

from inference.networks import gem_fusion
from inference.networks.gem_fusion import Fusion

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("pictures", [1, 5])
@pytest.mark.parametrize("together", [2, 5])
def test_samples_together_change_nothing(together: int, pictures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    fusion = Fusion(8, 3)
    event, image = torch.rand(5, 8, 6, 7), torch.rand(pictures, 8, 12, 14)
    found = []
    for at_once in (gem_fusion._at_once, lambda height, row, device: (height, together)):
        monkeypatch.setattr(gem_fusion, "_at_once", at_once)
        fusion.zero_grad()
        out = fusion(event, image)
        (out * torch.arange(5)[:, None, None, None]).sum().backward()
        found.append([out.detach(), *(p.grad for p in fusion.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_gpu_takes_as_many_as_fit() -> None:
    gpu = torch.device("cuda")
    assert gem_fusion._at_once(48, 48 * 64, gpu) == (48, (1 << 26) // (48 * 48 * 64))
    assert gem_fusion._at_once(2000, 3000 * 64, gpu) == (2000, 1)
    assert gem_fusion._at_once(48, 1 << 18, torch.device("cpu")) == (1, 1)
