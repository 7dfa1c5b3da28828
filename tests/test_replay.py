"""Dialogues of before beside the episodes: which tokens they are, what they weigh, and which sources are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from prefdisco.config import ConfigError
from prefdisco.llm.local import load
from prefdisco.pocket.corpus import documents
from prefdisco.schema import DataError
from prefdisco.training.grpo import DialogueTrainer
from prefdisco.training.replay import Replay, check_replay, dialogues
from tests.small_rl import recipe

TALK = [
    {"role": "user", "content": "What is two and two?"},
    {"role": "assistant", "content": "Four.", "thinking": "Add."},
    {"role": "user", "content": "And three and three?"},
    {"role": "assistant", "content": "Six."},
]


def write(path: Path, *lines: Any) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_all_of_the_agents_own_tokens_are_learned_and_no_others(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    file = write(tmp_path / "talks.jsonl", {"messages": TALK, "source": "a book"}, {"messages": TALK[2:]})
    model, tokenizer = load("pocket-base", device="cpu", dtype="float32")
    replay = Replay(recipe(tmp_path, "replay.weight=1", f"replay.source={file}"), tokenizer)
    (ids, labels), (short, _) = replay.rows
    said = [f"<think>{m['thinking']}</think>{m['content']}" if "thinking" in m else m["content"] for m in TALK]
    turns = [{"role": m["role"], "content": text} for m, text in zip(TALK, said, strict=True)]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    assert tokenizer.decode(ids).strip() == text.strip() and len(short) < len(ids)
    own = tokenizer.decode([label for label in labels if label >= 0])
    assert own == "<think>Add.</think>Four.<|im_end|>Six.<|im_end|>"
    with torch.no_grad():
        total, count = 0.0, 0
        for row, wanted in replay.rows:
            logps = model(input_ids=torch.tensor([row])).logits[0, :-1].log_softmax(-1)
            for place, label in enumerate(wanted[1:]):
                if label >= 0:
                    total, count = total - float(logps[place, label]), count + 1
        assert float(replay.loss(model, (0,))) == pytest.approx(total / count, rel=1e-4)


def test_pockets_are_plain_problems_of_all_families_and_every_step_draws_others(tmp_path: Path) -> None:
    wanted = recipe(tmp_path, "replay.weight=1", "replay.limit=300", "replay.batch_size=4")
    talks = [told.messages for told in dialogues(wanted)]
    assert len(talks) == 300 and all([m.role for m in talk] == ["user", "assistant"] for talk in talks)
    slips = [each for each in documents(400, 1, {"plain": 1.0}) if each.slipped]
    assert 10 < len(slips) < 100 and not any(tuple(each.messages) in talks for each in slips), "no mistake is learned"
    tokenizer = load("pocket-base", device="cpu", dtype="float32")[1]
    replay = Replay(wanted, tokenizer)
    seen: list[torch.Tensor] = []

    class Spy(torch.nn.Linear):
        def forward(self, input_ids: torch.Tensor, **others: Any) -> Any:
            seen.append(input_ids)
            return type("Output", (), {"loss": self.weight.sum()})

    for place in ((1, 0), (1, 0), (1, 1), (2, 0)):
        replay.loss(Spy(1, 1), place)
    assert len(seen[0]) == 4 and torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2]) and not torch.equal(seen[0], seen[3])


def test_what_was_told_is_followed_where_it_is_replayed_and_questions_are_not_learned(tmp_path: Path) -> None:
    words = ["replay.weight=1", "replay.limit=200", "replay.mix.plain=0.2", "replay.mix.oracle=0.4"]
    wanted = recipe(tmp_path, *words, "replay.mix.interview=0.4")
    rows = Replay(wanted, tokenizer := load("pocket-base", device="cpu", dtype="float32")[1]).rows
    stated, interviews = 0, 0
    for told, (_, labels) in zip(dialogues(wanted), rows, strict=True):
        answer, learned = told.messages[-1], tokenizer.decode([label for label in labels if label >= 0])
        assert learned == f"<think>{answer.thinking}</think>{answer.content}<|im_end|>"
        interviews += told.answer_only
        if told.messages[0].role == "system":
            stated += 1
            wishes = re.findall(r"^- (\S+): (.+)$", told.messages[0].content, re.MULTILINE)
            listed = answer.thinking.partition(". ")[0].removeprefix("Wanted: ")
            assert sorted(listed.split(", ")) == sorted(f"{name} {value}" for name, value in wishes)
    assert 50 < stated < 110 and 50 < interviews < 110


def test_a_source_that_is_none_is_one_line(tmp_path: Path) -> None:
    def check(source: Path) -> None:
        check_replay(recipe(tmp_path, "replay.weight=1", f"replay.source={source}"))

    with pytest.raises(
        ConfigError, match=r"replay\.source=.*nowhere: no such file; choose pocket, or a JSON Lines file"
    ):
        check(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"replay\.mix: all shares are 0; set replay\.weight=0 instead"):
        check_replay(recipe(tmp_path, "replay.weight=1", "replay.mix.plain=0"))
    with pytest.raises(DataError, match="there is no dialogue in it to replay"):
        check(write(tmp_path / "empty.jsonl"))
    with pytest.raises(DataError, match=r"mute\.jsonl:1: messages: none is the assistant's"):
        check(write(tmp_path / "mute.jsonl", {"messages": TALK[:1]}))
    with pytest.raises(DataError, match=r"other\.jsonl:1: messages: Field required"):
        check(write(tmp_path / "other.jsonl", {"text": "Four."}))
    check_replay(recipe(tmp_path, f"replay.source={tmp_path / 'nowhere'}"))  # not asked for


def test_the_trainer_adds_it_to_the_loss_of_the_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefdisco.training import rl
    from tests.test_rl import KNOWN, batch_of

    monkeypatch.setattr(DialogueTrainer, "log", lambda *args: None)
    trainer = rl.trainer_of(recipe(tmp_path, "replay.weight=0.5"), KNOWN)
    _, batch = batch_of(trainer)
    with torch.no_grad():
        both = float(trainer._compute_loss(trainer.model, batch))
        again = float(trainer.replay.loss(trainer.model, (0, 0, 0))) if trainer.replay else 0.0
        trainer.replay = None
        alone = float(trainer._compute_loss(trainer.model, batch))
    assert again > 0.01 and both - alone == pytest.approx(0.5 * again, rel=1e-3)
