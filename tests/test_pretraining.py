"""The corpus, its encoding, the tokenizer and the optimizer of pocket-base."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from prefdisco.llm.chat import chatml
from prefdisco.pocket.corpus import MIX, documents
from prefdisco.pocket.families import FAMILIES
from prefdisco.protocol import join_thinking
from prefdisco.training.optimizer import MuonAdamW
from prefdisco.training.pretrain import IGNORED, encode, segments
from prefdisco.training.tokenizer import train_tokenizer

DOCUMENTS = list(documents(300, seed=5))
TOKENIZER = train_tokenizer((text for d in DOCUMENTS for text, _ in segments(d)), 1024, 1024)


def test_the_corpus_is_the_same_every_time_and_holds_every_kind() -> None:
    assert [str(d) for d in documents(40, 5)] == [str(d) for d in DOCUMENTS[:40]]
    assert {d.kind for d in DOCUMENTS} == set(MIX)


def test_segments_are_what_the_chat_template_writes() -> None:
    for document in DOCUMENTS:
        messages = [
            {"role": m.role, "content": join_thinking(m.thinking, m.content) if m.role == "assistant" else m.content}
            for m in document.messages
        ]
        text = "".join(text for text, _ in segments(document))
        rendered = TOKENIZER.apply_chat_template(messages, tokenize=False, enable_thinking=document.thinking)
        assert text == rendered
    assert TOKENIZER.chat_template == chatml()


def test_the_loss_is_on_exactly_the_agents_tokens() -> None:
    for document, row in zip(DOCUMENTS, encode(DOCUMENTS, TOKENIZER), strict=True):
        own = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != IGNORED]
        assert TOKENIZER.decode(own) == "".join(text for text, agent in segments(document) if agent)
        assert row["length"] == len(row["input_ids"])


def test_any_text_round_trips_and_digits_stand_alone() -> None:
    for text in ("Zoë pays 1203 €.\n\n\tok", "###ACTION###: 'ask_question'\n###RESPONSE###: 17?", " a  b "):
        assert TOKENIZER.decode(TOKENIZER(text, add_special_tokens=False)["input_ids"]) == text
    assert len(TOKENIZER(" 120", add_special_tokens=False)["input_ids"]) == 3


def test_the_corpus_has_mistakes_but_mostly_none() -> None:
    plain = [d for d in documents(1500, 7, {"plain": 1.0})]
    assert {d.kind for d in plain} == {"plain"} and len(FAMILIES) == 12
    wrong = sum("Answer" not in d.messages[-1].content for d in plain)
    assert wrong == 0  # every solution states an answer, right or wrong


def optimizer_and_model() -> tuple[MuonAdamW, nn.Module]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(7, 8), nn.Linear(8, 8), nn.LayerNorm(8))
    return MuonAdamW(model, lr=0.01, weight_decay=0.1, betas=(0.9, 0.98)), model


def step(optimizer: MuonAdamW, model: nn.Module) -> None:
    optimizer.zero_grad()
    model(torch.tensor([1, 2, 3])).pow(3).sum().backward()
    optimizer.step()


def test_every_parameter_is_in_exactly_one_part_and_moves() -> None:
    optimizer, model = optimizer_and_model()
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in model.parameters()} and len(held) == len(list(model.parameters()))
    before = [p.clone() for p in model.parameters()]
    step(optimizer, model)
    assert all(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_a_restored_optimizer_goes_on_as_if_nothing_had_happened() -> None:
    optimizer, model = optimizer_and_model()
    step(optimizer, model)
    state, weights = deepcopy(optimizer.state_dict()), {name: t.clone() for name, t in model.state_dict().items()}
    step(optimizer, model)
    other, twin = optimizer_and_model()
    twin.load_state_dict(weights)
    other.load_state_dict(state)
    for group in other.param_groups:
        assert group["lr"] == 0.01
    step(other, twin)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
