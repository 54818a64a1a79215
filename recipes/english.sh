#!/bin/sh
# From nothing to models/english-u2pp: recipes/english.sh WORK SHARED, from the repository's root, in recipes' environment.
# Speak, ask the teacher, train, export and measure. Every step may be stopped and started again. MINUTES (116) is the
# training budget, KOKORO_SENTENCES (400) how much Kokoro may speak: it is slow.
set -eu
work=$1 shared=$2
export KOKORO_DIR="${KOKORO_DIR:-$work/kokoro}" OMP_NUM_THREADS=1
teacher=$work/moonshine/package/dist/model/tiny/quantized/encoder_model.onnx
texts="--texts $shared/text/en-sentences.txt --held-out $shared/speech/dev.tsv"
mkdir -p "$work/moonshine"

[ -f "$teacher" ] || (
    cd "$work/moonshine"
    npm pack --silent @moonshine-ai/moonshine-js@0.1.29
    tar xzf moonshine-ai-moonshine-js-0.1.29.tgz
)
[ -f "$KOKORO_DIR/vocab.json" ] || recipes/synthesis/assemble_kokoro.sh "$KOKORO_DIR"

# Features alone: much speech for CTC and the decoders.
for voice in hibari:49000 espeak:1200 flite:1200 kokoro:"${KOKORO_SENTENCES:-400}"; do
    python -m recipes.synthesis.speak "${voice%%:*}" --sentences "${voice##*:}" $texts --output "$work/data"
done
python -m recipes.synthesis.recordings --audio "$shared/speech/train" --tsv "$shared/speech/train.tsv" \
    --name mix --output "$work/data"

# Features with the teacher's answers: five hours.
python -m recipes.moonshine.targets mix --teacher "$teacher" --output "$work/taught" \
    --audio "$shared/speech/train" --tsv "$shared/speech/train.tsv"
for voice in hibari:3200 espeak:400 flite:400; do
    python -m recipes.moonshine.targets "${voice%%:*}" --teacher "$teacher" --output "$work/taught" \
        --sentences "${voice##*:}" $texts
done

[ -f "$work/bpe.model" ] || python -m recipes.u2pp.tokens $texts --output "$work/bpe.model"
unset OMP_NUM_THREADS
python -m recipes.moonshine.train --data "$work/data" --lessons "$work/taught" --teacher "$teacher" \
    --tokens "$work/bpe.model" --output "$work/run" --minutes "${MINUTES:-116}" --rate 1.2e-3 --body-scale 0.8 \
    --stem-minutes 3.5 --head-until 0.08 --attention-from 0.11 --freeze-from 0.3 --lesson-every 4 \
    --batch-seconds 45 --clean-steps 0 \
    --shares hibari=0.5,kokoro=0.22,mix=0.22,espeak=0.03,flite=0.03

recipes/export_english.sh "$work/run/checkpoint.pt" "$work/bpe.model" "$work/float" models/english-u2pp
python -m recipes.u2pp.plot "$work/run/log.csv" models/english-u2pp/training.png
python -m recipes.u2pp.evaluate --model models/english-u2pp --audio "$shared/speech/dev" --tsv "$shared/speech/dev.tsv"
