"""A small stand-in for icefall's first zipformer: only its states, their shapes and their arithmetic are real.

One head, no rates, no bypass; made to test servers, not to be trained.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.transducer.config import NUM_BINS

GROUPS = ("cached_len", "cached_avg", "cached_key", "cached_val", "cached_val2", "cached_conv1", "cached_conv2")
BATCH_AXES = (1, 1, 2, 2, 2, 1, 1)
MASKED = -10000.0


class Layer(nn.Module):
    """Running mean, attention twice over one set of weights, causal convolution twice."""

    def __init__(self, dim: int, attention: int, kernel: int) -> None:
        super().__init__()
        self.pool = nn.Linear(dim, dim)
        self.query, self.key = nn.Linear(dim, attention), nn.Linear(dim, attention)
        self.values = nn.ModuleList(nn.Linear(dim, attention // 2) for _ in range(2))
        self.mixes = nn.ModuleList(nn.Linear(attention // 2, dim) for _ in range(2))
        self.convolutions = nn.ModuleList(nn.Conv1d(dim, dim, kernel, groups=dim) for _ in range(2))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """x (time, batch, dim); states of this layer alone, in the order of GROUPS."""
        count, mean, keys, *values, conv1, conv2 = states
        time, left = x.shape[0], keys.shape[0]
        total = count + time
        mean = (mean * count[:, None].to(x.dtype) + x.sum(0)) / total[:, None].to(x.dtype)
        x = x + self.pool(mean)[None].tanh()
        all_keys = torch.cat([keys, self.key(x)], 0)
        scores = self.query(x).transpose(0, 1) @ all_keys.permute(1, 2, 0) / all_keys.shape[2] ** 0.5
        absent = (torch.arange(left)[None] < left - count[:, None]).to(x.dtype) * MASKED
        weights = (scores + functional.pad(absent, (0, time))[:, None]).softmax(-1)
        next_values, next_convolutions = [], []
        for value, mix, convolution, cache, past in zip(
            self.values, self.mixes, self.convolutions, values, (conv1, conv2), strict=True
        ):
            both = torch.cat([cache, value(x)], 0)
            x = x + mix((weights @ both.transpose(0, 1)).transpose(0, 1))
            padded = torch.cat([past, x.permute(1, 2, 0)], 2)
            x = x + convolution(padded).permute(2, 0, 1).tanh()
            next_values.append(both[-left:])
            next_convolutions.append(padded[:, :, -past.shape[2] :])
        return self.norm(x), [total, mean, all_keys[-left:], *next_values, *next_convolutions]


class Zipformer1(nn.Module):
    """Two stacks of equal size. Frames: (features - 7) // 2, halved at the end."""

    def __init__(self, dim: int = 12, attention: int = 8, kernel: int = 5, left: int = 16, layers: int = 2) -> None:
        super().__init__()
        self.dim, self.attention, self.kernel, self.left = dim, attention, kernel, left
        self.embed = nn.Conv1d(NUM_BINS, dim, 9, stride=2)
        self.stacks = nn.ModuleList(
            nn.ModuleList(Layer(dim, attention, kernel) for _ in range(layers)) for _ in range(2)
        )

    def initial(self, batch: int) -> list[list[Tensor]]:
        """States by stack, in the order of GROUPS."""
        shapes = (
            (batch,), (batch, self.dim), (self.left, batch, self.attention), (self.left, batch, self.attention // 2),
            (self.left, batch, self.attention // 2), (batch, self.dim, self.kernel - 1),
            (batch, self.dim, self.kernel - 1),
        )  # fmt: skip
        one = [
            torch.zeros((len(self.stacks[0]), *shape), dtype=torch.int64 if group == "cached_len" else torch.float32)
            for group, shape in zip(GROUPS, shapes, strict=True)
        ]
        return [one, [state.clone() for state in one]]

    def forward(self, features: Tensor, states: list[list[Tensor]]) -> tuple[Tensor, list[list[Tensor]]]:
        x = self.embed(((features + 8) * 0.25).transpose(1, 2)).permute(2, 0, 1)
        following = []
        for stack, caches in zip(self.stacks, states, strict=True):
            layers = []
            for number, layer in enumerate(stack):
                x, new = layer(x, [cache[number] for cache in caches])
                layers.append(new)
            following.append([torch.stack(group) for group in zip(*layers, strict=True)])
        x = torch.cat([x, x[-1:].expand(x.shape[0] % 2, -1, -1)])
        return x.reshape(-1, 2, x.shape[1], self.dim).mean(1).transpose(0, 1), following


class StreamingZipformer1(nn.Module):
    """K4: seven groups of states, one tensor for each stack."""

    def __init__(self, encoder: Zipformer1, output: nn.Module) -> None:
        super().__init__()
        self.encoder, self.output = encoder, output

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        num = len(self.encoder.stacks)
        out, following = self.encoder(x, [list(states[stack::num]) for stack in range(num)])
        return self.output(out), *(following[stack][group] for group in range(len(GROUPS)) for stack in range(num))

    def states(self, batch: int) -> dict[str, Tensor]:
        """K4's states by name."""
        initial = self.encoder.initial(batch)
        return {
            f"{name}_{stack}": initial[stack][group]
            for group, name in enumerate(GROUPS)
            for stack in range(len(initial))
        }


class TritonZipformer1(nn.Module):
    """T2: four tensors with the batch in front; keys and both values side by side, padded to the widest."""

    def __init__(self, encoder: Zipformer1) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self, x: Tensor, x_lens: Tensor, len_cache: Tensor, avg_cache: Tensor, attn_cache: Tensor, cnn_cache: Tensor
    ) -> tuple[Tensor, ...]:
        encoder, states = self.encoder, []
        num, layers = len(encoder.stacks), len(encoder.stacks[0])
        total, half = num * layers, encoder.attention // 2
        for stack in range(num):
            mine = slice(stack * layers, (stack + 1) * layers)
            attn = [attn_cache[:, :, group * total :][:, :, mine].permute(2, 1, 0, 3) for group in range(3)]
            conv = [cnn_cache[:, group * total :][:, mine].transpose(0, 1) for group in range(2)]
            lengths, means = len_cache[:, mine].transpose(0, 1), avg_cache[:, mine].transpose(0, 1)
            states.append([lengths, means, attn[0], attn[1][..., :half], attn[2][..., :half], *conv])
        out, following = encoder(x, states)
        groups = [torch.cat([stack[group] for stack in following]) for group in range(len(GROUPS))]
        wide = [groups[2], *(functional.pad(group, (0, half)) for group in groups[3:5])]
        attn = torch.cat([group.permute(2, 1, 0, 3) for group in wide], 2)
        conv = torch.cat([group.transpose(0, 1) for group in groups[5:]], 1)
        lengths = torch.div(torch.div(x_lens - 7, 2, rounding_mode="floor") + 1, 2, rounding_mode="floor")
        return out, lengths, groups[0].transpose(0, 1), groups[1].transpose(0, 1), attn, conv

    def states(self, batch: int) -> dict[str, Tensor]:
        """T2's states by name."""
        encoder = self.encoder
        total = len(encoder.stacks) * len(encoder.stacks[0])
        return {
            "len_cache": torch.zeros(batch, total, dtype=torch.int64),
            "avg_cache": torch.zeros(batch, total, encoder.dim),
            "attn_cache": torch.zeros(batch, encoder.left, 3 * total, encoder.attention),
            "cnn_cache": torch.zeros(batch, 2 * total, encoder.dim, encoder.kernel - 1),
        }
