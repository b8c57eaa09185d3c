"""Asking an orchestrator which nodes are attached to it."""

from typing import TYPE_CHECKING

import grpc

from orchestrator.core.report import NodeReport
from orchestrator.wire.connection import CLIENT_OPTIONS, CONNECT_SECONDS, Connection
from orchestrator.wire.messages import decode_report
from orchestrator.wire.security import TlsFiles, client_credentials
from orchestrator.wire.status import error_of
from protos.isthmus.v1 import node_pb2 as pb
from protos.isthmus.v1.node_pb2_grpc import OrchestratorStub

if TYPE_CHECKING:
    from protos.isthmus.v1.node_pb2_grpc import OrchestratorAsyncStub  # known to checkers alone

_ANSWER_SECONDS = 2.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104  where one listens, not asks


async def attached_nodes(
    address: str, tls: TlsFiles | None, identity: str = ""
) -> dict[str, NodeReport | None]:
    """Return the nodes that may attach by name, each with its report if it has.

    Args:
        address: Where the orchestrator listens.
        tls: The orchestrator's own certificate, which is what it answers to; None is plaintext.
        identity: The name in that certificate, if not the host of the address.

    Raises:
        CallError: It is not there, or does not answer.
    """
    host, _, port = address.rpartition(":")
    address = f"{_ANYWHERE.get(host, host)}:{port}"
    options = [*CLIENT_OPTIONS]
    if identity:
        options.append(("grpc.ssl_target_name_override", identity))
    credentials = client_credentials(tls) if tls else None
    connection = Connection(address, credentials, options, "orchestrator")
    try:
        channel = await connection.ready(CONNECT_SECONDS)
        stub: OrchestratorAsyncStub = OrchestratorStub(channel)
        reply = await stub.ListNodes(pb.ListNodesRequest(), timeout=_ANSWER_SECONDS)
    except grpc.aio.AioRpcError as failure:
        raise error_of(failure, address) from None
    finally:
        await connection.aclose()
    return {
        entry.name: decode_report(entry.report) if entry.HasField("report") else None
        for entry in reply.nodes
    }
