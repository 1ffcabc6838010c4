"""What several lists are filtered by, under one name and with one meaning each; the doors of
administration have them under the same names.
"""

from __future__ import annotations

from typing import Annotated

import typer

User = Annotated[str | None, typer.Option(help="Only this user's.")]
Team = Annotated[str | None, typer.Option(help="Only this team's.")]
Policy = Annotated[str | None, typer.Option(help="Only those with this policy.")]
Revoked = Annotated[
    bool | None, typer.Option("--revoked/--no-revoked", help="Only those that were ended, or not.")
]
Model = Annotated[str | None, typer.Option(help="Only of this model.")]
Key = Annotated[str | None, typer.Option(metavar="ID", help="Only by this key.")]
Since = Annotated[str | None, typer.Option(metavar="DATE", help="From when, inclusive.")]
Until = Annotated[str | None, typer.Option(metavar="DATE", help="To when, exclusive.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many; all of them without it.")]
