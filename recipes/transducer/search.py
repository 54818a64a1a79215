"""Greedy search as a yardstick: one utterance after the other, one token a frame at most."""

import torch
from torch import Tensor

from recipes.transducer.config import BLANK_ID
from recipes.transducer.head import Head


@torch.no_grad()
def greedy_search(head: Head, encoded: Tensor, counts: Tensor) -> list[list[int]]:
    """encoded (batch, frames, dim), of which `counts` frames are valid -> token ids of each row."""
    found = []
    for frames, count in zip(head.encoder_proj(encoded), counts.tolist(), strict=True):
        tokens = [-1] * (head.config.context_size - 1) + [BLANK_ID]
        decoded = None
        for frame in frames[:count]:
            if decoded is None:
                context = torch.tensor([tokens[-head.config.context_size :]], device=encoded.device)
                decoded = head.decoder_proj(head.decoder(context))[0, 0]
            token = int(head.join(frame, decoded).argmax())
            if token != BLANK_ID:
                tokens.append(token)
                decoded = None
        found.append(tokens[head.config.context_size :])
    return found
