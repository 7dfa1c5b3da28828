"""Nothing that a model wrote, or a name that somebody chose, acts on the page or hides in it."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import tomllib
import zlib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from prefdisco.report.page import SCRIPTS, STYLES, page, write_page
from prefdisco.report.page.embedding import embed
from prefdisco.report.page.markup import visible
from prefdisco.report.sections import Section
from prefdisco.schema import Episode, Grade, Message, Question
from tests.browser import browser, needs_browser
from tests.hand_made import scenario
from tests.made_report import SECTIONS, Opened, made, opened, played

ASSETS = Path(__file__).parent.parent / "prefdisco" / "report" / "page"
ATTACKS = (
    "<script>window.pwned = 1</script>",
    "</script><script>window.pwned = 1</script>",
    '<img src="x" onerror="window.pwned = 1">',
    '"><svg onload="window.pwned = 1">',
    "' onmouseover='window.pwned = 1' autofocus onfocus='window.pwned = 1'",
    "<!-- <script> --!> ]]> </title></style></template>",
    "<iframe srcdoc='<script>parent.pwned = 1</script>'></iframe>",
    "&lt;b&gt; &amp; &#60;script&#62;",
    "{{data}} {{script}} ${window.pwned = 1} javascript:pwned=1",
    "<a href='https://example.org/'>",
    "__proto__",
    "constructor",
)
HIDDEN = "left\u202eright\u2066 zero\u200bwidth\u200d \ufeffmark \u00adsoft \u0000null \u001b[31m \u2028line"
NAMES = ["U+202E", "U+2066", "U+200B", "U+200D", "U+FEFF", "U+00AD", "U+0000", "U+001B", "U+2028"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as launched:
        yield launched


def with_texts(*texts: str) -> Episode:
    """An episode whose thinking and response are these, a paragraph each."""
    text = "\n\n".join(texts)
    return played(0, "oracle", random.Random(0), response=text, thinking=text)


def hostile(text: str) -> Episode:
    """An episode in which every text is this one."""
    return Episode(
        scenario_id=text,
        problem_id=text,
        persona_id=text,
        condition=text,
        seed=0,
        messages=(
            Message(role="system", content=text + "s"),
            Message(role="user", content=text),
            Message(role="assistant", content=text, thinking=text),
            Message(role="user", content=text + "!"),
            Message(role="assistant", content=text + "?", thinking=text),
        ),
        response="r" + text,
        thinking="t" + text,
        questions=(Question(text=text, answer=text + "!", revealed=text), Question(text="q" + text, answer=text)),
        malformed_turns=1,
        correct=False,
        grades=(Grade(attribute=text, score=1, reason=text),),
        alignment=1.0,
        family=text,
        domain=text,
        weights={text: 1.0},
        values={text: text},
        answered_by=text,
        error=text,
    )


def open_first(report: Opened) -> str:
    """All that is shown with the first unit open and everything unfolded."""
    report.page.locator(".row").first.click()
    report.columns()
    report.page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    return str(report.page.inner_text("#detail"))


@needs_browser
def test_markup_in_any_text_is_shown_and_does_nothing(chromium: Any, tmp_path: Path) -> None:
    runs = {attack: [hostile(attack)] for attack in ATTACKS}
    signatures = {f"{attack}/{attack}/{attack}/0": [attack] for attack in ATTACKS}
    figure = '<svg xmlns="http://www.w3.org/2000/svg" onload="top.pwned = 1"><image href="https://example.org/"/></svg>'
    sections = [Section(attack, attack, [[attack, attack], [attack, "1"]], figure) for attack in ATTACKS]
    known = [scenario("p1", each, **{each: each}).model_copy(update={"id": each}) for each in ATTACKS]
    path = write_page(tmp_path / "page.html", runs, sections, signatures, known, title=ATTACKS[0])
    with opened(chromium, path) as report:
        for number, attack in enumerate(ATTACKS):
            report.page.evaluate("hash => { location.hash = hash }", "#transcripts")
            report.choose("run", attack)
            report.choose("signature", attack)
            report.page.fill("#q", attack.replace('"', " "))
            assert report.titles() == [f"unit-{number}"]
            assert open_first(report).count(attack) >= 12
            report.page.hover(".row-title")
        report.page.click("#to-results")
        for part in ("h2", "p", "thead th:first-child", "tbody th"):
            assert report.page.locator(f".sections {part}").all_inner_texts() == list(ATTACKS)
        assert report.page.inner_text(".top h1") == report.page.title() == ATTACKS[0]
        assert report.page.evaluate("window.pwned") is None
        alive = "script, style, iframe, svg, a[href^=http], [onerror], [onload], [onfocus], [onmouseover]"
        found = "all => all.map(each => each.tagName)"
        assert report.page.eval_on_selector_all(f":is({alive}):not([type='text/plain'])", found) == ["STYLE", "SCRIPT"]


@needs_browser
def test_a_script_that_got_in_could_not_run_or_call_out(chromium: Any, tmp_path: Path) -> None:
    with opened(chromium, write_page(tmp_path / "page.html", made(2)), quiet=False) as report:
        report.page.evaluate("""() => {
            const act = 'onerror="window.pwned = 1" onclick="window.pwned = 1"';
            document.body.insertAdjacentHTML("beforeend", `<img src="data:," ${act}><p id=p ${act}>`);
            const script = document.createElement("script");
            script.textContent = "window.pwned = 1";
            document.body.append(script);
            document.getElementById("p").click();
        }""")
        report.page.wait_for_timeout(200)
        assert report.page.evaluate("window.pwned") is None
        for attempt in ("fetch('https://example.org/')", "import('data:text/javascript,window.pwned=1')"):
            assert report.page.evaluate(f"{attempt}.then(() => 'done', () => 'refused')") == "refused"
        assert any("Content Security Policy" in complaint for complaint in report.complaints)


@needs_browser
def test_characters_that_cannot_be_seen_are_shown(chromium: Any, tmp_path: Path) -> None:
    path = write_page(
        tmp_path / "page.html", {HIDDEN: [hostile(HIDDEN)]}, [Section(HIDDEN, HIDDEN, [[HIDDEN], [HIDDEN]])]
    )
    with opened(chromium, path) as report:
        shown = open_first(report)
        for name in NAMES:
            assert shown.count(name) >= 8, name
        assert report.page.locator(".thinking .text .unseen").count() >= len(NAMES)
        report.page.click("#to-results")
        assert all(name in report.page.inner_text(".sections h2") for name in NAMES)
        everything = report.page.evaluate("""() => [...document.querySelectorAll("body, body *")].flatMap((each) => [
            ...[...each.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data),
            ...[...each.attributes].filter((a) => !["value", "data-condition"].includes(a.name)).map((a) => a.value)
        ]).join(" ")""")
        left = re.findall(
            r"[^\S \n]|[\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\u00ad\u0000-\u0009\u000b-\u001f]", everything
        )
        assert "right" in everything and left == []


@needs_browser
def test_writing_that_needs_joiners_and_emoji_stays_as_it_is(chromium: Any, tmp_path: Path) -> None:
    texts = (
        "\u05e9\u05dc\u05d5\u05dd 123 abc",
        "\U0001f469\u200d\U0001f680 \u2764\ufe0f 👍🏽",
        "tab\there",
        "e\u0301 \u4f60\u597d",
    )
    tricky = ("many\u200b\u200b\u200b\u200b", "smuggled\ufe0f\ufe0f\U000e0041\U000e0042")
    with opened(chromium, write_page(tmp_path / "page.html", {"r": [with_texts(*texts, *tricky)]})) as report:
        shown = open_first(report)
        assert [text for text in texts if text not in shown] == []
        assert report.page.locator(".turn.final > .text .unseen").all_inner_texts() == [
            "U+200B ×4",
            "U+FE0F U+FE0F U+E0041 U+E0042",
        ]
        isolated = "getComputedStyle(document.querySelector('.turn.final > .text')).unicodeBidi"
        assert report.page.evaluate(isolated) in ("isolate", "plaintext")


@needs_browser
def test_a_text_of_a_megabyte_is_shortened_until_asked_for(chromium: Any, tmp_path: Path) -> None:
    for text in ("word " * 209_715, "\u200b\u200c" * 524_288, "a\u200b" * 524_288):
        size = len(text)
        with opened(chromium, write_page(tmp_path / "page.html", {"r": [with_texts(text + "END")]})) as report:
            report.page.fill("#q", "end")
            report.page.locator(".row").click()
            button = report.page.locator(".turn.final > div > .more")
            assert button.inner_text() == f"Show all ({size + 3:,} characters; the search found something there)"
            block = report.page.locator(".turn.final > div > .text").last
            assert len(block.inner_text()) < 20_000
            button.click()
            whole = block.evaluate("block => block.textContent")
            assert whole.endswith("END") and ("U+" in whole if "\u200b" in text else whole == text + "END")
            assert button.count() == 0 and report.page.locator("#detail *").count() < 10_000
            assert report.page.evaluate("document.documentElement.scrollWidth") <= 1400


def test_the_file_asks_for_nothing_and_allows_only_its_own_script() -> None:
    text = page(made(3), SECTIONS)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert policy
    for tag in ("style", "script"):
        body = re.findall(rf"<{tag}(?: type=\"module\")?>(.*?)</{tag}>", text, re.S)
        assert len(body) == 1
        digest = base64.b64encode(hashlib.sha256(body[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy[1]
    assert policy[1].startswith("default-src 'none'; ") and "unsafe" not in policy[1] and "http" not in policy[1]
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", text)  # figures are in base64
    code = "".join((ASSETS / name).read_text() for name in SCRIPTS)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|srcdoc", code)


def test_nothing_of_the_texts_stands_in_the_file_as_it_is() -> None:
    text = page({"r": [hostile(ATTACKS[0])]}, [Section(ATTACKS[2], svg=ATTACKS[1])])
    assert text.count("<script") == text.count("</script") == 3  # index, chunk, code
    assert "pwned" not in re.sub(r"&lt;.*?&gt;", "", text)


def test_what_is_embedded_is_what_the_episodes_hold() -> None:
    runs = made(40)
    runs["before"][2] = with_texts("odd \ud800 half", "\u2028")
    packed = embed(runs, {}, ())
    index, *chunks = (json.loads(zlib.decompress(base64.b64decode(text), -15).decode()) for text in packed.values())
    assert index["chunks"] == len(chunks) and index["runs"] == ["before", "after"]
    for number, (chunk, place) in enumerate(index["places"]):
        run = index["units"]["run"]["words"][index["units"]["run"]["rows"][number]]
        scenario_id = index["units"]["scenario"][number]
        for condition, held in chunks[chunk][place]["episodes"].items():
            [own] = [each for each in runs[run] if each.scenario_id == scenario_id and each.condition == condition]
            thought = [thinking for role, _, thinking in held["messages"] if role == "assistant"]
            assert thought == [m.thinking.replace("\ud800", "?") for m in own.messages if m.role == "assistant"]
            assert [score for _, score, _ in held["grades"]] == [grade.score for grade in own.grades]
            right, alignment, questions, failed, _ = index["episodes"][condition][number]
            assert (right, alignment, questions, failed) == (
                own.correct,
                own.alignment,
                len(own.questions),
                own.error is not None,
            )


def test_every_part_of_the_page_is_packaged() -> None:
    names = {path.name for path in ASSETS.iterdir() if path.suffix in (".html", ".css", ".js")}
    assert names == {*SCRIPTS, *STYLES, "template.html"}
    project = tomllib.loads((ASSETS.parents[2] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["prefdisco"]
    assert all(any(fnmatch(f"report/page/{name}", pattern) for pattern in patterns) for name in names)


def test_names_in_tables_hide_nothing() -> None:
    assert visible("a\u202eb\u200b\n c\ud800") == "a⟨U+202E⟩b⟨U+200B⟩  c⟨U+D800⟩"
