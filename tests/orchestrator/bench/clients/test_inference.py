from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np

from orchestrator.bench.clients import inference
from orchestrator.bench.clients.inference import InferenceClient
from orchestrator.core.ports import free_port


@asynccontextmanager
async def serving(seen: list[Any]) -> AsyncIterator[str]:
    """A server of the protocol that gives back the bytes of its input."""
    request_kind, response_kind = inference._messages()

    async def infer(request: Any, context: Any) -> Any:
        seen.append(request)
        if request.model_name == "embed":
            body = np.array([1, 2], np.float32).tobytes()
        else:
            body = request.raw_input_contents[0]
        return response_kind(model_name=request.model_name, raw_output_contents=[body])

    handler: Any = grpc.unary_unary_rpc_method_handler(
        infer,
        request_deserializer=request_kind.FromString,
        response_serializer=response_kind.SerializeToString,
    )
    service = "inference.GRPCInferenceService"
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"ModelInfer": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def test_texts_and_arrays_travel_as_tensors() -> None:
    seen: list[Any] = []
    array = np.arange(5, dtype=np.float32)
    async with serving(seen) as address:
        client = InferenceClient(address, padded=10)
        assert await client.ready()
        assert await client.echo("a text") == b"a text"
        assert np.array_equal(await client.tensor(array), array)
        assert (await client.embed("a text")).tolist() == [1, 2]
        await client.aclose()
    _, text, tensor, embed = [(r.model_name, r.inputs[0]) for r in seen]
    assert (text[0], text[1].datatype, list(text[1].shape)) == ("echo", "UINT8", [6])
    assert (tensor[0], tensor[1].datatype, list(tensor[1].shape)) == ("tensor", "FP32", [5])
    assert (embed[0], list(embed[1].shape)) == ("embed", [1, 10])


def test_the_numbers_of_the_fields_are_those_of_the_protocol() -> None:
    request, response = inference._messages()
    assert request(model_name="m", raw_input_contents=[b"x"]).SerializeToString() == (
        b"\x0a\x01m\x3a\x01x"  # fields 1 and 7
    )
    assert response(raw_output_contents=[b"x"]).SerializeToString() == b"\x32\x01x"  # field 6
    made = request()
    made.inputs.add(name="i", datatype="FP32", shape=[2])
    assert made.SerializeToString() == b"\x2a\x0c\x0a\x01i\x12\x04FP32\x1a\x01\x02"


async def test_nobody_listening_is_not_ready() -> None:
    client = InferenceClient(f"127.0.0.1:{free_port()}")
    assert not await client.ready()
    await client.aclose()
