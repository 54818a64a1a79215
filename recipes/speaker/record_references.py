"""Record what PyTorch computes, for tests that have none: `python -m recipes.speaker.record_references --help`.

The networks are the publishers' own classes, loaded from files that you name: 3D-Speaker's DTDNN.py (or senko's copy,
whose last ReLU is taken off) and pyannote's segmentation network. Weights are random but the same on every machine;
with `--campplus-weights` the embedding of the published ones is recorded too. With `--sherpa` sherpa-onnx itself
embeds, its front end included.
"""

import argparse
import importlib.util
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

LENGTHS = (3, 4, 150, 199, 200, 201, 203, 402)
"""Around the segments of 100 frames, behind a stride of two."""
SMALL = {"growth_rate": 4, "bn_size": 2, "init_channels": 8, "embedding_size": 6}
SEGMENTATION = {"lstm": {"hidden_size": 8, "num_layers": 2, "bidirectional": True}, "linear": {"hidden_size": 8}}
SAMPLES = 24000
SHERPA_METADATA: dict[str, dict[str, str]] = {
    "3d-speaker": {},
    "wespeaker": {"framework": "wespeaker", "normalize_samples": "0", "feature_normalize_type": ""},
}
"""What differs from the tiny model's metadata."""


def random_weights(shapes: Mapping[str, Sequence[int]], seed: int = 7) -> dict[str, np.ndarray]:
    """Weights by name and shape, from numpy's frozen generator; variances are positive, scales lie around one."""
    random = np.random.RandomState(seed)
    weights = {}
    for name, shape in shapes.items():
        fan_in = max(1, int(np.prod(shape[1:])))
        values = random.standard_normal(tuple(shape)) / np.sqrt(fan_in)
        if name.endswith("running_var") or ("norm" in name and name.endswith("weight")):
            values = 1 + 0.5 * np.abs(values)
        elif name.endswith(("running_mean", "bias")):
            values = values * 0.3
        weights[name] = values.astype(np.float32)
    return weights


def features(num_frames: int, batch: int = 2) -> np.ndarray:
    """(batch, frames, 80) made-up features."""
    return (2 * np.random.RandomState(num_frames).standard_normal((batch, num_frames, 80))).astype(np.float32)


def samples() -> np.ndarray:
    """(2, 1, n) made-up audio."""
    return (0.1 * np.random.RandomState(3).standard_normal((2, 1, SAMPLES))).astype(np.float32)


def module(path: Path) -> ModuleType:
    """Load a Python file by path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None, "a Python file"
    assert spec.loader is not None, "a Python file"
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def state_of(network: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's float tensors."""
    state = network.state_dict()
    return {name: tuple(value.shape) for name, value in state.items() if value.is_floating_point()}


def without_relu(network: Any) -> Any:
    """Take off what stands behind the last normalisation, as in the original."""
    import torch

    network.xvector.dense.nonlinear = torch.nn.Sequential()
    network.xvector.dense.nonlinear.add_module(
        "batchnorm", torch.nn.BatchNorm1d(network.xvector.dense.linear.out_channels, affine=False)
    )
    return network.eval()


def run(network: Any, weights: dict[str, np.ndarray], values: np.ndarray) -> np.ndarray:
    """Load weights (counters stay) and run."""
    import torch

    network.load_state_dict({**network.state_dict(), **{n: torch.from_numpy(v) for n, v in weights.items()}})
    with torch.no_grad():
        return network(torch.from_numpy(values)).numpy()


def campplus(path: Path, published: Path | None) -> dict[str, np.ndarray]:
    """Shapes are kept as arrays, so that a test makes the same weights without the class."""
    import torch

    classes = module(path)
    network = without_relu(classes.CAMPPlus(feat_dim=80, **SMALL))
    shapes = state_of(network)
    found: dict[str, np.ndarray] = {"shapes": np.array(json.dumps(shapes))}
    weights = random_weights(shapes)
    for length in LENGTHS:
        found[f"y:{length}"] = run(network, weights, features(length))
    if published is not None:
        whole = without_relu(classes.CAMPPlus(feat_dim=80, embedding_size=192))
        state = torch.load(published, weights_only=True)
        real = {name: value.numpy() for name, value in state.items() if value.is_floating_point()}
        found["published"] = run(whole, real, features(298))
    return found


def segmentation(path: Path) -> dict[str, np.ndarray]:
    """As `campplus`; the windows of the first layer's filters are constants of the class and kept whole."""
    network = module(path).LocalPyanNet(output_dim=7, **SEGMENTATION).eval()
    constants = ("window_", "n_")
    state = network.state_dict()
    kept = {f"value:{n}": v.numpy() for n, v in state.items() if n.endswith(constants) or n.endswith("hz_")}
    shapes = {name: shape for name, shape in state_of(network).items() if f"value:{name}" not in kept}
    found = {**kept, "shapes": np.array(json.dumps(shapes))}
    found["y"] = run(network, random_weights(shapes), samples())
    return found


def sherpa(models: Path) -> dict[str, np.ndarray]:
    """What sherpa-onnx computes with the tiny converted model, and with one that says the opposite of everything."""
    import onnx
    import sherpa_onnx

    graph = onnx.load(models / "speaker-sherpa" / "model.onnx")
    found = {}
    for name, changes in SHERPA_METADATA.items():
        metadata = {each.key: each.value for each in graph.metadata_props} | changes
        onnx.helper.set_model_props(graph, {key: value for key, value in metadata.items() if value})
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
            onnx.save(graph, file.name)
            config = sherpa_onnx.SpeakerEmbeddingExtractorConfig(model=file.name)
            extractor = sherpa_onnx.SpeakerEmbeddingExtractor(config)
            stream = extractor.create_stream()
            stream.accept_waveform(16000, samples()[0, 0])
            stream.input_finished()
            found[name] = np.array(extractor.compute(stream), np.float32)
    return found


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--campplus", type=Path, help="a file with the class CAMPPlus")
    parser.add_argument("--campplus-weights", type=Path, help="the published checkpoint")
    parser.add_argument("--segmentation", type=Path, help="a file with the class LocalPyanNet")
    parser.add_argument("--sherpa", type=Path, help="the folder of the tiny models; needs sherpa-onnx")
    parser.add_argument("--output", type=Path, default=Path("tests/data/speaker"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.campplus is not None:
        np.savez_compressed(
            arguments.output / "campplus.npz", **campplus(arguments.campplus, arguments.campplus_weights)
        )
    if arguments.segmentation is not None:
        np.savez_compressed(arguments.output / "segmentation.npz", **segmentation(arguments.segmentation))
    if arguments.sherpa is not None:
        np.savez_compressed(arguments.output / "sherpa.npz", **sherpa(arguments.sherpa))


if __name__ == "__main__":
    main()
