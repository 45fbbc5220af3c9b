"""Every error that Understudy raises on purpose, drawn as a tree.

    UnderstudyError                     exit code
    ├── UserError                       2   the user can fix it
    │   ├── RecipeError                     a recipe or a value in it
    │   ├── SeedError                       a file that seeds are read from
    │   ├── SchemaError                     a table's schema, or a cell that does not fit it
    │   ├── PersonaError                    a persona set
    │   ├── PromptError                     an agent's prompt file, or an agent nobody knows
    │   ├── ModelError                      a model that is missing or cannot do what is asked
    │   └── RunFolderError                  the output folder: locked, foreign, damaged, unknown id
    ├── EngineError                     3   what an SM's engine did
    │   ├── EngineTransient                 worth another try (timeout, 429, 5xx, connection refused)
    │   └── EngineRefused                   the same request would fail again (4xx, context overflow)
    ├── StorageError                    4   the disk is full or cannot be written
    └── AccountingError                 70  our bug: rows in and rows out do not add up

Ctrl-C exits with 130 after the work in hand is safe; 1 is an error nobody foresaw. A message says what
happened, where (file:line: field), what was expected and what to do.
"""


class UnderstudyError(Exception):
    """The root: carries what happened, where, what was expected and the remedy."""

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.message = message
        self.where = where
        self.expected = expected
        self.remedy = remedy
        lines = [f"{where}: {message}" if where else message]
        if expected:
            lines.append(f"  expected: {expected}")
        if remedy:
            lines.append(f"  to fix it: {remedy}")
        super().__init__("\n".join(lines))


class UserError(UnderstudyError):
    """Something the user can put right."""

    exit_code = 2


class RecipeError(UserError):
    """A recipe that is missing, malformed, or asks for what cannot be."""


class SeedError(UserError):
    """A seed file or folder that is missing, empty or unreadable."""


class SchemaError(UserError):
    """A schema of a table that is malformed, or a cell that it has no place for."""


class PersonaError(UserError):
    """A persona set that is missing or malformed."""


class PromptError(UserError):
    """A prompt file that does not lint, or an agent that no prompt file defines."""


class ModelError(UserError):
    """A model that is missing, or lacks a capability the recipe needs."""


class RunFolderError(UserError):
    """An output folder that is locked, belongs to another recipe, or is damaged."""


class EngineError(UnderstudyError):
    """An SM's engine failed."""

    exit_code = 3


class EngineTransient(EngineError):
    """A failure that may pass: retried with a cap, never blamed on the seed."""


class EngineRefused(EngineError):
    """A failure that the same request would meet again."""


class StorageError(UnderstudyError):
    """The disk is full or refuses to be written."""

    exit_code = 4


class AccountingError(UnderstudyError):
    """Rows in and rows out do not add up: a bug of ours, never a warning."""

    exit_code = 70
