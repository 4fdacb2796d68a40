"""Supervised tuning on Vertex AI: one job for a tuning digest, however often it is asked for."""

import time
from collections.abc import Callable
from typing import Any

from llmops.bucket import Bucket
from llmops.config import Environment
from llmops.errors import MachineryError
from llmops.formats import Application

_POLL_SECONDS = 20.0
_LONGEST_SECONDS = 6 * 3600.0
_DONE = ("JOB_STATE_SUCCEEDED",)
_FAILED = ("JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED")


def place_data(bucket: Bucket, md5: str, rows: Callable[[], bytes]) -> str:
    """The training rows in the bucket, under the data's md5; returns their `gs://` URI.

    `rows` is called only where they are not there yet. Raises MachineryError when the bucket
    cannot be reached.
    """
    name = f"tuning/{md5.removesuffix('.dir')}/train.jsonl"
    if not bucket.names(name):
        bucket.write(name, rows())
    return f"{bucket.url}/{name}"


def tune(environment: Environment, application: Application, tuning: str, data: str) -> str:
    """The tuned model of that tuning digest: found, waited for, or made.

    Raises MachineryError when the job fails or does not end within six hours.
    """
    from google.genai import errors, types
    from httpx import HTTPError

    from llmops.serving.model import client_of

    settings = application.tuning
    base = application.base_model[environment.name]
    if settings is None:
        raise MachineryError(f"{application.application} is not tuned")
    client = client_of(environment)
    name = f"{application.application}-{tuning[:12]}"
    try:
        job: Any = next(
            (
                each
                for each in client.tunings.list()
                if each.tuned_model_display_name == name
                and each.state is not None
                and each.state.value not in _FAILED
            ),
            None,
        )
        if job is None:
            job = client.tunings.tune(
                base_model=base,
                training_dataset=types.TuningDataset(gcs_uri=data),
                config=types.CreateTuningJobConfig(
                    tuned_model_display_name=name,
                    epoch_count=settings.epochs,
                    learning_rate_multiplier=settings.learning_rate_multiplier,
                    adapter_size=types.AdapterSize(f"ADAPTER_SIZE_{_WORDS[settings.adapter_size]}"),
                ),
            )
        until = time.monotonic() + _LONGEST_SECONDS
        pause = 0.5
        while job.state.value not in (*_DONE, *_FAILED):
            if time.monotonic() > until:
                raise MachineryError(f"the tuning job {job.name} did not end within six hours")
            time.sleep(pause)
            pause = min(pause * 2, _POLL_SECONDS)
            job = client.tunings.get(name=job.name)
    except (errors.APIError, HTTPError, OSError) as error:
        raise MachineryError(f"tuning: {error}") from None
    if job.state.value in _FAILED:
        why = job.error.message if job.error else "no reason given"
        raise MachineryError(f"the tuning job {job.name} ended as {job.state.value}: {why}")
    return str(job.tuned_model.endpoint or job.tuned_model.model)


_WORDS = {1: "ONE", 4: "FOUR", 8: "EIGHT", 16: "SIXTEEN"}
