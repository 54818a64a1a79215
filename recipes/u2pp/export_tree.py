"""The rescoring decoder over prefix trees: `recipes.u2pp.export_gpu` writes them beside the contract's decoder.

Hypotheses of an n-best list share most of their beginnings (and, read backwards, most of their endings). This graph
reads every distinct beginning once: a node sees itself and its ancestors only, so its output is that of a row of the
ordinary decoder, at a third of the work for 64 hypotheses. What the inputs mean: docs/adr/0016-prefix-trees.md.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from recipes.u2pp.attention import MASKED, POSITION_PERIOD
from recipes.u2pp.config import SOS_EOS_ID
from recipes.u2pp.decoder import Decoder
from recipes.u2pp.model import Model
from recipes.u2pp.onnx_files import export


class TreeDecoder(nn.Module):
    """One direction of a trained decoder."""

    def __init__(self, model: Model, direction: Decoder) -> None:
        super().__init__()
        self.direction = direction
        self.register_buffer("positions", model.decoder.positions, persistent=False)

    def forward(
        self, encoder_out: Tensor, tokens: Tensor, depths: Tensor, ancestors: Tensor, parents: Tensor, labels: Tensor
    ) -> Tensor:
        """Log-probability of each edge's label after the beginning that is its parent, (edges,).

        encoder_out (frames, dim); tokens, depths (nodes,) int64; ancestors (nodes, nodes) 0 or 1; parents and labels
        (edges,) int64.
        """
        decoder = self.direction
        frames = torch.arange(encoder_out.shape[0])
        memory = (encoder_out + self.positions[frames % POSITION_PERIOD])[None]
        x = (decoder.embedding(tokens) * decoder.scale + self.positions[depths % POSITION_PERIOD])[None]
        seen = ((1.0 - ancestors) * MASKED)[None, None]
        all_frames = torch.zeros(1, 1, 1, 1)
        for layer in decoder.layers:
            x = layer(x, 1, seen, memory, all_frames)
        logits = decoder.output(decoder.norm(x))[0]
        return logits[parents, labels] - logits.logsumexp(1)[parents]


def export_trees(model: Model, folder: Path) -> None:
    """Write left_tree.onnx and right_tree.onnx."""
    inputs = {
        "encoder_out": torch.randn(20, model.config.dim),
        "tokens": torch.tensor([SOS_EOS_ID, 3, 4, 5]),
        "depths": torch.tensor([0, 1, 2, 1]),
        "ancestors": torch.tensor([[1.0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 1]]),
        "parents": torch.tensor([0, 1, 0, 2, 3]),
        "labels": torch.tensor([3, 4, 5, SOS_EOS_ID, SOS_EOS_ID]),
    }
    axes = {"encoder_out": {0: "T"}, "tokens": {0: "N"}, "depths": {0: "N"}, "ancestors": {0: "N", 1: "N"}}
    axes |= {name: {0: "E"} for name in ("parents", "labels", "scores")}
    for name, direction in (("left", model.decoder.forward_decoder), ("right", model.decoder.reverse_decoder)):
        export(TreeDecoder(model, direction), inputs, ["scores"], axes, folder / f"{name}_tree.onnx")
