"""Rules that the values of a row meet, whichever way it comes: one at a time, in a batch, by an update or an upsert."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from timber.errors import ConfigurationError, FieldProblem, ValidationError
from timber.features.feature import Feature, FeatureProvider, declaration
from timber.models.rules import read_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from timber.features.feature import FeatureModel, Row, Write
    from timber.models.feature_configs import ValidationConfig
    from timber.models.rules import Rule

_BREATH: Final = 0.01  # seconds of checking after which others get their turn


class ValidationProvider(FeatureProvider):
    """The rules that models declare under ``features: {validation: {rules: [...]}}``."""

    name: ClassVar[str] = "validation"

    def feature(self, model: FeatureModel) -> Feature:
        """The rules of one model.

        Raises:
            ConfigurationError: a rule does not fit its columns.
        """
        declared: ValidationConfig = declaration(model.config, self.name)
        rules, wrong = [], []
        for config in declared.rules:
            rule, problems = read_rule(config, model.config)
            wrong += [f"{model.config.name}: {problem}" for problem, _ in problems]
            if rule is not None:
                rules.append(rule)
        if wrong:
            raise ConfigurationError("\n".join(wrong))
        return Validation(rules)


class Validation(Feature):
    """The rules of one model: every failure of every row of a write is in one error.

    Patterns are matched in a time that grows with the text and nothing else, and between rows the event loop gets its
    turn, so that neither a hostile text nor a large batch holds others up.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = [_RowRule(rule) for rule in rules]

    def needs_current(self, changed: Collection[str], merged: Collection[str]) -> Collection[str]:
        needed: set[str] = set()
        for rule in self._rules:
            if not rule.columns.isdisjoint(changed):
                needed |= rule.columns.difference(changed) | rule.columns.intersection(merged)
        return needed

    async def before_insert(self, write: Write) -> None:
        await self._check(write, write.rows)

    async def before_update(self, write: Write) -> None:
        rows = write.rows
        if write.current is not None:
            pairs = zip(write.current, rows, strict=True)
            rows = [{**current, **changes} for current, changes in pairs]
        await self._check(write, rows)

    async def _check(self, write: Write, rows: list[Row]) -> None:
        problems: list[FieldProblem] = []
        breathed = time.monotonic()
        for index, row in enumerate(rows):
            changed = write.rows[index]
            # Rows that met filters have no positions that the caller knows.
            prefix = f"{index}." if write.verb == "insert" and not write.single else ""
            for rule in self._rules:
                if write.verb == "insert" or not rule.columns.isdisjoint(changed):
                    problems += rule.problems(row, prefix)
            if time.monotonic() - breathed > _BREATH:
                await asyncio.sleep(0)
                breathed = time.monotonic()
        if problems:
            raise ValidationError(errors=dict.fromkeys(problems))


class _RowRule:
    """One rule, as it is asked of each row."""

    def __init__(self, rule: Rule) -> None:
        self.columns = frozenset({rule.field, *rule.others})
        self._field = rule.field
        self._message = rule.config.message
        self._required_with = rule.config.required_with
        self._checks = tuple(_checks(rule))
        self._below = tuple(
            (other, equal, f"is to be {words} {other}")
            for other, equal, words in (
                (rule.config.less_than, False, "less than"),
                (rule.config.less_or_equal, True, "at most"),
            )
            if other is not None
        )

    def problems(self, row: Mapping[str, Any], prefix: str) -> Iterator[FieldProblem]:
        """What of the rule a row does not meet, one problem where the rule has a message of its own."""
        for problem in self._failures(row):
            yield FieldProblem(prefix + self._field, self._message or problem)
            if self._message is not None:
                return

    def _failures(self, row: Mapping[str, Any]) -> Iterator[str]:
        value = row.get(self._field)
        if value is None:
            other = self._required_with
            if other is not None and row.get(other) is not None:
                yield f"is required with {other}"
            return
        for check in self._checks:
            problem = check(value)
            if problem is not None:
                yield problem
        for other, equal, problem in self._below:
            bound = row.get(other)
            # Not the opposite comparison: NaN is neither above nor below.
            if bound is not None and not (value <= bound if equal else value < bound):
                yield problem


def _checks(rule: Rule) -> Iterator[Callable[[Any], str | None]]:
    config = rule.config
    if config.min_length is not None or config.max_length is not None:
        yield partial(_length, config.min_length, config.max_length)
    if rule.minimum is not None or rule.maximum is not None:
        yield partial(_range, rule.minimum, rule.maximum)
    of_each: list[Callable[[Any], str | None]] = []
    if rule.choices is not None:
        of_each.append(partial(_choice, rule.choices))
    if rule.pattern is not None:
        of_each.append(partial(_pattern, rule))
    for check in of_each:
        yield partial(_each, check) if rule.of_items else check


def _length(least: int | None, most: int | None, value: Any) -> str | None:
    if not isinstance(value, str | bytes | list | tuple | dict):
        return "has no length: a text or a list is wanted"
    if least is not None and len(value) < least:
        return f"is to be at least {least} long"
    if most is not None and len(value) > most:
        return f"is to be at most {most} long"
    return None


def _range(least: Any, most: Any, value: Any) -> str | None:
    if least is not None and not value >= least:
        return f"is to be at least {least}"
    if most is not None and not value <= most:
        return f"is to be at most {most}"
    return None


def _choice(choices: tuple[Any, ...], value: Any) -> str | None:
    # In Python True is 1, in JSON it is not.
    if any(value == choice and (value is True) == (choice is True) for choice in choices):
        return None
    return f"is to be one of {', '.join(map(str, choices))}"


def _pattern(rule: Rule, value: str) -> str | None:
    pattern = rule.pattern
    assert pattern is not None
    if len(value) > pattern.longest:
        return f"is longer than the {pattern.longest} characters that its pattern is tried on"
    return None if pattern.matches(value) else f"does not match {pattern.text}"


def _each(check: Callable[[Any], str | None], value: Iterable[Any]) -> str | None:
    problems = (check(item) for item in value)
    return next((f"has an item that {problem}" for problem in problems if problem), None)
