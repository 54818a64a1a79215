"""Diarize and DiarizeStream over real gRPC, with a voice activity model and an embedder that know hums apart."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from engines.speaker.description import SpeakerDescription
from protos import speaker_pb2 as pb
from server.speaker import diarizing, models
from server.speaker.diarize import DiarizeMethods
from speech.diarization.clustering import cluster
from speech.diarization.options import ClusteringOptions, DiarizationOptions
from speech.resample import Resampler
from tests.engines import segmentation_graphs
from tests.server.speaker.support import (
    THREE_D,
    WESPEAKER,
    LoudnessVad,
    config,
    embed_request,
    float32,
    folder_of,
    frozen,
    nothing_left,
    refused,
    speaking,
    voice,
    voice_of,
)
from tests.server.support import RATE, eventually

CODE = grpc.StatusCode
FIRST, SECOND = 1, 4  # seeds of two hums of different pitch
TRUTH = [(0.5, 3.5, 0), (4.1, 7.1, 1), (7.7, 10.7, 0), (11.3, 14.3, 1)]
TWO = pb.DiarizationConfig(num_speakers=2)


def dialogue(turns: list[tuple[float, float, int]] = TRUTH, seconds: float = 15.0) -> np.ndarray:
    samples = np.zeros(int(seconds * RATE), np.float32)
    for begin, end, speaker in turns:
        first, last = int(begin * RATE), int(end * RATE)
        samples[first:last] += voice(end - begin + 0.1, (FIRST, SECOND)[speaker])[: last - first]
    return samples


def request(samples: np.ndarray, options: pb.DiarizationConfig = TWO, **fields: Any) -> pb.DiarizeRequest:
    return pb.DiarizeRequest(config=config(**fields), diarization=options, audio=float32(samples))


def found(response: pb.DiarizeResponse) -> list[tuple[float, float, int]]:
    return [(each.start_ms / 1000, each.end_ms / 1000, each.speaker) for each in response.segments]


def near(response: pb.DiarizeResponse, truth: list[tuple[float, float, int]]) -> bool:
    segments = found(response)
    return len(segments) == len(truth) and all(
        abs(begin - left) < 0.15 and abs(end - right) < 0.15 and speaker == who
        for (begin, end, speaker), (left, right, who) in zip(segments, truth, strict=True)
    )


class SpectrumEngine:
    """Embeds audio as its mean spectrum in steps of 10 Hz, which is the pitch of a hum; random networks know none."""

    network = "numpy"
    dimension = 801
    threshold = 0.5
    sample_rate = RATE
    min_samples = 1600

    def __init__(self, description: SpeakerDescription, *args: Any, **kwargs: Any) -> None:
        self.name = description.name
        self.fingerprint = f"spectrum of {description.name}"

    def features(self, samples: np.ndarray) -> np.ndarray:
        frames = np.lib.stride_tricks.sliding_window_view(samples, 1600)[::800]
        return np.abs(np.fft.rfft(frames)).astype(np.float32)

    def embed(self, features: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([each.mean(axis=0) for each in features])

    def warm_up(self, frame_counts: Sequence[int]) -> None:
        """Nothing to warm up."""


@pytest.fixture(autouse=True)
def predictable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "SileroVad", LoudnessVad)
    monkeypatch.setattr(models, "open_speaker", SpectrumEngine)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two speaker models and one of voice activity."""
    return folder_of(tmp_path, WESPEAKER, THREE_D, vad=True)


async def streamed(
    stub: Any, samples: np.ndarray, packet: int, options: pb.DiarizationConfig = TWO, **fields: Any
) -> tuple[list[pb.DiarizationProgress], pb.DiarizeResponse]:
    call = stub.DiarizeStream()
    first = pb.DiarizeStreamConfig(config=config(**fields), diarization=options)
    await call.write(pb.DiarizeStreamRequest(config=first))
    data = float32(samples)
    for begin in range(0, len(data), packet):
        await call.write(pb.DiarizeStreamRequest(audio_content=data[begin : begin + packet]))
    await call.done_writing()
    messages = [message async for message in call]
    assert [each.WhichOneof("streaming_response") for each in messages[-1:]] == ["result"]
    return [each.progress for each in messages[:-1]], messages[-1].result


@pytest.mark.asyncio
async def test_a_dialogue_gives_its_turns_and_what_is_known_of_its_speakers(folder: Path) -> None:
    async with speaking(folder) as (server, stub):
        options = pb.DiarizationConfig(num_speakers=2, return_embeddings=True)
        response = await stub.Diarize(request(dialogue(), options))

        assert near(response, TRUTH), found(response)
        assert response.audio_seconds == 15.0
        assert response.speech_seconds == pytest.approx(12.0, abs=0.5)
        assert response.num_windows == pytest.approx(12, abs=4)
        model = server.speakers.find("")
        assert (response.model, response.fingerprint) == (model.name, model.engine.fingerprint)
        assert [each.speaker for each in response.speakers] == [0, 1]
        assert [each.num_segments for each in response.speakers] == [2, 2]
        assert [each.seconds for each in response.speakers] == pytest.approx([6.0, 6.0], abs=0.3)
        vectors = [np.array(each.embedding) for each in response.speakers]
        assert [np.linalg.norm(each) for each in vectors] == pytest.approx([1, 1], abs=1e-4)
        assert all(0.5 < each.confidence <= 1 for each in response.segments)
        assert not any(each.is_overlap for each in response.segments)


@pytest.mark.asyncio
async def test_a_stream_in_any_packets_ends_with_what_the_whole_gives(folder: Path) -> None:
    samples = dialogue()
    async with speaking(folder) as (_, stub):
        whole = await stub.Diarize(request(samples))
        for packet in (3001, 100_000, 10_000_000):
            progress, result = await streamed(stub, samples, packet)
            assert result == whole
            stages = [stage for stage, _ in groupby(each.stage for each in progress)]
            kinds = pb.DiarizationProgress
            assert stages[0] == kinds.LISTENING
            assert stages[-2:] == [kinds.CLUSTERING, kinds.SEGMENTING]
            assert stages == sorted(stages)
            assert [each.audio_seconds for each in progress] == sorted(each.audio_seconds for each in progress)
            assert progress[-1].windows_done == progress[-1].windows_total == whole.num_windows


@pytest.mark.asyncio
async def test_pieces_that_end_while_a_report_is_written_are_all_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = DiarizeMethods._write
    async with speaking(folder) as (server, stub):

        async def slow(self: DiarizeMethods, context: Any, message: pb.DiarizeStreamResponse) -> None:
            await nothing_left(server)
            for _ in range(20):  # the pieces' tasks end a few turns of the loop after their batch
                await asyncio.sleep(0)
            await original(self, context, message)

        monkeypatch.setattr(DiarizeMethods, "_write", slow)
        _, result = await streamed(stub, dialogue(), 1_000_000)
        assert near(result, TRUTH)


@pytest.mark.asyncio
async def test_what_a_graph_of_one_length_makes_the_server_repeat_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "_samples", lambda engine, frames: frames * 800)
    folder = frozen(tmp_path, 40)
    folder_of(tmp_path, WESPEAKER, vad=True)
    async with speaking(folder, default_model="frozen") as (_, stub):
        response = await stub.Diarize(request(dialogue()))
        assert near(response, TRUTH), found(response)
        assert response.filled_share == pytest.approx(1 - 29 / 40)  # a piece of 1.5 s has 29 of the engine's frames
        assert (await stub.Diarize(request(dialogue(), model=WESPEAKER))).filled_share == 0.0


@pytest.mark.asyncio
async def test_times_of_a_region_count_from_the_first_sample_sent(folder: Path) -> None:
    async with speaking(folder) as (_, stub):
        region = pb.AudioRegion(start_ms=4000, end_ms=11000)
        response = await stub.Diarize(request(dialogue(), region=region))

        assert near(response, [(4.1, 7.1, 0), (7.7, 10.7, 1)]), found(response)
        assert response.audio_seconds == 7.0


@pytest.mark.asyncio
@pytest.mark.parametrize("preset", [pb.PRESET_UNSPECIFIED, pb.PRESET_WESPEAKER, pb.PRESET_3D_SPEAKER])
async def test_nothing_to_hear_is_an_empty_result(folder: Path, preset: int) -> None:
    async with speaking(folder) as (_, stub):
        options = pb.DiarizationConfig(preset=preset)
        quiet = [np.zeros(3 * RATE, np.float32), *(voice(1.0, 1)[:length] for length in (0, 399, 400, 719, 720))]
        for samples in quiet:
            response = await stub.Diarize(request(samples, options))
            assert not response.segments
            assert not response.speakers
            assert response.audio_seconds == pytest.approx(len(samples) / RATE)
            _, result = await streamed(stub, samples, 4096, options)
            assert result == response


@pytest.mark.asyncio
@pytest.mark.parametrize(("rate", "gain"), [(8000, 1.0), (48000, 1.0), (RATE, 1000.0)])
async def test_other_rates_and_clipped_audio_give_the_same_turns(folder: Path, rate: int, gain: float) -> None:
    resampler = Resampler(RATE, rate, 1)
    samples = dialogue()[np.newaxis]
    samples = np.concatenate([resampler.push(samples), resampler.flush()], axis=1)[0]
    clipped = (gain * samples).clip(-1, 1)
    assert (np.abs(clipped) == 1).mean() > (0.5 if gain > 1 else -1)
    async with speaking(folder) as (_, stub):
        response = await stub.Diarize(request(clipped, sample_rate_hertz=rate))
        assert near(response, TRUTH), found(response)
        assert response.audio_seconds == pytest.approx(15.0, abs=1e-3)
        _, result = await streamed(stub, clipped, 4 * 7001, sample_rate_hertz=rate)
        assert near(result, TRUTH), found(result)


@pytest.mark.asyncio
async def test_a_silent_call_changes_nothing_for_those_beside_it(folder: Path) -> None:
    async with speaking(folder) as (_, stub):
        silent, loud = request(np.zeros(5 * RATE, np.float32)), request(dialogue())
        answers = await asyncio.gather(*(stub.Diarize(each) for each in (silent, loud, silent, loud)))

        assert [len(each.segments) for each in answers] == [0, 4, 0, 4]
        assert answers[1] == answers[3]


@pytest.mark.asyncio
async def test_more_recordings_than_the_queue_has_places_are_all_done(folder: Path) -> None:
    async with speaking(folder, max_queue_size=8) as (_, stub):
        answers = await asyncio.gather(*(stub.Diarize(request(dialogue())) for _ in range(12)))

        assert all(near(each, TRUTH) for each in answers)


@pytest.mark.asyncio
async def test_a_recording_waits_where_single_requests_fill_the_queue(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = threading.Event()

    class Gated(SpectrumEngine):
        def embed(self, features: Sequence[np.ndarray]) -> np.ndarray:
            assert opened.wait(60)
            return super().embed(features)

    monkeypatch.setattr(models, "open_speaker", Gated)
    async with speaking(folder, max_queue_size=2, workers=1, default_model=WESPEAKER) as (server, stub):
        batcher = server.speakers.find("").pieces.batcher
        singles: list[Any] = []
        try:
            while batcher.num_waiting < 2:
                singles.append(stub.Embed(embed_request(voice(1.0, 1))))
                await eventually(lambda: batcher.stats.submitted + batcher.stats.rejected >= len(singles))
            diarization = stub.Diarize(request(dialogue()))
            await eventually(lambda: batcher.stats.rejected > 0)
            assert not diarization.done()
            code, details = await refused(stub.Embed(embed_request(voice(1.0, 2))))
            assert (code, "queue is full" in details) == (CODE.RESOURCE_EXHAUSTED, True)
        finally:
            opened.set()
        assert near(await diarization, TRUTH)
        assert len(await asyncio.gather(*singles)) == len(singles)


@pytest.mark.asyncio
async def test_one_and_two_pieces_work(folder: Path) -> None:
    async with speaking(folder) as (_, stub):
        for preset in (pb.PRESET_UNSPECIFIED, pb.PRESET_WESPEAKER, pb.PRESET_3D_SPEAKER):
            options = pb.DiarizationConfig(preset=preset)
            one = await stub.Diarize(request(dialogue([(0.5, 1.6, 0)], 2.0), options))
            assert (one.num_windows, len(one.segments), len(one.speakers)) == (1, 1, 1)
            two = await stub.Diarize(request(dialogue([(0.5, 1.6, 0), (3.0, 4.1, 0)], 5.0), options))
            assert (two.num_windows, len(two.segments)) == (2, 2)


@pytest.mark.asyncio
async def test_speakers_get_names_from_the_gallery_that_was_named(folder: Path) -> None:
    async with speaking(folder) as (_, stub):
        enrol = pb.EnrollRequest(speaker_id="anna", gallery="team", model=WESPEAKER)
        enrol.voices.append(voice_of(voice(5.0, SECOND), model=WESPEAKER))
        await stub.Enroll(enrol)
        options = pb.DiarizationConfig(num_speakers=2, gallery="team", name_threshold=0.9)
        response = await stub.Diarize(request(dialogue(), options, model=WESPEAKER))

        assert [each.speaker_id for each in response.speakers] == ["", "anna"]
        assert response.speakers[1].name_score > 0.9
        assert response.speakers[0].name_score == 0

        code, details = await refused(stub.Diarize(request(dialogue(), options, model=THREE_D)))
        assert code is CODE.FAILED_PRECONDITION
        assert "gallery 'team'" in details


BAD_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"num_speakers": 101}, "num_speakers is 101; allowed: 0 to 100"),
    ({"num_speakers": 2, "max_speakers": 3}, "num_speakers cannot be asked for beside"),
    ({"min_speakers": 3, "max_speakers": 2}, "max_speakers is 2; allowed: min_speakers, 3, or more"),
    ({"vad_threshold": 1.0}, "vad_threshold is 1; allowed: 0.01 to 0.99"),
    ({"vad_threshold": float("nan")}, "vad_threshold is nan"),
    ({"cluster_threshold": -1.5}, "cluster_threshold is -1.5; allowed: -1 to 1"),
    ({"merge_threshold": 2.0}, "merge_threshold is 2; allowed: -1 to 1"),
    ({"window_ms": 100}, "window_ms is 100; allowed: 250 to 10000"),
    ({"window_ms": 1000, "period_ms": 1500}, "period_ms is 1500; allowed: up to window_ms, 1000"),
    ({"merge_gap_ms": -1}, "merge_gap_ms is -1; allowed: 0 to 60000"),
    ({"min_duration_ms": 70000}, "min_duration_ms is 70000; allowed: 0 to 60000"),
    ({"name_threshold": 3.0}, "name_threshold is 3; allowed: -1 to 1"),
    ({"preset": 9}, "preset is 9"),
    ({"gallery": "no\nsuch"}, "gallery"),
]


@pytest.mark.asyncio
async def test_bad_options_are_named_with_what_is_allowed(folder: Path) -> None:
    async with speaking(folder) as (_, stub):
        for fields, text in BAD_OPTIONS:
            code, details = await refused(stub.Diarize(request(dialogue(), pb.DiarizationConfig(**fields))))
            assert code is CODE.INVALID_ARGUMENT, (fields, details)
            assert text in details, (fields, details)


@pytest.mark.asyncio
async def test_bad_audio_and_missing_models_have_the_recognisers_statuses(tmp_path: Path) -> None:
    broken = dialogue()
    broken[70_000] = np.nan
    (tmp_path / "a").mkdir()
    async with speaking(folder_of(tmp_path / "a", WESPEAKER, vad=True)) as (server, stub):
        for samples, fields, wanted, pattern in (
            (broken, {}, CODE.INVALID_ARGUMENT, "nan"),
            (dialogue(), {"model": "nobody"}, CODE.NOT_FOUND, "'nobody' is unknown"),
            (dialogue(), {"region": pb.AudioRegion(end_ms=15_001)}, CODE.INVALID_ARGUMENT, "has 15000 ms"),
            (dialogue(), {"channel": 2}, CODE.INVALID_ARGUMENT, "channel is 2"),
        ):
            code, details = await refused(stub.Diarize(request(samples, **fields)))
            assert code is wanted, details
            assert re.search(pattern, details), details
            await nothing_left(server)
        code, details = await refused(stub.Diarize(request(dialogue(), pb.DiarizationConfig(overlap=True))))
        assert (code, "segmentation model" in details) == (CODE.FAILED_PRECONDITION, True)
    (tmp_path / "b").mkdir()
    async with speaking(folder_of(tmp_path / "b", WESPEAKER)) as (_, stub):
        code, details = await refused(stub.Diarize(request(dialogue())))
        assert (code, "voice activity model" in details) == (CODE.FAILED_PRECONDITION, True)


@pytest.mark.asyncio
async def test_overlapping_speech_is_two_segments_at_once(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, WESPEAKER, vad=True)
    (folder / "segmentation").mkdir()
    truth = [(0.5, 5.5, 0), (4.3, 9.5, 1), (10.2, 13.2, 0)]
    samples = dialogue(truth, 14.0)
    samples[int(4.3 * RATE) : int(5.5 * RATE)] *= 3  # the tiny graph takes loud frames for two speakers
    loud = 2 * float(np.abs(dialogue([(0, 3, 0)], 3.0)).mean())
    segmentation_graphs.by_loudness(folder / "segmentation" / "model.onnx", loud)
    async with speaking(folder) as (_, stub):
        info = (await stub.ListSpeakerModels(pb.ListSpeakerModelsRequest())).models[0]
        assert (info.has_vad, info.has_overlap) == (True, True)
        response = await stub.Diarize(request(samples))
        alone = await stub.Diarize(request(samples, pb.DiarizationConfig(num_speakers=2, overlap=False)))

        shared = [each for each in response.segments if each.is_overlap]
        assert {each.speaker for each in shared} == {0, 1}
        begin, end = max(each.start_ms for each in shared), min(each.end_ms for each in shared)
        assert end - begin > 700
        assert 3600 < begin < end < 5800  # borders between speakers are as fine as the pieces
        assert not any(each.is_overlap for each in alone.segments)

        for preset in (pb.PRESET_WESPEAKER, pb.PRESET_3D_SPEAKER):  # both know one speaker at a time, unless asked
            theirs = pb.DiarizationConfig(preset=preset, num_speakers=2)
            plain = await stub.Diarize(request(samples, theirs))
            assert not any(each.is_overlap for each in plain.segments)
            theirs.overlap = True
            assert (await stub.Diarize(request(samples, theirs))).segments != plain.segments


class Watched:
    """Runs the real clustering on as many random pieces as take long, and says how it ended."""

    def __init__(self) -> None:
        self.began, self.ended = threading.Event(), threading.Event()
        self.error: BaseException | None = None

    def find_speakers(
        self, embeddings: np.ndarray, options: DiarizationOptions, check: Callable[[], None]
    ) -> np.ndarray:
        many = np.random.default_rng(0).standard_normal((6000, 64)).astype(np.float32)

        def checked() -> None:
            self.began.set()
            check()

        try:
            for _ in range(1000):  # minutes, if nobody stopped it
                cluster(many, ClusteringOptions(max_points=10_000), check=checked)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.ended.set()
        raise AssertionError("nobody stopped the clustering")


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["Diarize", "DiarizeStream"])
async def test_a_call_cancelled_in_the_middle_of_clustering_stops_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    watched = Watched()
    async with speaking(folder) as (_, stub):
        with monkeypatch.context() as patch:
            patch.setattr(diarizing, "find_speakers", watched.find_speakers)
            if method == "Diarize":
                call = stub.Diarize(request(dialogue()))
            else:
                call = stub.DiarizeStream()
                await call.write(pb.DiarizeStreamRequest(config=pb.DiarizeStreamConfig(config=config())))
                await call.write(pb.DiarizeStreamRequest(audio_content=float32(dialogue())))
                await call.done_writing()
            assert await asyncio.to_thread(watched.began.wait, 30)
            call.cancel()
            assert await asyncio.to_thread(watched.ended.wait, 30)
        assert isinstance(watched.error, diarizing.Abandoned)
        assert near(await stub.Diarize(request(dialogue())), TRUTH)


@pytest.mark.asyncio
async def test_a_stream_cancelled_while_it_listens_takes_its_pieces_with_it(folder: Path) -> None:
    async with speaking(folder) as (server, stub):
        call = stub.DiarizeStream()
        await call.write(pb.DiarizeStreamRequest(config=pb.DiarizeStreamConfig(config=config())))
        await call.write(pb.DiarizeStreamRequest(audio_content=float32(dialogue())))
        assert (await call.read()).progress.stage == pb.DiarizationProgress.LISTENING
        call.cancel()
        await nothing_left(server)
        assert near(await stub.Diarize(request(dialogue())), TRUTH)


@pytest.mark.asyncio
async def test_the_channel_that_was_asked_for_is_diarized_and_else_their_mean(folder: Path) -> None:
    alone = dialogue(TRUTH[:1])
    both = np.stack([alone, dialogue()], axis=1)
    async with speaking(folder) as (_, stub):
        second = await stub.Diarize(request(both, audio_channel_count=2, channel=2))
        assert near(second, TRUTH), found(second)
        first = await stub.Diarize(request(both, pb.DiarizationConfig(), audio_channel_count=2, channel=1))
        assert near(first, TRUTH[:1]), found(first)
        mean = await stub.Diarize(request(both, audio_channel_count=2))
        assert near(mean, TRUTH), found(mean)


@pytest.mark.asyncio
async def test_messages_out_of_order_and_silence_on_the_line_end_the_call(folder: Path) -> None:
    async with speaking(folder) as (_, stub):
        call = stub.DiarizeStream()
        await call.write(pb.DiarizeStreamRequest(audio_content=b"\0\0"))
        assert (await refused(call.read()))[0] is CODE.FAILED_PRECONDITION
        call = stub.DiarizeStream()
        first = pb.DiarizeStreamRequest(config=pb.DiarizeStreamConfig(config=config()))
        await call.write(first)
        await call.write(first)
        assert (await refused(call.read()))[0] is CODE.FAILED_PRECONDITION
