"""The client against a server on the official stubs, gRPC and REST.

Where TF_SERVING_URL names a real server, the first tests run against that one
too. It serves, as "base", what these tests export to TF_SERVING_FOLDER: run
them once with that set, `keras-prompt serve-config $TF_SERVING_FOLDER/base`,
start the server, and run them with both set.
"""

import contextlib
import math
import os
import pickle
import socket
import threading
import time

import numpy as np
import pytest

pytest.importorskip("tensorflow_serving", reason="needs gRPC's stubs")

import stub_server

from keras_prompt.serving import (
    Client,
    RequestRefusedError,
    RowsRefusedError,
    ServerTimeoutError,
    ServerUnavailableError,
)

TEXTS = ["the film is a delight", "a dog barked", "dull"]
TASKS = ["films", "dogs", "dogs"]
LABELS = ["positive", "a dog"]


@pytest.fixture(scope="module")
def model(served):
    return stub_server.Model(served.base)


@pytest.fixture(params=["grpc", "rest", "real"])
def client(request, model, served):
    with contextlib.ExitStack() as stack:
        if request.param == "real":
            address = os.environ.get("TF_SERVING_URL")
            if not address:
                pytest.skip("TF_SERVING_URL names no real server")
        elif request.param == "grpc":
            address = stack.enter_context(stub_server.grpc_server(model))
        else:
            address = stack.enter_context(stub_server.rest_server(model))
        tokenizer = served.alone["films"].tokenizer
        yield stack.enter_context(
            Client(address, tokenizer, input_length=24, timeout=20)
        )


@pytest.mark.parametrize("kind", [list, np.array])
def test_answers_are_those_of_the_prompts_alone(client, served, kind):
    written = client.generate(kind(TEXTS), kind(TASKS))
    ranked = client.rank(kind(TEXTS), kind(TASKS), kind(LABELS))
    assert ranked.dtype == np.float32
    for row, (text, task) in enumerate(zip(TEXTS, TASKS, strict=True)):
        alone = served.alone[task]
        assert written[row] == alone.generate([text], max_length=6)[0]
        expected = alone.rank([text], LABELS)[0]
        np.testing.assert_allclose(ranked[row], expected, 1e-5, 1e-5)
    assert client.generate(kind([]), []) == []
    assert client.rank(kind([]), [], LABELS).shape == (0, 2)


@pytest.mark.parametrize("kind", ["grpc", "rest"])
def test_a_base_that_takes_text_needs_no_tokenizer(text_base, served, kind):
    server = getattr(stub_server, f"{kind}_server")
    tokenizer = served.alone["films"].tokenizer
    texts = ["naïve 電影 <extra_id_0>", *TEXTS[1:]]
    with (
        server(stub_server.Model(text_base)) as address,
        Client(address, tokenizer) as of_ids,
        Client(address) as of_text,
    ):
        written = of_text.generate(texts, TASKS)
        assert written == of_ids.generate(texts, TASKS)
        ranked = of_text.rank(texts, TASKS, LABELS)
        assert ranked.dtype == np.float32
        np.testing.assert_array_equal(ranked, of_ids.rank(texts, TASKS, LABELS))
        long = "the film is a delight " * 24
        with pytest.raises(RowsRefusedError, match="longer than 24 tokens"):
            of_text.generate([long], "films")
        with pytest.raises(ValueError, match="sequence of strings"):
            of_text.generate("film", "films")
        with pytest.raises(RowsRefusedError, match="invalid task name"):
            of_text.generate(["film"], "films\0")


@pytest.mark.parametrize("kind", ["grpc", "rest"])
def test_a_base_of_ids_says_that_it_takes_no_text(model, kind):
    with (
        getattr(stub_server, f"{kind}_server")(model) as address,
        Client(address) as client,
        pytest.raises(RequestRefusedError, match="for want of a tokenizer"),
    ):
        client.generate(TEXTS, TASKS)


def test_rows_that_cannot_be_answered_are_named(client):
    with pytest.raises(RowsRefusedError, match="row 1: unknown task 'dogz'"):
        client.generate(TEXTS, ["films", "dogz", "dogs"])
    with pytest.raises(RowsRefusedError, match="and 1 rows more") as caught:
        client.rank(TEXTS, ["../films", "", "dogs"], LABELS)
    assert caught.value.statuses == {
        0: "invalid task name",
        1: "invalid task name",
    }


def test_a_long_text_is_cut_as_the_model_would(client, served):
    text = "the film is a delight and the cast is wonderful " * 9
    alone = served.alone["films"]
    expected = alone.generate([text], max_length=6, input_length=24)
    assert client.generate([text], "films") == expected


@pytest.mark.parametrize("kind", ["grpc", "rest"])
def test_another_models_name_is_refused_without_a_second_attempt(
    model, served, kind
):
    server = getattr(stub_server, f"{kind}_server")
    tokenizer = served.alone["films"].tokenizer
    with server(model) as address:
        before = model.calls
        client = Client(address, tokenizer, model="bass")
        with pytest.raises(RequestRefusedError, match="Servable not found"):
            client.generate(TEXTS, "films")
        assert model.calls == before + 1
        client.close()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.parametrize("kind", ["grpc", "rest"])
def test_a_timeout_may_be_without_end(model, served, kind):
    tokenizer = served.alone["films"].tokenizer
    with (
        getattr(stub_server, f"{kind}_server")(model) as address,
        Client(address, tokenizer, timeout=math.inf) as client,
    ):
        assert len(client.generate(TEXTS[:1], TASKS[:1])) == 1


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_nobody_at_the_address_is_said_within_the_timeout(served, scheme):
    address = f"{scheme}127.0.0.1:{free_port()}"
    tokenizer = served.alone["films"].tokenizer
    start = time.monotonic()
    with (
        Client(address, tokenizer, timeout=0.6) as client,
        pytest.raises(
            (ServerUnavailableError, ServerTimeoutError), match="127"
        ),
    ):
        client.generate(TEXTS, "films")
    assert time.monotonic() - start < 5


def test_a_server_that_comes_late_is_reached(model, served):
    port = free_port()
    tokenizer = served.alone["films"].tokenizer
    done = threading.Event()

    def serve_later():
        time.sleep(0.5)
        with stub_server.grpc_server(model, port):
            done.wait(30)

    thread = threading.Thread(target=serve_later)
    thread.start()
    try:
        with Client(f"127.0.0.1:{port}", tokenizer, timeout=30) as client:
            assert len(client.generate(TEXTS, TASKS)) == 3
    finally:
        done.set()
        thread.join()


def test_a_server_that_is_not_ready_is_asked_again(model, served):
    tokenizer = served.alone["films"].tokenizer
    with stub_server.rest_server(model, failures=[503, 503]) as address:
        assert len(Client(address, tokenizer).generate(TEXTS, TASKS)) == 3


def test_a_server_s_own_time_limit_is_not_tried_again(model, served):
    tokenizer = served.alone["films"].tokenizer
    with stub_server.rest_server(model, failures=[504]) as address:
        client = Client(address, tokenizer)
        with pytest.raises(ServerTimeoutError, match="did not answer in time"):
            client.generate(TEXTS, TASKS)
        assert len(client.generate(TEXTS, TASKS)) == 3


@contextlib.contextmanager
def raw_server(*parts, pause=0.0):
    """Sends these bytes to each request, with a pause between them."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    one, _ = listening.accept()
                    with one, contextlib.suppress(OSError):
                        one.recv(1 << 16)
                        for part in parts:
                            one.sendall(part)
                            time.sleep(pause)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


def reply(body, code=200, missing=0):
    head = f"HTTP/1.1 {code} x\r\nContent-Length: {len(body) + missing}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (reply(b'{"outputs": [[1, 2]]}'), RequestRefusedError, "no answer of"),
        (reply(b'{"outputs": {"a": [1]}}'), RequestRefusedError, "no status"),
        (reply(b"[]"), RequestRefusedError, "no answer of TensorFlow"),
        (reply(b"what", 400, 9), ServerUnavailableError, "No server answers"),
        (reply(b"what", 400), RequestRefusedError, r"\(400\): what"),
        (b"SSH-2.0\r\n", ServerUnavailableError, "No server answers"),
    ],
)
def test_answers_of_other_servers_are_errors_of_this_package(
    served, answer, kind, message
):
    tokenizer = served.alone["films"].tokenizer
    with (
        raw_server(answer) as address,
        Client(address, tokenizer, timeout=0.5) as client,
        pytest.raises(kind, match=message),
    ):
        client.generate(TEXTS, TASKS)


def test_an_answer_in_drops_ends_with_the_timeout(served):
    drops = [reply(b" ", missing=100), *[b" "] * 100]
    tokenizer = served.alone["films"].tokenizer
    start = time.monotonic()
    with (
        raw_server(*drops, pause=0.1) as address,
        Client(address, tokenizer, timeout=0.5) as client,
        pytest.raises(ServerTimeoutError),
    ):
        client.generate(TEXTS, TASKS)
    assert time.monotonic() - start < 5


def test_a_model_s_name_may_have_a_space(model, served):
    tokenizer = served.alone["films"].tokenizer
    with (
        stub_server.rest_server(model) as address,
        Client(address, tokenizer, model="ba se") as client,
        pytest.raises(RequestRefusedError, match="Servable not found"),
    ):
        client.generate(TEXTS, TASKS)


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_an_answer_that_does_not_come_is_a_timeout(served, scheme):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"{scheme}127.0.0.1:{silent.getsockname()[1]}"
        tokenizer = served.alone["films"].tokenizer
        with (
            Client(address, tokenizer, timeout=0.5) as client,
            pytest.raises(ServerTimeoutError, match="did not answer in time"),
        ):
            client.generate(TEXTS, "films")


@pytest.mark.parametrize(
    "address",
    [
        *("", "localhost", "host:port", "http//x:1", ":8500"),
        *("http://", "http://host:85o1", "http://host:99999", "http://a b"),
    ],
)
def test_what_is_no_address_is_refused(served, address):
    with pytest.raises(ValueError, match="`address` must be"):
        Client(address, served.alone["films"].tokenizer)


def test_wrong_arguments_are_refused_before_a_request(served):
    tokenizer = served.alone["films"].tokenizer
    with pytest.raises(ValueError, match="`timeout` must be positive"):
        Client("localhost:1", tokenizer, timeout=0)
    with Client("http://localhost:1", tokenizer) as client:
        with pytest.raises(ValueError, match="3 texts and 1 tasks"):
            client.generate(TEXTS, ["films"])
        for texts in ("a film", "", {}, None):
            for ask in (client.generate, lambda *a: client.rank(*a, LABELS)):
                with pytest.raises(ValueError, match="`texts` must be a seq"):
                    ask(texts, "films")
        with pytest.raises(ValueError, match="at least one label"):
            client.rank(TEXTS, "films", [])
        with pytest.raises(ValueError, match="`labels` must be a sequence"):
            client.rank(TEXTS, "films", "True")


def test_refused_rows_come_whole_from_another_process():
    """As from a pool of workers, which pickles what a task raises."""
    error = RowsRefusedError({2: "unknown task 'dogz'", 5: "empty input"})
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is RowsRefusedError
    assert again.statuses == error.statuses
    assert str(again) == str(error)
