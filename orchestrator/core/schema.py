"""What a service takes and gives: arguments bound and checked, results checked, labels found."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from orchestrator.core.adapters import Adapter, adapter_of
from orchestrator.core.annotations import Reading
from orchestrator.core.errors import DefinitionError, InvalidInput, PrivacyRefused
from orchestrator.core.fieldrules import STRICT
from orchestrator.core.labels import ARRAY_RULE, Labelled, label_of
from policies.facts import PUBLIC, Label, Level

_OF_THE_CALL = ("missing", "extra_forbidden")  # kinds that speak of no value


@dataclass(frozen=True)
class Schema:
    """The checked signature of a service.

    Attributes:
        name: The service's name, for errors.
        signature: The user's signature, without `self`.
        parameters: Each parameter's reading, by name.
        result: The result's reading; of one item, for a stream.
    """

    name: str
    signature: inspect.Signature
    parameters: Mapping[str, Reading]
    result: Reading

    @cached_property
    def text(self) -> str:
        """The signature in canonical words; "= ..." marks what may be left out."""
        parts = [
            f"{name}: {reading.text}{' = ...' if name in self._defaults else ''}"
            for name, reading in self.parameters.items()
        ]
        return f"({', '.join(parts)}) -> {self.result.text}"

    @cached_property
    def takes_labels(self) -> bool:
        """Whether a labelled value may stand anywhere in the arguments."""
        return any(reading.labelled for reading in self.parameters.values())

    @cached_property
    def level(self) -> Level:
        """The highest level that the arguments declare."""
        return max((read.level for read in self.parameters.values()), default=Level.PUBLIC)

    @cached_property
    def highest(self) -> Level:
        """The highest level that the arguments may have."""
        return max((read.highest for read in self.parameters.values()), default=Level.PUBLIC)

    def compile(self) -> None:
        """Build what checks the values; else the first call does.

        Raises:
            DefinitionError: An annotation makes no sense, or a default does not fit its own.
        """
        _ = self._result
        for name, value in self._defaults.items():
            try:
                adapter_of({name: self.parameters[name].schema}, self.name).validate_python(
                    {name: value}, strict=True, context=STRICT
                )
            except ValidationError as error:
                said = error.errors(include_url=False, include_input=False)[0]["msg"]
                raise DefinitionError(
                    f"{self.name}: the default of {name!r} does not fit its annotation: {said}"
                ) from None
        _ = self._arguments

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return all arguments by name, defaults included, strictly checked.

        Raises:
            InvalidInput: They do not fit the signature.
            PrivacyRefused: One carries a label above what its parameter takes.
        """
        if not kwargs and len(args) == self._all_positional:
            return self._check(
                self._arguments, dict(zip(self.parameters, args, strict=True)), own=True
            )
        if len(args) > self._positional or not kwargs.keys() <= self._by_name:
            self._refuse_binding(args, kwargs)
        arguments = {**self._defaults, **dict(zip(self.parameters, args, strict=False)), **kwargs}
        if len(arguments) < len(self.parameters) or (args and self._is_twice(args, kwargs)):
            self._refuse_binding(args, kwargs)
        return self._check(self._arguments, arguments, own=True)

    def _is_twice(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        return not kwargs.keys().isdisjoint(list(self.parameters)[: len(args)])

    def _refuse_binding(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> NoReturn:
        """Raise what is wrong with the arguments in Python's own words."""
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidInput(f"{self.name}{self.text}: {error}") from None
        raise InvalidInput(f"{self.name}{self.text}: the arguments do not fit")

    def load(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments that came over a channel, checked and in their declared types."""
        return self._check(self._arguments, {**self._defaults, **arguments}, own=False)

    def check_result(self, value: Any) -> Any:
        """Return what a body gave, strictly checked; raise InvalidInput if it does not fit."""
        return self._check(self._result, {"result": value}, own=True)["result"]

    def load_result(self, value: Any) -> Any:
        """Return a result that came over a channel, in its declared type."""
        return self._check(self._result, {"result": value}, own=False)["result"]

    def label_of(self, arguments: Mapping[str, Any]) -> Label:
        """Return the join of the labels in checked arguments."""
        label = PUBLIC
        if self.takes_labels:
            for value in arguments.values():
                if (more := label_of(value)) is not PUBLIC:
                    label = label.join(more)
        return label

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        parameters = self.signature.parameters.values()
        return {p.name: p.default for p in parameters if p.default is not p.empty}

    @cached_property
    def _positional(self) -> int:
        parameters = self.signature.parameters.values()
        return sum(p.kind is not p.KEYWORD_ONLY for p in parameters)

    @cached_property
    def _all_positional(self) -> int:
        """How many arguments there are if all may be given by place, else -1."""
        return self._positional if self._positional == len(self.parameters) else -1

    @cached_property
    def _by_name(self) -> frozenset[str]:
        parameters = self.signature.parameters.values()
        return frozenset(p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY)

    @cached_property
    def _arguments(self) -> Adapter:
        return adapter_of({n: read.schema for n, read in self.parameters.items()}, self.name)

    @cached_property
    def _result(self) -> Adapter:
        return adapter_of({"result": self.result.schema}, self.name)

    def _check(self, adapter: Adapter, values: dict[str, Any], *, own: bool) -> dict[str, Any]:
        """Check values: strictly if this process made them, else as far as JSON keeps types."""
        context = STRICT if own else None
        try:
            # The validator itself: the adapter's own method takes as long as a small check.
            checked: dict[str, Any] = adapter.validator.validate_python(
                values, strict=own, context=context, by_name=True
            )
            return checked
        except ValidationError as error:
            refusal = self._refusal(error, own=own)
        except TypeError as error:  # a constraint that its type does not know shows itself here
            raise DefinitionError(f"{self.name}{self.text} cannot be checked: {error}") from error
        except Exception as error:  # of the checks of a user's own type; its words may hold values
            raise InvalidInput(
                f"{self.name}{self.text}: {type(error).__name__} in the checks of a type",
                shareable=True,
            ) from error
        raise refusal  # out here, so that not even its context holds the values

    def _refusal(self, error: ValidationError, *, own: bool) -> InvalidInput | PrivacyRefused:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        reading = self.parameters.get(name) or self.result
        if isinstance(first["input"], Labelled) and not _in_envelope(first):
            return PrivacyRefused(
                f"{self.name}: {name!r} takes {reading.text}, the value carries the label "
                f"{first['input'].label}; lower it with a declassifier, or declare the label"
            )
        # A message may repeat the value: of private values, and to others, its kind says enough.
        private = self.takes_labels or self.result.labelled or not own
        told = not private or first["type"] == ARRAY_RULE
        said = first["msg"].removeprefix("Value error, ") if told else _by_kind(first, reading)
        return InvalidInput(f"{self.name}{self.text}: {name!r}: {said}", shareable=private)


def _in_envelope(problem: ErrorDetails) -> bool:
    return "content" in problem.get("ctx", {})


def _by_kind(problem: ErrorDetails, reading: Reading) -> str:
    """Say what is wrong with a value, and nothing of the value."""
    kind = problem["type"]
    of_content = _in_envelope(problem) or (reading.labelled and kind not in _OF_THE_CALL)
    return f"the content does not fit {reading.text} ({kind})" if of_content else kind
