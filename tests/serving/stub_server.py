"""A server on TensorFlow Serving's official stubs, and its REST twin.

It runs a SavedModel's signatures as the real one does; what it cannot show is
the real one's batching. No server binary is packaged for pip.
"""

import concurrent.futures
import contextlib
import http.server
import json
import threading

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class Model:
    """The signatures of a folder, under the name "base"."""

    def __init__(self, folder):
        self._loaded = tf.saved_model.load(str(folder))
        self.calls = 0

    def predict(self, name, signature, inputs):
        self.calls += 1
        if name != "base":
            raise LookupError(f"Servable not found for request: {name}")
        found = self._loaded.signatures[signature]
        specs = found.structured_input_signature[1]
        outputs = found(
            **{
                key: tf.constant(value, specs[key].dtype)
                for key, value in inputs.items()
            }
        )
        return {key: value.numpy() for key, value in outputs.items()}


class _Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model):
        self._model = model

    def Predict(self, request, context):  # noqa: N802
        inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        spec = request.model_spec
        try:
            found = self._model.predict(spec.name, spec.signature_name, inputs)
        except LookupError as error:
            context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        except (ValueError, tf.errors.OpError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error)[:200])
        answer = predict_pb2.PredictResponse()
        for key, value in found.items():
            answer.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return answer


@contextlib.contextmanager
def grpc_server(model, port=0, threads=8):
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    server = grpc.server(pool)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _Service(model), server
    )
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


@contextlib.contextmanager
def rest_server(model, failures=()):
    """Answers with these codes first, then as it should."""
    failures = list(failures)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(length))
            name = self.path.removeprefix("/v1/models/").partition(":")[0]
            code, answer = 200, {}
            if failures:
                code, answer = failures.pop(0), {"error": "not yet"}
            else:
                try:
                    found = model.predict(
                        name, body["signature_name"], body["inputs"]
                    )
                    answer["outputs"] = {
                        key: np.char.decode(value.astype("S")).tolist()
                        if value.dtype == object
                        else value.tolist()
                        for key, value in found.items()
                    }
                except (LookupError, ValueError) as error:
                    code, answer = 404, {"error": str(error)}
            data = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
