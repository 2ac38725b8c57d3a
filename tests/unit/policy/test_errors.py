"""How an error reads."""

from controlplane.policy.errors import PolicyError, shown, suggest


def test_with_place_and_hint() -> None:
    assert str(PolicyError("is wrong", "mend it", "a.yaml", 3)) == "a.yaml:3: is wrong\nhint: mend it"


def test_of_a_whole_file() -> None:
    assert str(PolicyError("is empty", file="a.yaml")) == "a.yaml: is empty"


def test_without_a_place() -> None:
    assert str(PolicyError("is wrong")) == "is wrong"


def test_suggests_the_nearest_word() -> None:
    assert suggest("freez", ["kill", "freeze"]) == "did you mean `freeze`?"


def test_suggests_all_words_where_none_is_near() -> None:
    assert suggest("xyz", ["kill", "freeze"]) == "one of: freeze, kill"


def test_shows_any_value_on_one_short_line() -> None:
    assert shown("a\nb") == r"'a\nb'"
    assert len(shown("a" * 1000)) < 70
