"""A ward: labelled services whose calls the audit log of a caller and of its nodes must hold."""

from orchestrator import Secret, Sensitive, edge_service


@edge_service(idempotent=True)
def lookup(name: Secret[str]) -> Secret[int]:
    return name.with_value(len(name.value))


@edge_service(idempotent=True)
def fail(name: Secret[str]) -> Secret[int]:
    raise ValueError(name.value)


@edge_service(declassifies=True)
def initials(name: Sensitive[str]) -> str:
    return "".join(word[0] for word in name.value.split())


@edge_service(idempotent=True)
def ping(number: int) -> int:
    return number
