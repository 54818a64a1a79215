"""Sizes of one transducer; every number that an export or its metadata needs."""

from dataclasses import dataclass

BLANK_ID = 0
SOS_EOS_ID = 1
UNKNOWN_ID = 2
NUM_BINS = 80


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Stateless decoder and joiner."""

    vocabulary_size: int
    context_size: int = 2
    decoder_dim: int = 512
    joiner_dim: int = 512


@dataclass(frozen=True, kw_only=True)
class ZipformerConfig:
    """A zipformer2-like encoder; tuples have one entry per stack. Frames count 50 Hz frames."""

    layers: tuple[int, ...] = (2, 2, 3, 4, 3, 2)
    downsampling: tuple[int, ...] = (1, 2, 4, 8, 4, 2)
    dims: tuple[int, ...] = (192, 256, 384, 512, 384, 256)
    feed_forward: tuple[int, ...] = (512, 768, 1024, 1536, 1024, 768)
    heads: tuple[int, ...] = (4, 4, 4, 8, 4, 4)
    kernels: tuple[int, ...] = (31, 31, 15, 15, 15, 31)
    query_head_dim: int = 32
    value_head_dim: int = 12
    embed_middle: int = 32
    embed_channels: int = 128  # sherpa-onnx takes this number for granted
    embed_hidden: int = 384
    chunk: int = 16
    left: int = 128

    @property
    def decode_chunk_len(self) -> int:
        """Feature frames between two steps."""
        return 2 * self.chunk

    @property
    def window(self) -> int:
        """Feature frames that a step reads: 7 for the convolutions, 2 * 3 of look-ahead for the ConvNeXt layer."""
        return self.decode_chunk_len + 7 + 2 * 3

    @property
    def left_context(self) -> tuple[int, ...]:
        """Cached frames of each stack, at its own rate."""
        return tuple(self.left // factor for factor in self.downsampling)
