import pytest

from orchestrator.privacy.recognisers.birth import BirthDateRecogniser


def written_in(text: str) -> list[str]:
    return [text[span.start : span.end] for span in BirthDateRecogniser().find(text)]


@pytest.mark.parametrize(
    ("text", "born"),
    [
        ("born 12 March 1984, admitted 2 May 2020", "12 March 1984"),
        ("DOB: 1984-03-12", "1984-03-12"),
        ("D.O.B. 03/12/1984", "03/12/1984"),
        ("date of birth March 12th, 1984", "March 12th, 1984"),
        ("geboren am 12. März 1984 in Graz", "12. März 1984"),
        ("geb. 12.03.84", "12.03.84"),
        ("née le 12 août 1984", "12 août 1984"),
        ("fecha de nacimiento: 12 de enero de 1984", "12 de enero de 1984"),
        ("nato il 12/03/1984", "12/03/1984"),
        ("data de nascimento 12-03-1984", "12-03-1984"),
        ("geboortedatum 12-03-1984", "12-03-1984"),
        ("ur. 12.03.1984 w Krakowie", "12.03.1984"),
        ("född 1984-03-12", "1984-03-12"),
    ],
)
def test_a_date_after_the_words_is_found(text: str, born: str) -> None:
    assert written_in(text) == [born]


@pytest.mark.parametrize(
    "text",
    [
        "admitted 12 March 1984",
        "born 31.02.1984",
        "born 45/45/1984",
        "born in 1984",
        "born in Graz, a nice old town in the south of Austria, moved 12.03.1984",
        "stubborn 12.03.1984",
    ],
)
def test_other_dates_and_days_that_never_were_are_not(text: str) -> None:
    assert written_in(text) == []
