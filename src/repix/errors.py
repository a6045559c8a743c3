"""Every error that repix raises on purpose.

    RepixError                exit code 1
    ├── InputError                      2   an image, video, folder, mask or option that cannot be used
    ├── RecipeError                     3   a recipe that does not validate
    ├── WeightsError                    4   weights that are missing, damaged or do not fit
    │   └── UntrustedCodeError          4   code that a card or a run names, without --trust
    ├── BackendError                    5   the inference engine cannot run (device, provider, memory)
    └── MissingExtraError               6   an optional dependency is not installed

The message of each says what was got, what was expected and what to do. The command line prints it on one
line and exits with the class's `exit_code`; a folder run in which single files failed exits with 1.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class RepixError(Exception):
    """Base of all deliberate errors; catching it catches every one of them."""

    exit_code = 1


class InputError(RepixError):
    """An image, video, folder, mask or option that cannot be used as given."""

    exit_code = 2


class MissingFileError(InputError, FileNotFoundError):
    """There is no such file; Python's own error too, for programs that expect that."""

    def __str__(self) -> str:
        return str(self.args[0])


class RecipeError(RepixError):
    """A training recipe that does not validate."""

    exit_code = 3


class WeightsError(RepixError):
    """Weights that are missing, damaged, or do not fit the network."""

    exit_code = 4


class UntrustedCodeError(WeightsError):
    """A card or a run's folder names Python code that the user has not said to trust."""


class BackendError(RepixError):
    """The inference engine cannot run what was asked of it."""

    exit_code = 5


class MissingExtraError(RepixError):
    """An optional part of repix is needed and not installed.

    Args:
        extra: name of the extra in `pip install 'repix[extra]'`.
        missing: the module whose import failed.
    """

    exit_code = 6

    def __init__(self, extra: str, missing: str) -> None:
        super().__init__(f"this needs {missing}, which is not installed: pip install 'repix[{extra}]'")
        self.extra = extra
        self.missing = missing

    def __reduce__(self) -> tuple[type, tuple[str, str]]:  # by itself the sentence would be `extra`
        return type(self), (self.extra, self.missing)


def counted(count: int, one: str, many: str = "", *, form: str = "") -> str:
    """A count with the word that goes with it: `1 frame`, `2 frames`.

    Args:
        count: how many.
        one: the word for one.
        many: the word for none and for several, where it is not `one` with an s.
        form: how the number is written, as in `format`: "," parts thousands.
    """
    return f"{count:{form}} {one if count == 1 else many or f'{one}s'}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known name nearest to a mistaken one, for an error message; empty without one."""
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
