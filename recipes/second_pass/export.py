"""Export a second pass: `python -m recipes.second_pass.export --help`.

memory.onnx turns a segment's encoder output into what all layers attend to, and into the CTC layer's log-probabilities;
decoder.onnx reads any number of tokens at once, each after a beginning that was read before or is read beside it.
docs/adr/0021-second-pass.md says what the tensors mean.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.moonshine.teacher import HEADS
from recipes.second_pass.decoder import SOS_ID, SecondDecoder, SecondLayer
from recipes.u2pp.attention import MASKED
from recipes.u2pp.checkpoint import load_model
from recipes.u2pp.onnx_files import export, write_units


class Memory(nn.Module):
    """encoder_out (frames, dim) -> keys and values (layers, heads, frames, size), CTC log-probs (frames, units)."""

    def __init__(self, second: SecondDecoder, ctc: nn.Linear) -> None:
        super().__init__()
        self.second, self.ctc = second, ctc

    def forward(self, encoder_out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As the class says."""
        frames = encoder_out[None]
        memory = self.second.reading(frames)
        pairs = [layer.cross_keys(memory) for layer in self.second.layers]
        keys, values = (torch.cat([pair[place] for pair in pairs]) for place in (0, 1))
        return keys, values, self.ctc(frames)[0].log_softmax(-1)


class NodeLayer(nn.Module):
    """A layer over nodes (nodes, dim): few large products, as a step of a search has few rows and many steps.

    Queries, keys and values are one product; the scale of attention is in the weights; and turning by the positions'
    angles is x cos + (x turned by 90 degrees) sin, with frequencies of 0 for what is not turned.
    """

    def __init__(self, layer: SecondLayer, size: int, pairs: int) -> None:
        super().__init__()
        self.layer, self.size = layer, size
        scale = 1.0 / math.sqrt(size)
        self.projected = nn.Parameter(torch.cat([layer.query.weight * scale, layer.key.weight, layer.value.weight]))
        self.cross_query = nn.Parameter(layer.cross_query.weight * scale)
        turn = torch.zeros(size, size)
        for even in range(0, 2 * pairs, 2):
            turn[even + 1, even], turn[even, even + 1] = -1.0, 1.0
        self.register_buffer("turn", turn)

    def forward(
        self,
        x: Tensor,
        angles: tuple[Tensor, Tensor],
        bias: Tensor,
        past: tuple[Tensor, Tensor],
        cross: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Output (nodes, dim), keys and values (heads, nodes, size); past and cross are (heads, columns, size) each."""
        layer, (cosine, sine) = self.layer, angles
        projected = self._heads(functional.linear(layer.self_norm(x), self.projected))
        turned, value = projected.split([2 * HEADS, HEADS])
        turned = turned * cosine + (turned @ self.turn) * sine
        query, key = turned.split([HEADS, HEADS])
        keys, values = torch.cat([past[0], key], 1), torch.cat([past[1], value], 1)
        found = (query @ keys.transpose(1, 2) + bias).softmax(-1) @ values
        x = x + layer.output(self._rows(found))
        query = self._heads(functional.linear(layer.cross_norm(x), self.cross_query))
        heard = (query @ cross[0].transpose(1, 2)).softmax(-1) @ cross[1]
        x = x + layer.cross_output(self._rows(heard))
        return layer.fed_forward(x), key, value

    def _heads(self, x: Tensor) -> Tensor:
        """(nodes, n * size) -> (n, nodes, size)."""
        return x.reshape(-1, x.shape[1] // self.size, self.size).transpose(0, 1)

    def _rows(self, x: Tensor) -> Tensor:
        """(heads, nodes, size) -> (nodes, dim)."""
        return x.transpose(0, 1).reshape(-1, HEADS * self.size)


class Nodes(nn.Module):
    """Tokens (nodes,) at depths (nodes,), which see the columns of [past | these] where `seen` is 1."""

    def __init__(self, second: SecondDecoder) -> None:
        super().__init__()
        self.second = second
        size, pairs = second.reading.out_features // HEADS, len(second.frequencies)
        self.layers = nn.ModuleList(NodeLayer(layer, size, pairs) for layer in second.layers)
        frequencies = torch.zeros(size)
        frequencies[: 2 * pairs] = second.frequencies.repeat_interleave(2)
        self.register_buffer("frequencies", frequencies)

    def forward(
        self,
        memory_keys: Tensor,
        memory_values: Tensor,
        tokens: Tensor,
        depths: Tensor,
        seen: Tensor,
        past_keys: Tensor,
        past_values: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of what follows (nodes, vocabulary), these nodes' keys and values (layers, heads, n, s)."""
        x = self.second.embedding(tokens)
        turns = depths[:, None] * self.frequencies
        angles, bias = (turns.cos(), turns.sin()), (1.0 - seen) * MASKED
        pasts, crosses = zip(past_keys, past_values, strict=True), zip(memory_keys, memory_values, strict=True)
        new_keys, new_values = [], []
        for layer, past, cross in zip(self.layers, pasts, crosses, strict=True):
            x, key, value = layer(x, angles, bias, past, cross)
            new_keys.append(key)
            new_values.append(value)
        # With a bias this becomes a Gemm, which reads the embedding as it lies: it is in the file once.
        nothing = torch.zeros(self.second.embedding.num_embeddings)
        logits = functional.linear(self.second.norm(x), self.second.embedding.weight, nothing)
        return logits.log_softmax(-1), torch.stack(new_keys), torch.stack(new_values)


def load_second(path: Path) -> tuple[SecondDecoder, list[str]]:
    """The averaged weights of recipes.second_pass.train, and the pieces."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    second = SecondDecoder.like(saved["average"], len(saved["pieces"]))
    second.load_state_dict(saved["average"])
    return second.eval(), saved["pieces"]


def export_second(second: SecondDecoder, ctc: nn.Linear, pieces: list[str], folder: Path) -> None:
    """Write memory.onnx, decoder.onnx and units.txt."""
    dim = second.reading.in_features
    encoder_out = torch.randn(20, dim)
    axes = {"encoder_out": {0: "T"}, "keys": {2: "T"}, "values": {2: "T"}, "ctc_log_probs": {0: "T"}}
    memory = Memory(second, ctc)
    export(memory, {"encoder_out": encoder_out}, ["keys", "values", "ctc_log_probs"], axes, folder / "memory.onnx")
    with torch.no_grad():
        keys, values, _ = memory(encoder_out)
    past = torch.randn(*keys.shape[:2], 3, keys.shape[3])
    inputs = {
        "memory_keys": keys,
        "memory_values": values,
        "tokens": torch.tensor([SOS_ID, 3]),
        "depths": torch.tensor([3, 4]),
        "seen": torch.tensor([[1.0, 1, 1, 1, 0], [1, 1, 1, 1, 1]]),
        "past_keys": past,
        "past_values": past,
    }
    axes = {name: {2: "T"} for name in ("memory_keys", "memory_values")}
    axes |= {name: {2: "P"} for name in ("past_keys", "past_values")}
    axes |= {name: {0: "N"} for name in ("tokens", "depths", "log_probs")}
    axes |= {"seen": {0: "N", 1: "S"}, "keys": {2: "N"}, "values": {2: "N"}}
    export(Nodes(second), inputs, ["log_probs", "keys", "values"], axes, folder / "decoder.onnx")
    write_units(folder / "units.txt", pieces)


def main() -> None:
    """Write a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--second", type=Path, required=True, help="second_pass.pt of recipes.second_pass.train")
    parser.add_argument("--u2pp", type=Path, required=True, help="u2pp.pt of the same run")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    second, pieces = load_second(arguments.second)
    export_second(second, load_model(arguments.u2pp).ctc, pieces, arguments.output)


if __name__ == "__main__":
    main()
