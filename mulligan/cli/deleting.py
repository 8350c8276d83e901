"""`delete`, of one object or of several: asked for, told, and each by itself."""

from collections.abc import Awaitable, Callable, Sequence

from mulligan.cli.many import each, names_of
from mulligan.cli.verbs import Session


async def delete_each(
    session: Session, given: Sequence[str], yes: bool, delete: Callable[[str], Awaitable[object]]
) -> None:
    """Delete what is named, once the user agrees; errors are those of ``many.each``.

    ``given`` are the arguments, of which ``-`` reads standard input.
    """
    names = names_of(given)
    session.confirm_several("delete", names, yes)

    async def one(name: str) -> None:
        await delete(name)
        session.out.note(f"deleted {name}")

    await each(names, one)
