"""Why a request is invalid, in the shape Zod gives it: ``details`` by field and ``issues``."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Issue:
    """One thing wrong with one place of a body; an empty path means the body itself."""

    path: tuple[str | int, ...]
    code: str
    message: str
    extra: dict[str, Any] = field(default_factory=dict)


def custom(name: str, message: str) -> Issue:
    """An issue that is a rule of the model rather than of the schema."""
    return Issue((name,), "custom", message)


def detailed_error(
    issues: list[Issue], error: str = "Invalid request parameters"
) -> dict[str, Any]:
    """The body of a 400: ``DetailedError`` of the specification, with ``issues`` as seen."""
    details: dict[str, Any] = {"_errors": []}
    for issue in issues:
        node = details
        for step in issue.path:
            node = node.setdefault(str(step), {"_errors": []})
        node["_errors"].append(issue.message)
    return {"error": error, "details": details, "issues": [_issue_object(each) for each in issues]}


def _issue_object(issue: Issue) -> dict[str, Any]:
    return {
        "code": issue.code,
        **issue.extra,
        "path": list(issue.path),
        "message": issue.message,
    }
