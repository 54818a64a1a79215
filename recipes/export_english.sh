#!/bin/sh
# recipes/export_english.sh CHECKPOINT BPE_MODEL FLOAT_FOLDER MODEL_FOLDER: ONNX in float32, and the small files to ship.
set -eu
checkpoint=$1 tokens=$2 float=$3 model=$4
python -m recipes.u2pp.export_gpu --checkpoint "$checkpoint" --tokens "$tokens" --output "$float"
mkdir -p "$model"
for name in streaming offline; do
    python -m recipes.u2pp.quantise "$float/$name/encoder.onnx" "$model/$name.onnx"
done
python -m recipes.u2pp.share_weights "$model/streaming.onnx" "$model/offline.onnx" "$model/encoder.bin"
python -m recipes.u2pp.quantise "$float/decoder.onnx" "$model/decoder.onnx"
cp "$float/streaming/units.txt" "$float/streaming/train.yaml" "$model/"
