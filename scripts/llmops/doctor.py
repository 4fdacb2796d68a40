"""Whether a project is set up: each thing that the workflows need, asked for, with its fix."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llmops.config import Environment, GitHub
from llmops.errors import LlmopsError, MachineryError

ROLES = {
    "aiplatform.endpoints.deploy": "roles/aiplatform.user",
    "aiplatform.models.upload": "roles/aiplatform.user",
    "aiplatform.endpoints.predict": "roles/aiplatform.user",
    "bigquery.jobs.create": "roles/bigquery.jobUser",
    "iam.serviceAccounts.actAs": "roles/iam.serviceAccountUser",
}
"""What the deployer needs in the project, and the least role that has it."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    good: bool
    found: str
    fix: str = ""


def checks(environment: Environment) -> Iterator[Check]:
    """Every check, one after the other; none of them changes anything that stays."""
    project = environment.project
    yield _tried(
        f"the bucket {environment.bucket} can be written and read",
        lambda: _bucket(environment),
        f"gcloud storage buckets create {environment.bucket} --project {project} "
        f"--location {environment.region} --uniform-bucket-level-access, and "
        "roles/storage.objectAdmin on it",
    )
    yield _tried(
        "Vertex AI answers: model registry and endpoints",
        lambda: _vertex(environment),
        f"gcloud services enable aiplatform.googleapis.com --project {project}, and "
        "roles/aiplatform.user",
    )
    yield _tried(
        "the generative model can be asked",
        lambda: _model(environment),
        f"gcloud services enable aiplatform.googleapis.com --project {project}",
    )
    if environment.local:
        return
    yield _tried(
        "the dataset llmops for request-response logs is there",
        lambda: _dataset(environment),
        f"bq --project_id {project} --location {environment.region} mk llmops",
    )
    yield from _rights(environment)
    yield _image(environment)


def _tried(name: str, look: Callable[[], str], fix: str) -> Check:
    try:
        return Check(name=name, good=True, found=look())
    except LlmopsError as error:
        return Check(name=name, good=False, found=error.message, fix=fix)


def _bucket(environment: Environment) -> str:
    from llmops.bucket import connect

    bucket = connect(environment)
    name, content = "doctor/probe", b"written by llmops doctor"
    bucket.write(name, content)
    if bucket.read(name) != content:
        raise MachineryError("what was written is not what is read")
    return "written and read"


def _vertex(environment: Environment) -> str:
    from llmops.vertex.clients import CALL_SECONDS, Clients, understood

    clients = Clients(environment)
    with understood("asking Vertex AI"):
        endpoints = list(
            clients.endpoints.list_endpoints(parent=clients.location, timeout=CALL_SECONDS)
        )
        models = list(clients.models.list_models(parent=clients.location, timeout=CALL_SECONDS))
    return f"{len(endpoints)} endpoints, {len(models)} models"


def _model(environment: Environment) -> str:
    from google.genai import errors
    from httpx import HTTPError

    from llmops.serving.model import client_of

    name = "smollm2-135m-instruct" if environment.local else "gemini-2.5-flash-lite"
    try:
        client = client_of(environment)
        counted = client.models.count_tokens(model=name, contents="hello")
    except (errors.APIError, HTTPError, OSError) as error:
        raise MachineryError(str(error)) from None
    return f"{name} counts {counted.total_tokens} tokens"


def _dataset(environment: Environment) -> str:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import bigquery

    try:
        found = bigquery.Client(project=environment.project).get_dataset("llmops")
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        raise MachineryError(str(error)) from None
    return f"in {found.location}"


def _rights(environment: Environment) -> Iterator[Check]:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import resourcemanager_v3

    resource = f"projects/{environment.project}"
    held: set[str] = set()
    why = "not held"
    try:
        client = resourcemanager_v3.ProjectsClient(transport="rest")
        reply = client.test_iam_permissions(resource=resource, permissions=list(ROLES))
        held = set(reply.permissions)
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        why = str(error)
    for permission, role in ROLES.items():
        good = permission in held
        yield Check(
            name=f"the right {permission}",
            good=good,
            found="held" if good else why,
            fix=""
            if good
            else f"gcloud projects add-iam-policy-binding {environment.project} "
            f"--member serviceAccount:DEPLOYER --role {role}",
        )


def _image(environment: Environment) -> Check:
    good = ".pkg.dev/" in environment.serving_image or ".gcr.io/" in environment.serving_image
    return Check(
        name="serving_image is in a registry that Vertex AI reads",
        good=good,
        found=environment.serving_image,
        fix=""
        if good
        else "gcloud builds submit --tag "
        f"{environment.region}-docker.pkg.dev/{environment.project}/llmops/serving:1, "
        "and name it in llmops.yaml",
    )


def github_checks(github: GitHub, environment: Environment) -> Iterator[Check]:
    """What GitHub must have, where GITHUB_REPOSITORY and GITHUB_TOKEN say which project."""
    if environment.local or not (github.repository and github.token):
        return
    from github import Auth, Github

    client = Github(auth=Auth.Token(github.token), base_url=github.api_url, retry=1, timeout=20)
    repository = client.get_repo(github.repository, lazy=True)
    settings = f"https://github.com/{github.repository}/settings"
    yield _at_github(
        "main is protected, and the check `llmops` is required",
        lambda: _required(repository.get_branch("main").get_required_status_checks().contexts),
        f"{settings}/branches",
    )
    yield _at_github(
        f"GitHub has the environment {environment.name} with its variables",
        lambda: _variables(
            {each.name for each in repository.get_environment(environment.name).get_variables()}
        ),
        f"{settings}/environments, with the two values that Terraform prints",
    )


def _required(contexts: list[str]) -> str:
    if "llmops" not in contexts:
        raise MachineryError(f"required are only: {', '.join(contexts) or 'none'}")
    return ", ".join(contexts)


def _variables(names: set[str]) -> str:
    missing = {"WORKLOAD_IDENTITY_PROVIDER", "SERVICE_ACCOUNT"} - names
    if missing:
        raise MachineryError(f"without {', '.join(sorted(missing))}")
    return ", ".join(sorted(names))


def _at_github(name: str, look: Callable[[], str], fix: str) -> Check:
    from github import GithubException
    from requests.exceptions import RequestException

    def tried() -> str:
        try:
            return look()
        except (GithubException, RequestException) as error:
            raise MachineryError(f"GitHub: {error}") from None

    return _tried(name, tried, fix)
