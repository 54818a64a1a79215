"""Containers: every format decodes to the right samples, as they come; damage is BadAudio and never hangs."""

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.audio import Encoding
from speech.containers import AudioBlock, decode, sniff
from speech.errors import BadAudio, BadOption

RATE = 16000
SUBTYPES = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"]
FILES = [
    *(("WAV", subtype) for subtype in SUBTYPES),
    *(("WAVEX", subtype) for subtype in ("PCM_16", "PCM_24", "FLOAT")),
    ("RF64", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]
LOSSLESS = {"WAV", "WAVEX", "RF64", "FLAC"}
TOLERANCE = {"PCM_U8": 0.01, "ULAW": 0.01, "ALAW": 0.01}


class Pipe:
    """A source without `seek` that gives few bytes at a time and counts them."""

    def __init__(self, data: bytes, packet: int = 1000) -> None:
        self._data = io.BytesIO(data)
        self._packet = packet
        self.num_read = 0

    def read(self, n: int) -> bytes:
        data = self._data.read(min(n, self._packet))
        self.num_read += len(data)
        return data


def tones(num_samples: int = 24001, rate: int = RATE) -> np.ndarray:
    """Two channels with a different tone each, (2, n) float32."""
    time_s = np.arange(num_samples) / rate
    return np.stack([0.3 * np.sin(2 * np.pi * 440 * time_s), 0.2 * np.sin(2 * np.pi * 660 * time_s)]).astype(np.float32)


def encoded(kind: str, subtype: str, samples: np.ndarray | None = None, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, (tones() if samples is None else samples).T, rate, format=kind, subtype=subtype)
    return file.getvalue()


def joined(blocks: Iterator[AudioBlock]) -> tuple[np.ndarray, int]:
    listed = list(blocks)
    assert all(block.samples.dtype == np.float32 and block.samples.shape[1] for block in listed)
    (rate,) = {block.sample_rate for block in listed}
    return np.concatenate([block.samples for block in listed], axis=1), rate


def read(data: bytes, encoding: Encoding = Encoding.AUTO) -> tuple[np.ndarray, int]:
    return joined(decode(Pipe(data), encoding))


@pytest.mark.parametrize(("kind", "subtype"), FILES)
def test_every_format_decodes_to_its_samples(kind: str, subtype: str) -> None:
    samples, rate = read(encoded(kind, subtype))
    original = tones()
    if kind in LOSSLESS:
        assert (samples.shape, rate) == (original.shape, RATE)
        assert np.abs(samples - original).max() < TOLERANCE.get(subtype, 1e-4)
        return
    if subtype == "OPUS":  # always 48 kHz; pre-skip and end are cut, so the length is exact
        assert (samples.shape, rate) == ((2, 3 * 24001), 48000)
        original = tones(3 * 24001, 48000)
    elif subtype == "VORBIS":
        assert (samples.shape, rate) == (original.shape, RATE)
    else:  # an MP3 begins exactly; read without seeking, its last frame keeps its padding
        assert rate == RATE
        assert 0 <= samples.shape[1] - original.shape[1] < 576
    inner = slice(1000, original.shape[1] - 2000)
    assert np.abs(samples[:, inner] - original[:, inner]).max() < 0.02


@pytest.mark.parametrize(("kind", "subtype"), FILES)
def test_packets_of_seven_bytes_change_nothing(kind: str, subtype: str) -> None:
    data = encoded(kind, subtype, tones(4000))
    pieces, _ = joined(decode(Pipe(data, packet=7), Encoding.AUTO))
    assert np.array_equal(pieces, read(data)[0])


def test_an_opened_file_is_a_source(tmp_path: Path) -> None:
    path = tmp_path / "tones.flac"
    path.write_bytes(encoded("FLAC", "PCM_16"))
    with path.open("rb") as file:
        assert joined(decode(file, Encoding.FLAC))[0].shape == (2, 24001)


@pytest.mark.parametrize(("codec", "container", "rate"), [("libopus", "ogg", 48000), ("libmp3lame", "mp3", 44100)])
def test_files_written_by_libav_decode(codec: str, container: str, rate: int, tmp_path: Path) -> None:
    path = tmp_path / f"tone.{container}"
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        for start in range(0, rate, 960):
            block = (8000 * np.sin(2 * np.pi * 440 * np.arange(start, start + 960) / rate)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(block[np.newaxis], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    samples, found = read(path.read_bytes())
    assert found == rate
    assert samples.shape[0] == 1
    assert abs(samples.shape[1] - rate) < 2500


@pytest.mark.parametrize(
    ("kind", "subtype", "most_bytes"),
    [
        ("WAV", "PCM_16", 1100),
        ("FLAC", "PCM_16", 40_000),
        ("OGG", "OPUS", 10_000),
        ("OGG", "VORBIS", 10_000),
        ("MP3", "MPEG_LAYER_III", 10_000),
    ],
)
def test_blocks_come_before_the_source_has_ended(kind: str, subtype: str, most_bytes: int) -> None:
    source = Pipe(encoded(kind, subtype, tones(16 * 24001)))
    blocks = decode(source, Encoding.AUTO)
    assert next(blocks).samples.shape[1] > 0
    assert source.num_read <= most_bytes


def wav_with_sizes(riff: int, data: int) -> bytes:
    wav = encoded("WAV", "PCM_16")
    place = wav.index(b"data") + 4
    return wav[:4] + struct.pack("<I", riff) + wav[8:place] + struct.pack("<I", data) + wav[place + 4 :]


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFDB, 0x80000000])
@pytest.mark.parametrize("riff", [0, 0xFFFFFFFF])
def test_wav_headers_of_unknown_length_last_until_the_source_ends(riff: int, size: int) -> None:
    assert read(wav_with_sizes(riff, size))[0].shape == (2, 24001)


def test_chunks_around_the_samples_of_a_wav_are_skipped() -> None:
    wav = encoded("WAV", "PCM_16")
    place = wav.index(b"data")
    padded = wav[:place] + b"LIST" + struct.pack("<I", 70_001) + bytes(70_002) + wav[place:] + b"junk" * 5
    assert np.array_equal(read(padded)[0], read(wav)[0])


def test_a_wav_without_samples_is_an_empty_recording() -> None:
    assert list(decode(Pipe(encoded("WAV", "PCM_16", np.zeros((1, 0)))), Encoding.AUTO)) == []


def test_wav_floats_that_are_not_numbers_are_refused() -> None:
    samples = tones(100)
    samples[1, 40] = np.nan
    for subtype in ("FLOAT", "DOUBLE"):
        with pytest.raises(BadAudio, match="sample 40 of channel 1 is nan"):
            read(encoded("WAV", subtype, samples))


@pytest.mark.parametrize("change", [(20, 0x11), (22, 0), (22, 64), (24, 4000), (34, 12)])
def test_impossible_wav_formats_are_refused(change: tuple[int, int]) -> None:
    wav = bytearray(encoded("WAV", "PCM_16"))
    struct.pack_into("<H", wav, *change)
    with pytest.raises(BadAudio, match="allowed"):
        read(bytes(wav))


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16")])
@pytest.mark.parametrize("rate", [4000, 96000])
def test_rates_outside_8_to_48_khz_are_refused(kind: str, subtype: str, rate: int) -> None:
    with pytest.raises(BadAudio, match=f"{rate} Hz"):
        read(encoded(kind, subtype, rate=rate))


@pytest.mark.parametrize(("kind", "subtype"), FILES)
@pytest.mark.parametrize("num_bytes", [1, 5, 11, 12, 20, 60])
def test_a_file_cut_inside_its_header_is_bad_audio(kind: str, subtype: str, num_bytes: int) -> None:
    with pytest.raises(BadAudio):
        read(encoded(kind, subtype)[:num_bytes])


@pytest.mark.parametrize(("kind", "subtype"), [file for file in FILES if file[0] in LOSSLESS - {"RF64"}])
@pytest.mark.parametrize("part", [0.3, 0.7, 0.9999])
def test_a_file_shorter_than_its_header_says_is_bad_audio(kind: str, subtype: str, part: float) -> None:
    data = encoded(kind, subtype)
    with pytest.raises(BadAudio, match=r"cut short|damaged"):
        read(data[: int(len(data) * part)])


def test_flac_cut_between_two_frames_is_bad_audio() -> None:
    """Each frame is whole there, so only the header tells."""
    data = encoded("FLAC", "PCM_16")
    second = data.index(b"\xff\xf8", data.index(b"\xff\xf8") + 2)
    with pytest.raises(BadAudio, match=r"4096 of the 24001|damaged"):
        read(data[:second])


@pytest.mark.parametrize(("kind", "subtype"), [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_flipped_bits_are_bad_audio(kind: str, subtype: str) -> None:
    data = bytearray(encoded(kind, subtype))
    for place in np.random.default_rng(0).integers(len(data) // 3, len(data), len(data) // 300):
        data[place] ^= 0xFF
    with pytest.raises(BadAudio, match="damaged"):
        read(bytes(data))


def test_text_is_bad_audio_naming_the_formats_allowed() -> None:
    with pytest.raises(BadAudio, match="wav, flac, ogg, mp3"):
        read(b"This is a text and no audio.\n" * 100)


def test_no_data_is_bad_audio() -> None:
    for encoding in (Encoding.AUTO, Encoding.WAV, Encoding.MP3):
        with pytest.raises(BadAudio, match="empty"):
            read(b"", encoding)


@pytest.mark.parametrize("encoding", [Encoding.WAV, Encoding.FLAC, Encoding.OGG, Encoding.MP3])
def test_another_format_than_announced_is_named(encoding: Encoding) -> None:
    kind, subtype = ("FLAC", "PCM_16") if encoding is Encoding.WAV else ("WAV", "PCM_16")
    with pytest.raises(BadAudio, match=f"expected {encoding.value}, got .*which is {kind.lower()}"):
        read(encoded(kind, subtype), encoding)


MAGIC = [
    b"",
    b"RIFF\0\0\0\0WAVE",
    b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0",
    b"fLaC",
    b"OggS\0\2",
    b"ID3\4\0\0",
    b"\xff\xfb\x90\0",
]


@settings(max_examples=60, deadline=None)
@given(
    magic=st.sampled_from(MAGIC),
    noise=st.binary(max_size=3000),
    encoding=st.sampled_from([encoding for encoding in Encoding if encoding.is_container]),
)
def test_garbage_is_bad_audio_and_never_hangs(magic: bytes, noise: bytes, encoding: Encoding) -> None:
    with pytest.raises(BadAudio):
        read(magic + noise, encoding)  # what hangs is ended by pytest-timeout


def test_damage_is_not_written_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(encoded("MP3", "MPEG_LAYER_III"))
    data[2000:2400] = bytes(400)
    for damaged in (bytes(data), b"OggS" + bytes(5000), b"fLaC" + bytes(5000)):
        with pytest.raises(BadAudio):
            read(damaged)
    assert capfd.readouterr().err == ""


class Broken(Pipe):
    """A source that fails midway, as a cancelled call's does."""

    def read(self, n: int) -> bytes:
        if self.num_read > 3000:
            raise ConnectionResetError("gone")
        return super().read(n)


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III")])
def test_a_failure_of_the_source_passes_through(kind: str, subtype: str) -> None:
    with pytest.raises(ConnectionResetError, match="gone"):
        joined(decode(Broken(encoded(kind, subtype)), Encoding.AUTO))


def test_decoding_may_be_left_midway() -> None:
    blocks = decode(Pipe(encoded("OGG", "VORBIS")), Encoding.AUTO)
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]


def test_raw_pcm_is_not_a_container() -> None:
    with pytest.raises(BadOption, match="auto, wav, flac, ogg, mp3"):
        decode(Pipe(b""), Encoding.LINEAR16)


def test_aac_and_avi_are_not_taken_for_mp3_and_wav() -> None:
    assert sniff(b"\xff\xf1\x50\x80\0\0\0\0\0\0\0\0") is None
    assert sniff(b"RIFF\0\0\0\0AVI ") is None
    assert sniff(b"\xff\xfb\x90\x00\0\0\0\0\0\0\0\0") is Encoding.MP3
