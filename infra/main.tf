# One Google Cloud project for one environment of llmops.yaml: what the workflows need, no more.
#
#   terraform -chdir=infra init
#   terraform -chdir=infra apply -var project=my-llmops-staging -var github=OWNER/NAME
#
# Apply it once for staging and once for production (`-state` or a workspace each), then check with
# `llmops doctor --env staging`.

terraform {
  required_version = ">= 1.6"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.0"
    }
  }
}

variable "project" {
  type        = string
  description = "The project's id, as in llmops.yaml."
}

variable "region" {
  type        = string
  default     = "us-central1"
  description = "The region, as in llmops.yaml."
}

variable "github" {
  type        = string
  description = "The repository that may deploy: OWNER/NAME."
}

variable "bucket" {
  type        = string
  default     = ""
  description = "The bucket's name, as in llmops.yaml without gs://. Empty: the project's id."
}

locals {
  bucket = var.bucket == "" ? var.project : var.bucket
  apis = [
    "aiplatform.googleapis.com",
    "artifactregistry.googleapis.com",
    "bigquery.googleapis.com",
    "cloudbuild.googleapis.com",
    "iamcredentials.googleapis.com",
    "sts.googleapis.com",
  ]
}

provider "google" {
  project = var.project
  region  = var.region
}

resource "google_project_service" "apis" {
  for_each           = toset(local.apis)
  service            = each.value
  disable_on_destroy = false
}

# --- where bundles, data and answers lie

resource "google_storage_bucket" "llmops" {
  name                        = local.bucket
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  versioning {
    enabled = true
  }
}

resource "google_bigquery_dataset" "llmops" {
  dataset_id  = "llmops"
  location    = var.region
  description = "Request-response logs of the endpoints"
  depends_on  = [google_project_service.apis]
}

resource "google_artifact_registry_repository" "llmops" {
  repository_id = "llmops"
  location      = var.region
  format        = "DOCKER"
  depends_on    = [google_project_service.apis]
}

# --- who deploys: the workflows, without a key

resource "google_service_account" "deployer" {
  account_id   = "llmops-deployer"
  display_name = "llmops: deploys from GitHub Actions"
}

resource "google_project_iam_member" "deployer" {
  for_each = toset([
    "roles/aiplatform.user",
    "roles/bigquery.dataViewer",
    "roles/bigquery.jobUser",
    "roles/bigquery.readSessionUser",
  ])
  project = var.project
  role    = each.value
  member  = google_service_account.deployer.member
}

resource "google_storage_bucket_iam_member" "deployer" {
  bucket = google_storage_bucket.llmops.name
  role   = "roles/storage.objectAdmin"
  member = google_service_account.deployer.member
}

# --- who serves: the container, which asks the model and reads its bundle

resource "google_service_account" "serving" {
  account_id   = "llmops-serving"
  display_name = "llmops: the serving container"
}

resource "google_project_iam_member" "serving" {
  project = var.project
  role    = "roles/aiplatform.user"
  member  = google_service_account.serving.member
}

resource "google_storage_bucket_iam_member" "serving" {
  bucket = google_storage_bucket.llmops.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.serving.member
}

resource "google_service_account_iam_member" "deployer_as_serving" {
  service_account_id = google_service_account.serving.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.deployer.member
}

# --- Workload Identity Federation: this repository's workflows, and nobody else's

resource "google_iam_workload_identity_pool" "github" {
  workload_identity_pool_id = "github"
  depends_on                = [google_project_service.apis]
}

resource "google_iam_workload_identity_pool_provider" "github" {
  workload_identity_pool_id          = google_iam_workload_identity_pool.github.workload_identity_pool_id
  workload_identity_pool_provider_id = "actions"
  attribute_condition                = "assertion.repository == '${var.github}'"
  attribute_mapping = {
    "google.subject"       = "assertion.sub"
    "attribute.repository" = "assertion.repository"
  }
  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account_iam_member" "federation" {
  service_account_id = google_service_account.deployer.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.github.name}/attribute.repository/${var.github}"
}

output "WORKLOAD_IDENTITY_PROVIDER" {
  description = "A variable of the GitHub environment."
  value       = google_iam_workload_identity_pool_provider.github.name
}

output "SERVICE_ACCOUNT" {
  description = "A variable of the GitHub environment."
  value       = google_service_account.deployer.email
}
