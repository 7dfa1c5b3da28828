"""Code of the model card that a reader can paste: a whole dialogue with transformers alone, or with a server."""

from __future__ import annotations

import json

from prefdisco.conditions import parse_condition, prompt
from prefdisco.config import TrainRecipe
from prefdisco.scenarios import load_scenarios

TRANSFORMERS = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({path})
model = AutoModelForCausalLM.from_pretrained({path})


def turn(messages):
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    output = model.generate(**prompt)[0, prompt["input_ids"].shape[1] :]
    return tokenizer.decode(output).removesuffix(tokenizer.eos_token)
"""

OPENAI = """\
from openai import OpenAI

client = OpenAI(base_url="http://localhost:8000/v1", api_key="none")
name = client.models.list().data[0].id


def turn(messages):
    return client.chat.completions.create(model=name, messages=messages).choices[0].message.content
"""

DIALOGUE = """\
messages = {opening}
for left in range({budget}, -1, -1):
    said = turn(messages)
    messages.append({{"role": "assistant", "content": said}})
    text = said.split("</think>")[-1].split("###RESPONSE###:")[-1].strip()
    if "'ask_question'" not in said or not left:
        break
    answer = input(f"{{text}}\\n> ")
    messages.append({{"role": "user", "content": answer if left > 1 else f"{{answer}}\\n{last}"}})
print(text)
"""


def usage(recipe: TrainRecipe, path: str) -> list[str]:
    """The section "How to use" of the card of the model at `path`, a folder or its name on the Hub."""
    budget, scenarios = recipe.eval.budget, recipe.scenarios
    example = load_scenarios(scenarios.training, 1, scenarios.seed)[0]
    opening = parse_condition("discovery").opening(example, budget)
    lines = [json.dumps({"role": each.role, "content": each.content}, ensure_ascii=False) for each in opening]
    messages = "[\n" + "".join(f"    {line},\n" for line in lines) + "]"
    dialogue = DIALOGUE.format(opening=messages, budget=budget, last=prompt("final_request"))
    return [
        "## How to use",
        "",
        "Under the system prompt that it was trained with, the model asks before it answers; without one it answers at "
        "once. A turn is a thought in `<think>` tags, then `###ACTION###: 'ask_question'` or `'final_answer'`, then "
        "`###RESPONSE###:` and the text. `generation_config.json` samples as the evaluation below did.",
        "",
        "With transformers, you in the person's seat:",
        "",
        f"```python\n{TRANSFORMERS.format(path=json.dumps(path))}\n\n{dialogue}```",
        "",
        "With vLLM, `turn` becomes a request, and all else stays as it is:",
        "",
        f"```sh\nvllm serve {path} --port 8000\n```",
        "",
        f"```python\n{OPENAI}```",
        "",
        "The numbers below once more, with prefdisco:",
        "",
        f"```sh\n{again(recipe, path)}\n```",
    ]


def again(recipe: TrainRecipe, path: str) -> str:
    """The command that evaluates the model as the run did."""
    play, wanted = recipe.eval, recipe.scenarios
    default = {name: field.default for name, field in type(play).model_fields.items()}
    words = [
        f"{name}=[{','.join(map(str, value))}]" if isinstance(value, list) else f"{name}={value}"
        for name, value in play.model_dump(mode="json").items()
        if value != default[name] and name != "batch_size"
    ]
    return " ".join(
        ["prefdisco evaluate", f"agent={path}", f"scenarios={wanted.evaluation}", f"limit={wanted.eval_limit}", *words]
    )
