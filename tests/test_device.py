import pytest
import torch

from clcore.device import resolve_device
from clcore.errors import InputError


def test_cpu() -> None:
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CPU", "mps", ""])
def test_unknown_device(name: str) -> None:
    with pytest.raises(InputError, match=f"unknown device '{name}': choose 'cpu'"):
        resolve_device(name)


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"'cuda' was asked for.*use device 'cpu'"):
        resolve_device("cuda")


def test_gpu_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda") == torch.device("cuda")
    assert resolve_device("cuda:1") == resolve_device("cuda:01") == torch.device("cuda:1")
    with pytest.raises(InputError, match="numbered 0 to 1"):
        resolve_device("cuda:2")
