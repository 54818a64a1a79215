"""Random-weight transducers in every family: `python -m recipes.transducer.random_models --help`.

`--preset tiny` makes the graphs of tests/data/models; the others are real sizes for benchmarks. Random networks say
nothing or babble: outputs are sharpened, and blank's bias is set so that about one frame in three has a token.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from recipes.transducer.config import NUM_BINS, HeadConfig, ZipformerConfig
from recipes.transducer.conformer import OFFSET, OfflineConformer, StreamingConformer, TritonConformer
from recipes.transducer.export_others import (
    export_offline_conformer,
    export_streaming_conformer,
    export_streaming_zipformer1,
    export_triton_conformer,
    export_triton_head,
    export_triton_zipformer1,
)
from recipes.transducer.head import Head
from recipes.transducer.onnx_files import (
    LogProbs,
    export_head,
    export_offline_zipformer,
    export_streaming_zipformer,
)
from recipes.transducer.zipformer import Zipformer
from recipes.transducer.zipformer1 import StreamingZipformer1, TritonZipformer1, Zipformer1
from recipes.u2pp.checkpoint import random_model
from recipes.u2pp.config import ModelConfig
from recipes.u2pp.onnx_files import write_units

TOKEN_SHARE = 0.35  # of the frames
_PIECES = [
    *("\u2581", "\u2581A", "\u2581THE", "\u2581TO", "\u2581S", "\u2581B"),
    *("E", "T", "A", "O", "I", "N", "S", "R", "H", "L", "D", "U", "C", "M", "ING", "ER", "P", "F", "G", "W", "Y"),
]
_TINY = ZipformerConfig(
    layers=(1, 1), downsampling=(1, 2), dims=(12, 16), feed_forward=(16, 24), heads=(2, 2), kernels=(5, 5),
    query_head_dim=4, value_head_dim=4, embed_middle=8, embed_hidden=32, left=32,
)  # fmt: skip
PRESETS: dict[str, tuple[ZipformerConfig, HeadConfig]] = {
    "tiny": (_TINY, HeadConfig(vocabulary_size=30, decoder_dim=16, joiner_dim=16)),
    # icefall's small and medium streaming zipformers for 500 pieces: about 22 M and 65 M parameters.
    "small": (
        ZipformerConfig(
            layers=(2, 2, 2, 2, 2, 2), dims=(192, 256, 256, 256, 256, 256), feed_forward=(512, 768, 768, 768, 768, 768)
        ),
        HeadConfig(vocabulary_size=500),
    ),
    "medium": (ZipformerConfig(), HeadConfig(vocabulary_size=500)),
}


def tokens_for(size: int) -> list[str]:
    """Special tokens, a few English pieces, then numbered ones up to the vocabulary's size."""
    pieces = ["<blk>", "<sos/eos>", "<unk>", *_PIECES]
    return [*pieces, *(f"U{index}" for index in range(len(pieces), size))]


def speech_like(rows: int, frames: int) -> Tensor:
    """(rows, frames, bins) of about the loudness of speech in [-1, 1], with formants and pauses that come and go."""
    times, bins = torch.arange(frames)[None, :, None] / 15, torch.arange(NUM_BINS)[None, None]
    phase = torch.rand(rows, 1, 3) * 6.28
    loud = torch.sin(times * 0.9 + phase[..., :1]) * 3
    centres = 20 + 15 * torch.sin(times * torch.tensor([1.0, 1.7, 2.3]) + phase) + torch.tensor([0.0, 15.0, 30.0])
    formants = sum(torch.exp(-(((bins - centres[..., number, None]) / 4) ** 2)) for number in range(3))
    return -9 + loud + 4 * formants + torch.randn(rows, frames, NUM_BINS)


def sharpen(encoder_proj: nn.Linear, head: Head, hidden: Tensor) -> None:
    """Make outputs for `hidden` (frames, dim) vary, and let tokens win in TOKEN_SHARE of the frames."""
    with torch.no_grad():
        projected = encoder_proj(hidden)
        encoder_proj.bias.sub_(projected.mean(0))
        encoder_proj.weight.mul_(1.5 / projected.std(0).mean())
        encoder_proj.bias.mul_(1.5 / projected.std(0).mean())
        head.output.weight.mul_(8.0)
        contexts = torch.randint(0, head.config.vocabulary_size, (hidden.shape[0], head.config.context_size))
        logits = head.join(encoder_proj(hidden), head.decoder_proj(head.decoder(contexts).squeeze(1)))
        lead = logits[:, 3:].max(1).values - logits[:, 0]
        head.output.bias[0] += lead.quantile(1 - TOKEN_SHARE)
        head.output.bias[1:3] -= 100.0


def random_zipformer(config: ZipformerConfig, head_config: HeadConfig, seed: int) -> tuple[Zipformer, Head, Tensor]:
    """Encoder, head and the hidden frames that random features gave."""
    torch.manual_seed(seed)
    encoder = Zipformer(config).eval()
    head = Head(head_config, encoder.dim).eval()
    with torch.no_grad():
        states, hidden = list(encoder.initial_states(4).values()), []
        features = speech_like(4, 12 * config.decode_chunk_len + 13)
        for start in range(0, 12 * config.decode_chunk_len, config.decode_chunk_len):
            x, states = encoder(features[:, start : start + config.window], states)
            hidden.append(x.flatten(0, 1))
    frames = torch.cat(hidden[2:])
    sharpen(head.encoder_proj, head, frames)
    return encoder, head, frames


def export_zipformer(preset: str, families: list[str], root: Path, seed: int, suffix: str) -> int:
    """Write K1, K2 and K3 of one preset; return the encoder's parameters."""
    config, head_config = PRESETS[preset]
    units = tokens_for(head_config.vocabulary_size)
    small = replace(config, embed_channels=16, embed_hidden=16) if preset == "tiny" else config
    for family in families:
        streaming = family in ("k2", "k3-streaming")
        chosen = config if family == "k2" else small
        encoder, head, hidden = random_zipformer(chosen, head_config, seed)
        folder = root / (family + suffix)
        folder.mkdir(parents=True, exist_ok=True)
        write_units(folder / "tokens.txt", units)
        if family.startswith("k3"):
            ctc = nn.Linear(encoder.dim, head_config.vocabulary_size)
            with torch.no_grad():
                ctc.weight.mul_(8.0)
                logits = ctc(hidden)
                ctc.bias[0] += (logits[:, 3:].max(1).values - logits[:, 0]).median()
            output: nn.Module = LogProbs(ctc)
        else:
            output = head.encoder_proj
        name = "log_probs" if family.startswith("k3") else "encoder_out"
        chunks = f"-chunk-{config.chunk}-left-{config.left}" if streaming else ""
        if streaming:
            kind = "ctc" if name == "log_probs" else "encoder"
            export_streaming_zipformer(encoder, output, folder / f"{kind}-epoch-1-avg-1{chunks}.onnx", name)
        else:
            whole = Zipformer(replace(chosen, left=0)).eval()
            whole.load_state_dict(encoder.state_dict())
            path = folder / ("model.onnx" if name == "log_probs" else "encoder-epoch-1-avg-1.onnx")
            export_offline_zipformer(whole, output, path, name)
        if name == "encoder_out":
            export_head(head, folder, f"-epoch-1-avg-1{chunks}")
    return sum(value.numel() for value in encoder.parameters())


CONFORMER = ModelConfig(
    vocabulary_size=30, subsampling=4, front_channels=(8, 8), dim=16, heads=2, feed_forward=32, layers=2, kernel=5,
    decoder_feed_forward=8, decoder_layers=1, reverse_layers=1, chunk=16, left_chunks=2,
)  # fmt: skip


def export_conformers(families: list[str], root: Path, seed: int, suffix: str) -> None:
    """Write K5, K6 and T1: one tiny conformer and head."""
    encoder = random_model(CONFORMER, seed).encoder
    head_config = PRESETS["tiny"][1]
    head = Head(head_config, CONFORMER.dim).eval()
    with torch.no_grad():
        frames = speech_like(4, 400) + OFFSET
        hidden, _ = encoder(frames, torch.zeros(1, 1, 1, 1))
        sharpen(head.encoder_proj, head, hidden.flatten(0, 1))
    for family in families:
        folder = _folder(root, family + suffix)
        if family == "k5":
            export_streaming_conformer(StreamingConformer(encoder, head.encoder_proj), folder / "encoder.onnx")
        elif family == "k6":
            export_offline_conformer(OfflineConformer(encoder, head.encoder_proj), folder / "encoder.onnx")
        else:
            export_triton_conformer(TritonConformer(encoder, nn.Identity()), folder / "encoder.onnx")
        if family == "t1":
            export_triton_head(head, CONFORMER.dim, folder)
        else:
            export_head(head, folder)


def export_zipformers1(families: list[str], root: Path, seed: int, suffix: str) -> None:
    """Write K4 and T2: one tiny zipformer1 and head."""
    torch.manual_seed(seed)
    encoder = Zipformer1().eval()
    head = Head(PRESETS["tiny"][1], encoder.dim).eval()
    with torch.no_grad():
        hidden, _ = encoder(speech_like(4, 407), encoder.initial(4))
        sharpen(head.encoder_proj, head, hidden.flatten(0, 1))
    for family in families:
        folder = _folder(root, family + suffix)
        if family == "k4":
            export_streaming_zipformer1(StreamingZipformer1(encoder, head.encoder_proj), 8, folder / "encoder.onnx")
            export_head(head, folder)
        else:
            export_triton_zipformer1(TritonZipformer1(encoder), folder / "encoder.onnx")
            export_triton_head(head, encoder.dim, folder)


def _folder(root: Path, name: str) -> Path:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    write_units(folder / "tokens.txt", tokens_for(PRESETS["tiny"][1].vocabulary_size))
    return folder


def main() -> None:
    """Write the wanted families of one preset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
    parser.add_argument("--families", default="k1,k2,k3,k3-streaming,k4,k5,k6,t1,t2")
    parser.add_argument("--suffix", default="", help="appended to the folders' names")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    families = arguments.families.split(",")
    where = arguments.output, arguments.seed, arguments.suffix
    export_conformers([family for family in families if family in ("k5", "k6", "t1")], *where)
    export_zipformers1([family for family in families if family in ("k4", "t2")], *where)
    zipformers = [family for family in families if family in ("k1", "k2", "k3", "k3-streaming")]
    if zipformers:
        print(f"encoder {export_zipformer(arguments.preset, zipformers, *where)} parameters")


if __name__ == "__main__":
    main()
