#!/bin/sh
# recipes/export_english.sh WORK MODELS: ONNX in float32 under WORK/float, in float16 under WORK/half (folders that
# chorus serves), and the small files to ship under MODELS.
# WORK holds bpe.model, and again/u2pp.pt or second/u2pp.pt (with second_pass.pt) or joint/u2pp.pt, and joint/transducer.pt, else
# run/checkpoint.pt and transducer/checkpoint.pt (each if there is one).
set -eu
work=$1 models=$2 float=$1/float half=$1/half tokens=$1/bpe.model
transducer=$work/joint/transducer.pt last=$work/again
[ -f "$last/u2pp.pt" ] || last=$work/second
second=$last/second_pass.pt u2pp=$last/u2pp.pt
[ -f "$u2pp" ] || u2pp=$work/joint/u2pp.pt
[ -f "$u2pp" ] || u2pp=$work/run/checkpoint.pt
[ -f "$transducer" ] || transducer=$work/transducer/checkpoint.pt

# larger NAME MODEL FILES: let a manifest name graphs, and FILES of the streaming half, where the exporters leave them;
# convert all to float16.
larger() {
    sed -e 's#"\(streaming\|offline\).onnx"#"\1/encoder.onnx"#' -e "s#\"\($3\)\"#\"streaming/\1\"#" "$2/model.toml" \
        >"$float/$1/model.toml"
    python -m recipes.u2pp.half "$float/$1" "$half/$1"
}

if [ -f "$u2pp" ]; then
    model=$models/english-u2pp
    python -m recipes.u2pp.export_gpu --checkpoint "$u2pp" --tokens "$tokens" --output "$float/u2pp"
    mkdir -p "$model"
    for name in streaming offline; do
        python -m recipes.u2pp.quantise "$float/u2pp/$name/encoder.onnx" "$model/$name.onnx"
    done
    python -m recipes.u2pp.share_weights "$model/streaming.onnx" "$model/offline.onnx" "$model/encoder.bin"
    for name in decoder left_tree right_tree; do
        python -m recipes.u2pp.quantise "$float/u2pp/$name.onnx" "$model/$name.onnx"
    done
    python -m recipes.u2pp.share_weights "$model/decoder.onnx" "$model/left_tree.onnx" "$model/right_tree.onnx" \
        "$model/decoder.bin"
    if [ -f "$second" ]; then
        python -m recipes.second_pass.export --second "$second" --u2pp "$u2pp" --output "$float/u2pp/second_pass"
        mkdir -p "$model/second_pass"
        python -m recipes.u2pp.quantise "$float/u2pp/second_pass/memory.onnx" "$model/second_pass/memory.onnx"
        python -m recipes.second_pass.quantise "$float/u2pp/second_pass/decoder.onnx" \
            "$model/second_pass/decoder.onnx"
        python -m recipes.u2pp.share_weights "$model/second_pass/memory.onnx" "$model/second_pass/decoder.onnx" \
            "$model/second_pass/weights.bin"
        cp "$float/u2pp/second_pass/units.txt" "$model/second_pass/"
    fi
    cp "$float/u2pp/streaming/units.txt" "$float/u2pp/streaming/train.yaml" "$model/"
    [ -f "$model/model.toml" ] || cp models/english-u2pp/model.toml "$model/"
    larger u2pp "$model" 'units.txt'
fi
if [ -f "$transducer" ]; then
    model=$models/english-transducer
    python -m recipes.transducer.export --checkpoint "$transducer" --tokens "$tokens" \
        --output "$float/transducer" --float32
    mkdir -p "$model"
    for name in streaming offline; do
        python -m recipes.u2pp.quantise "$float/transducer/$name/encoder.onnx" "$model/$name.onnx"
    done
    python -m recipes.u2pp.share_weights "$model/streaming.onnx" "$model/offline.onnx" "$model/encoder.bin"
    for name in decoder joiner; do
        python -m recipes.u2pp.quantise "$float/transducer/streaming/$name.onnx" "$model/$name.onnx"
    done
    cp "$float/transducer/streaming/tokens.txt" "$model/"
    [ -f "$model/model.toml" ] || cp recipes/transducer/model.toml "$model/"
    larger transducer "$model" 'tokens.txt\|decoder.onnx\|joiner.onnx'
fi
# Both name the language model beside them.
for folder in "$float" "$half"; do
    [ ! -d "$models/english-lm" ] || cp -r "$models/english-lm" "$folder/"
done
