"""Claims about the model interface and the local backend, on a tiny random Llama with a tokenizer made here."""

from __future__ import annotations

import asyncio
import copy
import gc
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from prefdisco.llm import Completion, Conversation, ModelError, Sampling, ScriptedModel
from prefdisco.llm.chat import Chat, chatml
from prefdisco.llm.decoding import Decoder
from prefdisco.llm.local import LocalModel
from prefdisco.llm.rows import Row
from prefdisco.llm.slots import SlotCache, Snapshot
from prefdisco.llm.tokens import Draft
from prefdisco.schema import Message

SPECIAL = ["<pad>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
SHAPE: dict[str, Any] = dict(
    hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=256, initializer_range=0.3, bos_token_id=None, eos_token_id=2, pad_token_id=0,
)  # fmt: skip
WORDS = "I like short answers with a table . What is your favourite colour ? Solve 12 + 7 step by step please"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator([WORDS, "user assistant system"], trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<pad>")
    made.chat_template = chatml()
    return made


@pytest.fixture(scope="module")
def network(tokenizer: PreTrainedTokenizerFast) -> Any:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    made = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **SHAPE))
    with torch.no_grad():  # a random model hardly ever stops; this one does, at many different lengths
        made.lm_head.weight[2] *= 1.6
    return made.eval()


@pytest.fixture
def model(network: Any, tokenizer: PreTrainedTokenizerFast) -> LocalModel:
    return LocalModel(network, tokenizer, batch_size=4)


def conversations(count: int = 10) -> list[Conversation]:
    words = WORDS.split()
    return [
        Conversation([Message(role="user", content=" ".join(words[: 1 + i]))], thinking=i % 2 == 0)
        for i in range(count)
    ]


async def together(model: LocalModel, talks: Sequence[Conversation], **sampling: Any) -> list[Completion]:
    calls = [model.complete(talk, Sampling(max_tokens=30, seed=i, **sampling)) for i, talk in enumerate(talks)]
    return await asyncio.gather(*calls)


async def alone(model: LocalModel, talks: Sequence[Conversation], **sampling: Any) -> list[Completion]:
    return [await model.complete(talk, Sampling(max_tokens=30, seed=i, **sampling)) for i, talk in enumerate(talks)]


def answer(talk: Conversation, completion: Completion, reply: str) -> None:
    """What the dialogue loop does after an agent's turn."""
    talk.messages.append(Message(role="assistant", content=completion.text))
    talk.messages.append(Message(role="user", content=reply))


@pytest.mark.parametrize("sampling", [{"temperature": 0.0}, {"temperature": 1.0}, {"temperature": 0.7, "top_p": 0.8}])
def test_batched_equals_one_by_one(model: LocalModel, sampling: dict[str, float]) -> None:
    one, many = conversations(), conversations()
    for turn in range(3):
        expected = asyncio.run(alone(model, one, **sampling))
        got = asyncio.run(together(model, many, **sampling))
        assert [c.text for c in got] == [c.text for c in expected]
        assert {c.finish for c in got} <= {"stop", "length"}
        for a, b in zip(one, many, strict=True):
            assert a.ids == b.ids and a.mask == b.mask
            assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)
            answer(a, Completion("x", "stop", got[0].usage), f"reply {turn}")
            answer(b, Completion("x", "stop", got[0].usage), f"reply {turn}")


def test_greedy_equals_transformers_generate(model: LocalModel, network: Any) -> None:
    for talk in conversations(4):
        prompt = model.chat.prompt(talk)
        expected = network.generate(
            torch.tensor([prompt]), max_new_tokens=30, do_sample=False, eos_token_id=2, pad_token_id=0
        )
        asyncio.run(model.complete(talk, Sampling(temperature=0, max_tokens=30)))
        assert talk.ids == expected[0].tolist()


def test_qwen3_decodes_as_generate_does(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(1)
    network: Any = Qwen3ForCausalLM(Qwen3Config(vocab_size=len(tokenizer), head_dim=8, **SHAPE)).eval()
    model, talks = LocalModel(network, tokenizer), conversations(3)
    prompts = [model.chat.prompt(talk) for talk in talks]
    asyncio.run(together(model, talks, temperature=0.0))
    for talk, prompt in zip(talks, prompts, strict=True):
        expected = network.generate(
            torch.tensor([prompt]), max_new_tokens=30, do_sample=False, eos_token_id=2, pad_token_id=0
        )
        assert talk.ids == expected[0].tolist()


def test_mask_covers_exactly_the_agents_tokens_and_turns_keep_the_prefix(model: LocalModel) -> None:
    talks, said, before = conversations(6), [[] for _ in range(6)], [[] for _ in range(6)]  # type: ignore[var-annotated]
    for turn in range(3):
        for i, completion in enumerate(asyncio.run(together(model, talks, temperature=1.0))):
            talk = talks[i]
            assert talk.ids[: len(before[i])] == before[i]
            assert len(talk.ids) == len(talk.mask) == len(talk.logprobs)
            assert all(p == 0 for p, m in zip(talk.logprobs, talk.mask, strict=True) if not m)
            said[i].append(completion.text + ("<|im_end|>" if completion.finish == "stop" else ""))
            before[i] = list(talk.ids)
            answer(talk, completion, f"I like a table {turn}")
    for i, talk in enumerate(talks):
        own = [t for t, m in zip(talk.ids, talk.mask, strict=True) if m]
        assert model.tokenizer.decode(own) == "".join(said[i])
        read = model.tokenizer.decode([t for t, m in zip(talk.ids, talk.mask, strict=True) if not m])
        assert read.count("<|im_start|>assistant\n") == 3 and read.count("I like a table") == 2
        # what was read and written is what the template makes of the messages, to the character
        whole = model.chat.render(talk.messages[:-2], talk.thinking, True)
        assert model.tokenizer.decode(talk.ids) == whole + said[i][-1]


def test_seeds_reproduce(model: LocalModel) -> None:
    first, again = conversations(3), conversations(3)
    assert asyncio.run(together(model, first)) == asyncio.run(together(model, again))


def test_equal_prompts_share_one_pass_and_differ_by_seed(model: LocalModel) -> None:
    def doubled() -> list[Conversation]:
        return [Conversation(list(talk.messages)) for talk in conversations(2) for _ in range(2)]

    drawn = asyncio.run(together(model, doubled()))
    assert drawn[0].text != drawn[1].text
    assert drawn == asyncio.run(alone(model, doubled()))


def test_drafts_of_a_turn_are_what_each_would_be_alone(model: LocalModel) -> None:
    many, one = conversations(4), [conversations(4) for _ in range(3)]
    for turn in range(3):
        samplings = [[Sampling(1.3, max_tokens=(5, 30, 60)[d], seed=10 * i + d) for d in range(3)] for i in range(4)]

        async def drafted(samplings: Any = samplings) -> list[list[Draft]]:
            single = model.complete(conversations(1)[0], Sampling(max_tokens=40))
            return (await asyncio.gather(*map(model.drafts, many, samplings), single))[:-1]

        for i, drafts in enumerate(asyncio.run(drafted())):
            assert len({draft.completion.text for draft in drafts}) == 3
            for d, draft in enumerate(drafts):
                talk = one[d][i]
                said = asyncio.run(model.complete(talk, samplings[i][d]))
                assert (draft.completion.text, draft.completion.finish) == (said.text, said.finish)
                assert draft.row.logprobs == pytest.approx(talk.logprobs[-len(draft.row.ids) :], abs=1e-4)
            taken = (i + turn) % 3
            answer(many[i], model.adopt(many[i], drafts[taken]), "I like a table")
            for d in range(3):  # all go on from the one that was taken
                one[d][i] = copy.deepcopy(many[i])


@pytest.mark.parametrize("most", [1, 2, 4])
def test_a_family_that_is_let_in_apart_is_decoded_the_same(network: Any, most: int) -> None:
    def family(together: object) -> list[Row]:
        return [Row([5, 6, 7], Sampling(seed=i), 4 + 3 * i, family=together) for i in range(4)]

    def served(rows: list[Row], size: int) -> list[list[int]]:
        waiting = list(rows)

        def take(room: int) -> list[Row]:
            return [waiting.pop(0) for _ in range(min(room, len(waiting)))]

        Decoder(network, [], size).serve(take)
        return [row.ids for row in rows]

    assert served(family(object()), most) == served(family(None), 4)


def test_logprobs_are_those_of_the_sampling_distribution(model: LocalModel, network: Any) -> None:
    talk = conversations(1)[0]
    asyncio.run(model.complete(talk, Sampling(temperature=0.5, max_tokens=20, seed=3)))
    with torch.no_grad():
        expected = (network(torch.tensor([talk.ids])).logits[0] / 0.5).log_softmax(-1)
    for t, own in enumerate(talk.mask):
        if own:
            assert talk.logprobs[t] == pytest.approx(expected[t - 1, talk.ids[t]].item(), abs=1e-3)


@pytest.mark.parametrize(("live", "told", "steps"), [(1, True, 1), (12, True, 7), (1, False, 8), (12, False, 8)])
def test_few_live_rows_wait_for_a_newcomer_sooner_than_many(network: Any, live: int, told: bool, steps: int) -> None:
    rows = [Row([5, 6, 7 + i], Sampling(seed=i), 20) for i in range(live)]
    newcomer, found = Row([5], Sampling(), 2), list[int]()
    batches = [rows, [newcomer]]

    def take(most: int) -> list[Row]:
        if len(batches) == 1:
            found.append(len(rows[0].ids) - 1)  # the prompt pass wrote the first
        return batches.pop(0) if batches else []

    Decoder(network, [], 64).serve(take, lambda: len(batches) if told else 0)
    assert found == [steps] and len(newcomer.ids) == 2 and all(len(row.ids) == 20 for row in rows)


def test_failing_request_fails_alone(model: LocalModel) -> None:
    good, bad = conversations(5), conversations(1)[0]
    bad.ids, bad.mask, bad.logprobs = [10_000, 2], [0, 1], [0.0, 0.0]  # an id that no embedding has
    bad.messages.append(Message(role="assistant", content="x"))

    async def play() -> list[Completion | BaseException]:
        calls = [model.complete(talk, Sampling(max_tokens=8)) for talk in [*good, bad]]
        return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(play())
    assert isinstance(results[-1], ModelError) and "\n" not in str(results[-1])
    assert bad.ids == [10_000, 2]
    assert all(isinstance(result, Completion) for result in results[:-1])


def test_cancelled_callers_leave_the_others_alone(model: LocalModel) -> None:
    async def play() -> Completion:
        calls = [asyncio.create_task(model.complete(talk, Sampling(max_tokens=200))) for talk in conversations(6)]
        await asyncio.sleep(0.01)
        for call in calls[1:]:
            call.cancel()
        return await calls[0]

    assert asyncio.run(play()).text == asyncio.run(model.complete(conversations(1)[0], Sampling(max_tokens=200))).text


def test_forced_turn_reads_like_a_generated_one(model: LocalModel) -> None:
    talk = conversations(1)[0]
    model.chat.forced(talk, "<think>hm</think>What is your favourite colour ?")
    own = [t for t, m in zip(talk.ids, talk.mask, strict=True) if m]
    assert model.tokenizer.decode(own) == "<think>hm</think>What is your favourite colour ?<|im_end|>"
    talk.messages += [Message(role="assistant", content="What is your favourite colour ?", thinking="hm")]
    talk.messages += [Message(role="user", content="blue")]
    asyncio.run(model.complete(talk, Sampling(temperature=0, max_tokens=5)))
    whole = model.chat.render(talk.messages, True, True)
    assert talk.ids[: len(model.chat.encode(whole))] == model.chat.encode(whole)


def test_full_context_ends_the_turn_not_the_batch(model: LocalModel) -> None:
    short, tight, over = conversations(3)
    tight.messages = [Message(role="user", content="." * 240)]
    over.messages = [Message(role="user", content="." * 300)]
    results = asyncio.run(together(model, [short, tight, over], temperature=0.0))
    assert results[0].text
    assert len(tight.ids) <= 256 and results[1].usage.completion_tokens < 30
    assert (results[2].text, results[2].finish, sum(over.mask)) == ("", "length", 0)


def test_kept_keys_and_values_change_nothing(model: LocalModel) -> None:
    talk = conversations(1)[0]
    answer(talk, asyncio.run(model.complete(talk, Sampling(max_tokens=10))), "I like a table")
    fresh = copy.deepcopy(talk)
    assert talk in model.kept and fresh not in model.kept
    sampling = Sampling(max_tokens=20, seed=5)
    assert asyncio.run(model.complete(talk, sampling)).text == asyncio.run(model.complete(fresh, sampling)).text
    del talk, fresh
    assert not len(model.kept)


def test_finished_rows_leave_no_keys_and_values_behind(model: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the garbage collector's help: a row in a reference cycle would keep its tensors until it comes by."""
    made: list[weakref.ref[torch.Tensor]] = []
    snapshot = SlotCache.snapshot

    def noted(cache: SlotCache, slot: int, places: Sequence[int]) -> Snapshot:
        found = snapshot(cache, slot, places)
        made.append(weakref.ref(found[0][0]))
        return found

    monkeypatch.setattr(SlotCache, "snapshot", noted)
    gc.disable()
    try:
        talks = conversations()
        asyncio.run(together(model, talks))
        for thread in threading.enumerate():
            if thread.name == "prefdisco-decoder":
                thread.join()
        talks.clear()
        assert [past() for past in made] == [None] * 10
    finally:
        gc.enable()


def test_template_that_rewrites_history_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    other = copy.deepcopy(tokenizer)
    other.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content if loop.last else m.content | upper }}\n{% endfor %}"
    )
    talk = Conversation([Message(role="user", content="a"), Message(role="assistant", content="b")], ids=[5, 2])
    talk.messages.append(Message(role="user", content="c"))
    with pytest.raises(ModelError, match=r"model mine: its chat template rewrites earlier turns"):
        Chat(other, "mine").prompt(talk)


def test_missing_checkpoint_is_one_line(tmp_path: Path) -> None:
    for name in (str(tmp_path / "nowhere"), "no-such-folder", "nobody/no-such-model"):
        with pytest.raises(ModelError, match="no such folder") as caught:
            LocalModel(name)
        assert "\n" not in str(caught.value) and name in str(caught.value)
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        LocalModel(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_saved_checkpoint_loads_and_says_the_same(model: LocalModel, tmp_path: Path) -> None:
    model.model.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    loaded = LocalModel(tmp_path, device="cpu")
    assert asyncio.run(together(loaded, conversations(3))) == asyncio.run(together(model, conversations(3)))
    assert loaded.model.dtype == torch.float32 and loaded.name == str(tmp_path)


def test_scripted_model_says_its_lines_then_complains() -> None:
    model, talk = ScriptedModel(["one", "two"]), conversations(1)[0]
    assert [asyncio.run(model.complete(talk, Sampling())).text for _ in range(2)] == ["one", "two"]
    with pytest.raises(ModelError, match="no reply left"):
        asyncio.run(model.complete(talk, Sampling()))
    echo = ScriptedModel(lambda conversation, sampling: f"{conversation.messages[-1].content} {sampling.seed}")
    assert asyncio.run(echo.complete(talk, Sampling(seed=7))).text == "I 7" and not talk.ids
