#!/usr/bin/env bash
# Checks the Helm chart with the tools that tests/tools.sh chart installs. Usage: tests/chart/run.sh [--update|--released]
# --update rewrites what is derived: the rendered manifests, and the table of values in the README. --released keeps those of a release, which upgrades are tested from.
set -euo pipefail
cd "$(dirname "$0")/../.."

tools="$(realpath "${CARGO_TARGET_DIR:-target}/tools")"
export PATH="$tools/bin:$PATH" PYTHONPATH="$tools/kubernetes/python" PYTHONDONTWRITEBYTECODE=1
export PGTETHER="${PGTETHER:-${CARGO_TARGET_DIR:-target}/debug/pgtether}"
chart=charts/pgtether
committed=tests/chart/rendered
released=tests/chart/released
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
# Definitions that a cluster may have, and that the chart has resources of.
export CUSTOM=monitoring.coreos.com/v1,gateway.networking.k8s.io/v1,autoscaling.k8s.io/v1
# Oldest first; the committed manifests are those of the newest.
mapfile -t versions < <(for folder in "$tools"/kubernetes/schemas/v*; do echo "${folder##*/v}"; done | sort -V)
newest="${versions[-1]}"

passed=0
failed=0
check() { # what, command...
  local code=0
  # Not as a condition: bash forgets errexit there.
  set +e
  (set -e; "${@:2}") >"$out/log" 2>&1
  code=$?
  set -e
  if [ "$code" = 0 ]; then
    passed=$((passed + 1))
    echo "chart: ok: $1"
  else
    failed=$((failed + 1))
    echo "chart: FAILED: $1"
    sed 's/^/  /' "$out/log"
  fi
}

render_all() { # Kubernetes version, folder
  local values
  mkdir -p "$2"
  for values in "$chart"/ci/*-values.yaml; do
    helm template tether "$chart" --namespace databases --values "$values" --kube-version "$1" \
      --api-versions "$CUSTOM" >"$2/$(basename "$values" -values.yaml).yaml"
  done
}

# As Kubernetes' API server would take them.
taken_by_kubernetes() {
  GOFLAGS=-mod=readonly go test -C tests/chart/kubernetes .
  kubernetes -restricted "$out/$newest"/*.yaml
  KUBERNETES="$newest" python3 tests/chart/variants.py "$out/variants"
  kubernetes -restricted "$out"/variants/restricted/*.yaml
  kubernetes "$out"/variants/other/*.yaml
}

null_is_a_value() {
  KUBERNETES="$newest" python3 tests/chart/nulls.py "$out/nulls"
  kubernetes "$out"/nulls/*.yaml
}

upgrades() {
  mkdir "$out/later"
  KUBERNETES="$newest" python3 tests/chart/upgrade.py "$out/later"
  local release
  for release in "$released"/*; do kubernetes -restricted -from "$release" "$out/later/from-${release##*/}"/*.yaml; done
}

# Without the dashboards: they are in the repository already.
same_as_committed() {
  rm "$out/$newest/dashboards.yaml"
  diff -ru "$committed" "$out/$newest" && return
  echo "Look at what changed; if it is meant, run: make chart-update"
  return 1
}

conforms() { # Kubernetes version, file...
  # Kinds that are not Kubernetes' own are checked by the types of their projects.
  kubeconform -strict -summary -skip ServiceMonitor,PodMonitor,PrometheusRule,HTTPRoute,VerticalPodAutoscaler -kubernetes-version "$1" \
    -schema-location "$tools/kubernetes/schemas/v$1/{{.ResourceKind}}{{.KindSuffix}}.json" "${@:2}"
}

# kubeconform's stand-in, which says nothing of kinds that Kubernetes has not, and fails on nothing to check.
conforms_without_go() { # Kubernetes version, file...
  python3 -m kubernetes_validate --strict --no-warn --quiet --kubernetes-version "$1" "${@:2}"
}

# The walkthrough from `helm install` to a dashboard leads to something to scrape and something to see.
walkthrough_leads_to_a_dashboard() {
  helm template pgtether "$chart" --namespace databases --values "$out/recipes/values.yaml" \
    --api-versions "$CUSTOM" >"$out/walkthrough.yaml"
  conforms "$newest" "$out/walkthrough.yaml"
  operator "$out/walkthrough.yaml"
  python3 tests/chart/manifests.py config "$out/walkthrough.yaml"
  rules_are_sound "$out/walkthrough.yaml"
  grep -q '^kind: ServiceMonitor$' "$out/walkthrough.yaml"
  [ "$(grep -c '^    grafana_dashboard: "1"$' "$out/walkthrough.yaml")" = 2 ]
  local name uid
  for name in $(grep -oE 'service/pgtether[a-z-]*' docs/deployment.md); do
    grep -q "^  name: ${name#service/}$" "$out/walkthrough.yaml"
  done
  for uid in $(grep -oE ':3000/d/[a-z-]+' docs/deployment.md); do
    grep -q "\"uid\": \"${uid#:3000/d/}\"" "$out/walkthrough.yaml"
  done
}

# The chart has them by symbolic links, which helm follows: dashboards, rules, pgtether's schema, the defaults.
package_is_whole() {
  helm package "$chart" --destination "$out/package"
  tar --extract --gzip --file "$out"/package/*.tgz --directory "$out/package"
  diff -r dashboards "$out/package/pgtether/files/dashboards"
  diff docs/config.schema.json "$out/package/pgtether/files/config.schema.json"
  diff "$chart/values.yaml" "$out/package/pgtether/files/values.yaml"
}

rules_are_sound() { # file...
  python3 tests/chart/manifests.py rules "$@" >"$out/rules.yaml"
  promtool check rules "$out/rules.yaml"
}

score() { # file, further flags...
  # No CPU limit: a throttled process measures its own throttling, not the database.
  kube-score score --kubernetes-version v1.37 --ignore-container-cpu-limit --exit-one-on-warning --output-format ci \
    "${@:2}" "$1"
}

unit_has_no_mistake() {
  # The program need not be installed where the unit is checked.
  sed "s|^ExecStart=/usr/local/bin/pgtether|ExecStart=$(realpath "$PGTETHER")|" docs/systemd/pgtether.service \
    >"$out/pgtether.service"
  systemd-analyze verify --man=no --recursive-errors=no "$out/pgtether.service"
  systemd-analyze security --no-pager --offline=true --threshold=15 "$out/pgtether.service"
}

check_with_helm() {
  check "helm lint" helm lint --strict "$chart" --values "$chart/ci/minimal-values.yaml"
  check "package" package_is_whole
  check "unit tests" helm-unittest --strict --file 'unittests/*_test.yaml' "$chart"
  local version
  for version in "${versions[@]}"; do
    check "renders for Kubernetes $version" render_all "$version" "$out/$version"
    check "valid in Kubernetes $version" conforms "$version" "$out/$version"/*.yaml
  done
  check "taken by Kubernetes' own code" taken_by_kubernetes
  check "null for each key" null_is_a_value
  check "upgrades keep what selects, and pods" upgrades
  check "the chart judges as pgtether does" python3 tests/chart/agrees.py
  check "the recipes of the sidecar are valid" conforms "$newest" "$out/recipes"/sidecar*.yaml
  check "valid for the Prometheus operator, the Gateway API and the autoscaler" operator "$out/$newest"/*.yaml
  check "pgtether takes its configuration" python3 tests/chart/manifests.py config "$out/$newest"/*.yaml
  check "rules, thresholds changed" rules_are_sound "$out/$newest/production.yaml"
  check "the walkthrough leads to a dashboard" walkthrough_leads_to_a_dashboard
  check "kube-score, no exception" score "$out/$newest/production.yaml"
  # By default: no NetworkPolicy, because only users know their databases' ports; one pod, because each holds sessions
  # of its own; no pull at every start, because the registry may be away when the database is too.
  check "kube-score, defaults" score "$out/$newest/minimal.yaml" --ignore-test pod-networkpolicy \
    --ignore-test deployment-replicas --ignore-test container-image-pull-policy
  check "rendered as committed" same_as_committed
}

check_without_helm() {
  echo "chart: ATTENTION: there is no helm here (it needs Go: see above). What can't be checked without it: lint, unit tests,"
  echo "chart: ATTENTION: that the chart renders, kube-score. The committed manifests are checked in its place."
  local version
  # Those are rendered for the newest version; the oldest lacks a field of theirs.
  for version in "${versions[@]:1}"; do
    check "committed manifests are valid in Kubernetes $version" \
      conforms_without_go "$version" "$committed"/*.yaml "$out/recipes"/sidecar*.yaml
  done
  check "pgtether takes its configuration" python3 tests/chart/manifests.py config "$committed"/*.yaml
  check "rules, thresholds changed" rules_are_sound "$committed/production.yaml"
}

if [ "${1:-}" = --update ] || [ "${1:-}" = --released ]; then
  python3 tests/chart/table.py write
  [ -x "$tools/bin/helm" ] || { echo "chart: no helm here, so nothing can be rendered anew"; exit 1; }
  rm -rf "$committed"
  render_all "$newest" "$committed"
  rm "$committed/dashboards.yaml"
  [ "$1" = --released ] || exit 0
  rm -rf "$released"
  mkdir -p "$released/$(sed -n 's/^version: //p' "$chart/Chart.yaml")"
  cp "$committed"/*.yaml "$chart"/ci/*-values.yaml "$released"/*
  rm "$released"/*/dashboards-values.yaml
  exit
fi

[ -x "$PGTETHER" ] || { echo "chart: there is no $PGTETHER; make chart builds it"; exit 1; }
python3 tests/chart/recipes.py extract "$out/recipes"
check "every value is documented and in the schema" python3 tests/chart/values.py
check "the README has every value" python3 tests/chart/table.py check
if [ -x "$tools/bin/helm" ]; then check_with_helm; else check_without_helm; fi
check "recipes, against a database that comes and goes" python3 tests/chart/recipes.py try "$out/recipes"
check "systemd unit" unit_has_no_mistake

echo "chart: $passed passed, $failed failed"
[ "$failed" = 0 ]
