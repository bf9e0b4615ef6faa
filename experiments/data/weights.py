"""Where the configuration and the weights of a backbone are: the hub, a folder, or the suite itself.

`weights_of` makes the one object of a run that knows. Nothing here imports torch or transformers before `config`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from pydantic import JsonValue

from experiments.data import hub
from experiments.data.checkpoint import Checkpoint
from experiments.errors import SpecError
from experiments.families import sections_of
from schema.sections import Backbone

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class Weights(ABC):
    """The pretrained weights of a run's backbone."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    @property
    @abstractmethod
    def key(self) -> str:
        """The setting that asks for the weights, with its value, for error messages."""

    @abstractmethod
    def errors(self) -> list[str]:
        """One line for everything that keeps the weights from being loaded; reads no weights."""

    @abstractmethod
    def reference(self) -> dict[str, JsonValue]:
        """What the weights are, for a run's identity.

        Raises:
            SpecError: if that cannot be told.
        """

    @abstractmethod
    def folder(self) -> Path:
        """The folder of the files; fetched or pretrained first where it is not there.

        Raises:
            SpecError: if it is not to be had.
        """

    @abstractmethod
    def present(self) -> Path | None:
        """The folder where it is there already; nothing is fetched, pretrained or asked."""

    @property
    def notes(self) -> list[str]:
        """What the user should know of where the weights come from."""
        return []

    def checkpoint(self, folder: Path) -> Checkpoint:
        """The files in the folder of the weights."""
        return Checkpoint(folder, sections_of(self.backbone.family).processor, self.key)

    def config(self) -> PretrainedConfig:
        """The model's configuration, a new one each time: config.json's, with `backbone.architecture` over it.

        Before the weights are there, what `backbone.architecture` says is enough for shapes.

        Raises:
            SpecError: if either is not accepted by transformers, or config.json is not to be had.
        """
        from experiments.data import architecture

        described = self._described()
        if described is None:
            return architecture.alone(self.backbone, self.key)
        return architecture.over(described, self.backbone, self.key)

    def _described(self) -> Path | None:
        """The folder of config.json; None where the architecture has to do."""
        return self.present() or (None if self.backbone.architecture else self.folder())


class LocalWeights(Weights):
    """Weights in a folder of the user's."""

    @property
    def key(self) -> str:
        """See `Weights.key`."""
        return f"backbone.path={self.backbone.path}"

    def errors(self) -> list[str]:
        """See `Weights.errors`."""
        return self.checkpoint(self.folder()).errors()

    def reference(self) -> dict[str, JsonValue]:
        """sha256 of every file that the run reads, by its path in the folder."""
        try:
            return {"sha256": self.checkpoint(self.folder()).digests()}
        except (OSError, ValueError) as error:
            raise SpecError([f"{self.key}: {error}; accepted: a folder that can be read"]) from error

    def folder(self) -> Path:
        """See `Weights.folder`."""
        assert self.backbone.path, "validation refuses backbone.source=local without a folder"
        return Path(self.backbone.path)

    def present(self) -> Path | None:
        """See `Weights.present`; also where the folder is not there, of which `errors` speaks."""
        return self.folder()


class HubWeights(Weights):
    """Weights in a repository of the hub, at one commit.

    Args:
        backbone: of the run.
        timeout: seconds to wait for the hub.
        commit: where it is known already, of a plan or a record; otherwise the hub is asked for that of the revision.
    """

    def __init__(self, backbone: Backbone, timeout: float, commit: str | None = None) -> None:
        super().__init__(backbone)
        self._requirement = hub.model(backbone)
        self._timeout = timeout
        self._commit = commit

    @property
    def key(self) -> str:
        """See `Weights.key`."""
        return self._requirement.key

    def errors(self) -> list[str]:
        """See `Weights.errors`; of files that are not cached yet nothing is known."""
        try:
            _ = self._resolved
        except SpecError as error:
            return error.errors
        found = self.present()
        return self.checkpoint(found).errors() if found else []

    def reference(self) -> dict[str, JsonValue]:
        """Name, revision and commit."""
        return {
            "hub": self.backbone.hub,
            "revision": self.backbone.revision,
            "commit": self._resolved.commit,
        }

    def folder(self) -> Path:
        """See `Weights.folder`."""
        return hub.folder(self._requirement, self._resolved.commit)

    def present(self) -> Path | None:
        """See `Weights.present`."""
        commit = self._known_commit
        return hub.cached_folder(self._requirement, commit) if commit else hub.cached(self._requirement)

    @property
    def notes(self) -> list[str]:
        """See `Weights.notes`."""
        return [self._resolved.note] if self._resolved.note else []

    def _described(self) -> Path | None:
        alone = hub.configuration(self.backbone)
        commit = self._known_commit
        cached = self.present() or (hub.cached_folder(alone, commit) if commit else hub.cached(alone))
        if cached or self.backbone.architecture:
            return cached
        return hub.folder(alone, self._resolved.commit)

    @property
    def _known_commit(self) -> str | None:
        """The commit, unless the hub would have to be asked for it."""
        return self._resolved.commit if "_resolved" in self.__dict__ else self._commit

    @cached_property
    def _resolved(self) -> hub.Resolved:
        return hub.Resolved(self._commit) if self._commit else hub.resolve(self._requirement, self._timeout)


class EmbeddedWeights(Weights):
    """Weights that the suite pretrains itself, once."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone)
        self._made: Path | None = None

    @property
    def key(self) -> str:
        """See `Weights.key`."""
        return f"backbone={self.backbone.name}"

    def errors(self) -> list[str]:
        """See `Weights.errors`."""
        own = sections_of(self.backbone.family).embedded_backbone
        if self.backbone.name == own:
            return []
        return [f"{self.key}: the suite pretrains no such backbone (backbone.source=embedded); accepted: {own}"]

    def reference(self) -> dict[str, JsonValue]:
        """The hash of the pretraining recipe, with which the cached files agree (`experiments.embedded.cache`)."""
        return {"pretraining": sections_of(self.backbone.family).embedded_recipe()}

    def folder(self) -> Path:
        """See `Weights.folder`."""
        self._made = self._made or sections_of(self.backbone.family).embedded_folder()
        return self._made

    def present(self) -> Path | None:
        """See `Weights.present`; known once `folder` was asked for, since only making it tells whether it is whole."""
        return self._made


def weights_of(backbone: Backbone, *, timeout: float, reference: Mapping[str, JsonValue] | None = None) -> Weights:
    """The weights of a backbone.

    Args:
        backbone: of the run.
        timeout: seconds to wait for the hub.
        reference: of a plan or a record, where there is one: a hub's commit is then that of the reference, and the hub
            is not asked for it again. A record of identity 1 holds none.
    """
    match backbone.source:
        case "hub":
            commit = (reference or {}).get("commit")
            return HubWeights(backbone, timeout, str(commit) if commit else None)
        case "local":
            return LocalWeights(backbone)
        case "embedded":
            return EmbeddedWeights(backbone)
    assert_never(backbone.source)
