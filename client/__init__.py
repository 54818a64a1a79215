"""The Python client of a Chorus server, sync and asyncio, and the command line tools built on it."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from client.client import AsyncClient
    from client.config import Config, Decoding, Endpointing, EndpointRule, Hotwords, LanguageModel, SpeakerTags
    from client.connection import NO_RETRY, Keepalive, Retry, Tls
    from client.errors import CallFailed, ClientError, NoMicrophone, ServerFailed
    from client.results import HotwordsReport, Model, Said, StreamEvent, StreamResult, Transcript, transcript
    from client.sources import MICROPHONE_CONFIG, PcmFile, microphone, paced, paced_async
    from client.speaker.client import AsyncSpeakerClient
    from client.speaker.diarization import AsyncDiarizationClient, Diarization, DiarizationConfig
    from client.speaker.sync import SpeakerClient
    from client.speaker.values import (
        Candidate,
        Cohort,
        Embedding,
        Enrolled,
        Enrolment,
        Identification,
        Quality,
        SpeakerEntry,
        SpeakerModel,
        Verification,
        VoiceConfig,
        Voiceprint,
    )
    from client.sync import Client
    from speech.hotwords import Hotword
    from speech.results import Alternative, EventKind, Result, SpeechEvent, Token, Word

__all__ = [
    "MICROPHONE_CONFIG",
    "NO_RETRY",
    "Alternative",
    "AsyncClient",
    "AsyncDiarizationClient",
    "AsyncSpeakerClient",
    "CallFailed",
    "Candidate",
    "Client",
    "ClientError",
    "Cohort",
    "Config",
    "Decoding",
    "Diarization",
    "DiarizationConfig",
    "Embedding",
    "EndpointRule",
    "Endpointing",
    "Enrolled",
    "Enrolment",
    "EventKind",
    "Hotword",
    "Hotwords",
    "HotwordsReport",
    "Identification",
    "Keepalive",
    "LanguageModel",
    "Model",
    "NoMicrophone",
    "PcmFile",
    "Quality",
    "Result",
    "Retry",
    "Said",
    "ServerFailed",
    "SpeakerClient",
    "SpeakerEntry",
    "SpeakerModel",
    "SpeakerTags",
    "SpeechEvent",
    "StreamEvent",
    "StreamResult",
    "Tls",
    "Token",
    "Transcript",
    "Verification",
    "VoiceConfig",
    "Voiceprint",
    "Word",
    "microphone",
    "paced",
    "paced_async",
    "transcript",
]

# The names are looked up when they are first used: `chorus --help` imports this package, and would otherwise wait
# half a second for grpc and numpy (measured 2026-11-21: 0.47 s against 0.06 s).
_MODULES = {
    "client.client": ("AsyncClient",),
    "client.config": ("Config", "Decoding", "EndpointRule", "Endpointing", "Hotwords", "LanguageModel", "SpeakerTags"),
    "client.connection": ("NO_RETRY", "Keepalive", "Retry", "Tls"),
    "client.errors": ("CallFailed", "ClientError", "NoMicrophone", "ServerFailed"),
    "client.results": ("HotwordsReport", "Model", "Said", "StreamEvent", "StreamResult", "Transcript", "transcript"),
    "client.sources": ("MICROPHONE_CONFIG", "PcmFile", "microphone", "paced", "paced_async"),
    "client.speaker.client": ("AsyncSpeakerClient",),
    "client.speaker.diarization": ("AsyncDiarizationClient", "Diarization", "DiarizationConfig"),
    "client.speaker.sync": ("SpeakerClient",),
    "client.speaker.values": (
        "Candidate",
        "Cohort",
        "Embedding",
        "Enrolled",
        "Enrolment",
        "Identification",
        "Quality",
        "SpeakerEntry",
        "SpeakerModel",
        "Verification",
        "VoiceConfig",
        "Voiceprint",
    ),
    "client.sync": ("Client",),
    "speech.hotwords": ("Hotword",),
    "speech.results": ("Alternative", "EventKind", "Result", "SpeechEvent", "Token", "Word"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
