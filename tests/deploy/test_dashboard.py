"""The dashboard as a document. That its questions are answered is shown by tests/kernel/test_observed.py."""

from itertools import combinations
from typing import Any

from tests.deploy.dashboard import expressions, load

QUESTIONS = ["What is felt", "What fired", "What was done", "How fast", "Is anything lost", "What it costs"]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = load()["panels"]
    return found


def test_it_answers_the_questions_in_order() -> None:
    assert [panel["title"] for panel in panels() if panel["type"] == "row"] == QUESTIONS


def test_every_panel_asks_and_every_question_is_of_the_chosen_instances() -> None:
    assert all(panel["targets"] for panel in panels() if panel["type"] != "row")
    assert [title for title, expression in expressions() if 'instance=~".*"' not in expression] == []


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in panels()}) == len(panels())
    for first, second in combinations([panel["gridPos"] for panel in panels()], 2):
        apart = (
            first["x"] + first["w"] <= second["x"]
            or second["x"] + second["w"] <= first["x"]
            or first["y"] + first["h"] <= second["y"]
            or second["y"] + second["h"] <= first["y"]
        )
        assert apart, (first, second)
