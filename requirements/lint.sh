#!/usr/bin/env bash
# Every check of `make lint`, each with one line of result; all run, even where one fails.
set -u
failed=0
check() {
  local name=$1
  shift
  local out
  if out=$("$@" 2>&1); then
    printf '  ok    %s\n' "$name"
  else
    printf '  FAIL  %s\n%s\n' "$name" "$out"
    failed=1
  fi
}
workflows=(.github/workflows/*.yml)
mapfile -t actions < <(git ls-files --cached --others --exclude-standard '*action.yml')
check 'format (ruff format)' ruff format --check .
check 'rules (ruff check)' ruff check .
check 'types (mypy --strict)' mypy
check 'import layers (import-linter)' lint-imports
check 'workflows (actionlint)' actionlint "${workflows[@]}"
check 'workflow security (zizmor)' zizmor --offline --no-progress --persona=pedantic .github
check 'workflow schema' check-jsonschema --builtin-schema vendor.github-workflows "${workflows[@]}"
check 'action schema' check-jsonschema --builtin-schema vendor.github-actions "${actions[@]}"
exit $failed
