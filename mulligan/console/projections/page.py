"""Read models, services and the log's stores: how far each is, and who does what."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import DataTable, Static

from mulligan.console.actions.offered import retry_projection
from mulligan.console.links import Act
from mulligan.console.projections.shares import SHARED, shares_of
from mulligan.console.source import Source
from mulligan.console.theme import BAD, BRIGHT, DIM, FAINT, GOOD, LINK, TEXT, WARN
from mulligan.console.trouble import harmless
from mulligan.console.view import View
from mulligan.diagnosis.checks import FILLING, FULL, SERVICES
from mulligan.diagnosis.found import Status
from mulligan.diagnosis.gathered import gather
from mulligan.diagnosis.leading import leads_of
from mulligan.proto.v1 import ArchiveStatus, Endpoint, LogStatus, Projection
from mulligan.quantities import format_bytes, format_span, format_time

LOOK_S = 2.0
"""Seconds between two looks while the page is shown."""
SHARES_S = 60.0
"""Seconds between two readings of all machines, which the shares are counted by."""
BAR = 24

Cells = tuple[Text, ...]


class ProjectionsView(View):
    """Page ``projections``."""

    DEFAULT_CSS = """
    ProjectionsView #stores { height: 5; padding: 0 1; background: $surface; text-wrap: nowrap;
        text-overflow: ellipsis; }
    ProjectionsView .heading { height: 1; padding: 0 1; background: $panel; color: $primary; }
    ProjectionsView DataTable { background: $background; scrollbar-size: 1 1; }
    ProjectionsView DataTable > .datatable--cursor,
    ProjectionsView DataTable:focus > .datatable--cursor { background: #24405e; color: $foreground;
        text-style: none; }
    ProjectionsView DataTable:focus { background-tint: transparent; }
    ProjectionsView #projections { height: auto; max-height: 45%; }
    ProjectionsView #services { height: 1fr; }
    """
    BINDINGS = [Binding("a", "retry", "Retry a halted one")]

    def __init__(
        self,
        source: Source,
        look: Callable[[], Awaitable[Status]] | None = None,
        machines: Callable[[], Awaitable[list[str]]] | None = None,
    ) -> None:
        super().__init__(source)
        self._look = look or (lambda: gather(source.present, all_of_it=False))
        self._machines = machines or self._list_machines
        self._uuids: list[str] = []
        self._shared: tuple[object, ...] = ()
        self._shares: Mapping[str, int] = {}
        self._projections: dict[str, Projection] = {}

    def compose(self) -> ComposeResult:
        """Lay out the stores, the read models and the services."""
        yield Static(Text("asking…", style=DIM), id="stores")
        yield Static(id="models-heading", classes="heading")
        yield DataTable(id="projections", cursor_type="row", zebra_stripes=True)
        yield Static("SERVICES, and how many machines each looks after", classes="heading")
        yield DataTable(id="services", cursor_type="row", zebra_stripes=True)

    def on_mount(self) -> None:
        """Name the columns, and look again from time to time."""
        table: DataTable[Text] = self.query_one("#projections", DataTable)
        for name in ("READ MODEL", "VERSION", "STATUS", "ENTRY", "LAG", "P99", "FOLD", "BUILDING"):
            table.add_column(name, key=name)
        services: DataTable[Text] = self.query_one("#services", DataTable)
        for name in ("SERVICE", "INSTANCE", "ADDRESS", "VERSION", "MACHINES", "LEADS"):
            services.add_column(name, key=name)
        self.set_interval(LOOK_S, self._look_again)
        self.set_interval(SHARES_S, self._count_again)

    def _look_again(self) -> None:
        self.again(self._read, group="renew")

    def _count_again(self) -> None:
        self.again(self._count, group="count")

    async def renew(self) -> None:
        """Ask every part anew; these are of the present always."""
        self.ask(self._count, group="count")
        await self._read()

    async def _read(self) -> None:
        found = await self._look()
        if found.projections:
            self._projections = {one.name: one for one in found.projections}
        self.query_one("#models-heading", Static).update(heading_shown(found))
        shares, leads = self._counted(found.services), leads_of(found)
        stores = stores_shown(found, live=self.source.live)
        self.query_one("#stores", Static).update(stores)
        rows = {one.name: projection_cells(one) for one in self._projections.values()}
        fill(self.query_one("#projections", DataTable), rows)
        order = sorted(found.services, key=lambda one: (one.service, one.instance))
        services = {
            f"{one.service}/{one.instance}": (
                *service_cells(one, shares, len(self._uuids)),
                Text(leads.get(one.instance, ""), style=DIM),
            )
            for one in order
        }
        fill(self.query_one("#services", DataTable), services)

    async def _count(self) -> None:
        self._uuids = await self._machines()
        self._shared = ()

    def _counted(self, services: Sequence[Endpoint]) -> Mapping[str, int]:
        """Return how many machines each instance has; counted anew only when these change."""
        instances = tuple(sorted(one.instance for one in services if one.service in SHARED))
        if instances != self._shared:
            self._shares, self._shared = shares_of(services, self._uuids), instances
        return self._shares

    async def _list_machines(self) -> list[str]:
        return await self.source.uuids()

    @on(DataTable.RowSelected, "#projections")
    def _selected(self) -> None:
        self.action_retry()

    def action_retry(self) -> None:
        """Try the chosen read model again, if it is halted."""
        one = self._projections.get(chosen_key(self.query_one("#projections", DataTable)))
        if one is not None and one.status == "halted":
            self.post_message(Act(retry_projection(one.name)))


def fill(table: "DataTable[Text]", rows: Mapping[str, Cells]) -> None:
    """Put rows into a table, changing only the cells that differ."""
    if [str(key.value) for key in table.rows] != list(rows):
        chosen = chosen_key(table)
        table.clear()
        for key, cells in rows.items():
            table.add_row(*cells, key=key)
        if chosen in rows:
            table.move_cursor(row=table.get_row_index(chosen))
        return
    columns = list(table.columns)
    for key, cells in rows.items():
        for column, cell in zip(columns, cells, strict=True):
            if table.get_cell(key, column) != cell:
                table.update_cell(key, column, cell, update_width=True)


def chosen_key(table: "DataTable[Text]") -> str:
    """Return the key of the row that the cursor is on; nothing of an empty table."""
    if not table.row_count:
        return ""
    return str(table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value)


def projection_cells(one: Projection) -> Cells:
    """Return a read model as a row."""
    tones = {"live": GOOD, "halted": f"bold {BAD}"}
    lag = f"{one.lag:,} ({format_span(one.lag_seconds)})" if one.lag else "0"
    batch = f"{one.fold_ms:.1f} + {one.flush_ms:.1f} ms" if one.batch_events else ""
    status = f"{one.status}: {one.problem}" if one.problem else one.status
    return (
        Text(one.name, style=BRIGHT),
        Text(f"v{one.version}", style=DIM),
        Text(harmless(status), style=tones.get(one.status, WARN)),
        Text(f"{one.seq:,}", style=TEXT),
        Text(lag, style=WARN if one.lag_seconds > 1 else DIM),
        Text(f"{one.lag_p99_ms:.0f} ms" if one.lag_p99_ms else "", style=DIM),
        Text(batch, style=FAINT),
        _building(one),
    )


def _building(one: Projection) -> Text:
    if not one.building_version:
        return Text("")
    share = one.building_seq / one.building_target if one.building_target else 1.0
    return Text(f"v{one.building_version} ", style=WARN).append_text(bar(share, WARN, 12))


def service_cells(one: Endpoint, shares: Mapping[str, int], machines: int) -> Cells:
    """Return an instance as a row; those that share machines with how many they have."""
    share = Text("")
    if one.service in SHARED and machines:
        held = shares.get(one.instance, 0)
        share = bar(held / machines, LINK, 12).append(f" {held:,}", style=TEXT)
    return (
        Text(one.service, style=BRIGHT),
        Text(one.instance, style=DIM),
        Text(one.address, style=TEXT),
        Text(one.version, style=DIM),
        share,
    )


def heading_shown(found: Status) -> Text:
    """Return what stands above the read models: whether they are as they are now."""
    if found.projections:
        return Text("READ MODELS")
    return Text.assemble("READ MODELS", ("  as last known: the projector does not answer", WARN))


def stores_shown(found: Status, *, live: bool) -> Text:
    """Return the log's head, what etcd uses, and how far the archive is; always of the present."""
    there = {one.service for one in found.services}
    quiet = [f"{name} does not answer" for name in {**found.silent, **found.away}]
    silent = ", ".join([*quiet, *(f"no {name} runs" for name in SERVICES if name not in there)])
    silent = f"nobody can log in: {found.unknown}" if found.unknown else silent
    text = Text.assemble(
        ("log       ", FAINT), (f"{found.region}  ", BRIGHT), (f"#{found.head:,}", BRIGHT),
        ("" if live else "   all of this is of the present, not of the moment above", WARN),
        (f"   {harmless(silent)}" if silent else "", BAD), no_wrap=True,
    )  # fmt: skip
    if found.log is not None:
        text.append_text(_log_shown(found.log))
    if found.archive is not None:
        text.append_text(_archive_shown(found.archive, found.head))
    return text


def _log_shown(log: LogStatus) -> Text:
    text = Text()
    if log.failure:
        text.append(f"   halted: {harmless(log.failure)}", style=f"bold {BAD}")
    if log.store_quota_bytes:
        share = log.store_used_bytes / log.store_quota_bytes
        tone = BAD if share > FULL else WARN if share > FILLING else GOOD
        used, quota = format_bytes(log.store_used_bytes), format_bytes(log.store_quota_bytes)
        text.append("\netcd      ", style=FAINT).append_text(bar(share, tone))
        text.append(f"  {used} in use of {quota}", style=TEXT)
        text.append(f", file {format_bytes(log.store_bytes)}", style=DIM)
        text.append(f", holds entries from #{log.first:,} on", style=DIM)
    return text


def _archive_shown(archive: ArchiveStatus, head: int) -> Text:
    share = archive.sealed / head if head else 0.0
    copied = f" at {format_time(archive.copied_at)}" if archive.copied_at else ""
    text = Text("\narchive   ", style=FAINT).append_text(bar(share, GOOD))
    text.append(
        f"  sealed up to #{archive.sealed:,}, copied up to #{archive.copied:,}{copied}", TEXT
    )
    size = f"{archive.segments} segments, {format_bytes(archive.bytes)}"
    pruned = f", pruned up to #{archive.pruned:,}" if archive.pruned else ""
    text.append(f"\n          {size}{pruned}, {harmless(archive.location)}", style=DIM)
    if archive.problem:
        text.append(f"\n          {harmless(archive.problem)}", style=BAD)
    return text


def bar(share: float, tone: str, width: int = BAR) -> Text:
    """Return a share of one as a bar."""
    full = max(0, min(width, round(share * width)))
    return Text.assemble(("█" * full, tone), ("░" * (width - full), "#2b3a4d"))
