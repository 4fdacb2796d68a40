"""Where things run: llmops.yaml and the process environment, read once and handed on as values.

This is the only module that reads the process environment.
"""

import difflib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from llmops import git, yamlfile
from llmops.errors import UserError
from llmops.yamlfile import Number, Written

SETTINGS_FILE = "llmops.yaml"
ENDPOINTS_FILE = "local/endpoints.json"

BucketUrl = Annotated[str, StringConstraints(pattern=r"^gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$")]


class Price(Written):
    """US dollars for a million tokens."""

    input: Annotated[Number, Field(ge=0)]
    output: Annotated[Number, Field(ge=0)]
    tuning: Annotated[Number, Field(ge=0)] | None = None
    """Of the training data, once an epoch; None where the model is not tuned or not priced."""

    def of(self, *, input_tokens: float, output_tokens: float) -> float:
        """US dollars for that many tokens."""
        return (self.input * input_tokens + self.output * output_tokens) / 1e6


class EnvironmentSettings(Written):
    """One entry under `environments:`."""

    local: bool = False
    project: Annotated[str, StringConstraints(min_length=1)]
    region: Annotated[str, StringConstraints(min_length=1)]
    bucket: BucketUrl
    promotes_from: str | None = None
    serving_image: Annotated[str, StringConstraints(min_length=1)] = "llmops-serving"
    serving_account: str | None = None


class Settings(Written):
    """llmops.yaml."""

    default: str
    environments: dict[str, EnvironmentSettings]
    prices: dict[str, Price] = {}

    @model_validator(mode="after")
    def _default_exists(self) -> "Settings":
        if self.default not in self.environments:
            known = ", ".join(self.environments)
            raise ValueError(
                f"default: there is no environment {self.default!r}; there are: {known}"
            )
        for name, entry in self.environments.items():
            source = entry.promotes_from
            if source is not None and (source not in self.environments or source == name):
                raise ValueError(f"environments.{name}.promotes_from: there is no such environment")
        return self


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """The addresses of the services; None means the cloud's own address."""

    storage: str | None = None
    vertex: str | None = None
    github: str | None = None
    bigquery: str | None = None


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One environment, with the addresses that its clients use."""

    name: str
    local: bool
    project: str
    region: str
    bucket: str
    endpoints: Endpoints
    promotes_from: str | None = None
    """The environment that must have verified a release before it comes here."""
    serving_image: str = ""
    serving_account: str | None = None


@dataclass(frozen=True, kw_only=True)
class GitHub:
    """What a workflow run knows of itself; the empty string where it is not one."""

    api_url: str
    server_url: str
    token: str
    repository: str
    """`owner/name`."""
    event_path: str
    summary_path: str
    run_id: str
    actor: str

    @property
    def run_url(self) -> str:
        """The page of this workflow run, or the empty string."""
        if not (self.server_url and self.repository and self.run_id):
            return ""
        return f"{self.server_url}/{self.repository}/actions/runs/{self.run_id}"


def repository_root() -> Path:
    """The checkout that the command was started in. Raises UserError outside one."""
    return git.toplevel(Path.cwd())


def home(root: Path) -> Path:
    """The folder for caches, runs and the local cloud's state: `$LLMOPS_HOME`, or `.llmops`."""
    chosen = os.environ.get("LLMOPS_HOME")
    return Path(chosen).resolve() if chosen else root / ".llmops"


def settings(root: Path) -> Settings:
    """llmops.yaml of the working tree. Raises UserError when it is missing or wrong."""
    path = root / SETTINGS_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            "there is no llmops.yaml, which says where things run",
            path=SETTINGS_FILE,
            fix="git checkout origin/main -- llmops.yaml",
        ) from None
    return yamlfile.parse(text, SETTINGS_FILE, Settings)


def environment_name(declared: Settings, chosen: str | None) -> str:
    """The environment that counts: the option, then `$LLMOPS_ENV`, then llmops.yaml's default.

    Raises UserError for a name that llmops.yaml does not have.
    """
    name = chosen or os.environ.get("LLMOPS_ENV") or declared.default
    if name not in declared.environments:
        near = difflib.get_close_matches(name, declared.environments, n=1)
        known = ", ".join(declared.environments)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {known}"
        raise UserError(
            f"there is no environment {name!r}; {hint}",
            path=SETTINGS_FILE,
            fix=f"choose one of {known} with --env, or add it under `environments:`",
        )
    return name


def environment(root: Path, chosen: str | None = None) -> Environment:
    """The chosen environment with its addresses.

    For a local one, and with $LLMOPS_LOCAL for all, the addresses are those that `llmops local up`
    wrote. Raises UserError when the local cloud was never started.
    """

    def services(entry: EnvironmentSettings) -> Endpoints:
        return _local_endpoints(home(root)) if _is_local(entry) else Endpoints()

    return _environment(root, chosen, services)


def source(root: Path, chosen: str | None = None) -> Environment:
    """The chosen environment as far as source tables are read in it: no service need be up."""
    services = Endpoints(bigquery=os.environ.get("BIGQUERY_EMULATOR_HOST"))
    return _environment(root, chosen, lambda _: services)


def _environment(
    root: Path, chosen: str | None, endpoints: Callable[[EnvironmentSettings], Endpoints]
) -> Environment:
    declared = settings(root)
    name = environment_name(declared, chosen)
    entry = declared.environments[name]
    return Environment(
        name=name,
        local=_is_local(entry),
        project=entry.project,
        region=entry.region,
        bucket=entry.bucket,
        promotes_from=entry.promotes_from,
        serving_image=entry.serving_image,
        serving_account=entry.serving_account,
        endpoints=endpoints(entry),
    )


def _local_endpoints(state: Path) -> Endpoints:
    try:
        addresses = json.loads((state / ENDPOINTS_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError("the local cloud is not running", fix="llmops local up") from None
    return Endpoints(**{key: addresses.get(key) for key in ("storage", "vertex", "github")})


def github() -> GitHub:
    """The workflow run that this process is part of, from the variables that GitHub sets."""
    get = os.environ.get
    return GitHub(
        api_url=get("GITHUB_API_URL", "https://api.github.com"),
        server_url=get("GITHUB_SERVER_URL", "https://github.com"),
        token=get("GITHUB_TOKEN", "") or get("GH_TOKEN", ""),
        repository=get("GITHUB_REPOSITORY", ""),
        event_path=get("GITHUB_EVENT_PATH", ""),
        summary_path=get("GITHUB_STEP_SUMMARY", ""),
        run_id=get("GITHUB_RUN_ID", ""),
        actor=get("GITHUB_ACTOR", ""),
    )


@dataclass(frozen=True, kw_only=True)
class Container:
    """What Vertex AI tells a custom container, and what the deployment adds.

    https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
    """

    port: int
    health_route: str
    predict_route: str
    bundle: str
    """`gs://BUCKET/releases/DIGEST`."""
    project: str
    region: str
    concurrency: int
    timeout_seconds: float
    endpoints: Endpoints


def container() -> Container:
    """The container that this process is. Raises UserError when it is none."""
    get = os.environ.get
    try:
        return Container(
            port=int(os.environ["AIP_HTTP_PORT"]),
            health_route=os.environ["AIP_HEALTH_ROUTE"],
            predict_route=os.environ["AIP_PREDICT_ROUTE"],
            bundle=os.environ["AIP_STORAGE_URI"],
            project=os.environ["LLMOPS_PROJECT"],
            region=os.environ["LLMOPS_REGION"],
            concurrency=int(get("LLMOPS_CONCURRENCY", "64")),
            timeout_seconds=float(get("LLMOPS_TIMEOUT_SECONDS", "30")),
            endpoints=Endpoints(
                storage=get("STORAGE_EMULATOR_HOST"), vertex=get("GOOGLE_VERTEX_BASE_URL")
            ),
        )
    except KeyError as error:
        fix = "Vertex AI sets the AIP_* variables, `llmops deploy` the LLMOPS_* ones"
        raise UserError(f"{error.args[0]} is not set", fix=fix) from None


def person() -> str:
    """Who sits at this machine, for the labels that say who changed what."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def reachable_environments(root: Path) -> list[str]:
    """Those that `status` looks at: $LLMOPS_ENVIRONMENTS, else $LLMOPS_ENV, else the local ones."""
    declared = settings(root).environments
    chosen = os.environ.get("LLMOPS_ENVIRONMENTS") or os.environ.get("LLMOPS_ENV")
    if chosen:
        return [environment_name(settings(root), name) for name in chosen.split()]
    return [name for name, entry in declared.items() if entry.local]


def write_github_output(**outputs: bool) -> None:
    """Hands values to the later jobs of a workflow; does nothing outside one."""
    path = os.environ.get("GITHUB_OUTPUT")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.writelines(f"{name}={str(value).lower()}\n" for name, value in outputs.items())


def is_local(root: Path, chosen: str | None) -> bool:
    """Whether the chosen environment is a local one."""
    declared = settings(root)
    return _is_local(declared.environments[environment_name(declared, chosen)])


def _is_local(entry: EnvironmentSettings) -> bool:
    """With $LLMOPS_LOCAL every environment is on this machine: how its workflows are rehearsed."""
    return entry.local or bool(os.environ.get("LLMOPS_LOCAL"))


def rehearse() -> None:
    """From here on every environment is on this machine, as with $LLMOPS_LOCAL."""
    os.environ["LLMOPS_LOCAL"] = "1"


def on_a_runner() -> bool:
    """Whether this is a workflow run: no browser is opened and no bar is animated."""
    return bool(os.environ.get("CI") or os.environ.get("GITHUB_ACTIONS"))


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The programs that a set-up checkout has: `make setup` put them there."""

    node_modules: Path
    beam: Path
    """The Python of Apache Beam's environment; there only after `make beam`."""
    promptfoo_home: Path
    """promptfoo's own database: kept, since making it takes promptfoo seconds."""
    inherited: Mapping[str, str] = field(repr=False, compare=False, hash=False)
    """The process environment, for programs that are run."""


def tools(root: Path) -> Tools:
    """The tools of `$LLMOPS_TOOLS`, a checkout that is set up, or else of this checkout."""
    chosen = os.environ.get("LLMOPS_TOOLS")
    base = Path(chosen).resolve() if chosen else root
    return Tools(
        node_modules=base / "node_modules",
        beam=base / ".venv-beam" / "bin" / "python",
        promptfoo_home=home(root) / "promptfoo",
        inherited=dict(os.environ),
    )


FAILURE_FILE = "failure.json"
"""In the run folder: what the last verb that failed said."""


def run_folder(root: Path) -> Path:
    """Where the verbs leave plan, results, comparison and report for one another."""
    return root / ".llmops" / "run"
