"""What can go wrong for a user of the client. Every message can be shown as it is."""

import grpc


class ClientError(Exception):
    """Base of everything `client` raises on purpose."""


class CallFailed(ClientError):
    """The server refused or ended a call, or could not be reached; `code` says which."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name} {message}")
        self.code = code
        self.message = message

    @classmethod
    def of(cls, error: grpc.RpcError) -> "CallFailed":
        return cls(error.code(), error.details() or "no details given")


class ServerFailed(ClientError):
    """The embedded server did not start; the message carries what it said on its standard error."""


class NoMicrophone(ClientError):
    """There is no way to record: the library or a device is missing."""


class BadList(ClientError):
    """A Kaldi list (wav.scp, text) is malformed; the message names file and line."""
