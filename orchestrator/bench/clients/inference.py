"""A client of the Open Inference Protocol over gRPC: what Triton and MLServer speak.

Of its messages only the fields that are used here are declared; the numbers are those of
`grpc_predict_v2.proto` (https://github.com/kserve/open-inference-protocol).
"""

from functools import cache
from typing import Any

import grpc
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from orchestrator.bench.bare.contract import OPTIONS
from orchestrator.bench.clients.bare import connected
from orchestrator.bench.parties import Floats

_FIELD = descriptor_pb2.FieldDescriptorProto
_STRING, _INT64, _BYTES = _FIELD.TYPE_STRING, _FIELD.TYPE_INT64, _FIELD.TYPE_BYTES
_ONE, _MANY = _FIELD.LABEL_OPTIONAL, _FIELD.LABEL_REPEATED

_TENSOR = [("name", 1, _STRING, _ONE), ("datatype", 2, _STRING, _ONE), ("shape", 3, _INT64, _MANY)]
_PACKAGE = "inference"


class InferenceClient:
    """Asks a server for models named `echo`, `tensor` and `embed`.

    Args:
        address: Where it listens.
        padded: To how many bytes texts are filled up; 0 leaves them as they are.
        tensor: The model that gives arrays back.
    """

    def __init__(self, address: str, padded: int = 0, tensor: str = "tensor") -> None:
        self._padded = padded
        self._tensor = tensor
        self._request, response = _messages()
        self._channel = grpc.aio.insecure_channel(address, OPTIONS)
        self._infer: Any = self._channel.unary_unary(
            f"/{_PACKAGE}.GRPCInferenceService/ModelInfer",
            request_serializer=self._request.SerializeToString,
            response_deserializer=response.FromString,
        )

    async def ready(self, model: str = "echo") -> bool:
        """Say whether the server runs a model."""
        if not await connected(self._channel):
            return False
        try:
            await (self.embed("0") if model == "embed" else self.echo("0"))
        except grpc.aio.AioRpcError:
            return False
        return True

    async def echo(self, text: str) -> bytes:
        """Send a text as bytes and return what came back."""
        return bytes(await self._ask("echo", "UINT8", text.encode(), batched=False))

    async def tensor(self, array: Floats) -> Floats:
        """Send an array and return what came back."""
        body = await self._ask(self._tensor, "FP32", array.tobytes(), batched=False)
        return np.frombuffer(body, np.float32)

    async def embed(self, text: str) -> Floats:
        """Return the vector of a text, sent as its bytes."""
        body = text.encode().ljust(self._padded, b"\0")
        return np.frombuffer(await self._ask("embed", "UINT8", body, batched=True), np.float32)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def _ask(self, model: str, datatype: str, body: bytes, *, batched: bool) -> bytes:
        count = len(body) // 4 if datatype == "FP32" else len(body)
        request = self._request(model_name=model, raw_input_contents=[body])
        shape = [1, count] if batched else [count]
        request.inputs.add(name="input", datatype=datatype, shape=shape)
        answer = await self._infer(request)
        return bytes(answer.raw_output_contents[0])


@cache
def _messages() -> tuple[Any, Any]:
    """Return the classes of a request and of its answer."""
    file = descriptor_pb2.FileDescriptorProto(
        name="isthmus/bench/inference.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, kind, side, raw in (
        ("ModelInferRequest", "InferInputTensor", "input", 7),
        ("ModelInferResponse", "InferOutputTensor", "output", 6),
    ):
        message = file.message_type.add(name=name)
        _declare(message.nested_type.add(name=kind), _TENSOR)
        _declare(message, [("model_name", 1, _STRING, _ONE)])
        _declare(message, [(f"raw_{side}_contents", raw, _BYTES, _MANY)])
        message.field.add(
            name=f"{side}s",
            number=5,
            type=_FIELD.TYPE_MESSAGE,
            label=_MANY,
            type_name=f".{_PACKAGE}.{name}.{kind}",
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes = [
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in ("ModelInferRequest", "ModelInferResponse")
    ]
    return classes[0], classes[1]


def _declare(message: Any, fields: list[tuple[str, int, Any, Any]]) -> None:
    for name, number, kind, label in fields:
        message.field.add(name=name, number=number, type=kind, label=label)
