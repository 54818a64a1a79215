"""A zipformer2-like streaming encoder: the stacks at several frame rates, the caches and their shapes.

After Yao et al. 2023 (https://arxiv.org/abs/2310.11230) and icefall's zipformer recipe; frames are (time, batch, dim).
Left out: balancers, whitening and other aids of training; relative positions are a fixed bias per head.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.transducer.config import NUM_BINS, ZipformerConfig

NUM_STATES = 6  # key, nonlin, val1, val2, conv1, conv2
MASKED = -10000.0


def swoosh(x: Tensor, shift: float, offset: float) -> Tensor:
    """log(1 + exp(x - shift)) - 0.08 x - offset; exported as icefall does, so that graphs cost what icefall's do."""
    shifted = x - shift
    if torch.onnx.is_in_onnx_export():
        zero = torch.zeros((), dtype=x.dtype)
        soft = torch.maximum(shifted, zero) + torch.log1p(torch.exp(-(zero - shifted).abs()))
    else:
        soft = functional.softplus(shifted)
    return soft - 0.08 * x - offset


class Norm(nn.Module):
    """BiasNorm: divides by the root mean square around a learnt bias."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(dim))
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * (((x - self.bias) ** 2).mean(-1, keepdim=True) + 1e-5) ** -0.5 * self.log_scale.exp()


class FeedForward(nn.Sequential):
    """Two linear layers around a swoosh."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.expand, self.contract = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.contract(swoosh(self.expand(x), 4.0, 0.035))


class Convolution(nn.Module):
    """Gated depthwise convolution, causal plus one that sees the chunk; cache (batch, dim, kernel // 2)."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.left = kernel // 2
        self.gate = nn.Linear(dim, 2 * dim)
        self.causal = nn.Conv1d(dim, dim, kernel // 2 + 1, groups=dim)
        self.chunkwise = nn.Conv1d(dim, dim, kernel, groups=dim, padding=kernel // 2)
        self.output = nn.Linear(dim, dim)

    def forward(self, x: Tensor, cache: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        """`valid` (time, batch, 1): 0 where a row of the batch has no frame, None where all have."""
        value, gate = self.gate(x).chunk(2, -1)
        gated = value * gate.sigmoid()
        gated = (gated if valid is None else gated * valid).permute(1, 2, 0)
        padded = torch.cat([cache, gated], 2)
        mixed = (self.causal(padded) + self.chunkwise(gated)).permute(2, 0, 1)
        return self.output(swoosh(mixed, 1.0, 0.313)), padded[:, :, -self.left :]


def log_distance(queries: int | Tensor, keys: int | Tensor) -> Tensor:
    """(queries, keys): log(1 + distance in frames); the last query is at the last key."""
    distance = torch.arange(queries)[:, None] + (keys - queries) - torch.arange(keys)[None]
    return distance.abs().to(torch.float32).log1p()


class AttentionWeights(nn.Module):
    """Multi-head weights over [cache | chunk], shared by three modules; cache (left, batch, heads * query_head_dim)."""

    def __init__(self, dim: int, heads: int, head_dim: int, left: int, chunk: int) -> None:
        super().__init__()
        self.heads, self.left = heads, left
        self.query, self.key = nn.Linear(dim, heads * head_dim), nn.Linear(dim, heads * head_dim)
        self.register_buffer("distance", log_distance(chunk, left + chunk), persistent=False)
        self.decay = nn.Parameter(torch.linspace(0.0, 1.0, heads))

    def forward(self, x: Tensor, cache: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """`hidden` (batch, 1, 1, left + time): what to add to scores of keys that do not exist yet."""
        keys = torch.cat([cache, self.key(x)], 0)
        query = self.query(x).unflatten(-1, (self.heads, -1)).permute(1, 2, 0, 3)
        scores = query @ keys.unflatten(-1, (self.heads, -1)).permute(1, 2, 3, 0) / math.sqrt(query.shape[-1])
        # A step's distances are constants of the graph; a recording's depend on its length.
        distance = self.distance if self.left else log_distance(x.shape[0], keys.shape[0])
        scores = scores - self.decay[:, None, None] * distance + hidden
        return scores.softmax(-1), keys[-self.left :]


class SelfAttention(nn.Module):
    """Values weighted by given weights; cache (left, batch, heads * value_head_dim)."""

    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.value, self.output = nn.Linear(dim, heads * head_dim), nn.Linear(heads * head_dim, dim)

    def forward(self, x: Tensor, weights: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        values = torch.cat([cache, self.value(x)], 0)
        mixed = weights @ values.unflatten(-1, (self.heads, -1)).permute(1, 2, 0, 3)
        return self.output(mixed.permute(2, 0, 1, 3).flatten(2)), values[-cache.shape[0] :]


class NonlinAttention(nn.Module):
    """Gated values weighted by the first head; cache (1, batch, left, 3 * dim / 4)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = 3 * dim // 4
        self.input, self.output = nn.Linear(dim, 3 * hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor, weights: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        s, value, y = self.input(x).chunk(3, -1)
        values = torch.cat([cache, (value * s.tanh()).permute(1, 0, 2).unsqueeze(0)], 2)
        mixed = (weights[:, 0] @ values[0]).permute(1, 0, 2)
        return self.output(mixed * y), values[:, :, -cache.shape[2] :]


class Layer(nn.Module):
    """One zipformer2 layer: weights once, used by a gated and two plain attentions, with convolutions in between."""

    def __init__(self, config: ZipformerConfig, stack: int) -> None:
        super().__init__()
        dim, heads, hidden = config.dims[stack], config.heads[stack], config.feed_forward[stack]
        chunk, left = config.chunk // config.downsampling[stack], config.left_context[stack]
        self.weights = AttentionWeights(dim, heads, config.query_head_dim, left, chunk)
        self.nonlin = NonlinAttention(dim)
        self.attention1 = SelfAttention(dim, heads, config.value_head_dim)
        self.attention2 = SelfAttention(dim, heads, config.value_head_dim)
        self.before = FeedForward(dim, hidden * 3 // 4)
        self.middle = FeedForward(dim, hidden)
        self.after = FeedForward(dim, hidden * 5 // 4)
        self.convolution1 = Convolution(dim, config.kernels[stack])
        self.convolution2 = Convolution(dim, config.kernels[stack])
        self.norm = Norm(dim)
        self.keep = nn.Parameter(torch.full((dim,), 0.5))

    def forward(
        self, x: Tensor, states: list[Tensor], hidden: Tensor, valid: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        key, nonlin, val1, val2, conv1, conv2 = states
        original = x
        weights, key = self.weights(x, key, hidden)
        x = x + self.before(x)
        branch, nonlin = self.nonlin(x, weights, nonlin)
        x = x + branch
        branch, val1 = self.attention1(x, weights, val1)
        x = x + branch
        branch, conv1 = self.convolution1(x, conv1, valid)
        x = x + branch
        x = x + self.middle(x)
        branch, val2 = self.attention2(x, weights, val2)
        x = x + branch
        branch, conv2 = self.convolution2(x, conv2, valid)
        x = x + branch
        x = self.norm(x + self.after(x))
        return original + (x - original) * self.keep, [key, nonlin, val1, val2, conv1, conv2]


class Stack(nn.Module):
    """Layers at one frame rate, between averaging down and repeating up."""

    def __init__(self, config: ZipformerConfig, stack: int) -> None:
        super().__init__()
        self.factor, self.dim, self.left = config.downsampling[stack], config.dims[stack], config.left_context[stack]
        self.layers = nn.ModuleList(Layer(config, stack) for _ in range(config.layers[stack]))

    def forward(
        self, x: Tensor, states: list[Tensor], processed: Tensor, lengths: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """`processed` (batch,) 50 Hz frames before this chunk; `lengths` (batch,) of x, None where all are whole."""
        x = fit(x, self.dim)
        original = x
        if lengths is not None:  # a step's chunk is a multiple of every factor, a recording need not be
            x = torch.cat([x, torch.zeros_like(x[-1:]).expand(-x.shape[0] % self.factor, -1, -1)])
        x = x.reshape(-1, self.factor, x.shape[1], x.shape[2]).mean(1)
        past = self.left - torch.div(processed, self.factor, rounding_mode="floor")
        absent = torch.arange(self.left)[None] < past[:, None]
        beyond, valid = torch.zeros(1, x.shape[0], dtype=torch.bool).expand(processed.shape[0], -1), None
        if lengths is not None:
            beyond = torch.arange(x.shape[0])[None] * self.factor >= lengths[:, None]
            valid = (~beyond).to(x.dtype).transpose(0, 1)[..., None]
        hidden = (torch.cat([absent, beyond], 1).to(x.dtype) * MASKED)[:, None, None]
        following: list[Tensor] = []
        for number, layer in enumerate(self.layers):
            x, new = layer(x, states[NUM_STATES * number : NUM_STATES * (number + 1)], hidden, valid)
            following += new
        return 0.5 * original + x.repeat_interleave(self.factor, 0)[: original.shape[0]], following


def fit(x: Tensor, dim: int) -> Tensor:
    """Drop channels or add zeros."""
    return x[..., :dim] if x.shape[-1] >= dim else functional.pad(x, (0, dim - x.shape[-1]))


class Embed(nn.Module):
    """(batch, frames, bins) -> (batch, (frames - 7) // 2 - 3, dim); cache (batch, channels, 3, 19)."""

    def __init__(self, config: ZipformerConfig) -> None:
        super().__init__()
        channels, hidden = config.embed_channels, config.embed_hidden
        self.first = nn.Conv2d(1, 8, 3, padding=(0, 1))
        self.second = nn.Conv2d(8, config.embed_middle, 3, stride=2)
        self.third = nn.Conv2d(config.embed_middle, channels, 3, stride=(1, 2))
        self.depthwise = nn.Conv2d(channels, channels, 7, groups=channels, padding=(0, 3))
        self.expand, self.contract = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)
        self.output = nn.Linear(channels * (((NUM_BINS - 1) // 2 - 1) // 2), config.dims[0])
        self.norm = Norm(config.dims[0])

    def convolve(self, x: Tensor) -> Tensor:
        """(batch, frames, bins) -> (batch, channels, (frames - 7) // 2, 19)."""
        x = x[:, None]
        for layer in (self.first, self.second, self.third):
            x = swoosh(layer(x), 1.0, 0.313)
        return x

    def project(self, padded: Tensor) -> Tensor:
        """The ConvNeXt layer, whose input has 3 frames more on either side -> (batch, time, dim)."""
        mixed = self.contract(swoosh(self.expand(self.depthwise(padded)), 4.0, 0.035))
        return self.norm(self.output((padded[:, :, 3:-3] + mixed).transpose(1, 2).flatten(2)))

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """One chunk and the frames before it; the last 3 frames are look-ahead."""
        padded = torch.cat([cache, self.convolve(x)], 2)
        return self.project(padded), padded[:, :, -6:-3]

    def whole(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Whole recordings, `lengths` (batch,) at 50 Hz: beyond them, as beyond the edges, there is nothing."""
        x = self.convolve(x)
        valid = torch.arange(x.shape[2])[None] < lengths[:, None]
        return self.project(functional.pad(x * valid[:, None, :, None].to(x.dtype), (0, 0, 3, 3)))


class Zipformer(nn.Module):
    """Embedding, stacks, and halving to 25 Hz; `dim` is that of its output."""

    def __init__(self, config: ZipformerConfig) -> None:
        super().__init__()
        self.config = config
        self.dim = max(config.dims)
        self.embed = Embed(config)
        self.stacks = nn.ModuleList(Stack(config, stack) for stack in range(len(config.layers)))
        self.mean = nn.Parameter(torch.full((NUM_BINS,), -8.0), requires_grad=False)
        self.inverse_deviation = nn.Parameter(torch.full((NUM_BINS,), 0.25), requires_grad=False)

    def initial_states(self, batch: int) -> dict[str, Tensor]:
        """States by name, in the order of the contract."""
        config, states, number = self.config, {}, 0
        for stack, count in enumerate(config.layers):
            left, dim, heads = config.left_context[stack], config.dims[stack], config.heads[stack]
            kernel = config.kernels[stack]
            keys, values = heads * config.query_head_dim, heads * config.value_head_dim
            for _ in range(count):
                shapes = {
                    "key": (left, batch, keys), "nonlin_attn": (1, batch, left, 3 * dim // 4),
                    "val1": (left, batch, values), "val2": (left, batch, values),
                    "conv1": (batch, dim, kernel // 2), "conv2": (batch, dim, kernel // 2),
                }  # fmt: skip
                states |= {f"cached_{name}_{number}": torch.zeros(shape) for name, shape in shapes.items()}
                number += 1
        states["embed_states"] = torch.zeros(batch, config.embed_channels, 3, ((NUM_BINS - 1) // 2 - 1) // 2)
        states["processed_lens"] = torch.zeros(batch, dtype=torch.int64)
        return states

    def forward(self, features: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """One chunk: (batch, window, bins) and states in order -> (batch, chunk / 2, dim) and the next states."""
        *caches, embed, processed = states
        x, embed = self.embed((features - self.mean) * self.inverse_deviation, embed)
        x, caches = self._stacked(x, caches, processed, None)
        return x, [*caches, embed, processed + self.config.chunk]

    def whole(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Whole recordings (batch, frames, bins) and their lengths -> outputs and their lengths; needs left = 0."""
        lengths = torch.div(lengths - 7, 2, rounding_mode="floor")
        x = self.embed.whole((features - self.mean) * self.inverse_deviation, lengths)
        states = self.initial_states(1)
        processed, _ = states.pop("processed_lens"), states.pop("embed_states")
        caches = [repeat(cache, batch_axis(name), lengths.shape[0]) for name, cache in states.items()]
        x, _ = self._stacked(x, caches, processed.expand(lengths.shape[0]), lengths)
        return x, torch.div(lengths + 1, 2, rounding_mode="floor")

    def _stacked(
        self, x: Tensor, caches: list[Tensor], processed: Tensor, lengths: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        x = x.transpose(0, 1)
        exists = x.new_ones(1)
        if lengths is not None:  # a recording sounds the same whatever its neighbours in the batch
            exists = (torch.arange(x.shape[0])[:, None] < lengths[None]).to(x.dtype)[..., None]
        outputs, following, at = [], [], 0
        for stack in self.stacks:
            count = NUM_STATES * len(stack.layers)
            x, new = stack(x * exists if lengths is not None else x, caches[at : at + count], processed, lengths)
            outputs.append(x)
            following += new
            at += count
        x = full_dim(outputs)
        if lengths is not None:
            x = x * exists
            x = torch.cat([x, torch.zeros_like(x[-1:]).expand(-x.shape[0] % 2, -1, -1)])
        return x.reshape(-1, 2, x.shape[1], x.shape[2]).mean(1).transpose(0, 1), following


def batch_axis(state: str) -> int:
    """The batch axis of a state by its name."""
    return 1 if any(part in state for part in ("key", "nonlin", "val")) else 0


def repeat(cache: Tensor, axis: int, batch: int) -> Tensor:
    """Widen an axis of size 1."""
    return cache.expand([batch if number == axis else size for number, size in enumerate(cache.shape)])


def full_dim(outputs: list[Tensor]) -> Tensor:
    """The last stack's channels, those beyond them from the last stack that has them."""
    pieces, dim = [outputs[-1]], outputs[-1].shape[-1]
    for output in reversed(outputs[:-1]):
        if output.shape[-1] > dim:
            pieces.append(output[..., dim:])
            dim = output.shape[-1]
    return torch.cat(pieces, -1)
