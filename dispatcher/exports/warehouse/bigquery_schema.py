"""BigQuery's table ``tracking_log``, with the fields of simeon's and edx2bigquery's, so that their users' queries run.

Names and types are those of ``schema_tracking_log.json`` in MIT-IR/simeon (MIT licence), in its order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["STRING", "INTEGER", "FLOAT", "BOOLEAN", "TIMESTAMP", "RECORD"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the table, or of a record in it."""

    name: str
    kind: Kind = "STRING"
    fields: Sequence[Field] = ()

    def to_json(self) -> dict[str, Any]:
        """As ``bq`` and the API have it."""
        inner = {"fields": [field.to_json() for field in self.fields]} if self.fields else {}
        return {"name": self.name, "type": self.kind, "mode": "NULLABLE"} | inner


def _fields(kind: Kind, names: str) -> list[Field]:
    return [Field(name, kind) for name in names.split()]


def _record(name: str, *fields: Field) -> Field:
    return Field(name, "RECORD", fields)


_CONTEXT: Final = _record(
    "context",
    *_fields("STRING", "course_id course_user_tags"),
    Field("user_id", "INTEGER"),
    *_fields("STRING", "org_id username ip agent host session path"),
    _record("module", Field("display_name")),
)
_STATE: Final = _record(
    "state",
    Field("student_answers"),
    Field("seed", "INTEGER"),
    Field("done", "BOOLEAN"),
    *_fields("STRING", "correct_map input_state"),
)
_EVENT_STRUCT: Final = _record(
    "event_struct",
    *_fields("STRING", "POST GET course_id"),
    Field("user_id", "INTEGER"),
    *_fields("STRING", "mode data code id"),
    Field("currentTime", "FLOAT"),
    *_fields("INTEGER", "new old"),
    *_fields("STRING", "problem type"),
    *_fields("FLOAT", "new_time old_time"),
    Field("problem_id"),
    _STATE,
    *_fields("STRING", "answers submission success"),
    Field("grade", "FLOAT"),
    Field("correct_map"),
    Field("attempts", "INTEGER"),
    *_fields("FLOAT", "max_grade current_time old_speed new_speed speed"),
    *_fields("STRING", "failure course"),
    Field("total_results", "INTEGER"),
    *_fields("STRING", "query corrected_text"),
    Field("page", "INTEGER"),
    Field("child_id"),
    Field("group_id", "INTEGER"),
    Field("partition_name"),
    Field("partition_id", "INTEGER"),
    *_fields("STRING", "group_name old_state new_state status is_user_staff chapter direction name"),
    Field("amount", "FLOAT"),
    *_fields("STRING", "chapter_title caseSensitive findPrevious highlightAll item_id submission_returned_uuid"),
    *_fields("STRING", "requesting_student_id saved_response"),
    _record("answer", Field("text")),
    Field("created_at"),
    Field("attempt_number", "INTEGER"),
    *_fields("STRING", "submission_uuid submitted_at corrections options_selected scorer_id feedback score_type parts"),
    _record("rubric", Field("content_hash")),
    *_fields("STRING", "scored_at feedback_text options thumbnail_title location permutation url descriptionText"),
    *_fields("STRING", "description title aws_secret_key uploadedFileDir aws_access_key bucketName"),
    *_fields("INTEGER", "downvotes upvotes"),
    *_fields("STRING", "uploadedFileName error"),
    *_fields("INTEGER", "newVotes oldVotes"),
    *_fields("STRING", "old_description old_title old_url old_descriptionText toggle reason isProblematic oldReason"),
    Field("category", "INTEGER"),
    *_fields("STRING", "selection element"),
)

#: The table's fields.
SCHEMA: Final[Sequence[Field]] = [
    Field("time", "TIMESTAMP"),
    *_fields("STRING", "username ip event_source event_type agent course_id module_id page host vname datafn event_js"),
    _CONTEXT,
    Field("mongoid"),
    _EVENT_STRUCT,
    *_fields("STRING", "event name session"),
]
