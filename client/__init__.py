"""The Python client of a Chorus server, sync and asyncio, and the command line tools built on it."""

from client.client import AsyncClient
from client.config import Config, Decoding, Endpointing, EndpointRule
from client.connection import NO_RETRY, Keepalive, Retry, Tls
from client.errors import CallFailed, ClientError, NoMicrophone, ServerFailed
from client.results import Model, StreamEvent, StreamResult, Transcript, transcript
from client.sources import MICROPHONE_CONFIG, PcmFile, microphone, paced, paced_async
from client.sync import Client
from speech.results import Alternative, EventKind, Result, SpeechEvent, Token, Word

__all__ = [
    "MICROPHONE_CONFIG",
    "NO_RETRY",
    "Alternative",
    "AsyncClient",
    "CallFailed",
    "Client",
    "ClientError",
    "Config",
    "Decoding",
    "EndpointRule",
    "Endpointing",
    "EventKind",
    "Keepalive",
    "Model",
    "NoMicrophone",
    "PcmFile",
    "Result",
    "Retry",
    "ServerFailed",
    "SpeechEvent",
    "StreamEvent",
    "StreamResult",
    "Tls",
    "Token",
    "Transcript",
    "Word",
    "microphone",
    "paced",
    "paced_async",
    "transcript",
]
