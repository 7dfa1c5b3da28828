"""The report's page in a browser: what it shows is what the episodes hold, and every way to it works."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prefdisco.metrics import SMALLEST, summarize
from prefdisco.report.page import write_page
from prefdisco.schema import Episode
from tests.browser import browser, needs_browser
from tests.hand_made import scenario
from tests.made_report import (
    CONDITIONS,
    DESKTOP,
    PHONE,
    SECTIONS,
    SIGNATURES,
    Opened,
    by_unit,
    made,
    opened,
    played,
    signed,
)

pytestmark = needs_browser

RUNS = made()
SIGNED = signed(RUNS)
UNITS = by_unit({**RUNS})
NUMBERS = {key: number for number, key in enumerate(UNITS)}
Unit = dict[str, Episode]
CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const over = (color, ground) => {
    canvas.fillStyle = ground; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const found = {};
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.matches("script, option, .aside")) continue;
    const chain = [];
    for (let each = element; each; each = each.parentElement) chain.unshift(getComputedStyle(each).backgroundColor);
    const ground = chain.reduce((below, color) => `rgb(${over(color, below)})`, "white");
    const [one, other] = [light(over(getComputedStyle(element).color, ground)), light(over(ground, "white"))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const name = element.tagName + "." + element.className;
    found[name] = Math.min(found[name] ?? 99, ratio);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as launched:
        yield launched


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("page") / "report.html", RUNS, SECTIONS, SIGNED)


@pytest.fixture
def report(chromium: Any, written: Path) -> Iterator[Opened]:
    with opened(chromium, written) as found:
        yield found


def change(unit: Unit) -> float | None:
    base, own = unit["baseline"].alignment, unit["discovery"].alignment
    return None if base is None or own is None else own - base


def expect(report: Opened, passes: Callable[[tuple[str, str], Unit], bool]) -> None:
    """The count, and the rows in sight, are those of the units that pass."""
    wanted = [f"unit-{NUMBERS[key]}" for key, unit in UNITS.items() if passes(key, unit)]
    assert 0 < len(wanted) < len(UNITS)
    assert report.count() == f"{len(wanted)} of {len(UNITS)} scenarios"
    assert report.titles() and report.titles() == wanted[: len(report.titles())]


def test_every_filter_leaves_what_it_names(report: Opened) -> None:
    outcomes: dict[str, Callable[[Unit], bool]] = {
        "right": lambda unit: unit["discovery"].correct is True,
        "wrong": lambda unit: unit["discovery"].correct is False,
        "harmed": lambda unit: (change(unit) or 0) < -SMALLEST,
        "improved": lambda unit: (change(unit) or 0) > SMALLEST,
        "error": lambda unit: unit["discovery"].error is not None,
    }
    for outcome, passes in outcomes.items():
        report.choose("outcome", outcome)
        expect(report, lambda key, unit, passes=passes: passes(unit))  # type: ignore[misc]
    report.choose("outcome", "")
    report.choose("run", "after")
    expect(report, lambda key, unit: key[0] == "after")
    report.choose("run", "")
    report.choose("domain", "logic")
    expect(report, lambda key, unit: unit["oracle"].domain == "logic")
    report.choose("domain", "")
    report.choose("signature", SIGNATURES[0])
    expect(report, lambda key, unit: SIGNATURES[0] in SIGNED[f"{key[0]}/{key[1]}/discovery/0"])
    report.choose("family", "order")
    report.choose("of", "oracle")
    report.choose("outcome", "wrong")
    expect(
        report,
        lambda key, unit: (
            SIGNATURES[0] in SIGNED[f"{key[0]}/{key[1]}/discovery/0"]
            and unit["oracle"].family == "order"
            and unit["oracle"].correct is False
        ),
    )
    report.page.click(".chip >> text=family")
    report.page.click("#clear")
    assert report.count() == f"{len(UNITS)} scenarios" and report.page.input_value("[name=of]") == "discovery"


def test_sorting_brings_the_most_harmed_and_the_most_asked_first(report: Opened) -> None:
    orders: dict[str, Callable[[Unit], float]] = {
        "harmed": lambda unit: 9.0 if change(unit) is None else float(change(unit) or 0),
        "improved": lambda unit: 9.0 if change(unit) is None else -float(change(unit) or 0),
        "questions": lambda unit: -len(unit["discovery"].questions),
        "fewest": lambda unit: len(unit["discovery"].questions),
    }
    for sort, key in orders.items():
        report.choose("sort", sort)
        wanted = sorted(UNITS, key=lambda name, key=key: (key(UNITS[name]), NUMBERS[name]))  # type: ignore[misc]
        assert report.titles() == [f"unit-{NUMBERS[name]}" for name in wanted][: len(report.titles())]


def test_search_finds_words_said_or_thought_in_one_episode(chromium: Any, tmp_path: Path) -> None:
    rng = random.Random(1)
    texts = [("Wholly ordinary.", "A zeppelin comes."), ("A zeppelin leaves.", "Hm."), ("Nothing in the sky.", "no")]
    runs = {"one": [played(n, name, rng, *texts[n]) for n in range(3) for name in ("baseline", "oracle")]}
    runs["one"][5] = runs["one"][5].model_copy(update={"error": "ServerError: refused"})
    with opened(chromium, write_page(tmp_path / "page.html", runs)) as report:
        for query, wanted in {
            "ZEPPELIN": [0, 1],
            "zeppelin comes": [0],
            '"zeppelin leaves"': [1],
            "comes leaves": [],
            "task number 2": [2],
            "refused": [2],
            "rules": [],  # a system prompt that all share says nothing
            "p001/ann": [1],
        }.items():
            report.page.fill("#q", query)
            assert report.titles() == [f"unit-{number}" for number in wanted], query
        assert "Nothing matches" not in report.count()
        report.page.fill("#q", "zeppelin comes")
        report.page.click(".row")
        report.columns()
        marked = "() => [...CSS.highlights.get('found')].map(range => range.toString().toLowerCase())"
        assert set(report.page.evaluate(marked)) == {"zeppelin", "comes"}
        assert report.page.inner_text(".thinking[open]").endswith("A zeppelin comes.")
        report.page.fill("#q", "submarine")
        assert report.count() == "Nothing matches, of 3 scenarios"


def test_numbers_are_those_of_the_episodes(report: Opened) -> None:
    page = report.page
    for (run, name), unit in list(UNITS.items())[:8]:
        report.go(f"#transcripts?in={run}&scenario={name}&seed=0")
        report.columns()
        base = unit["baseline"].alignment
        for condition, each in unit.items():
            text = page.inner_text(f".column[data-condition={condition}]").replace("−", "-")
            verdict = "error" if each.error else "right" if each.correct else "wrong"
            head = page.inner_text(f".column[data-condition={condition}] header").replace("−", "-").split()
            assert head[:2] == [condition, verdict]
            assert head[2] == ("–" if each.alignment is None else f"{each.alignment:.2f}")
            if base is not None and each.alignment is not None and condition != "baseline":
                assert float(head[-1].replace("±", "")) == pytest.approx(each.alignment - base, abs=0.0051)
            told = [question for question in each.questions if question.revealed]
            assert f"{len(each.questions)} question" in text and (
                not each.questions or f"{len(told)} revealing" in text
            )
            assert f"{each.usage.prompt_tokens:,} tokens in, {each.usage.completion_tokens} out" in text
            assert text.count("revealed nothing") == len(each.questions) - len(told)
            for question in told:
                share = 100 * each.weights[str(question.revealed)]
                assert (
                    f"revealed {question.revealed}: {each.values[str(question.revealed)]}, weight {share:.0f}%" in text
                )
            for signature in SIGNED.get(f"{run}/{name}/{condition}/0", []):
                assert signature in text
            cells = page.locator(f".profile tbody td[data-condition={condition}]").all_inner_texts()
            order = sorted(each.weights, key=lambda attribute: -each.weights[attribute])
            grades = {grade.attribute: grade for grade in each.grades}
            for attribute, cell in zip(order, cells, strict=True):
                assert cell.split()[0] == (str(grades[attribute].score) if grades else "–")
                assert not grades or grades[attribute].reason in cell
                assert ("asked" in cell) == (attribute in [question.revealed for question in told])
        assert [cell.split()[0] for cell in page.locator("td.weight").all_inner_texts()] == ["50%", "30%", "20%"]


def test_means_of_a_selection_are_those_of_the_summary(report: Opened) -> None:
    report.choose("run", "after")
    summary = summarize(RUNS["after"], resamples=10)["conditions"]
    for row in report.page.locator(".summary tbody tr").all():
        name, *cells = row.inner_text().split()
        figures = summary[name]
        assert cells[:4] == [
            str(figures["n"]),
            f"{100 * figures['accuracy']['mean']:.1f}%",
            f"{figures['alignment']['mean']:.2f}",
            f"{figures['questions']['mean']:.2f}",
        ]
        assert cells[4] == ("–" if name == "baseline" else f"{100 * figures['negative_rate']['mean']:.1f}%")
    assert report.page.locator(".summary tbody tr").count() == len(CONDITIONS)


def test_a_link_restores_filters_columns_order_and_scenario(report: Opened, chromium: Any, written: Path) -> None:
    report.choose("outcome", "improved")
    report.choose("family", "order")
    report.choose("sort", "improved")
    report.page.uncheck("[name=columns][value=oracle]")
    report.page.fill("#q", "42")
    report.page.locator(".row").nth(2).click()
    assert report.columns() == ["baseline", "discovery"]
    address = report.page.evaluate("location.hash")
    with opened(chromium, written) as other:
        other.go(address)
        assert other.columns() == ["baseline", "discovery"]
        assert other.titles()[:5] == report.titles()[:5] and other.count() == report.count()
        for part in ("#detail h2", ".position", "#active"):
            assert other.page.inner_text(part) == report.page.inner_text(part)
        for name in ("outcome", "family", "sort"):
            assert other.page.input_value(f"[name={name}]") == report.page.input_value(f"[name={name}]") != ""
        assert other.page.input_value("#q") == "42"
        other.go("#transcripts?in=nobody&scenario=nothing%E2%80%AE&seed=4")
        assert "does not have nothingU+202E, seed 4, of nobody" in other.page.inner_text(".missing")


def test_back_leads_to_where_one_was(report: Opened) -> None:
    page = report.page
    page.locator(".row").nth(3).click()
    report.columns()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.wait_for_function("document.querySelector('.position')?.textContent.startsWith('6 ')")
    report.choose("outcome", "harmed")
    page.locator("#q").press_sequentially("task number")
    assert "number" in page.evaluate("location.hash")
    page.go_back()  # all of what was typed
    page.wait_for_function("document.querySelector('#q').value === ''")
    assert page.input_value("[name=outcome]") == "harmed"
    page.go_back()  # the filter
    page.wait_for_function(f"document.querySelector('#count').textContent === '{len(UNITS)} scenarios'")
    page.go_back()  # both steps
    page.wait_for_function("document.querySelector('.position').textContent.startsWith('4 ')")
    page.go_back()  # the scenario
    page.wait_for_selector(".summary")
    page.go_forward()
    assert report.columns() and page.inner_text(".position").startswith("4 ")
    page.click("#to-results")
    assert page.is_visible("#section-1") and not page.is_visible("#detail")
    page.click("#to-transcripts")  # comes back to the same place
    assert report.columns() and page.inner_text(".position").startswith("4 ")


def test_all_can_be_done_with_keys(report: Opened) -> None:
    page, press = report.page, report.page.keyboard.press
    selected = "document.querySelector('.row[aria-selected=true]')?.ariaPosInSet"
    for key, at in (("j", "1"), ("j", "2"), ("ArrowDown", "3"), ("k", "2"), ("ArrowUp", "1"), ("k", "1")):
        press(key)
        assert page.evaluate(selected) == at
    report.columns()
    press("t")
    assert page.locator(".thinking:not([open])").count() == 0 and page.locator(".thinking").count() > 0
    press("r")
    page.wait_for_function("document.querySelector('.run[aria-pressed=true]').textContent === 'after'")
    press("?")
    assert page.is_visible("#help")
    press("j")  # not while the help is open
    press("Escape")
    assert not page.is_visible("#help") and page.inner_text(".run[aria-pressed=true]") == "after"
    press("/")
    page.keyboard.type("jk?/")
    assert page.input_value("#q") == "jk?/"
    press("Escape")
    assert page.input_value("#q") == "" and page.evaluate("document.activeElement.id") == "list"
    press("f")
    assert page.is_visible("#panel") and page.evaluate("document.activeElement.name") == "run"
    press("Escape")
    assert not page.is_visible("#panel") and report.columns()
    press("Tab")
    outline = "getComputedStyle(document.activeElement).outlineStyle + document.activeElement.matches(':focus-visible')"
    assert page.evaluate(outline) == "solidtrue"
    press("Escape")
    page.wait_for_selector(".summary")


def test_only_rows_in_sight_exist(chromium: Any, tmp_path: Path) -> None:
    with opened(chromium, write_page(tmp_path / "page.html", made(600))) as report:
        assert report.count() == "1,200 scenarios" and report.page.locator(".row").count() < 50
        report.page.evaluate("document.getElementById('list').scrollTop = 1e7")
        report.page.wait_for_selector("#unit-1199")
        assert report.page.locator(".row").count() < 50
        assert report.page.get_attribute("#unit-1199", "aria-posinset") == "1200"


def test_task_person_and_meaning_come_with_the_scenarios(chromium: Any, tmp_path: Path) -> None:
    known = scenario("p001", "ann", tone="warm", format="bullets", units="metric")
    page = write_page(tmp_path / "page.html", RUNS, scenarios=[known])
    with opened(chromium, page) as report:
        report.go("#transcripts?in=before&scenario=p001/ann&seed=0&columns=oracle")
        assert report.columns() == ["oracle"]
        shown = report.page.inner_text(".brief")
        assert "Task number 1?" in shown and "right answer: 42" in shown and "ann,\n 40" in shown
        report.choose("task", "toy") if report.page.is_visible("#for-task") else None
        assert "toy" in report.page.inner_text(".where")


def test_an_empty_report_says_so(chromium: Any, tmp_path: Path) -> None:
    with opened(chromium, write_page(tmp_path / "page.html", {})) as report:
        assert report.count() == "No episodes"


@pytest.mark.parametrize("shade", ["light", "dark"])
def test_text_stands_out_from_its_ground(chromium: Any, written: Path, shade: str) -> None:
    with opened(chromium, written, color_scheme=shade) as report:
        report.choose("outcome", "harmed")
        report.choose("signature", SIGNATURES[0])
        poor = {}
        for address in (
            None,
            "#results",
            "#transcripts?in=before&scenario=p001/ann&seed=0&q=42",
            "#transcripts?in=x&scenario=y",
        ):
            if address:
                report.go(address)
            found = report.page.evaluate(CONTRASTS)
            assert len(found) > 5
            poor |= {f"{address} {name}": ratio for name, ratio in found.items() if ratio < 4.5}
        assert poor == {}  # WCAG 2.2 AA, 1.4.3
        report.page.click("#theme")
        report.page.click("#theme")
        report.go()
        assert report.page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_a_phone_shows_all_without_scrolling_aside(chromium: Any, written: Path) -> None:
    with opened(chromium, written, PHONE, has_touch=True, is_mobile=True) as report:
        page = report.page

        def fits() -> None:
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
            assert page.evaluate("document.getElementById('detail').scrollWidth") <= PHONE["width"]

        fits()
        page.tap("#filters-open")
        fits()
        page.tap("#filters-open")
        page.locator(".row").nth(1).tap()
        assert report.columns() == [*CONDITIONS] and not page.is_visible("#list")
        fits()
        for condition in CONDITIONS:
            page.tap(f"[role=tab][data-condition={condition}]")
            assert [name for name in CONDITIONS if page.is_visible(f".column[data-condition={name}]")] == [condition]
            assert page.is_visible(f".profile tbody td[data-condition={condition}]")
            fits()
        page.tap(".back")
        assert page.is_visible("#list") and not page.is_visible("#detail")
        page.tap("#to-results")
        fits()


def test_print_leaves_the_controls_out(chromium: Any, written: Path) -> None:
    with opened(chromium, written, DESKTOP, color_scheme="dark") as report:
        report.go("#transcripts?in=before&scenario=p001/ann&seed=0")
        report.columns()
        report.page.emulate_media(media="print")
        assert not any(report.page.is_visible(part) for part in (".side", ".steps", ".tools", ".top nav"))
        assert all(report.page.is_visible(f".column[data-condition={name}]") for name in CONDITIONS)
        assert report.page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
