"""What ``mulligan status`` says of etcd's space and of the archive."""

from mulligan.cli.status import Status, archive_shown, store_problems
from mulligan.proto.v1 import ArchiveStatus, LogStatus

GIB = 2**30


def test_an_etcd_that_fills_up_is_a_problem_with_what_to_do() -> None:
    def problems(used: int) -> list[str]:
        return store_problems(Status(log=LogStatus(store_used_bytes=used, store_quota_bytes=GIB)))

    assert problems(GIB // 2) == []
    (problem,) = problems(GIB * 7 // 10)
    assert "quota" in problem
    assert "archive.keep_bytes" in problem


def test_who_may_not_see_the_sizes_is_told_of_no_problem() -> None:
    assert store_problems(Status(log=LogStatus())) == []


def test_an_archiver_that_is_stuck_is_a_problem() -> None:
    (problem,) = store_problems(Status(archive=ArchiveStatus(problem="no such bucket")))
    assert "no such bucket" in problem
    assert "mulligan archive status" in problem


def test_the_archive_is_told_in_one_line() -> None:
    shown = archive_shown(ArchiveStatus(sealed=5, copied=7, store_used_bytes=GIB))
    assert shown.startswith("sealed up to 5, copied up to 7; etcd uses 1")
