#!/bin/sh
# Synthesise, train, export and measure the English model: recipes/u2pp.sh WORK SHARED, from the repository's root.
# MINUTES (60) is the training budget, KOKORO_SENTENCES (6000) how much Kokoro may speak; both loops resume.
set -eu
work=$1 shared=$2
export KOKORO_DIR="${KOKORO_DIR:-$work/kokoro}" OMP_NUM_THREADS=1
model=models/english-u2pp

[ -f "$KOKORO_DIR/vocab.json" ] || recipes/synthesis/assemble_kokoro.sh "$KOKORO_DIR"
speak() {
    python -m recipes.synthesis.speak "$1" --sentences "$2" --texts "$shared/text/en-sentences.txt" \
        --held-out "$shared/speech/dev.tsv" --output "$work/data"
}
speak hibari 49000 &
speak espeak 1200
speak flite 1200
speak kokoro "${KOKORO_SENTENCES:-6000}"
wait
python -m recipes.synthesis.recordings --audio "$shared/speech/train" --tsv "$shared/speech/train.tsv" \
    --name mix --output "$work/data"
python -m recipes.synthesis.aligned --texts "$shared/text/en-sentences.txt" --held-out "$shared/speech/dev.tsv" \
    --output "$work/aligned" --sentences 3000
python -m recipes.u2pp.tokens --texts "$shared/text/en-sentences.txt" --held-out "$shared/speech/dev.tsv" \
    --output "$work/bpe.model"
unset OMP_NUM_THREADS
python -m recipes.u2pp.train --data "$work/data" --tokens "$work/bpe.model" --output "$work/run" \
    --minutes "${MINUTES:-60}" --rate 1.5e-3 --aligned "$work/aligned" --aligned-minutes 3.5 \
    --shares hibari=0.6,kokoro=0.2,mix=0.15,espeak=0.02,flite=0.03

python -m recipes.u2pp.export_gpu --checkpoint "$work/run/checkpoint.pt" --tokens "$work/bpe.model" --output "$work/float"
for name in streaming offline; do
    mkdir -p "$model/$name"
    cp "$work/float/$name"/*.yaml "$work/float/$name/units.txt" "$model/$name/"
    python -m recipes.u2pp.quantise "$work/float/$name/encoder.onnx" "$model/$name/encoder.onnx"
done
python -m recipes.u2pp.quantise "$work/float/decoder.onnx" "$model/decoder.onnx"
cp "$work/bpe.model" "$model/bpe.model"
python -m recipes.u2pp.plot "$work/run/log.csv" "$model/training.png"
python -m recipes.u2pp.evaluate --model "$model" --audio "$shared/speech/dev" --tsv "$shared/speech/dev.tsv"
