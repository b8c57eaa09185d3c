"""Writes inbox.json: synthetic messages with synthetic personal data, always the same.

Names are common ones put together by chance; e-mail domains, phone ranges and bank codes are
those reserved for examples or belong to nobody; check digits are computed so that they hold.
Run `python -m orchestrator.demo.generate` after a change here.
"""

import json
import random
from pathlib import Path

from orchestrator.privacy.checksums import luhn_holds

INBOX = Path(__file__).with_name("inbox.json")
SEED = 20261121
COUNT = 200

_FIRST = ("Ada", "Ben", "Chloe", "Dana", "Emil", "Fatima", "Goran", "Hana", "Ivo", "Jana", "Karim")
_LAST = ("Adler", "Brandt", "Costa", "Dahl", "Ekholm", "Fisher", "Garcia", "Ibrahim", "Jensen")
_DOMAINS = ("example.com", "example.org", "example.net")

# topic -> ways to write of it
_TEXTS = {
    "refund": (
        "I returned the kettle two weeks ago and my money is not back. Please pay it to {iban}.",
        "When do I get my refund for order {order}? You can reach me at {phone}.",
        "{name} here. The refund should go to card {card}, nothing has arrived yet.",
        "Please send the money back to {iban}, I gave the shoes back in the shop.",
        "My refund of 40 euros is missing, write to {email} when it is paid.",
    ),
    "delivery": (
        "My parcel {order} is late. Where is it? Call {phone}.",
        "The tracking page says nothing since Monday, please tell {email} when it comes.",
        "{name} speaking, order {order} was promised for last week and is still on its way.",
        "Has the driver lost my package? Nobody rang, my number is {phone}.",
        "Still waiting for the delivery of {order}. Please write to {email}.",
    ),
    "password": (
        "I cannot log in any more, the reset link to {email} never arrives.",
        "Forgot my password. My account is under {email}, please help.",
        "The page says wrong password, but I changed it today. {name}, {phone}.",
        "Please reset the login for {email}, I am locked out of my account.",
        "Two-step code does not come to {phone}, so I cannot sign in.",
    ),
    "invoice": (
        "I need a copy of the invoice for order {order}, send it to {email}.",
        "The bill for {order} has the wrong company name, it must be {name}.",
        "Please mail last month's receipt to {email} for my tax office.",
        "Our accountant needs the invoice with the VAT number. {name}, {phone}.",
        "Where do I find the receipt of order {order}? I paid with {card}.",
    ),
    "cancel": (
        "Please cancel my subscription at the end of the month. {name}, {email}.",
        "I want to stop the monthly box, do not charge {card} again.",
        "How do I end my membership? Answer to {email} please.",
        "Cancel the contract of {name}, we move abroad. Phone {phone}.",
        "Stop the subscription and no more debits from {iban}, thanks.",
    ),
    "damaged": (
        "The lamp from order {order} arrived broken, the glass is in pieces. {phone}",
        "My new chair has a crack. I can send photos from {email}.",
        "{name}: the blender was damaged in the box and does not turn on.",
        "The screen of the tablet is scratched, order {order}. Please replace it.",
        "One of the cups was smashed when I opened the parcel. Call {phone}.",
    ),
    "address": (
        "I have moved, please change the address of {name} before you ship {order}.",
        "Wrong street on my order {order}, can you correct it? {phone}",
        "Please send it to my office instead of home, details went to {email}.",
        "Our house number changed, update the account of {email} please.",
        "The delivery address for {order} should be my neighbour's. Regards, {name}.",
    ),
    "payment": (
        "My card {card} was declined although there is money on it.",
        "The payment for {order} failed twice, but {iban} was debited.",
        "I was charged two times for order {order}. {name}, {phone}.",
        "The checkout does not accept {card}, what else can I pay with?",
        "Direct debit from {iban} did not work, shall I try again? {email}",
    ),
}

TOPICS = {
    "refund": "When and how money is paid back after a return or refund.",
    "delivery": "Where a parcel is, late deliveries and tracking.",
    "password": "Problems with login, password reset and access to the account.",
    "invoice": "Copies of invoices and receipts, and corrections of a bill.",
    "cancel": "How to cancel a subscription, membership or contract.",
    "damaged": "Goods that arrived broken, damaged or scratched.",
    "address": "Changing or correcting the delivery address of an order.",
    "payment": "Declined cards, failed payments and double charges.",
}
"""The help topics, by name."""


def make_inbox(seed: int = SEED, count: int = COUNT) -> list[dict[str, object]]:
    """Return messages with their id, text, true topic, and whether they are confidential."""
    source = random.Random(seed)  # noqa: S311 - the same inbox every time is the point
    topics = [topic for topic in _TEXTS for _ in range(-(-count // len(_TEXTS)))][:count]
    source.shuffle(topics)
    return [
        {
            "id": number,
            "text": source.choice(_TEXTS[topic]).format(**_person(source)),
            "topic": topic,
            # One customer in ten has asked that nothing of theirs leaves the shop.
            "confidential": source.random() < 0.1,
        }
        for number, topic in enumerate(topics, 1)
    ]


def _person(source: random.Random) -> dict[str, str]:
    first, last = source.choice(_FIRST), source.choice(_LAST)
    return {
        "name": f"{first} {last}",
        "email": f"{first}.{last}@{source.choice(_DOMAINS)}".lower(),
        "phone": _phone(source),
        "card": _card(source),
        "iban": _iban(source),
        "order": f"A{source.randrange(10_000, 99_999)}",
    }


def _phone(source: random.Random) -> str:
    # Ranges that Ofcom and the North American plan keep for fiction.
    tail = f"{source.randrange(100):02d}"
    forms = (f"+44 20 7946 09{tail}", f"07700 9000{tail}", f"+1 202 555 01{tail}")
    return source.choice(forms)


def _card(source: random.Random) -> str:
    body = "400000" + "".join(str(source.randrange(10)) for _ in range(9))
    digits = next(body + str(last) for last in range(10) if luhn_holds(body + str(last)))
    return " ".join(digits[place : place + 4] for place in range(0, 16, 4))


def _iban(source: random.Random) -> str:
    body = "00000000" + f"{source.randrange(10**10):010d}"  # a bank code that no bank has
    check = 98 - int(body + "131400") % 97  # "DE" as numbers, then the check digits to be
    account = f"DE{check:02d}{body}"
    return " ".join(account[place : place + 4] for place in range(0, len(account), 4))


def main() -> None:
    """Write inbox.json."""
    lines = ",\n".join(json.dumps(message) for message in make_inbox())
    note = "Synthetic: made by generate.py; no person, card or account in it is real."
    INBOX.write_text(f'{{"note": "{note}",\n"messages": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
