"""Export a trained transducer in icefall's contract: `python -m recipes.transducer.export --help`.

Writes OUTPUT/streaming (K5) and OUTPUT/offline (K6), each with encoder, decoder, joiner and tokens.txt, with 8-bit
weights unless told otherwise. The front end is WeNet's at icefall's scale, which model.toml of a folder must state:

    [features]
    profile = "wenet"
    scale = 1.0
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from recipes.transducer.checkpoint import load_transducer
from recipes.transducer.conformer import OfflineConformer, StreamingConformer
from recipes.transducer.export_others import export_offline_conformer, export_streaming_conformer
from recipes.transducer.onnx_files import export_head
from recipes.u2pp.onnx_files import write_units
from recipes.u2pp.quantise import quantise
from recipes.u2pp.tokens import Tokens


def main() -> None:
    """Export a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--tokens", type=Path, required=True, help="bpe.model")
    parser.add_argument("--weights", choices=("average", "model"), default="average")
    parser.add_argument("--float32", action="store_true", help="do not store weights in 8 bits")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    model, units = load_transducer(arguments.checkpoint, arguments.weights), Tokens(arguments.tokens).units()
    streaming = StreamingConformer(model.encoder, model.head.encoder_proj)
    offline = OfflineConformer(model.encoder, model.head.encoder_proj)
    halves: dict[str, Callable[[Path], None]] = {
        "streaming": lambda path: export_streaming_conformer(streaming, path),
        "offline": lambda path: export_offline_conformer(offline, path),
    }
    for name, export in halves.items():
        target = arguments.output / name
        target.mkdir(parents=True, exist_ok=True)
        write_units(target / "tokens.txt", units)
        with tempfile.TemporaryDirectory() as folder:
            source = target if arguments.float32 else Path(folder)
            export(source / "encoder.onnx")
            export_head(model.head, source)
            for path in source.glob("*.onnx"):
                if source != target:
                    quantise(path, target / path.name)


if __name__ == "__main__":
    main()
