"""What the person at the terminal sees: the stages, how long each takes, and what it waits for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from relay.core import Clock


@dataclass(slots=True)
class Stage:
    """One step of the demo; `why` says what is happening or waited for."""

    title: str
    why: str
    began: float
    ended: float | None = None
    failed: bool = False


class Stages:
    """A live list on a terminal; one line per change elsewhere."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._began = clock.monotonic()
        self._stages: list[Stage] = []
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(
            get_renderable=self._render, console=console, refresh_per_second=8, redirect_stdout=False
        )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While the stages are on the screen."""
        if not self._console.is_terminal:
            yield
            return
        with self._live:
            yield

    @contextmanager
    def stage(self, title: str, why: str = "") -> Iterator["Stages"]:
        """One stage, from now to the end of the block."""
        stage = Stage(title, why, self._clock.monotonic())
        self._stages.append(stage)
        self._line(f"{title} ...", why)
        try:
            yield self
        except BaseException:
            stage.failed = True
            raise
        finally:
            stage.ended = self._clock.monotonic()
            took = f"{stage.ended - stage.began:.1f} s"
            self._line(f"{title}: {'failed after' if stage.failed else 'done in'} {took}", "")

    def note(self, why: str, *, countdown: bool = False) -> None:
        """What the present stage does or waits for now; a `countdown` moves on a terminal only."""
        if self._stages and self._stages[-1].ended is None and self._stages[-1].why != why:
            self._stages[-1].why = why
            if not countdown:
                self._line("", why)

    @property
    def elapsed(self) -> float:
        return self._clock.monotonic() - self._began

    def _line(self, text: str, why: str) -> None:
        if not self._console.is_terminal:
            said = "  ".join(part for part in (text, why) if part)
            self._console.print(
                f"[{self.elapsed:6.1f} s] {said}", highlight=False, markup=False, soft_wrap=True
            )

    def _render(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        table.add_column(width=2)
        table.add_column(no_wrap=True)
        table.add_column(justify="right", width=7)
        table.add_column(style="dim", overflow="fold")
        now = self._clock.monotonic()
        for stage in self._stages:
            mark: RenderableType = self._spinner
            if stage.failed:
                mark = Text("✗", style="red")
            elif stage.ended is not None:
                mark = Text("✓", style="green")
            took = (stage.ended or now) - stage.began
            table.add_row(mark, Text(stage.title), Text(f"{took:.1f} s"), Text(stage.why))
        return table
