"""The options of `chorus transcribe`, by theme, and the settings that come out of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from client.config import (
    Config,
    Decoding,
    EncodingName,
    Endpointing,
    EndpointRule,
    Hotwords,
    LanguageModel,
    Method,
    SpeakerTags,
)
from client.connection import Metadata, Tls
from speech.hotwords import MAX_BOOST, MAX_FILE_BYTES, Hotword, parse_hotwords

Command = TypeVar("Command", bound=Callable[..., Any])

_FILE = click.Path(dir_okay=False, path_type=Path)
_NATURAL = click.IntRange(min=1)


def _join(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Put several options on a command, in the order they are listed."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


input_options = _join(
    click.option("--wav-scp", type=_FILE, help="Kaldi list of recordings: `id path`, one a line."),
    click.option("--trans", type=_FILE, help="What was said, `id text`: prints the word error rate at the end."),
    click.option("--cer", is_flag=True, help="With --trans: character instead of word errors."),
    click.option("--normalise", is_flag=True, help="With --trans: compare without case and punctuation."),
    click.option("--mic", is_flag=True, help="Record from the microphone until Ctrl-C."),
    click.option("--device", help="Microphone's number or name, as sounddevice knows it."),
    click.option("--encoding", type=click.Choice(get_args(EncodingName)), default="auto", help="What the files hold."),
    click.option("--rate", type=click.IntRange(8000, 48000), help="Samples a second of audio without a header."),
    click.option("--channels", type=click.IntRange(1, 8), help="Channels of audio without a header."),
)

server_options = _join(
    click.option("--server", metavar="HOST:PORT", help="A running server; without it one is started for the time."),
    click.option("--models", type=click.Path(path_type=Path), help="Model folder(s) of the server that is started."),
    click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds allowed for each recording."),
    click.option("--tls", is_flag=True, help="Encrypt; the system's authorities count unless --tls-ca is given."),
    click.option("--tls-ca", type=_FILE, help="PEM file of the authorities to trust."),
    click.option("--tls-cert", type=_FILE, help="PEM file of our own certificate."),
    click.option("--tls-key", type=_FILE, help="PEM file of its key."),
    click.option("--tls-name", help="Name in the server's certificate, where it is not the address."),
    click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Send with every call; may be repeated."),
)

recognition_options = _join(
    click.option("--model", default="", help="Model, by the name the server gives it."),
    click.option("--language", default="", help="Language tag such as en-US: chooses among the server's models."),
    click.option("--method", type=click.Choice(get_args(Method)), help="Search. Default: the model's best."),
    click.option("--beam-size", type=click.IntRange(1, 128), help="Hypotheses the search keeps."),
    click.option("--hotwords", type=_FILE, help="Phrases to favour, one a line; or `phrase :boost`."),
    click.option("--boost", type=click.FloatRange(0, MAX_BOOST, min_open=True), help="Of phrases without one: 1.5."),
    click.option("--hotword-list", multiple=True, metavar="NAME", help="A list that the server has; may be repeated."),
    click.option("--lm-weight", type=click.FloatRange(0, 10), help="Of the model's language model; 0 is without it."),
    click.option("--lm-bonus", type=click.FloatRange(-20, 20), help="Added for each word by the language model."),
    click.option("--lodr-weight", type=click.FloatRange(0, 10), help="Of the server's bigram, which is subtracted."),
    click.option("--n-best", type=click.IntRange(1, 32), default=1, help="Alternatives per segment."),
    click.option("--word-times", is_flag=True, help="Print each word with its times."),
    click.option("--token-times", is_flag=True, help="With --json: tokens with their times, too."),
    click.option("--no-endpoints", is_flag=True, help="One segment for each recording."),
    click.option("--endpoint-silence", type=_NATURAL, metavar="MS", help="Silence that ends a segment after speech."),
    click.option("--max-segment", type=_NATURAL, metavar="MS", help="Length at which a segment is ended."),
    click.option("--single-utterance", is_flag=True, help="Stop at the first endpoint after speech."),
)

speaker_options = _join(
    click.option("--diarize", is_flag=True, help="With --offline: say who said what."),
    click.option("--speakers", type=click.IntRange(1, 100), help="With --diarize: their number, where it is known."),
    click.option("--min-speakers", type=click.IntRange(1, 100), help="With --diarize: at least so many."),
    click.option("--max-speakers", type=click.IntRange(1, 100), help="With --diarize: at most so many."),
    click.option("--speaker-model", metavar="NAME", help="With --diarize: as the server names it."),
)


def config_from(options: dict[str, Any]) -> Config:
    """Make the recognition's settings of the parsed options."""
    return Config(
        encoding=options["encoding"],
        sample_rate=options["rate"] or 0,
        channels=options["channels"] or 0,
        model=options["model"],
        language=options["language"],
        max_alternatives=options["n_best"],
        word_times=options["word_times"] or options["json"],
        token_times=options["token_times"],
        single_utterance=options["single_utterance"],
        decoding=Decoding(method=options["method"], beam_size=options["beam_size"]),
        endpointing=_endpointing(options),
        hotwords=_hotwords(options),
        language_model=_language_model(options),
        speaker_tags=_speaker_tags(options),
    )


def _hotwords(options: dict[str, Any]) -> Hotwords | None:
    """Read the file. Raises click.UsageError for one that cannot be read or is too large, BadOption for a bad line."""
    path: Path | None = options["hotwords"]
    phrases: tuple[Hotword, ...] = ()
    if path is not None:
        try:
            size = path.stat().st_size
            if size > MAX_FILE_BYTES:
                raise click.UsageError(f"{path} has {size} bytes; at most {MAX_FILE_BYTES} are allowed")
            with path.open(encoding="utf-8") as lines:
                phrases = tuple(parse_hotwords(lines, str(path)))
        except OSError as error:
            raise click.UsageError(f"{path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise click.UsageError(f"{path}: not UTF-8 text") from error
    if not phrases and not options["hotword_list"]:
        return None
    return Hotwords(phrases=phrases, lists=tuple(options["hotword_list"]), boost=options["boost"])


def _speaker_tags(options: dict[str, Any]) -> SpeakerTags | None:
    if not options["diarize"]:
        return None
    return SpeakerTags(
        speakers=options["speakers"],
        min_speakers=options["min_speakers"],
        max_speakers=options["max_speakers"],
        model=options["speaker_model"] or "",
    )


def _language_model(options: dict[str, Any]) -> LanguageModel | None:
    weight, bonus = options["lm_weight"], options["lm_bonus"]
    lodr = options["lodr_weight"] or 0.0
    if weight is None and bonus is None and not lodr:
        return None
    return LanguageModel(disabled=weight == 0, weight=weight or None, bonus=bonus, lodr_weight=lodr)


def _endpointing(options: dict[str, Any]) -> Endpointing | None:
    silence, longest = options["endpoint_silence"], options["max_segment"]
    if not (options["no_endpoints"] or silence or longest):
        return None
    return Endpointing(
        disabled=options["no_endpoints"],
        rule2=EndpointRule(min_trailing_silence_ms=silence, must_contain_text=True) if silence else None,
        rule3=EndpointRule(min_utterance_ms=longest) if longest else None,
    )


def tls_from(options: dict[str, Any]) -> Tls | None:
    """Read the certificates; None without any TLS option. Raises click.UsageError."""
    files = [options["tls_ca"], options["tls_cert"], options["tls_key"]]
    if not (options["tls"] or options["tls_name"] or any(files)):
        return None
    if not options["server"]:
        raise click.UsageError("TLS options need --server: the embedded server listens on this machine only")
    try:
        return Tls.from_files(files[0], files[1], files[2], options["tls_name"])
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise click.UsageError("--tls-cert and --tls-key go together") from error


def metadata_from(options: dict[str, Any]) -> Metadata:
    """Split KEY=VALUE. Raises click.UsageError."""
    pairs = []
    for text in options["metadata"]:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise click.UsageError(f"--metadata takes KEY=VALUE, got {text!r}")
        pairs.append((key.lower(), value))
    return tuple(pairs)


def check(options: dict[str, Any]) -> None:
    """Refuse what cannot go together. Raises click.UsageError."""
    sources = [bool(options["files"]), bool(options["wav_scp"]), options["mic"]]
    headerless = options["encoding"] in ("linear16", "float32", "mulaw", "alaw")
    wrong = {
        "nothing to transcribe: give files, `-`, --wav-scp or --mic": not any(sources),
        "files, --wav-scp and --mic exclude each other": sum(sources) > 1,
        "--offline takes whole recordings: not with --mic, --real-time or --single-utterance": options["offline"]
        and (options["mic"] or options["real_time"] or options["single_utterance"]),
        "--models is for the server that is started here: not with --server": options["models"] and options["server"],
        "--trans goes with files or --wav-scp": options["trans"] and options["mic"],
        "--cer and --normalise go with --trans": (options["cer"] or options["normalise"]) and not options["trans"],
        "--device goes with --mic": options["device"] and not options["mic"],
        f"--encoding {options['encoding']} has no header: --rate is needed": headerless and not options["rate"],
        "--real-time reads files with a header: not with this --encoding": headerless and options["real_time"],
        "--encoding, --rate and --channels are about files: not with --mic": options["mic"]
        and (options["encoding"] != "auto" or options["rate"] or options["channels"]),
        "--boost goes with --hotwords or --hotword-list": options["boost"]
        and not (options["hotwords"] or options["hotword_list"]),
        "--diarize needs --offline: speakers are told apart by the whole recording": options["diarize"]
        and not options["offline"],
        "--speakers, --min-speakers, --max-speakers and --speaker-model go with --diarize": not options["diarize"]
        and any(options[name] for name in ("speakers", "min_speakers", "max_speakers", "speaker_model")),
        "--speakers goes without --min-speakers and --max-speakers": options["speakers"]
        and (options["min_speakers"] or options["max_speakers"]),
        "`-` can be given once": options["files"].count("-") > 1,
    }
    for message, is_wrong in wrong.items():
        if is_wrong:
            raise click.UsageError(message)
