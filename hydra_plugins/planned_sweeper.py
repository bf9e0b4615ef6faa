"""The sweeper of conf/hydra/sweeper/planned.yaml; Hydra finds sweepers in this folder alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy, deepcopy
from typing import TYPE_CHECKING

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

if TYPE_CHECKING:
    from hydra.plugins.config_source import ConfigResult
    from omegaconf import DictConfig


class PlannedSweeper(BasicSweeper):
    """Hydra's own sweeper, which launches what is left once every job has been checked and looked up."""

    def sweep(self, arguments: list[str]) -> None:
        """Run every combination of the overrides' values that is not recorded yet.

        Raises:
            SpecError: if there is no job, or for all that is wrong with any of them.
            RunFailed: if a job did not end ok.
            Unforeseen: for what would pass for a refusal of Hydra's.
        """
        from experiments.errors import Unforeseen
        from experiments.sweep.snapshot import run_from_copy
        from experiments.sweep.sweep import sweep, to_run

        parser = OverridesParser.create()
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        (jobs,) = self.split_arguments(overrides, max_batch_size=None)
        assert self.config is not None
        composed = self._composer()
        try:
            run_from_copy(self.config, lambda: to_run(jobs, composed))
            sweep(jobs, composed, self._launched)
        except (HydraException, OmegaConfBaseException) as error:  # not of composing, whose errors are refusals
            raise Unforeseen(f"{type(error).__name__}: {error}") from error

    def _composer(self) -> Callable[[Sequence[str]], DictConfig]:
        assert self.hydra_context is not None
        loader, config = copy(self.hydra_context.config_loader), self.config
        assert isinstance(loader, ConfigLoaderImpl)
        assert config is not None
        loader.repository = _FilesReadOnce(loader.repository)  # type: ignore[assignment]  # which Hydra does as well
        return lambda job: loader.load_sweep_config(config, list(job))

    def _launched(self, jobs: Sequence[Sequence[str]]) -> Iterable[JobReturn]:
        """What came of each job, batch after batch, in their order."""
        assert self.launcher is not None
        first = 0
        for batch in self.split_overrides_to_chunks([list(job) for job in jobs], self.max_batch_size):
            yield from self.launcher.launch(batch, initial_job_idx=first)
            first += len(batch)


class _FilesReadOnce(CachingConfigRepository):
    """Hydra's cache of the files of one composition, for all of them: reading YAML is a third of the time of a job."""

    def load_config(self, config_path: str) -> ConfigResult | None:
        """What a file holds, for a composition to merge others into."""
        return deepcopy(super().load_config(config_path))

    def __deepcopy__(self, memo: object) -> _FilesReadOnce:
        return self
