"""What 8-bit weights cost in word errors, against float32: `python -m recipes.check_quantised --help`.

Exit status 1 if the small one is worse by more than `--allowed` points anywhere.
"""

import argparse
from pathlib import Path

from recipes.synthesis.fbank import log_mel
from recipes.transducer import evaluate as transducer
from recipes.u2pp import evaluate as u2pp


def main() -> None:
    """Print a line for each half and search."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("float32", type=Path, help="folder as recipes/export_english.sh leaves under WORK/float")
    parser.add_argument("small", type=Path, help="folder of the model that ships")
    parser.add_argument("--allowed", type=float, default=0.5, help="points of word error rate")
    u2pp.add_recordings(parser)
    arguments = parser.parse_args()
    _, references, audio = u2pp.read_recordings(arguments)
    features = [log_mel(one) for one in audio]
    kind = transducer if any(arguments.float32.rglob("joiner.onnx")) else u2pp
    large, small = (
        kind.word_error_rates(folder, features, references) for folder in (arguments.float32, arguments.small)
    )
    for name, rate in large.items():
        print(f"{name:22} float32 {rate:6.2f} %  8 bits {small[name]:6.2f} %  {small[name] - rate:+.2f}")
    worst = max(small[name] - rate for name, rate in large.items())
    print(f"{len(references)} recordings; at worst {worst:+.2f} points, allowed {arguments.allowed:+.2f}")
    raise SystemExit(worst > arguments.allowed)


if __name__ == "__main__":
    main()
