"""The source tables in BigQuery: what a query reads is asked beforehand, and capped."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmops.config import Environment
from llmops.data import retrieve
from llmops.data.params import PATH as PARAMS
from llmops.data.params import Retrieval
from llmops.errors import MachineryError, UserError
from llmops.formats import Origin

if TYPE_CHECKING:
    import pyarrow as pa
    from google.cloud.bigquery import Client, QueryJob
    from ibis.expr.types import Table

GIB, TIB = 2**30, 2**40


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a query will read, as BigQuery's dry run says."""

    bytes: int
    usd: float
    """At the on-demand price of params.yaml."""

    def words(self) -> str:
        """Such as `3.2 GiB, about 0.02 US dollars`."""
        return f"{self.bytes / GIB:.1f} GiB, about {self.usd:.2f} US dollars"


@dataclass(frozen=True, kw_only=True)
class BigQueryTables:
    """bigquery-public-data.stackoverflow, read in a project's name."""

    environment: Environment
    wanted: Retrieval
    jobs: "list[QueryJob]" = field(default_factory=list)
    """The queries that ran, in their order."""

    @property
    def tables(self) -> Mapping[str, "Table"]:
        """BigQuery's own."""
        return retrieve.public_tables()

    def estimate(self, expression: "Table") -> Estimate:
        """What the query would read. Raises MachineryError when BigQuery does not say."""
        from google.cloud.bigquery import QueryJobConfig

        config = QueryJobConfig(dry_run=True, use_query_cache=False)
        with _explained():
            job = self._client.query(retrieve.bigquery_sql(expression), job_config=config)
        read = int(job.total_bytes_processed or 0)
        return Estimate(bytes=read, usd=read / TIB * self.wanted.usd_per_tib)

    def check(self, expression: "Table") -> Estimate:
        """The estimate. Raises UserError where it is more than the cap of params.yaml."""
        estimate = self.estimate(expression)
        if estimate.bytes > self.wanted.max_gib * GIB:
            raise UserError(
                f"the query would read {estimate.words()}; the cap is {self.wanted.max_gib:g} GiB",
                path=PARAMS,
                fix="raise data.retrieve.max_gib, or read fewer columns",
            )
        return estimate

    def retrieve(self, expression: "Table") -> Iterator["pa.RecordBatch"]:
        """The rows, as they come. Raises UserError beyond the cap, before anything is read.

        The cap is also given to BigQuery, which refuses by itself (maximum_bytes_billed).
        """
        from google.cloud.bigquery import QueryJobConfig

        self.check(expression)
        config = QueryJobConfig(maximum_bytes_billed=int(self.wanted.max_gib * GIB))
        with _explained():
            job = self._client.query(retrieve.bigquery_sql(expression), job_config=config)
            rows = job.result(page_size=retrieve.BATCH_ROWS)
            self.jobs.append(job)
            yield from rows.to_arrow_iterable(bqstorage_client=self._storage_client)

    def origin(self) -> Origin:
        """The tables by when they were last modified, which costs nothing, and the jobs so far.

        Raises MachineryError where BigQuery does not say.
        """
        with _explained():
            found = {
                name: self._client.get_table(".".join((*retrieve.PUBLIC_DATASET, name)))
                for name in retrieve.COLUMNS
            }
        began = [job.started for job in self.jobs if job.started]
        return Origin(
            engine="bigquery",
            tables={
                name: table.modified.isoformat() if table.modified else "unknown"
                for name, table in found.items()
            },
            jobs=tuple(f"{job.project}:{job.location}.{job.job_id}" for job in self.jobs),
            at=min(began).isoformat() if began else None,
        )

    @cached_property
    def _client(self) -> "Client":
        from google.auth.credentials import AnonymousCredentials
        from google.auth.exceptions import DefaultCredentialsError
        from google.cloud.bigquery import Client

        address = self.environment.endpoints.bigquery
        if address:
            # The address itself the client reads from BIGQUERY_EMULATOR_HOST.
            nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]
            return Client(project=self.environment.project, credentials=nobody)
        try:
            return Client(project=self.environment.project)
        except DefaultCredentialsError as error:
            fix = "gcloud auth application-default login, or use --env local"
            raise MachineryError(f"not signed in to Google Cloud: {error}", fix=fix) from None

    @cached_property
    def _storage_client(self) -> Any:  # noqa: ANN401 - without types
        """The Storage Read API, which streams Arrow; an emulator has none."""
        if self.environment.endpoints.bigquery:
            return None
        from google.cloud.bigquery_storage import BigQueryReadClient

        return BigQueryReadClient()  # type: ignore[no-untyped-call]


@contextmanager
def _explained() -> Iterator[None]:
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from requests.exceptions import ConnectionError as NoConnectionError

    try:
        yield
    except (GoogleAPICallError, RetryError) as error:
        fix = "llmops doctor checks rights; the message is BigQuery's own"
        raise MachineryError(f"BigQuery refused the query: {error}", fix=fix) from None
    except NoConnectionError as error:
        fix = "check the network"
        raise MachineryError(f"BigQuery cannot be reached: {error}", fix=fix) from None
