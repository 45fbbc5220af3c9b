"""What sections of a recipe share whose target is drawn first: somebody who has not seen it finds it again, or not."""

from __future__ import annotations

from pydantic import Field, model_validator

from understudy.sections import Strict, misplaced


class RoundTrip(Strict):
    """How often somebody is asked who has not seen what was drawn, and how often it must be found again."""

    votes: int = Field(3, ge=0, le=15)
    """How often somebody who has not seen the target says what it is. With 0 nobody is asked: for an SM that cannot
    tell, as the report shows."""
    agree: int = Field(2, ge=1, le=15)
    """How many of these votes must be for the target; more than half of them."""
    same_solver: bool = False
    """Whether the SM that writes may also be asked: it will share its own mistakes, so the report says that the round
    trip was not independent."""

    @model_validator(mode="after")
    def _more_than_half(self) -> RoundTrip:
        if self.votes and not self.votes / 2 < self.agree <= self.votes:
            raise misplaced(("agree",), str(self.agree), f"more than half of the {self.votes} `votes`, and no more")
        return self
