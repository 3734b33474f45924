"""One request to a TensorFlow Serving, over gRPC or REST.

A transport sends arrays to a signature and gives arrays back; each attempt
has the seconds that are left.
"""

import http.client
import json
import urllib.error
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

Arrays = Mapping[str, npt.NDArray[Any]]
_NO_SERVER = (502, 503, 504)  # HTTP: of a proxy, or while a model loads


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
    if address.startswith(("http://", "https://")):
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

    def predict(
        self, model: str, signature: str, inputs: Arrays, seconds: float
    ) -> dict[str, npt.NDArray[Any]]:
        body = {
            "signature_name": signature,
            "inputs": {name: _plain(value) for name, value in inputs.items()},
        }
        request = urllib.request.Request(
            f"{self._url}/v1/models/{model}:predict",
            json.dumps(body, allow_nan=False).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                outputs = json.load(answer)["outputs"]
        except urllib.error.HTTPError as error:
            with error:
                words = error.read().decode(errors="replace")
            if error.code in _NO_SERVER:
                raise ServerUnavailableError(
                    f"{self._url} is not ready: {words}"
                ) from error
            raise RequestRefusedError(
                f"{self._url} refuses the request ({error.code}): {words}"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise _late(self._url) from error
            raise ServerUnavailableError(
                f"No server answers at {self._url}: {reason}"
            ) from error
        except (ValueError, LookupError, TypeError) as error:
            raise RequestRefusedError(
                f"{self._url} gives no answer of TensorFlow Serving: {error}"
            ) from error
        return {name: np.asarray(value) for name, value in outputs.items()}

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


def _late(where: str) -> ServerTimeoutError:
    return ServerTimeoutError(f"{where} did not answer in time.")


def _plain(value: npt.NDArray[Any]) -> Any:
    """JSON's lists; bytes become text."""
    # Not by numpy's own strings, which lose NUL at the end.
    if value.dtype.kind == "O":
        value = np.vectorize(bytes.decode, otypes=[object])(value)
    return value.tolist()
