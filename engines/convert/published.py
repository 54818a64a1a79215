"""Published checkpoints to graphs, by the converter's name in the registry."""

from __future__ import annotations

from pathlib import Path

from engines.convert.campplus import write_campplus
from engines.convert.checkpoint import read_checkpoint, tensors
from engines.convert.segmentation import write_segmentation
from engines.errors import BadModel
from engines.pull.registry import Converter

# sherpa-onnx refuses graphs without its metadata; with them the same files run there.
CAMPPLUS_METADATA = {
    "framework": "3d-speaker",
    "language": "Chinese and English",
    "url": "https://modelscope.cn/models/iic/speech_campplus_sv_zh_en_16k-common_advanced",
    "comment": "CAM++, 3D-Speaker, Apache-2.0",
    "sample_rate": "16000",
    "output_dim": "192",
    "normalize_samples": "1",
    "feature_normalize_type": "global-mean",
}
SEGMENTATION_METADATA = {
    "model_type": "pyannote-segmentation-3.0",
    "num_speakers": "3",
    "powerset_max_classes": "2",
    "num_classes": "7",
    "sample_rate": "16000",
    "window_size": "160000",
    "receptive_field_size": "991",
    "receptive_field_shift": "270",
    "license": "MIT",
}


def convert(converter: Converter, checkpoint: Path, path: Path) -> None:
    """Write the graph of a published checkpoint to `path`. Raises BadModel."""
    tree = read_checkpoint(checkpoint)
    if converter == "campplus":
        write_campplus(tensors(tree), path, CAMPPLUS_METADATA)
        return
    state = tree.get("state_dict")
    if not isinstance(state, dict):
        raise BadModel(f"{checkpoint.name} has no state_dict; keys: {', '.join(map(str, tree))}")
    write_segmentation(tensors(state), path, SEGMENTATION_METADATA)
