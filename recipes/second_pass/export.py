"""Export a second pass: `python -m recipes.second_pass.export --help`.

memory.onnx turns a segment's encoder output into what all layers attend to, and into the CTC layer's log-probabilities;
decoder.onnx reads any number of tokens at once, each after a beginning that was read before or is read beside it.
docs/adr/0021-second-pass.md says what the tensors mean.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.second_pass.decoder import SOS_ID, SecondDecoder
from recipes.u2pp.attention import MASKED, attend
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


class Nodes(nn.Module):
    """Tokens (nodes,) at depths (nodes,), which see the columns of [past | these] where `seen` is 1."""

    def __init__(self, second: SecondDecoder) -> None:
        super().__init__()
        self.second = second

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
        second = self.second
        x = second.embedding(tokens)[None]
        cosine, sine = second.angles(depths)
        bias = ((1.0 - seen) * MASKED)[None, None]
        all_frames = torch.zeros(1, 1, 1, 1)
        new_keys, new_values = [], []
        for number, layer in enumerate(second.layers):
            query, key, value = layer.keys(x, cosine, sine)
            new_keys.append(key)
            new_values.append(value)
            keys = torch.cat([past_keys[number : number + 1], key], 2)
            values = torch.cat([past_values[number : number + 1], value], 2)
            cross = memory_keys[number : number + 1], memory_values[number : number + 1]
            x = layer.rest(x, attend(query, keys, values, bias), cross, all_frames)
        # With a bias this becomes a Gemm, which reads the embedding as it lies: it is in the file once.
        nothing = torch.zeros(second.embedding.num_embeddings)
        logits = functional.linear(second.norm(x)[0], second.embedding.weight, nothing)
        return logits.log_softmax(-1), torch.cat(new_keys), torch.cat(new_values)


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
