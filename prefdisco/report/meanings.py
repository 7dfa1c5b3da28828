"""What the sections of a report mean, in the words that stand over their tables. {condition} is the one looked at."""

RUNS = "Episodes that failed are errors: they are counted here and enter no figure below."
MOST_RUNS = "Figures show the first {runs} runs, those of what is won and lost the first {panels}; tables show all."
NORMALIZED = (
    "In percent: 100 ({condition} - baseline) / (oracle - baseline), a ratio of means. Below 0, the result fits "
    "people less well than an answer that knows nothing about them."
)
ACCURACY = "Share of right responses, in percent."
NEGATIVE = "Share of scenarios whose alignment under {condition} is below their own baseline's, in percent."
PLANE = (
    "Every run under every condition. Front: no other point is at least as good in both and better in one; once "
    "among all, once among those whose prompt does not state the preferences. It is that of the means: points whose "
    "intervals overlap may change places."
)
ALONE = "There is one run, and nothing to compare it with."
COMPARISON = (
    "Over the scenarios and seeds that both runs played: second is the run, first the one that it is compared with. "
    "The interval of the difference is paired; p is that of swapping the runs, whole problems at a time; Holm's "
    "correction is over all tests of this table, of which there are {tests}. Accuracy and negative rate are on 0 to "
    "1, alignment on 1 to 5, normalized alignment in percent; where no condition is named, the figure is that of "
    "{condition}."
)
GROUPS = "Intervals are paired over conditions and clustered by problem."
KINDS = (
    "Each kind as if the profile held attributes of this kind alone, their weights scaled to sum to one. Whether a "
    "response is right has no part in it."
)
QUESTIONS = (
    "Alignment (1 to 5) = intercept + slope x questions, under {condition} where no condition is named. Episodes "
    "are clustered by problem; runs count as independent, and once where they agree in both means. How much an "
    "agent asks is its own choice, so a slope within a run is no promise of what another question would bring."
)
COUNTS = "Mean alignment of the episodes of {condition} with so many questions; none for fewer than three problems."
NO_HARM = "No scenario has both baseline and {condition}, so there is nothing to compare criterion by criterion."
HARM = (
    "From baseline to {condition}, criterion by criterion. Lost and won are points of alignment: weight x change of "
    "the grade, summed over the criteria of the row and averaged over all scenarios, so that rows add up to the "
    "change of the mean alignment. Right: the baseline had met it (5). Spoilt: what fell of these, as a share and "
    "as a part of lost. In the figure every panel has a scale of its own."
)
HARM_KINDS = "The same, with the criteria of a kind together."
HARM_TOLD = (
    "The same, by what the dialogue told. Revealed: an answer said what the person prefers. Asked, not revealed: a "
    "question was about the attribute, and its answer did not say. Not revealed: it is not known what questions are "
    "about."
)
SIGNATURES = (
    "Share of the episodes of {condition}. Over-correction: below the baseline, and something that was right is "
    "spoilt. Task-clarification loop: two or more questions about the task. Pathway fixation: told, and answered as "
    "without. Premature termination: stopped of its own accord with less than half of the weight revealed, where "
    "the oracle does better. Not known: the record does not decide; such an episode counts as not seen."
)
