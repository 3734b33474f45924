"""One request to a TensorFlow Serving, over gRPC or REST.

A transport sends arrays to a signature and gives arrays back; each attempt
has the seconds that are left.
"""

import http
import http.client
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from keras_prompt.serving.errors import (
    RequestRefusedError,
    ServerTimeoutError,
    ServerUnavailableError,
)

_PART = 1 << 20  # bytes of an answer at a time
Arrays = Mapping[str, npt.NDArray[Any]]
# HTTP's: of a proxy or while a model loads; and DEADLINE_EXCEEDED.
_NO_SERVER, _LATE = (502, 503), 504


class Transport(Protocol):
    """Runs a signature on the server."""

    def predict(
        self, model: str, signature: str, inputs: Arrays, seconds: float
    ) -> dict[str, npt.NDArray[Any]]:
        """The signature's outputs.

        Raises:
            ServerUnavailableError: nobody answers.
            ServerTimeoutError: no answer in so many seconds.
            RequestRefusedError: the server answers with an error.
        """

    def close(self) -> None:
        """Ends the connection."""


def connect(address: str) -> Transport:
    """The transport for an address: REST for a URL, else gRPC.

    Raises:
        ValueError: it is neither "host:port" nor "http://host:port", or
            gRPC's stubs are not installed.
    """
    if _is_url(address):
        return RestTransport(address)
    host, _, port = address.removeprefix("grpc://").rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise ValueError(
            "`address` must be 'host:port' for gRPC or 'http://host:port' for "
            f"REST. Received: address={address!r}"
        )
    return GrpcTransport(f"{host}:{port}")


class RestTransport:
    """TensorFlow Serving's REST interface, JSON with named columns.

    Args:
        url: such as "http://localhost:8501".
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._opener = urllib.request.build_opener(_EveryCode)

    def predict(
        self, model: str, signature: str, inputs: Arrays, seconds: float
    ) -> dict[str, npt.NDArray[Any]]:
        body = {
            "signature_name": signature,
            "inputs": {name: _plain(value) for name, value in inputs.items()},
        }
        request = urllib.request.Request(
            f"{self._url}/v1/models/{urllib.parse.quote(model)}:predict",
            json.dumps(body, allow_nan=False).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            code, content = _answer(self._opener, request, seconds)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise _late(self._url) from error
            raise ServerUnavailableError(
                f"No server answers at {self._url}: {reason}"
            ) from error
        words = content.decode(errors="replace")
        if code == _LATE:
            raise _late(self._url)
        if code in _NO_SERVER:
            raise ServerUnavailableError(f"{self._url} is not ready: {words}")
        if code != http.HTTPStatus.OK:
            raise RequestRefusedError(
                f"{self._url} refuses the request ({code}): {words}"
            )
        try:
            outputs = json.loads(words)["outputs"]
            return {name: np.asarray(x) for name, x in outputs.items()}
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise RequestRefusedError(
                f"{self._url} gives no answer of TensorFlow Serving: {error}"
            ) from error

    def close(self) -> None:
        """Every request has its own connection."""


class GrpcTransport:
    """TensorFlow Serving's gRPC interface.

    Args:
        target: "host:port".

    Raises:
        ValueError: gRPC's stubs are not installed.
    """

    def __init__(self, target: str) -> None:
        try:
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ModuleNotFoundError as error:
            raise ValueError(
                f"`address` {target} is gRPC's, which needs the stubs of "
                "TensorFlow Serving: pip install --no-deps "
                "tensorflow-serving-api==2.21.0. Or use REST, with an address "
                "that begins with http://."
            ) from error
        import grpc

        self._target = target
        self._channel = grpc.insecure_channel(
            target, options=[("grpc.max_receive_message_length", -1)]
        )
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )

    def predict(
        self, model: str, signature: str, inputs: Arrays, seconds: float
    ) -> dict[str, npt.NDArray[Any]]:
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        try:
            answer = self._stub.Predict(request, timeout=seconds)
        except grpc.RpcError as error:
            code, words = error.code(), error.details()
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise _late(self._target) from error
            if code == grpc.StatusCode.UNAVAILABLE:
                raise ServerUnavailableError(
                    f"No server answers at {self._target}: {words}"
                ) from error
            raise RequestRefusedError(
                f"{self._target} refuses the request ({code.name}): {words}"
            ) from error
        return {
            name: tf.make_ndarray(value)
            for name, value in answer.outputs.items()
        }

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()


def _is_url(address: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(address)
        is_complete = bool(parts.hostname) and parts.port != 0
    except ValueError:  # of the port
        return False
    is_of_http = parts.scheme in ("http", "https")
    return is_of_http and is_complete and " " not in address


class _EveryCode(urllib.request.HTTPErrorProcessor):
    """Hands an answer on, whatever its code."""

    def http_response(self, request: Any, response: Any) -> Any:
        return response

    https_response = http_response


def _answer(
    opener: urllib.request.OpenerDirector,
    request: urllib.request.Request,
    seconds: float,
) -> tuple[int, bytes]:
    """The code and the body of an answer.

    Raises:
        OSError: there is none, or not all of it in so many seconds.
        http.client.HTTPException: it is none of HTTP.
    """
    end = time.monotonic() + seconds
    with opener.open(request, timeout=seconds) as answer:
        parts = []
        # The time-out of a socket is for each silence, not for the whole.
        while part := answer.read1(_PART):
            parts.append(part)
            if time.monotonic() > end:
                raise TimeoutError
        if answer.length:  # left of what was announced
            raise http.client.IncompleteRead(b"".join(parts), answer.length)
        return answer.status, b"".join(parts)


def _late(where: str) -> ServerTimeoutError:
    return ServerTimeoutError(f"{where} did not answer in time.")


def _plain(value: npt.NDArray[Any]) -> Any:
    """JSON's lists; bytes become text."""
    # Not by numpy's own strings, which lose NUL at the end.
    if value.dtype.kind == "O":
        value = np.vectorize(bytes.decode, otypes=[object])(value)
    return value.tolist()
