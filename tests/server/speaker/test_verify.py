"""Verify, Enroll, Identify, ListSpeakers and DeleteSpeaker over real gRPC."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from protos import speaker_pb2 as pb
from server.gallery.errors import GalleryFailed
from tests.server.speaker.support import (
    THREE_D,
    WESPEAKER,
    cosine,
    embed_request,
    folder_of,
    nothing_left,
    refused,
    speaking,
    vector,
    voice,
    voice_of,
)

CODE = grpc.StatusCode


async def printed(stub: Any, seed: int, seconds: float = 2.0, model: str = "") -> pb.Voiceprint:
    response = await stub.Embed(embed_request(voice(seconds, seed), model=model))
    return pb.Voiceprint(embedding=response.embedding, fingerprint=response.fingerprint)


def enrolled(speaker_id: str, gallery: str = "") -> pb.Voice:
    return pb.Voice(speaker=pb.SpeakerKey(speaker_id=speaker_id, gallery=gallery))


@pytest.mark.asyncio
async def test_audio_vectors_and_enrolled_speakers_give_one_score(tmp_path: Path) -> None:
    async with speaking(folder_of(tmp_path, WESPEAKER)) as (server, stub):
        first, second = await printed(stub, 1), await printed(stub, 2)
        await stub.Enroll(pb.EnrollRequest(speaker_id="ann", voices=[pb.Voice(voiceprint=first)]))
        wanted = cosine(np.array(first.embedding), np.array(second.embedding))
        for enrolment in (voice_of(voice(2.0, 1)), pb.Voice(voiceprint=first), enrolled("ann")):
            for test in (voice_of(voice(2.0, 2)), pb.Voice(voiceprint=second)):
                response = await stub.Verify(pb.VerifyRequest(enrolment=enrolment, test=test))
                assert response.score == pytest.approx(wanted, abs=1e-5)
                assert response.threshold == pytest.approx(server.speakers.find("").engine.threshold)
                assert response.is_same_speaker == (wanted >= response.threshold)
                assert bool(response.enrolment.embedding) == enrolment.HasField("audio")
                assert not response.HasField("normalized_score")
        lenient = await stub.Verify(pb.VerifyRequest(enrolment=enrolment, test=test, threshold=-1))
        assert lenient.is_same_speaker
        same = await stub.Verify(pb.VerifyRequest(enrolment=voice_of(voice(2.0, 1)), test=pb.Voice(voiceprint=first)))
        assert same.score == pytest.approx(1, abs=1e-6)
        assert same.is_same_speaker


@pytest.mark.asyncio
async def test_a_cohort_normalises_the_score_and_decides_only_with_a_threshold_of_its_own(tmp_path: Path) -> None:
    async with speaking(folder_of(tmp_path, WESPEAKER)) as (_, stub):
        prints = [await printed(stub, seed) for seed in range(6)]
        rows = np.array([each.embedding for each in prints])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        others = rows[2:]
        score = rows[0] @ rows[1]
        sides = [np.sort(others @ rows[side])[::-1][:3] for side in (0, 1)]
        wanted = sum((score - each.mean()) / each.std() for each in sides) / 2
        pair = {"enrolment": pb.Voice(voiceprint=prints[0]), "test": pb.Voice(voiceprint=prints[1])}

        inline = pb.ScoreNormalization(cohort=prints[2:], top_n=3)
        response = await stub.Verify(pb.VerifyRequest(**pair, normalization=inline))
        assert response.normalized_score == pytest.approx(wanted, rel=2e-3)
        assert response.cohort_size == 4
        assert not response.HasField("threshold")
        assert not response.HasField("is_same_speaker")
        decided = await stub.Verify(pb.VerifyRequest(**pair, normalization=inline, threshold=wanted - 0.1))
        assert decided.is_same_speaker

        # The same cohort from a gallery that also holds one of the two: who is compared is left out.
        for name, each in zip("abcde", [prints[0], *prints[2:]], strict=True):
            await stub.Enroll(pb.EnrollRequest(speaker_id=name, gallery="all", voices=[pb.Voice(voiceprint=each)]))
        pair["enrolment"] = enrolled("a", "all")
        from_gallery = pb.ScoreNormalization(gallery="all", top_n=3)
        response = await stub.Verify(pb.VerifyRequest(**pair, normalization=from_gallery))
        assert response.normalized_score == pytest.approx(wanted, rel=2e-3)
        assert response.cohort_size == 4

        # Identification leaves each candidate out of its own statistics: it scores as in Verify.
        found = await stub.Identify(
            pb.IdentifyRequest(voice=pair["test"], gallery="all", normalization=from_gallery, threshold=100)
        )
        by_id = {each.speaker_id: each for each in found.candidates}
        assert by_id["a"].normalized_score == pytest.approx(wanted, rel=2e-3)
        assert found.speaker_id == ""


@pytest.mark.asyncio
async def test_an_enrolled_speaker_is_identified_listed_and_forgotten(tmp_path: Path) -> None:
    async with speaking(folder_of(tmp_path, WESPEAKER)) as (_, stub):
        for seed, name in enumerate(["ann", "bob", "李雷"]):
            voices = [voice_of(voice(2.0, seed)), voice_of(voice(3.0, seed))]
            reply = await stub.Enroll(pb.EnrollRequest(speaker_id=name, voices=voices, metadata={"seed": str(seed)}))
            assert (reply.speaker.num_voices, len(reply.voices)) == (2, 2)
            assert reply.speaker.speech_seconds == pytest.approx(5.0)
            first, second = (vector(each) for each in reply.voices)
            assert reply.consistency == pytest.approx(cosine(first, second), abs=1e-5)

        found = await stub.Identify(pb.IdentifyRequest(voice=voice_of(voice(2.5, 1)), max_candidates=2))
        assert found.speaker_id == "bob"
        assert found.candidates[0].speaker_id == "bob"
        assert (len(found.candidates), found.num_speakers) == (2, 3)
        assert found.candidates[0].score > found.candidates[1].score
        stranger = await stub.Identify(pb.IdentifyRequest(voice=voice_of(voice(2.5, 1)), threshold=1))
        assert stranger.speaker_id == ""
        assert not any(each.is_accepted for each in stranger.candidates)

        pages, token = [], ""
        while True:
            page = await stub.ListSpeakers(pb.ListSpeakersRequest(page_size=2, page_token=token))
            pages.append([(each.speaker_id, dict(each.metadata)) for each in page.speakers])
            assert page.num_speakers == 3
            if not (token := page.next_page_token):
                break
        assert pages == [[("ann", {"seed": "0"}), ("bob", {"seed": "1"})], [("李雷", {"seed": "2"})]]

        assert (await stub.DeleteSpeaker(pb.DeleteSpeakerRequest(speaker_id="bob"))).num_voices == 2
        code, details = await refused(stub.DeleteSpeaker(pb.DeleteSpeakerRequest(speaker_id="bob")))
        assert (code, "'bob' is not enrolled in gallery 'default'" in details) == (CODE.NOT_FOUND, True)
        empty = await stub.Identify(pb.IdentifyRequest(voice=voice_of(voice(2.5, 1)), gallery="nobody here"))
        assert (list(empty.candidates), empty.num_speakers, empty.speaker_id) == ([], 0, "")


@pytest.mark.asyncio
async def test_vectors_of_another_model_are_refused_everywhere_with_both_named(tmp_path: Path) -> None:
    async with speaking(folder_of(tmp_path, WESPEAKER, THREE_D), default_model=WESPEAKER) as (server, stub):
        own, strange = await printed(stub, 1), await printed(stub, 1, model=THREE_D)
        fine, other = pb.Voice(voiceprint=own), pb.Voice(voiceprint=strange)
        await stub.Enroll(pb.EnrollRequest(speaker_id="ann", voices=[fine]))
        cohort = pb.ScoreNormalization(cohort=[own, strange])
        for call in (
            stub.Verify(pb.VerifyRequest(enrolment=fine, test=other)),
            stub.Verify(pb.VerifyRequest(enrolment=fine, test=fine, normalization=cohort)),
            stub.Verify(pb.VerifyRequest(enrolment=enrolled("ann"), test=other, model=THREE_D)),
            stub.Identify(pb.IdentifyRequest(voice=other)),
            stub.Identify(pb.IdentifyRequest(voice=other, model=THREE_D)),
            stub.Enroll(pb.EnrollRequest(speaker_id="bob", voices=[other])),
            stub.Enroll(pb.EnrollRequest(speaker_id="bob", voices=[other], model=THREE_D)),
        ):
            code, details = await refused(call)
            assert code is CODE.FAILED_PRECONDITION, details
            assert own.fingerprint in details, details
            assert strange.fingerprint in details, details
        assert (await stub.ListSpeakers(pb.ListSpeakersRequest())).num_speakers == 1
        await nothing_left(server)


@pytest.mark.asyncio
async def test_every_bad_request_has_its_status(tmp_path: Path) -> None:
    async with speaking(folder_of(tmp_path, WESPEAKER)) as (server, stub):
        own = await printed(stub, 1)
        fine = pb.Voice(voiceprint=own)
        short = pb.Voice(voiceprint=pb.Voiceprint(embedding=[1, 2], fingerprint=own.fingerprint))
        zero = pb.Voice(voiceprint=pb.Voiceprint(embedding=[0] * 32, fingerprint=own.fingerprint))
        strange = pb.Voice(voiceprint=pb.Voiceprint(embedding=[float("nan")] * 32, fingerprint=own.fingerprint))
        bare = pb.Voice(voiceprint=pb.Voiceprint(embedding=own.embedding))
        verify, enroll, identify = stub.Verify, stub.Enroll, stub.Identify
        cases: list[tuple[Any, Any, CODE, str]] = [
            (verify, pb.VerifyRequest(enrolment=fine), CODE.INVALID_ARGUMENT, "^test carries neither"),
            (verify, pb.VerifyRequest(enrolment=fine, test=short), CODE.INVALID_ARGUMENT, "2 values; .* have 32"),
            (verify, pb.VerifyRequest(enrolment=fine, test=zero), CODE.INVALID_ARGUMENT, "not all of them zero"),
            (verify, pb.VerifyRequest(enrolment=strange, test=fine), CODE.INVALID_ARGUMENT, "must hold finite numbers"),
            (enroll, pb.EnrollRequest(speaker_id="a", voices=[strange]), CODE.INVALID_ARGUMENT, "must hold finite"),
            (verify, pb.VerifyRequest(enrolment=fine, test=bare), CODE.INVALID_ARGUMENT, "fingerprint is empty"),
            (verify, pb.VerifyRequest(enrolment=fine, test=enrolled("eve")), CODE.NOT_FOUND, "'eve' is not enrolled"),
            (verify, pb.VerifyRequest(enrolment=fine, test=voice_of(voice(0.02, 1))), CODE.INVALID_ARGUMENT, "320 sam"),
            (
                verify,
                pb.VerifyRequest(enrolment=fine, test=voice_of(voice(1, 1), model="x")),
                CODE.INVALID_ARGUMENT,
                "audio.config.model is 'x', but the request's model is ''",
            ),
            (verify, pb.VerifyRequest(enrolment=fine, test=fine, threshold=2), CODE.INVALID_ARGUMENT, "-1 to 1"),
            (
                verify,
                pb.VerifyRequest(enrolment=fine, test=fine, normalization=pb.ScoreNormalization(cohort=[own])),
                CODE.INVALID_ARGUMENT,
                "cohort has 1 vectors; needed: 2",
            ),
            (
                verify,
                pb.VerifyRequest(enrolment=fine, test=fine, normalization=pb.ScoreNormalization(cohort=[own, own])),
                CODE.INVALID_ARGUMENT,
                "all equally close",
            ),
            (enroll, pb.EnrollRequest(speaker_id="a"), CODE.INVALID_ARGUMENT, "0 voices; allowed: 1 to 64"),
            (enroll, pb.EnrollRequest(speaker_id=" a", voices=[fine]), CODE.INVALID_ARGUMENT, "speaker_id is ' a'"),
            (enroll, pb.EnrollRequest(speaker_id="a\n", voices=[fine]), CODE.INVALID_ARGUMENT, "allowed: 1 to 128"),
            (enroll, pb.EnrollRequest(speaker_id="a", voices=[enrolled("b")]), CODE.INVALID_ARGUMENT, "cannot be en"),
            (
                enroll,
                pb.EnrollRequest(speaker_id="a", voices=[fine], metadata={"x": "y" * 5000}),
                CODE.INVALID_ARGUMENT,
                "1 entries, 5001 bytes; allowed: 32 entries, 4096 bytes",
            ),
            (
                enroll,
                pb.EnrollRequest(
                    speaker_id="a", voices=[fine, voice_of(voice(2, 2))], min_consistency=0.999
                ),
                CODE.FAILED_PRECONDITION,
                "min_consistency is 0.999",
            ),
            (identify, pb.IdentifyRequest(voice=enrolled("a")), CODE.INVALID_ARGUMENT, "cannot be identified"),
            (identify, pb.IdentifyRequest(voice=fine, max_candidates=-1), CODE.INVALID_ARGUMENT, "allowed: 0 to 1000"),
            (identify, pb.IdentifyRequest(voice=fine, model="x"), CODE.NOT_FOUND, "'x' is unknown"),
            (stub.ListSpeakers, pb.ListSpeakersRequest(page_size=1001), CODE.INVALID_ARGUMENT, "allowed: 0 to 1000"),
        ]  # fmt: skip
        for method, request, expected_code, pattern in cases:
            code, details = await refused(method(request))
            assert code is expected_code, (pattern, details)
            assert re.search(pattern, details), (pattern, details)
        assert (await stub.ListSpeakers(pb.ListSpeakersRequest())).num_speakers == 0
        await nothing_left(server)


@pytest.mark.asyncio
async def test_a_gallery_outlives_its_server_and_can_be_turned_off(tmp_path: Path) -> None:
    folder, file = folder_of(tmp_path, WESPEAKER), tmp_path / "new" / "voices.sqlite"
    enroll = pb.EnrollRequest(speaker_id="ann", voices=[voice_of(voice(2, 1))])
    async with speaking(folder, gallery=str(file)) as (_, stub):
        await stub.Enroll(enroll)
    async with speaking(folder, gallery=str(file)) as (_, stub):
        assert (await stub.Identify(pb.IdentifyRequest(voice=voice_of(voice(2, 1))))).speaker_id == "ann"
    async with speaking(folder, gallery="") as (_, stub):
        code, details = await refused(stub.Enroll(enroll))
        assert (code, "speaker.gallery is empty" in details) == (CODE.FAILED_PRECONDITION, True)
    file.unlink()
    file.write_bytes(b"something else entirely, of some length" * 30)
    with pytest.raises(ExceptionGroup) as failed:
        async with speaking(folder, gallery=str(file)):
            pass
    assert isinstance(failed.value.exceptions[0], GalleryFailed)
    assert "voices.sqlite: file is not a database" in str(failed.value.exceptions[0])
