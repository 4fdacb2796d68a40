"""GitOps for language models: plan, evaluate, report and deploy what a pull request changes."""
