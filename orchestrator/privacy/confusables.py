"""Characters that look like another: letters, dashes and dots of other scripts (Unicode TR 39).

Only those are here that can stand in a number, an address or a key; digits of all scripts and
mathematical, full-width or circled forms are known to Unicode itself (NFKC).
"""

_ALIKE = (
    # Cyrillic
    ("АВЕЅІЈКМНОРСТУХҮԚԜЗбӀ", "ABESIJKMHOPCTYXYQW36I"),
    ("аԁеһіјкӏморԛѕтухсѵԝгп", "adehijklmopqstyxcvwrn"),
    # Greek
    ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX"),
    ("αεηικνορτυχγω", "aenikvoptuxyw"),
    # Latin letters with another form, and Armenian
    ("ıɑɡɩʟոսօհ", "iagiLnuoh"),
    # dashes, dots, colons, slashes
    ("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043\u02d7\u06d4", "----------"),
    ("\u00b7\u2022\u2219\u22c5\u3002", "....."),
    ("\u2236\ua789\u02d0\u2044\u2215\u29f8", ":::///"),
)

CONFUSABLES = {
    ord(one): other for ones, others in _ALIKE for one, other in zip(ones, others, strict=True)
}
"""The plain character for each that looks like it."""
