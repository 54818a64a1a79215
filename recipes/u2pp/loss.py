"""Chunk masks and the joint CTC and attention loss."""

import torch
from torch import Tensor
from torch.nn import functional

from recipes.u2pp.attention import mask_to_bias
from recipes.u2pp.config import BLANK_ID, SOS_EOS_ID, ModelConfig
from recipes.u2pp.model import Model
from recipes.u2pp.subsampling import valid_length

_IGNORED = -100


def chunk_visibility(frames: int, chunk: int, left_chunks: int, device: torch.device | str = "cpu") -> Tensor:
    """(frames, frames) bool: a query sees its own chunk and `left_chunks` before it (-1: all); chunk <= 0: all."""
    if chunk <= 0:
        return torch.ones(frames, frames, dtype=torch.bool, device=device)
    number = torch.arange(frames, device=device) // chunk
    distance = number[:, None] - number[None, :]
    visible = distance >= 0
    return visible & (distance <= left_chunks) if left_chunks >= 0 else visible


def visibility_bias(
    lengths: Tensor, frames: int, config: ModelConfig, chunk: int, left_chunks: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention bias (batch, 1, frames, frames) of a chunk mask, valid counts, valid mask (batch, frames)."""
    counts = valid_length(lengths, config)
    valid = torch.arange(frames, device=counts.device)[None] < counts[:, None]
    visible = chunk_visibility(frames, chunk, left_chunks, counts.device)[None] & valid[:, None]
    return mask_to_bias(visible)[:, None], counts, valid


def encode(model: Model, features: Tensor, lengths: Tensor, chunk: int, left_chunks: int, tap: int = 0):
    """Run the encoder under a chunk mask: frames, tapped frames, valid counts, valid mask (batch, frames)."""
    frames = (features.shape[1] - model.config.context) // model.config.subsampling + 1
    bias, counts, valid = visibility_bias(lengths, frames, model.config, chunk, left_chunks)
    output, tapped = model.encoder(features, bias, tap)
    return output, tapped, counts, valid


def ctc_loss(logits: Tensor, counts: Tensor, tokens: list[list[int]]) -> Tensor:
    """Sum over the batch divided by its number of tokens."""
    sizes = torch.tensor([len(row) for row in tokens])
    flat = torch.tensor([token for row in tokens for token in row], dtype=torch.int64, device=logits.device)
    log_probs = logits.log_softmax(-1).transpose(0, 1)
    total = functional.ctc_loss(log_probs, flat, counts.cpu(), sizes, BLANK_ID, reduction="sum", zero_infinity=True)
    return total / max(1, len(flat))


def pack(tokens: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Decoder inputs (batch, 1, longest + 1) that start with sos, and targets that end with eos, padded _IGNORED."""
    longest = max(len(row) for row in tokens)
    inputs = [[SOS_EOS_ID, *row, *[SOS_EOS_ID] * (longest - len(row))] for row in tokens]
    targets = [[*row, SOS_EOS_ID, *[_IGNORED] * (longest - len(row))] for row in tokens]
    return torch.tensor(inputs)[:, None], torch.tensor(targets)


def _smoothed(log_probs: Tensor, targets: Tensor, smoothing: float = 0.1) -> Tensor:
    kept = targets != _IGNORED
    rows, wanted = log_probs[:, 0][kept], targets[kept]
    return -((1 - smoothing) * rows.gather(1, wanted[:, None])[:, 0] + smoothing * rows.mean(1)).mean()


def attention_loss(model: Model, memory: Tensor, valid: Tensor, tokens: list[list[int]]) -> Tensor:
    """Label-smoothed cross entropy per token of both directions, mixed by reverse_weight."""
    inputs, targets = (packed.to(memory.device) for packed in pack(tokens))
    reverse_inputs, reverse_targets = (packed.to(memory.device) for packed in pack([row[::-1] for row in tokens]))
    left, right = model.decoder(memory, valid, inputs, reverse_inputs)
    share = model.config.reverse_weight
    return (1 - share) * _smoothed(left, targets) + share * _smoothed(right, reverse_targets)
