# The serving container: what Vertex AI runs for a release. Build it for an environment with
#   gcloud builds submit --tag REGION-docker.pkg.dev/PROJECT/llmops/serving:1
# Both stages are the same image, pinned by its digest: python:3.11-slim-bookworm.
FROM python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b AS packages
COPY requirements/serving.txt /serving.txt
RUN python -m venv --without-pip /venv \
 && python -m pip --python /venv install --no-cache-dir --require-hashes --only-binary :all: -r /serving.txt

FROM python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin llmops
COPY --from=packages /venv /venv
COPY scripts/llmops /app/llmops
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
EXPOSE 8080
# Vertex AI sets AIP_HTTP_PORT, AIP_HEALTH_ROUTE, AIP_PREDICT_ROUTE and AIP_STORAGE_URI.
ENTRYPOINT ["python", "-m", "llmops.serving"]
