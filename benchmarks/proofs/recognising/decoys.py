"""Digits and words that look like private values and are none."""

from random import Random

from benchmarks.proofs.recognising.values import Make, digits


def _order(source: Random) -> str:
    return source.choice((f"A{digits(source, 5)}", f"ORD-{digits(source, 8)}", digits(source, 10)))


def _date(source: Random) -> str:
    day, month, year = source.randint(1, 28), source.randint(1, 12), source.randint(2015, 2026)
    return source.choice(
        (f"{year}-{month:02d}-{day:02d}", f"{day:02d}/{month:02d}/{year}", f"{day}.{month}.{year}")
    )


def _timestamp(source: Random) -> str:
    clock = f"{source.randrange(24):02d}:{source.randrange(60):02d}:{source.randrange(60):02d}"
    day = f"2026-{source.randint(1, 12):02d}-{source.randint(1, 28):02d}"
    return source.choice(
        (f"{day}T{clock}.{digits(source, 6)}Z", f"{day} {clock}", f"{day}T{clock}+01:00")
    )


def _version(source: Random) -> str:
    parts = [str(source.randrange(30)) for _ in range(source.choice((2, 3, 3, 3)))]
    return source.choice(("", "v")) + ".".join(parts)


def _hash(source: Random) -> str:
    return "".join(source.choices("0123456789abcdef", k=source.choice((7, 32, 40, 64))))


def _uuid(source: Random) -> str:
    return "-".join("".join(source.choices("0123456789abcdef", k=k)) for k in (8, 4, 4, 4, 12))


def _price(source: Random) -> str:
    amount = source.randint(1, 9_999_999)
    return source.choice(
        (f"{amount:,}.{digits(source, 2)} EUR", f"${amount}.99", f"€ {amount / 100:.2f}")
    )


def _tracking(source: Random) -> str:
    return source.choice(
        (
            f"1Z{digits(source, 6)}0{digits(source, 9)}",
            f"JJD{digits(source, 18)}",
            digits(source, 12),
        )
    )


def _coordinates(source: Random) -> str:
    return f"{source.uniform(-90, 90):.6f}, {source.uniform(-180, 180):.6f}"


DECOYS: dict[str, Make] = {
    "order": _order,
    "date": _date,
    "timestamp": _timestamp,
    "version": _version,
    "hash": _hash,
    "uuid": _uuid,
    "price": _price,
    "tracking": _tracking,
    "coordinates": _coordinates,
    "isbn": lambda source: f"978-3-{digits(source, 2)}-{digits(source, 6)}-{digits(source, 1)}",
    "invoice": lambda source: f"{source.randint(2015, 2026)}/{digits(source, 6)}",
    "serial": lambda source: f"SN{digits(source, 4)}-{digits(source, 4)}-{digits(source, 4)}",
    "article": lambda source: digits(source, source.choice((6, 8, 13))),
    "count": lambda source: f"{source.randint(1, 9_999_999):,}",
    "epoch": lambda source: f"17{digits(source, source.choice((8, 11)))}",
}
