"""The wire format: what is written can be read, and reading forgives what a published evaluator forgives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefdisco.protocol import format_final, format_question, join_thinking, parse_turn, split_thinking

plain = st.text(st.characters(exclude_characters="#<>'\"", exclude_categories=["Cs"]), min_size=1).map(str.strip)
plain = plain.filter(bool)


@given(plain)
def test_what_is_written_is_read_back(text: str) -> None:
    assert parse_turn(format_question(text)) == ("question", text)
    assert parse_turn(format_final(text)) == ("final", text)


@given(plain, plain)
def test_thinking_survives_splitting_and_joining(thinking: str, visible: str) -> None:
    assert split_thinking(join_thinking(thinking, visible)) == (thinking, visible, True)


@given(st.text(st.sampled_from("#ACTIONRESPEask_question':<think>/ \n")))
def test_any_text_is_read_without_an_exception(text: str) -> None:
    parse_turn(split_thinking(text).visible)


@pytest.mark.parametrize(
    "text",
    [
        "###ACTION###: 'ask_question'\n###RESPONSE###: A table?",
        '###ACTION###: "ask_question"\n###RESPONSE###: "A table?"',
        "###ACTION###: ask_question\n###RESPONSE###: A table?",
        "### Action ###:  Ask_Question\n\n### Response ###:\nA table?\n",
        "Sure!\n###ACTION###: `ask question` ###RESPONSE###: A table?",
        "###ACTION###: ask_question\nA table?",
        "###ACTION###: 'ask_question'\n###RESPONSE###: A table?\n###ACTION###: 'final_answer'\n###RESPONSE###: 42",
    ],
)
def test_question_is_read_whatever_its_quotes_case_and_space(text: str) -> None:
    assert parse_turn(text) == ("question", "A table?")


def test_final_answer_keeps_its_lines() -> None:
    assert parse_turn("###ACTION###: 'final_answer'\n###RESPONSE###: a\n\n- b\n").text == "a\n\n- b"


@pytest.mark.parametrize(
    "text", ["The answer is 42.", "###ACTION###: 'dance'\n###RESPONSE###: 42", "###ACTION###: 'ask_question'", ""]
)
def test_turn_without_a_valid_action_is_malformed_and_keeps_its_text(text: str) -> None:
    assert parse_turn(text) == ("malformed", text)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("42", ("", "42", True)),
        ("<think>hm</think>42", ("hm", "42", True)),
        ("hm</think>42", ("hm", "42", True)),
        ("<think>hm 42", ("hm 42", "", False)),
        ("so <think>hm</think>42", ("hm", "so 42", False)),
        ("<think>a</think>1<think>b</think>2", ("a\nb", "12", False)),
        ("<think>a</think>1<think>b", ("a\nb", "1", False)),
        ("<think>a</think>1</think>2", ("a", "12", False)),
        ("<think>a<think>b</think>1", ("a<think>b", "1", False)),
    ],
)
def test_thinking_is_split_off(raw: str, expected: tuple[str, str, bool]) -> None:
    assert split_thinking(raw) == expected
