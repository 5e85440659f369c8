"""Pages about nights: the result of one, compared with the night before, and the result of a backfill."""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from urllib.parse import quote
from uuid import UUID

from db.night_change import NightChange
from flows.artifacts.markdown import cell, escape
from flows.artifacts.pages import summary
from flows.artifacts.tables import MAX_ROWS
from flows.pipeline.labeling.canary import Canaries
from flows.pipeline.labeling.labelers.choosing import answering_sentence, choice_rows
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.nights.backfill import DayOutcome
from flows.pipeline.nights.bounds import Figure
from flows.pipeline.nights.earlier import EarlierNight
from flows.pipeline.nights.jobs import Night
from flows.pipeline.nights.plan import IDLE_STATES, STATES, NightPlan
from flows.pipeline.nights.preview import Preview, PromptPreview
from flows.pipeline.nights.summary import NightSummary, clips_worked, share, shift
from flows.pipeline.runs.run import OpenRun

PROMPT_HEAD, PROMPT_TAIL = 2000, 600
"""Characters of a prompt that are shown: where it begins, and the clip at its end."""
MAX_MOVES = 20
"""Pairs of labels that a page names, the most frequent first."""
NEIGHBOR_NAMES = {"nearest": "by tokens", "nearest_latent": "by pooled latent"}


def night_page(place: str, night: Night, before: EarlierNight | None) -> str:
    """Return the page of a night: figures, labels compared with the night before, and quarantined clips."""
    figures = _figures(night)
    labels, set_aside = _labels(night.summary, before), _set_aside(night)
    sections = _bounds(night.figures), _clips(night), figures, _labelers(night), labels, set_aside
    return summary(place, night.run, *sections)


def _bounds(figures: Sequence[Figure]) -> list[str]:
    """Return the figures that have a bound, with those outside it first."""
    if not figures:
        return ["No bounds are set for this place: `wordwave watch` or the form of watch-place sets them."]
    lines = ["| figure | value | bound | met |", "| --- | ---: | ---: | --- |"]
    for figure in sorted(figures, key=lambda figure: not figure.is_beyond):
        holds = "" if figure.value is None else "NO" if figure.is_beyond else "yes"
        lines.append(f"| {escape(figure.text)} | {figure.number} | {figure.limit} | {holds} |")
    return lines


def _labelers(night: Night) -> list[str]:
    """Return which labeler answered and why, and how often the others would have said the same."""
    if night.labelings.is_multi_label:
        return _labelers_by_label(night.labelings)
    setup, same = night.labeling.setup, night.summary.by_labeler
    lines = [f"{escape(answering_sentence(setup))}."]
    choice = setup.answering.choice
    measured = {row["labeler"]: row for row in choice_rows(choice)} if choice else {}
    if not measured and not same:
        return lines
    lines += ["", "| labeler | left-out clips right | 95 % | confidence off by | same label tonight |"]
    lines += ["| --- | ---: | ---: | ---: | ---: |"]
    for name in dict.fromkeys([*measured, *same]):
        row = measured.get(name, {})
        numbers = " | ".join(row.get(column, "") for column in ("right", "95 %", "off by"))
        equal = f"{same[name]:.0%}" if name in same else "answers" if name == setup.answering.method else ""
        lines.append(f"| {escape(name)} | {numbers} | {equal} |")
    return lines


def _labelers_by_label(labelings: Labelings) -> list[str]:
    """Return which labeler says yes or no to each label of a multi-label library, and why."""
    lines = [
        f"Each label of {escape(labelings.name)} is a yes or no of its own. A clip with several labels "
        "counts for each of them, and is as sure as the least sure answer.",
        "",
    ]
    for label, one in labelings.by_label.items():
        lines.append(f"- {escape(label)}: {escape(answering_sentence(one.setup))}")
    return lines


def all_clips(place: str, night: Night) -> str:
    """Return where every clip of a night is found, of which the table shows some."""
    rows, total = min(MAX_ROWS, len(night.answers)), len(night.answers)
    folder = place.replace("'", "''")
    view = "multi_labels" if night.labelings.is_multi_label else "labels"
    return (
        f"The table shows {rows:,} of {total:,} clips: what cannot be used, then the least sure. All are in "
        f"the files of the export, and in SQL by `analytics.{view}` and `analytics.quarantine` "
        f"`WHERE starts_with(uri, '{escape(folder)}')`."
    )


def listen_line(address: str | None, run: UUID) -> str:
    """Return a link to the pages about a night, nothing where they are not served."""
    return f"\n\n[Look at this night and listen to its clips]({address}/nights/{run})" if address else ""


def review_line(address: str | None, library: str) -> str:
    """Return a link to the clips to review, nothing where the pages are not served."""
    return (
        f"\n\n[Review clips, and see what reviews were worth]({address}/reviews?library={quote(library)})"
        if address
        else ""
    )


def _figures(night: Night) -> list[str]:
    run, now, bound = night.run, night.summary, night.labeling.setup.request.min_margin
    lines = [f"- {_throughput(run)}"]
    if now.mean_margin is not None:
        uncertain = f"{now.uncertain / now.answered:.0%} uncertain (margin under {bound:g})"
        judged = uncertain if bound else "no minimum margin is set"
        lines.append(f"- {now.answered} clips answered, mean margin {now.mean_margin:.3f}, {judged}")
    for name, agreeing in now.agreement.items():
        lines.append(
            f"- {agreeing:.0%} of the answers match the nearest demonstration {NEIGHBOR_NAMES[name]}"
        )
    return lines


def _throughput(run: OpenRun) -> str:
    if not (worked := clips_worked(run.counts)):
        return "nothing was left to work on"
    pace = f"{worked / run.seconds:.1f} clips a second"
    return f"worked on {worked} clips in {run.seconds / 60:.1f} minutes, {pace}"


def _clips(night: Night) -> list[str]:
    """Return a row for each state of clips. The rows add up to the clips of the night."""
    now, clips = night.summary, len(night.answers)
    counts = {
        "labeled": now.answered - now.uncertain,
        "labeled, but uncertain": now.uncertain,
        "quarantined": sum(now.quarantined.values()),
        "without an answer yet": clips - now.clips,
    }
    if now.unknown:
        counts["unknown: far from every demonstration"] = now.unknown
    rows = [f"| {number} | {state} |" for state, number in counts.items()]
    return ["| clips | state |", "| ---: | --- |", *rows, f"| {clips} | in total |"]


def _labels(now: NightSummary, before: EarlierNight | None) -> list[str]:
    """Return counts by label, compared with the night before, and what changed since."""
    if before is None:
        lines = ["| label | clips | share |", "| --- | ---: | ---: |"]
        lines += [
            f"| {escape(name)} | {n} | {share(now.labels, name):.1%} |" for name, n in now.labels.items()
        ]
        return [*lines, "", "No night of this prefix and library was completed before."]
    then = before.summary
    lines = [f"| label | clips | share | {before.name} | share | shift of share |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in dict.fromkeys([*now.labels, *then.labels]):
        shares = share(now.labels, name), share(then.labels, name)
        lines.append(
            f"| {escape(name)} | {now.labels.get(name, 0)} | {shares[0]:.1%} "
            f"| {then.labels.get(name, 0)} | {shares[1]:.1%} | {100 * (shares[0] - shares[1]):+.1f} |"
        )
    lines.append(f"| all | {now.answered} | | {then.answered} | | |")
    return [*lines, "", *_since(before)]


def _since(before: EarlierNight) -> list[str]:
    """Return the labels that changed on clips of both nights, and how the shares of other clips shifted."""
    then, name, change = before.summary, before.name, before.change
    if then.mean_margin is None:
        return [f"{name} had {then.answered} answers: nothing to compare."]
    uncertain = then.uncertain / then.answered
    lines = [f"The mean margin of {name} was {then.mean_margin:.3f}, {uncertain:.0%} were uncertain."]
    if change is None:
        return [
            *lines,
            f"The library version of {name} is not known: only the shares can be compared.",
        ]
    if change.library_before != change.library_now:
        versions = f"{escape(change.library_before)}, this night by {escape(change.library_now)}"
        lines.append(f"{name} was answered by {versions}: labels may differ for that reason alone.")
    return [*lines, "", *_moved(change, name), *_other_clips(change, name)]


def _moved(change: NightChange, name: str) -> list[str]:
    if not change.shared:
        return [f"No clip is in both {name} and this night, so no label changed."]
    clips = sum(one.clips for one in change.moved)
    lines = [
        f"{change.shared} clips are in both {name} and this night, by name or by their bytes. The labels of "
        f"{clips} of them ({clips / change.shared:.1%}) changed."
    ]
    if change.moved:
        lines += ["", f"| label of {name} | label now | clips | examples |", "| --- | --- | ---: | --- |"]
    for one in change.moved[:MAX_MOVES]:
        examples = ", ".join(map(escape, one.examples))
        lines.append(f"| {escape(one.before)} | {escape(one.now)} | {one.clips} | {examples} |")
    return lines


def _other_clips(change: NightChange, name: str) -> list[str]:
    """Return how the clips that only one night has shifted the shares; their labels cannot have changed."""
    now, then = sum(change.only_now.values()), sum(change.only_before.values())
    if not now and not then:
        return []
    line = f"{now} answered clips are only in this night, {then} only in {name}"
    shifted = shift(change.only_now, change.only_before)
    by = "" if shifted is None else f": they shift the shares by {shifted:.1%}, without any answer changing"
    return ["", f"{line}{by}."]


def _set_aside(night: Night) -> list[str]:
    """Return the reasons of quarantined clips, and how many clips are new."""
    if not night.summary.quarantined:
        return ["Nothing waits for replay."]
    lines = ["| quarantined | waiting | of this run |", "| --- | ---: | ---: |"]
    for reason, waiting in night.summary.quarantined.items():
        new = night.run.counts[f"tokenize.quarantined:{reason}"]
        lines.append(f"| {escape(reason)} | {waiting} | {new} |")
    return lines


def plan_page(preview: Preview, canaries: Canaries | None) -> str:
    """Return the page of a plan, for the person who approves it."""
    plan = preview.plan
    lines = [f"## {escape(plan.partition.place)}", "", "A plan: nothing has been done."]
    lines += ["", "| clips | state |", "| ---: | --- |"]
    lines += [f"| {plan.counts[state]} | {state}: {meaning} |" for state, meaning in STATES.items()]
    lines += ["", *_outlook(preview)]
    if canaries:
        lines.append(
            f"- {len(canaries.library.demonstrations)} canaries of {escape(canaries.name)} are asked first; "
            f"{canaries.least_accuracy:.0%} must be right"
        )
    if plan.reasons:
        lines += ["", "| quarantined | waiting |", "| --- | ---: |"]
        waiting = Counter(plan.reasons.values()).most_common()
        lines += [f"| {escape(reason)} | {number} |" for reason, number in waiting]
    return "\n".join([*lines, "", *_prompt(preview.prompt)])


def _outlook(preview: Preview) -> list[str]:
    plan, lengths, prompt = preview.plan, preview.lengths, preview.prompt
    lines = [f"- {plan.due} clips to work on{_time(preview)}"]
    if plan.relisted:
        lines.append(f"- {plan.relisted} clips disappeared, were replaced or came back")
    if not plan.is_exported:
        lines.append("- all clips are answered, but the answers are not exported yet")
    if lengths:
        lines.append(
            f"- {lengths[0]} to {lengths[-1]} semantic codes a clip, median {median(lengths):g}, for the "
            f"{len(lengths)} contents that have tokens"
        )
    if prompt.text:
        lines.append(
            f"- {prompt.shared} token ids are shown with every clip, at most {prompt.longest} including the "
            f"clip; the LLM takes {prompt.context}"
        )
    return [*lines, f"- {preview.over_limit} prompts over the limit"]


def _time(preview: Preview) -> str:
    if not preview.plan.due:
        return ""
    if preview.pace is None or preview.minutes is None:
        return "; the time is unknown until a run with these models completes"
    pace = f"{preview.pace.clips_per_second:.2g} clips a second"
    past = "run" if preview.pace.runs == 1 else f"{preview.pace.runs} runs"
    return f", about {_minutes(preview.minutes)} ({pace} in the last {past} with these models)"


def _minutes(minutes: float) -> str:
    return f"{minutes:.1f} minutes" if minutes >= 1 else "a minute"


def _prompt(prompt: PromptPreview) -> list[str]:
    """Return the prompt as an indented block, in which nothing is markup. A long one loses its middle."""
    if not prompt.text:
        return [f"No prompt to show: {escape(prompt.why_none)}."]
    text = prompt.text
    if len(text) > PROMPT_HEAD + PROMPT_TAIL:
        left_out = len(text) - PROMPT_HEAD - PROMPT_TAIL
        text = f"{text[:PROMPT_HEAD]}\n... {left_out} characters ...\n{text[-PROMPT_TAIL:]}"
    whose = "a demonstration, since no clip has tokens yet" if prompt.of_demonstration else "the first clip"
    lines = [
        f"One prompt as the LLM reads it, for {whose}:",
        "",
        *(f"    {line}" for line in text.splitlines()),
    ]
    if prompt.words:
        words = ", ".join(f"{escape(word)} for {escape(label)}" for label, word in prompt.words.items())
        lines += ["", f"The prompt says {words}: the LLM was trained with words that stand for any label."]
    return lines


def plan_rows(plan: NightPlan) -> list[dict[str, str]]:
    """Return a row for each clip of the plan, with unfinished ones first."""
    rows = sorted(plan.clips.items(), key=lambda clip: (clip[1] in IDLE_STATES, clip[0]))
    return [
        {"clip": cell(uri), "state": state, "reason": cell(plan.reasons.get(uri, ""))} for uri, state in rows
    ]


def day_rows(outcomes: Iterable[DayOutcome]) -> list[dict[str, str]]:
    """Return a row for each day: what was missing before, and how its night ended."""
    return [
        {"day": str(outcome.partition.day), "status": outcome.status}
        | {state: str(outcome.plan.counts[state]) if outcome.plan else "" for state in STATES}
        | {"error": cell(str(outcome.error)) if outcome.error else ""}
        for outcome in outcomes
    ]


def backfill_page(prefix: str, outcomes: Sequence[DayOutcome]) -> str:
    """Return the page of a backfill: days by status, and the errors of those that failed."""
    lines = [f"## {escape(prefix)}", "", f"{outcomes[0].partition.day} to {outcomes[-1].partition.day}"]
    lines += ["", "| days | status |", "| ---: | --- |"]
    counted = Counter(outcome.status for outcome in outcomes)
    lines += [f"| {number} | {status} |" for status, number in counted.items()]
    lines += [""]
    lines += [f"- {one.partition.day}: {escape(str(one.error))}" for one in outcomes if one.error]
    return "\n".join(lines).rstrip()
