"""The recipe where nothing is Pocket's: a file of scenarios, people and judge behind a server, other models."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from schema_writer import instance
from tiny import chat_checkpoint

from prefdisco.config import ConfigError, SFTRecipe, load
from prefdisco.engine import dataset
from prefdisco.engine.dataset import read
from prefdisco.files import RunError
from prefdisco.llm.base import Conversation
from prefdisco.llm.local import LocalModel
from prefdisco.scenarios import held_out, load_scenarios
from prefdisco.schema import Criterion, Message, Persona, Preference, Problem, Scenario
from prefdisco.training import sft
from tests.faulty import Body, Faulty, serving

DATA = Path(__file__).parent / "data"
ATTRIBUTES = ("tone", "tables", "sources", "length")
LIKELY = "98"  # what the tiny models write; one of the real problems has the answer 9
QUICK = ("remote.backoff_s=0.01", "remote.timeout_s=1", "remote.retries=2")


def people_and_judge(body: Body) -> str:
    """A person who tells what was asked about, and a judge with an opinion of its own for every response."""
    rng, talk = random.Random(f"{body['seed']} {body['messages']}"), body["messages"][-1]["content"]
    if "response_format" not in body:
        return rng.choice(LIKELY)
    schema = body["response_format"]["json_schema"]["schema"]
    if schema["title"] == "Grades":
        criterion = schema["$defs"]["Score"]["properties"]["criterion"]
        names = criterion.get("enum") or [criterion["const"]]
        grades = [{"criterion": name, "reason": "so it is", "score": rng.randint(1, 5)} for name in names]
        return json.dumps({"grades": grades})
    reply = {**instance(schema, rng), "text": "Yes, please.", "reveals": None}
    asked = talk.rpartition("question")[2]
    told = [name for name in ATTRIBUTES if name in asked and f'"{name}"' in json.dumps(schema)]
    return json.dumps({**reply, "reveals": told[0] if told else None, **({"stop": False} if "stop" in reply else {})})


def scenario(problem: Problem, person: int) -> Scenario:
    """One of the real problems, for one of the people, who care about three of four attributes."""
    names = [name for index, name in enumerate(ATTRIBUTES) if index != person % len(ATTRIBUTES)]
    profile = [
        Preference(attribute=name, value=f"v{(person + len(name)) % 2}", weight=1 / len(names), kind="presentation")
        for name in names
    ]
    levels = {1: "no", 3: "some", 5: "yes"}
    rubric = [Criterion(attribute=p.attribute, description=p.value, levels=levels, weight=p.weight) for p in profile]
    persona = Persona(id=f"person{person}", name=f"Ann {person}", description=f"Ann {person}, 3{person}")
    return Scenario(
        id=f"{problem.id}/{person}",
        problem=problem,
        persona=persona,
        profile=tuple(profile),
        rubric=tuple(rubric),
    )


def real_problems() -> list[Problem]:
    """Rows of MATH-500 in tests/data."""
    rows = [json.loads(line) for line in (DATA / "math500.jsonl").read_text(encoding="utf-8").splitlines()]
    return [
        Problem(
            id=f"m{n}", task="math500", domain="math", question=row["problem"], answer=row["answer"], checker="math"
        )
        for n, row in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 scenarios: four problems of MATH-500, four people."""
    path = tmp_path_factory.mktemp("scenarios") / "math.jsonl"
    everything = [scenario(problem, person) for problem in real_problems() for person in range(4)]
    path.write_text("".join(each.model_dump_json() + "\n" for each in everything), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_checkpoint(tmp_path_factory.mktemp("models") / "qwen3", "qwen3", LIKELY)


def words(server: Faulty, file: Path, model: Path, folder: Path, *more: str) -> list[str]:
    """The command line of a training on the whole file, evaluated on it too, and made small."""
    name = f"server/{server.url}#test"
    return [
        "recipe=tasks", f"model={model}", f"scenarios.source={file}", f"scenarios.eval_source={file}",
        f"eval.user={name}", f"eval.judge={name}", f"run={folder / 'run'}", f"remote.cache={folder / 'cache'}",
        "scenarios.eval_limit=2", "data.samples=6", "data.max_tokens=8", "eval.max_tokens=8", "data.budget=3",
        "eval.budget=3", "trainer.max_steps=2", "trainer.bf16=false", "data.margin=0", *QUICK, *more,
    ]  # fmt: skip


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_a_recipe_runs_on_any_problems_people_judge_and_model(family: str, file: Path, tmp_path: Path) -> None:
    model = chat_checkpoint(tmp_path / family, family, LIKELY)
    with serving(reply=people_and_judge) as server:
        summary = sft.run(load(SFTRecipe, words(server, file, model, tmp_path)))
    assert summary is not None
    for stage in ("before", "after"):
        assert summary[stage]["errors"] == 0 and summary[stage]["scenarios"] == 2
        assert set(summary[stage]["conditions"]) == {"baseline", "discovery", "oracle"}
    outcomes = read(tmp_path / "data" / summary["data"])
    kept = [outcome for outcome in outcomes if outcome.talks]
    assert len(outcomes) == 16 and {outcome.scenario_id[:2] for outcome in kept} == {
        "m3"
    }  # the problem whose answer is 9
    assert all(sum(outcome.verdicts.values()) == 6 for outcome in outcomes if outcome.revealed)
    assert any(outcome.questions == 3 and outcome.revealed for outcome in outcomes)
    talk = kept[0].talk("discovery")
    assert talk is not None and talk.messages[-1].content.endswith("9") and sum(talk.mask) > 0
    local = LocalModel(str(model))
    assert local.chat.ends & {token for token, mine in zip(talk.ids, talk.mask, strict=True) if mine}
    assert "<|im_start|>" in local.chat.decode(talk.ids) or "<|start_header_id|>" in local.chat.decode(talk.ids)
    card = (tmp_path / "data" / summary["data"] / "card.md").read_text(encoding="utf-8")
    assert "who grades: `server/" in card and "m3" not in card
    for name in ("report.md", "data.md", "checkpoint/README.md", "checkpoint/model.safetensors"):
        assert (tmp_path / "run" / name).stat().st_size > 0


def made(server: Faulty, file: Path, model: Path, folder: Path, *more: str) -> Sequence[dataset.Outcome]:
    """The data alone."""
    recipe = load(SFTRecipe, words(server, file, model, folder, *more))
    sft.fill(recipe, folder / "data")
    return read(folder / "data")


def test_where_the_model_is_served_the_server_writes_the_traces(qwen: Path, file: Path, tmp_path: Path) -> None:
    with serving(reply=people_and_judge) as server:
        outcomes = made(server, file, qwen, tmp_path, f"data.writer=server/{server.url}#test")
        wrote = sum("response_format" not in body for body in server.bodies)
    assert wrote >= 16 * 6 and any(outcome.talks for outcome in outcomes)
    for talk in (talk for outcome in outcomes for talk in outcome.talks):
        assert len(talk.ids) == len(talk.mask) and sum(talk.mask) > 0
    assert f"(served: `server/{server.url}#test`)" in (tmp_path / "data" / "card.md").read_text(encoding="utf-8")


def test_scenarios_that_fail_are_tried_again_and_never_half_learned(qwen: Path, file: Path, tmp_path: Path) -> None:
    with serving(rate=0.6, faults=["500"], reply=people_and_judge) as server:
        with pytest.raises(RunError, match=r"of 16 scenarios failed, the first with: .*repeat the command") as caught:
            made(server, file, qwen, tmp_path)
        assert "\n" not in str(caught.value)
        kept = read(tmp_path / "data")
        assert len(kept) < 16 and all(outcome.error is None for outcome in kept)
        assert not (tmp_path / "data" / dataset.COUNTS).exists()
        server.rate = 0
        outcomes = made(server, file, qwen, tmp_path)
    assert len(outcomes) == 16 and not any(outcome.error for outcome in outcomes)
    assert [outcome for outcome in read(tmp_path / "data") if outcome in kept] == list(kept)


def test_a_spending_cap_stops_the_data_on_one_line_and_a_higher_one_ends_it(
    qwen: Path, file: Path, tmp_path: Path
) -> None:
    with serving(reply=people_and_judge) as server:
        priced = ("remote.price_in=10", "remote.concurrency=4")
        with pytest.raises(
            RunError, match=r"spending cap of \$0.02 reached.* raise remote.max_usd and repeat the command"
        ):
            made(server, file, qwen, tmp_path, *priced, "remote.max_usd=0.02")
        assert len(made(server, file, qwen, tmp_path, *priced, "remote.max_usd=10")) == 16


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["eval.user=passive"], "eval.user=passive: only Pocket's is computed"),
        (["eval.judge=exact"], "eval.judge=exact: only Pocket's is computed"),
        (["data.belief=exact"], "data.belief=exact: only Pocket's posterior is known exactly"),
        (["data.inferred=0.1"], "grades the criteria of a rubric, and nothing that was not told; set data.inferred=0"),
    ],
)
def test_parts_that_only_pocket_has_are_refused_before_anything_is_done(
    qwen: Path, file: Path, tmp_path: Path, more: list[str], expected: str
) -> None:
    with serving(reply=people_and_judge) as server, pytest.raises(ConfigError) as caught:
        sft.run(load(SFTRecipe, words(server, file, qwen, tmp_path, *more)))
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists() and not server.calls


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_a_written_turn_is_spelled_as_the_models_own_template_spells_it(family: str, tmp_path: Path) -> None:
    chat = LocalModel(str(chat_checkpoint(tmp_path / family, family, LIKELY))).chat
    talk = [Message(role="user", content="1 + 1?"), Message(role="assistant", content="2.", thinking="One more.")]
    conversation = Conversation(messages=talk[:1])
    chat.forced(conversation, chat.spelled("One more.", "2."))
    native = {"qwen3": "<think>\nOne more.\n</think>\n\n2.", "llama": "<think>One more.</think>2."}[family]
    assert chat.decode(conversation.ids).endswith(native)
    whole = chat.render(talk, thinking=True, prompt=False)
    assert whole.startswith(str(chat.tokenizer.decode(conversation.ids)))
    assert chat.spelled("\nOne more.\n", "\n\n2.") == native or family == "llama"  # what it generated itself stays
    assert chat.spelled("", "2.") == "2."


# splits of a file


def test_a_files_splits_share_neither_problems_nor_people(file: Path) -> None:
    train, test = (load_scenarios(f"{file}:{split}", 1000) for split in ("train", "test"))
    assert (len(train), len(test)) == (9, 1)
    assert not {s.problem.id for s in train} & {s.problem.id for s in test}
    assert not {s.persona.id for s in train} & {s.persona.id for s in test}
    assert len(load_scenarios(str(file), 1000)) == 16 and len(load_scenarios(str(file), 3)) == 3


def test_what_is_held_out_is_a_quarter_and_depends_on_nothing_but_the_ids() -> None:
    ids = [f"p{n}" for n in range(40)]
    assert len(held_out(ids)) == 10 and held_out(reversed(ids)) == held_out(ids * 2) == held_out(ids)
    assert len(held_out(ids[:2])) == 1 and held_out(ids[:1]) == set()


def test_a_file_too_small_to_be_split_says_so(file: Path, tmp_path: Path) -> None:
    one = tmp_path / "one.jsonl"
    one.write_text(file.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"1 scenarios, none for this split.*a file each"):
        load_scenarios(f"{one}:test", 10)
