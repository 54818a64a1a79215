"""Several processes that train one model: the same weights at first, mean gradients, one clock.

Gloo, which works on CPUs and through them. With a `world` of 1 nothing here does anything.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, distributed, nn


def meet(folder: Path, world: int, rank: int) -> None:
    """Wait for the others at a file of `folder`, which must not be there from an earlier run."""
    if world > 1:
        place = f"file://{(folder / 'rendezvous').resolve()}"
        distributed.init_process_group("gloo", init_method=place, rank=rank, world_size=world)


def take_first(tensors: Iterable[Tensor], world: int) -> None:
    """Replace tensors by those of the first process.

    Each process draws random weights of its own and teaches them alone for as long as its own clock says, before
    gradients are shared; mean gradients of different models would teach neither.
    """
    if world > 1:
        for tensor in tensors:
            distributed.broadcast(tensor, 0)


def first_clock(seconds: float, world: int) -> float:
    """The first process's time: what is learned when follows it, and all must do the same at the same step."""
    clock = torch.tensor([seconds], dtype=torch.float64)
    take_first([clock], world)
    return clock.item()


def share_gradients(parameters: Iterable[nn.Parameter], world: int) -> None:
    """Replace every gradient by its mean over the processes."""
    if world == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= world
    parts = flat.split([gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])
