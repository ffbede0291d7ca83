# shellcheck shell=bash
# What both ways of building the image share: its labels, and its test. The builder is in $builder.

version="$(tests/version.sh)"
revision="${PGTETHER_REVISION:-$(git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null || echo unknown)}"
epoch="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}"
work="$(mktemp -d)"
container=""
trap cleanup EXIT

cleanup() {
  if [ -n "$container" ]; then
    "$builder" rm --force "$container" >/dev/null 2>&1 || "$builder" rm "$container" >/dev/null
  fi
  rm -rf "$work"
}

# The labels that differ between builds, as the builder's flags, in $labels. The address of the source is known to whoever
# releases; the Dockerfile has the others.
labels() {
  local name=org.opencontainers.image source
  source="${SOURCE_URL:-$(git remote get-url origin 2>/dev/null || true)}"
  labels=(--label "$name.version=$version" --label "$name.revision=$revision"
    --label "$name.created=$(date --utc --date="@$epoch" +%Y-%m-%dT%H:%M:%SZ)")
  case "$source" in
    https://*) labels+=(--label "$name.source=$source") ;;
  esac
}

# Runs the image to its end with these arguments.
run() { # tag, argument...
  local tag="$1"
  shift
  if [ "$builder" = buildah ]; then
    timeout 60 buildah run --isolation chroot "$container" -- /pgtether "$@"
  else
    timeout 60 "$builder" run --rm --read-only --cap-drop ALL "$tag" "$@"
  fi
}

# Starts it in the background on $port of this machine, with a database that does not answer.
start() { # tag
  local address="--web.listen-address=127.0.0.1:$port"
  local url=postgresql://app@127.0.0.1:9/app
  if [ "$builder" = buildah ]; then
    # Buildah has no background of its own; the program gets its end after a minute at the latest.
    timeout 60 buildah run --isolation chroot --env "DATABASE_URL=$url" "$container" -- /pgtether "$address" &
    started=$!
  else
    container=$("$builder" run --detach --network host --read-only --cap-drop ALL --env "DATABASE_URL=$url" "$1" "$address")
  fi
}

# Without a configuration it names the two ways to go on, and exits with 64.
bare_start_explains_itself() { # tag
  local code=0
  run "$1" >"$work/log" 2>&1 || code=$?
  grep -q DATABASE_URL "$work/log" && [ "$code" = 64 ] && return
  cat "$work/log"
  echo "image: without a configuration it exits with $code, not 64" >&2
  return 1
}

# It lives, it is ready, and it says that the database is not.
started_it_answers() {
  local path codes
  for _ in $(seq 100); do
    codes=""
    for path in livez readyz health; do
      codes+=" $(curl --silent --output /dev/null --max-time 2 --write-out '%{http_code}' "http://127.0.0.1:$port/$path" || true)"
    done
    [ "$codes" = " 200 200 503" ] && return
    sleep 0.1
  done
  echo "image: /livez /readyz /health answer$codes, not 200 200 503" >&2
  return 1
}

# As its HEALTHCHECK asks it, inside, by the same variable as a container would have.
health_check_passes() {
  local set="PGTETHER_WEB_LISTEN_ADDRESS=127.0.0.1:$port"
  if [ "$builder" = buildah ]; then
    buildah run --isolation chroot --env "$set" "$container" -- /pgtether healthcheck
  else
    "$builder" exec --env "$set" "$container" /pgtether healthcheck
  fi
}

test_image() { # tag
  port=10439
  started=""
  [ "$builder" != buildah ] || container=$(buildah from "$1")
  bare_start_explains_itself "$1"
  start "$1"
  started_it_answers
  health_check_passes
  [ -z "$started" ] || { kill "$started"; wait "$started" || true; }
}
