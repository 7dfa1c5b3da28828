"""The episodes of a step: what TRL calls as `rollout_func`, on the one dialogue loop.

All episodes of a step are alive at once: they are generated together with the trainer's weights (`engines.py`), while
users and judges are awaited. What goes to the trainer are the ids and log-probabilities recorded as they were
generated, and the mask of the agent's own tokens; nothing is tokenized again. An episode that failed becomes a row
without a token to learn from and without a reward: it is counted, and its group is smaller by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any, Literal, NamedTuple

from prefdisco.bootstrap import SMALLEST
from prefdisco.conditions import parse_condition
from prefdisco.config import RewardConfig, RLRecipe
from prefdisco.dialogue import play
from prefdisco.elicitation import BeliefFactory
from prefdisco.elicitation.hearing import asked_by
from prefdisco.engine.dialogues import DISCOVERY
from prefdisco.files import RunError
from prefdisco.grading import graded
from prefdisco.hashing import stable_seed
from prefdisco.llm.base import Sampling
from prefdisco.llm.limits import SpendingCapReached
from prefdisco.llm.loops import run, side_by_side
from prefdisco.llm.tokens import TokenModel
from prefdisco.metrics import revealed_weight
from prefdisco.schema import Episode, Scenario
from prefdisco.training.candidates import Deliberation, Drafting
from prefdisco.training.credit import information
from prefdisco.training.engines import agent_of, awake
from prefdisco.training.references import Reference
from prefdisco.training.rewards import alignment
from prefdisco.world import World

BASELINE, ORACLE = "baseline", "oracle"
LEAST_DIALOGUES = 0.05  # of the rows, whatever the mix
MOST_FAILED = 0.5  # of a step's episodes; more is a fault of the surroundings, and there is nothing to learn


class Wanted(NamedTuple):
    """An episode to play."""

    scenario: Scenario
    seed: int
    condition: str = DISCOVERY


@dataclass(frozen=True)
class Rollout:
    """One episode, graded unless it was dropped, and what its questions brought, in units of the scenario's gain.

    Of an episode with drafts, `credits` are those of its turns, and `own_accuracy` is the mean over the drafts
    that answered (candidates.py). `dropped` says why nothing can be learned from it: it failed, or the agent had no
    room to write a token.
    """

    episode: Episode
    reference: Reference
    gains: list[float] | None
    credits: list[float] | None = None
    own_accuracy: float | None = None
    dropped: Literal["", "error", "empty"] = ""


class Rollouts:
    """`rollout_func` for GRPOTrainer: prompts, of which each is one episode to play, to token ids and `Rollout`s."""

    def __init__(
        self,
        recipe: RLRecipe,
        scenarios: Sequence[Scenario],
        references: Mapping[str, Reference],
        world: World,
        belief: BeliefFactory,
    ) -> None:
        self.recipe, self.world, self.belief = recipe, world, belief
        self.scenarios = {scenario.id: scenario for scenario in scenarios if scenario.id in references}
        self.references = references
        self.agent: TokenModel | None = None

    def prompts(self) -> list[dict[str, Any]]:
        """The rows of the trainer's dataset: what an agent reads first, with scenario and condition beside it.

        Every scenario is played under discovery, and as many others as `rollout.mix` says.
        """
        mix, budget, names = self.recipe.rollout.mix, self.recipe.rollout.budget, list(self.scenarios)
        dialogues = max(1.0 - mix.plain - mix.oracle, LEAST_DIALOGUES)
        rows = []
        for condition, share in ((DISCOVERY, dialogues), (BASELINE, mix.plain), (ORACLE, mix.oracle)):
            order = sorted(names, key=partial(stable_seed, "mix", condition)) if condition != DISCOVERY else names
            for name in order[: round(share / dialogues * len(names))]:
                opening = parse_condition(condition).opening(self.scenarios[name], budget)
                beside = {"scenario_id": name, "condition": condition}
                rows.append({"prompt": [{"role": m.role, "content": m.content, **beside} for m in opening]})
        return rows

    def __call__(self, prompts: Sequence[Sequence[Mapping[str, Any]]], trainer: Any) -> dict[str, list[Any]]:
        """Play one episode for each prompt with the trainer's weights. Raises RunError where most of them failed."""
        first, step = trainer.accelerator.process_index * len(prompts), trainer.state.global_step
        wanted = []
        for place, prompt in enumerate(prompts, first):
            seed = stable_seed("rollout", self.recipe.seed, step, place % trainer.num_generations)
            name, condition = str(prompt[0]["scenario_id"]), str(prompt[0]["condition"])
            wanted.append(Wanted(self.scenarios[name], seed, condition))
        try:
            with self.player(trainer) as agent:
                rollouts = run(self.play(wanted, agent, trainer.current_reward, trainer.scale_rewards != "none"))
        except SpendingCapReached as error:
            raise RunError(f"{error}; raise remote.max_usd and repeat the command") from None
        failed = [rollout.episode.error for rollout in rollouts if rollout.dropped == "error"]
        if len(failed) > MOST_FAILED * len(rollouts):
            raise RunError(
                f"{self.recipe.run}: step {step + 1}: {len(failed)} of {len(rollouts)} episodes failed, the first "
                f"with: {failed[0]}; repeat the command to go on from the last save"
            )
        for rollout in rollouts:
            report(rollout, trainer._log_metric)
        rows = [tokens(rollout, trainer.processing_class.eos_token_id) for rollout in rollouts]
        names = ("prompt_ids", "completion_ids", "env_mask", "logprobs")
        return {**{name: [row[i] for row in rows] for i, name in enumerate(names)}, "rollout": list(rollouts)}

    @contextmanager
    def player(self, trainer: Any) -> Iterator[TokenModel]:
        """The agent that plays with the trainer's weights of the moment, while they are those of the moment."""
        if self.agent is None:  # the trainer's model may be another than it was given: it adds adapters
            self.agent = agent_of(trainer, self.recipe.rollout.batch_size)
        with awake(trainer):
            yield self.agent

    async def play(
        self, wanted: Sequence[Wanted], agent: TokenModel, reward: RewardConfig, scaled: bool = False
    ) -> list[Rollout]:
        """One rollout for each that is wanted, all at once, in their order. `reward` is what drafts are chosen by,
        and credited with, `scaled` or not."""
        settings, found = self.recipe.rollout, dict[int, Rollout]()
        sampling = Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens)
        drafting = Drafting(reward, settings.candidates, settings.budget, scaled)

        async def one(place: int, episode: Wanted) -> None:
            scenario, condition = episode.scenario, parse_condition(episode.condition)
            both = None
            if drafting.count > 1:
                known = self.belief(scenario), self.references[scenario.id]
                both = Deliberation(agent, self.world, scenario, episode.condition, *known, drafting)
            seat, person = both or agent, both or self.world.user
            played = await play(scenario, condition, seat, person, sampling, episode.seed, settings.budget)
            found[place] = self.rollout(await graded(played, scenario, self.world.judge), scenario, both)

        await side_by_side(one(place, episode) for place, episode in enumerate(wanted))
        return [found[place] for place in range(len(wanted))]

    def rollout(self, episode: Episode, scenario: Scenario, drafted: Deliberation | None = None) -> Rollout:
        """A graded episode with what it is measured by and what its questions brought."""
        reference = self.references[scenario.id]
        if episode.error is not None:
            return Rollout(episode, reference, None, dropped="error")
        if episode.tokens is None or not any(episode.tokens.mask):
            return Rollout(episode, reference, None, dropped="empty")
        gains = information(episode, scenario, self.belief(scenario), asked_by(self.world.user))
        gains = [gain / reference.unit for gain in gains]
        if drafted is None:
            return Rollout(episode, reference, gains)
        return Rollout(episode, reference, gains, drafted.credits, fmean(drafted.right))


def tokens(rollout: Rollout, end: int) -> tuple[list[int], list[int], list[int], list[float]]:
    """Prompt ids [P], completion ids [C], mask [C] and log-probabilities [C]; the completion is the whole dialogue.

    The mask is 1 on the agent's own tokens. Of an episode that was dropped there is nothing but an `end` in each, with
    mask 0, because the trainer takes no empty rows.
    """
    recorded = rollout.episode.tokens
    if rollout.dropped or recorded is None:
        return [end], [end], [0], [0.0]
    first = recorded.mask.index(1)
    return recorded.ids[:first], recorded.ids[first:], recorded.mask[first:], recorded.logprobs[first:]


def report(rollout: Rollout, log: Callable[[str, float], None]) -> None:
    """Log one episode: the trainer averages each name over all that was logged under it since the last step.

    `precision` and `information` (alignment points) are averages over questions, all others over episodes; shares are
    on 0..1, `alignment` on 1..5. `errors` and `empty` count over all episodes, the rest over those not dropped.
    """
    for reason in ("error", "empty"):
        log(f"episodes/{reason}", float(rollout.dropped == reason))
    if rollout.dropped:
        return
    episode, reference = rollout.episode, rollout.reference
    log("episodes/truncated", float(episode.truncated))
    log("episodes/malformed", float(episode.malformed_turns > 0))
    if episode.condition != DISCOVERY:
        right = float(bool(episode.correct)) if rollout.own_accuracy is None else rollout.own_accuracy
        log(f"episodes/{episode.condition}_accuracy", right)
        return
    log("episodes/questions", float(len(episode.questions)))
    log("episodes/recall", revealed_weight(episode))
    log("episodes/accuracy", float(bool(episode.correct)))
    if rollout.own_accuracy is not None:
        log("drafts/accuracy", rollout.own_accuracy)
    log("episodes/alignment", episode.graded_alignment)
    log("episodes/normalized", alignment(episode, reference))
    log("episodes/below_baseline", float(episode.graded_alignment < reference.baseline - SMALLEST))
    for question, gain in zip(episode.questions, rollout.gains or (), strict=True):
        log("episodes/precision", float(question.revealed is not None))
        log("episodes/information", gain * reference.unit)
