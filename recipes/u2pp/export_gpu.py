"""Export WeNet's GPU families, batched: `python -m recipes.u2pp.export_gpu --help`.

W1 (whole utterances), W2 (streaming, all states in and out with the batch axis first) and the rescoring decoder.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from recipes.u2pp.attention import mask_to_bias
from recipes.u2pp.checkpoint import load_model
from recipes.u2pp.config import SOS_EOS_ID, ModelConfig
from recipes.u2pp.export_tree import export_trees
from recipes.u2pp.model import Model
from recipes.u2pp.onnx_files import export, offline_config, streaming_config, train_config, write_units, write_yaml
from recipes.u2pp.subsampling import valid_length


def before(lengths: Tensor, size: Tensor | int) -> Tensor:
    """(batch, size) bool: positions below each row's length."""
    return torch.arange(size)[None] < lengths[:, None]


class OfflineEncoder(nn.Module):
    """W1's graph: full context."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, speech: Tensor, speech_lengths: Tensor) -> tuple[Tensor, ...]:
        config, encoder = self.model.config, self.model.encoder
        x = encoder.subsampling(speech)
        lengths = valid_length(speech_lengths, config)
        bias = mask_to_bias(before(lengths, x.shape[1]))[:, None, None]
        output, _ = encoder.whole(x, bias)
        log_probs = self.model.ctc(output).log_softmax(-1)
        best, ids = log_probs.topk(config.beam, -1)
        return output, lengths.to(torch.int32), log_probs, best, ids


class StreamingEncoder(nn.Module):
    """W2's graph: one chunk with its caches."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        chunk_xs: Tensor,
        chunk_lens: Tensor,
        offset: Tensor,
        att_cache: Tensor,
        cnn_cache: Tensor,
        cache_mask: Tensor,
    ) -> tuple[Tensor, ...]:
        config, encoder = self.model.config, self.model.encoder
        positions = (offset + torch.arange(config.chunk))[:, None]
        valid = before(valid_length(chunk_lens, config), config.chunk)
        mask = torch.cat([cache_mask, valid.to(cache_mask.dtype)[:, None]], 2)
        x = encoder.subsampling(chunk_xs)
        bias = mask_to_bias(mask)[:, None]
        output, pairs, cnn = encoder.step(x, positions, bias, list(att_cache.unbind(1)), list(cnn_cache.unbind(1)))
        best, ids = self.model.ctc(output).log_softmax(-1).topk(config.beam, -1)
        lengths = (chunk_lens // config.subsampling).to(torch.int32)
        next_att = torch.stack([pair[:, :, -config.cache :] for pair in pairs], 1)
        next_mask = mask[:, :, -config.cache :]
        return best, ids, output, lengths, offset + config.chunk, next_att, torch.stack(cnn, 1), next_mask


class RescoringDecoder(nn.Module):
    """The decoder of W1 and W2: the best of `beam` hypotheses by attention and CTC score."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        encoder_out: Tensor,
        encoder_out_lens: Tensor,
        hyps_pad_sos_eos: Tensor,
        hyps_lens_sos: Tensor,
        r_hyps_pad_sos_eos: Tensor,
        ctc_score: Tensor,
    ) -> Tensor:
        config = self.model.config
        hyps, reverse = hyps_pad_sos_eos.clamp(min=0), r_hyps_pad_sos_eos.clamp(min=0)
        memory_valid = before(encoder_out_lens, encoder_out.shape[1])
        left, right = self.model.decoder(encoder_out, memory_valid, hyps[:, :, :-1], reverse[:, :, :-1])
        targets, reverse_targets = hyps[:, :, 1:], reverse[:, :, 1:]
        counted = torch.arange(targets.shape[2])[None, None] < hyps_lens_sos[:, :, None]
        share = config.reverse_weight
        scores = (1 - share) * left.gather(3, targets.unsqueeze(3)).squeeze(3)
        scores = scores + share * right.gather(3, reverse_targets.unsqueeze(3)).squeeze(3)
        attention = (scores * counted.to(scores.dtype)).sum(2)
        return (attention + config.ctc_weight * ctc_score).argmax(1)


def export_offline(model: Model, path: Path) -> None:
    """Write W1's encoder."""
    frames = {0: "B", 1: "T_OUT"}
    axes = {"speech": {0: "B", 1: "T"}, "speech_lengths": {0: "B"}, "encoder_out": frames}
    axes |= {"encoder_out_lens": {0: "B"}, "ctc_log_probs": frames}
    axes |= {"beam_log_probs": frames, "beam_log_probs_idx": frames}
    inputs = {
        "speech": torch.randn(2, 150, model.config.num_bins),
        "speech_lengths": torch.tensor([150, 101], dtype=torch.int32),
    }
    outputs = ["encoder_out", "encoder_out_lens", "ctc_log_probs", "beam_log_probs", "beam_log_probs_idx"]
    export(OfflineEncoder(model), inputs, outputs, axes, path)


def initial_state(config: ModelConfig, batch: int) -> dict[str, Tensor]:
    """W2's states for `batch` new streams."""
    return {
        "offset": torch.zeros(batch, 1, dtype=torch.int64),
        "att_cache": torch.zeros(batch, config.layers, config.heads, config.cache, 2 * config.head_dim),
        "cnn_cache": torch.zeros(batch, config.layers, config.dim, config.kernel - 1),
        "cache_mask": torch.zeros(batch, 1, config.cache),
    }


def export_streaming(model: Model, path: Path) -> None:
    """Write W2's encoder; only the batch axis is dynamic."""
    config = model.config
    inputs = {
        "chunk_xs": torch.randn(2, config.window, config.num_bins),
        "chunk_lens": torch.tensor([config.window, config.window - 9], dtype=torch.int32),
        **initial_state(config, 2),
    }
    outputs = ["log_probs", "log_probs_idx", "chunk_out", "chunk_out_lens"]
    outputs += ["r_offset", "r_att_cache", "r_cnn_cache", "r_cache_mask"]
    export(StreamingEncoder(model), inputs, outputs, {name: {0: "B"} for name in [*inputs, *outputs]}, path)


def export_decoder(model: Model, path: Path) -> None:
    """Write the rescoring decoder."""
    config = model.config
    hyps = torch.randint(3, config.vocabulary_size, (2, config.beam, 9))
    hyps[:, :, 0] = hyps[:, :, -1] = SOS_EOS_ID
    inputs = {
        "encoder_out": torch.randn(2, 20, config.dim),
        "encoder_out_lens": torch.tensor([20, 13], dtype=torch.int32),
        "hyps_pad_sos_eos": hyps,
        "hyps_lens_sos": torch.full((2, config.beam), 8, dtype=torch.int32),
        "r_hyps_pad_sos_eos": hyps.clone(),
        "ctc_score": torch.randn(2, config.beam),
    }
    row = {0: "B", 1: "beam"}
    axes = {"encoder_out": {0: "B", 1: "T"}, "encoder_out_lens": {0: "B"}, "hyps_lens_sos": row, "ctc_score": row}
    axes |= {"hyps_pad_sos_eos": {**row, 2: "T2"}, "r_hyps_pad_sos_eos": {**row, 2: "T2"}, "best_index": {0: "B"}}
    export(RescoringDecoder(model), inputs, ["best_index"], axes, path)


def write_side_files(folder: Path, model: Model, units: list[str], streaming: bool) -> None:
    """config.yaml, train.yaml and units.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = streaming_config(model.config) if streaming else offline_config(model.config)
    write_yaml(folder / "config.yaml", settings)
    write_yaml(folder / "train.yaml", train_config(model.config))
    write_units(folder / "units.txt", units)


def export_all(model: Model, units: list[str], folder: Path) -> None:
    """offline/, streaming/ and the decoder they share, also over prefix trees."""
    export_offline(model, folder / "offline" / "encoder.onnx")
    export_streaming(model, folder / "streaming" / "encoder.onnx")
    export_decoder(model, folder / "decoder.onnx")
    export_trees(model, folder)
    for name in ("offline", "streaming"):
        write_side_files(folder / name, model, units, name == "streaming")


def main() -> None:
    """Export a checkpoint in float32; recipes.u2pp.quantise makes the small files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--tokens", type=Path, required=True, help="bpe.model")
    parser.add_argument("--weights", choices=("average", "model"), default="average")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    from recipes.u2pp.tokens import Tokens

    export_all(load_model(arguments.checkpoint, arguments.weights), Tokens(arguments.tokens).units(), arguments.output)


if __name__ == "__main__":
    main()
