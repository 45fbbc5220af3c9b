import pytest

from understudy import errors
from understudy.errors import UnderstudyError


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("UnderstudyError", 1),
        ("RecipeError", 2),
        ("SeedError", 2),
        ("PersonaError", 2),
        ("PromptError", 2),
        ("ModelError", 2),
        ("RunFolderError", 2),
        ("EngineTransient", 3),
        ("EngineRefused", 3),
        ("StorageError", 4),
        ("AccountingError", 70),
    ],
)
def test_each_error_exits_with_the_code_drawn_in_the_tree(kind: str, code: int):
    assert getattr(errors, kind)("x").exit_code == code


def test_every_error_of_the_module_is_drawn_in_its_docstring():
    defined = {name for name, thing in vars(errors).items() if isinstance(thing, type)}
    assert {name for name in defined if name not in (errors.__doc__ or "")} == set()


def test_a_message_says_where_what_what_was_expected_and_what_to_do():
    error = UnderstudyError("got 0", where="r.yaml:3: accept", expected="1 or more", remedy="raise it")
    assert str(error) == "r.yaml:3: accept: got 0\n  expected: 1 or more\n  to fix it: raise it"


def test_a_message_leaves_out_what_it_does_not_know():
    assert str(UnderstudyError("broken")) == "broken"
    assert str(UnderstudyError("broken", remedy="mend it")) == "broken\n  to fix it: mend it"


def test_an_engine_error_that_may_pass_is_told_from_one_that_will_not():
    assert not issubclass(errors.EngineTransient, errors.EngineRefused)
    assert not issubclass(errors.EngineRefused, errors.EngineTransient)
    assert not issubclass(errors.EngineError, errors.UserError)
