"""RNN-T loss in plain torch: a scan over time whose every step is one cumulative sum, differentiated by autograd.

Graves 2012 (https://arxiv.org/abs/1211.3711). With L[t, u] the sum of the first u label scores of row t,
alpha[t, u] = L[t, u] + logcumsumexp over u of (alpha[t-1, u] + blank[t-1, u] - L[t, u]): no loop over tokens.
"""

import torch
from torch import Tensor

from recipes.transducer.config import BLANK_ID
from recipes.transducer.head import Head


def rnnt_log_likelihood(blank: Tensor, label: Tensor, frames: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability of each row's tokens, (batch,) float64.

    `blank` (batch, time, tokens + 1) and `label` (batch, time, tokens) log-probabilities of blank and of the next
    token at each node; `frames` and `tokens` (batch,) int64 count what is valid. What lies beyond has no part.
    """
    blank, label = blank.double(), label.double()
    start = torch.zeros_like(blank[:, 0, :1])
    alphas = [torch.cat([start, label[:, 0].cumsum(1)], 1)]
    for time in range(1, blank.shape[1]):
        sums = torch.cat([start, label[:, time].cumsum(1)], 1)
        alphas.append(sums + torch.logcumsumexp(alphas[-1] + blank[:, time - 1] - sums, 1))
    rows = torch.arange(blank.shape[0], device=blank.device)
    last = torch.stack(alphas, 1)[rows, frames - 1, tokens]
    return last + blank[rows, frames - 1, tokens]


def joint_scores(head: Head, encoded: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Blank and label log-probabilities of every node: encoded (batch, time, dim), targets (batch, tokens) padded 0."""
    context = torch.full((targets.shape[0], head.config.context_size), -1, device=targets.device)
    context[:, -1] = BLANK_ID
    decoded = head.decoder_proj(head.decoder(torch.cat([context, targets], 1)))
    logits = head.join(head.encoder_proj(encoded)[:, :, None], decoded[:, None])
    total = logits.logsumexp(-1)
    blank = logits[..., BLANK_ID] - total
    wanted = targets[:, None, :, None].expand(-1, logits.shape[1], -1, 1)
    return blank, logits[:, :, :-1].gather(3, wanted)[..., 0] - total[:, :, :-1]


def rnnt_loss(head: Head, encoded: Tensor, frames: Tensor, tokens: list[list[int]]) -> Tensor:
    """Sum over the batch divided by its number of tokens."""
    longest = max(1, *(len(row) for row in tokens))
    padded = [[*row, *[BLANK_ID] * (longest - len(row))] for row in tokens]
    targets = torch.tensor(padded, device=encoded.device)
    counts = torch.tensor([len(row) for row in tokens], device=encoded.device)
    blank, label = joint_scores(head, encoded, targets)
    return -rnnt_log_likelihood(blank, label, frames, counts).sum() / max(1, int(counts.sum()))
