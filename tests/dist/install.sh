#!/usr/bin/env bash
# Installs each package where it would be, and asks the programs for their version and a check.
# Usage: tests/dist/install.sh FOLDER ARCHITECTURE   FOLDER has what pack.py wrote.
#
# Nothing comes from a registry. What the machine cannot run is run by QEMU. DEBIAN_ROOT is the folder of a Debian system of
# its own, into which the .deb is installed too; without it, into an empty folder.
set -euo pipefail
folder="$(realpath "$1")"
architecture="$2"
cd "$(dirname "$0")/../.."

version="$(tests/version.sh)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
case "$architecture" in
  x86_64) debian=amd64 node=x64 ;;
  aarch64) debian=arm64 node=arm64 ;;
esac
run=()
native=yes
if [ "$architecture" != "$(uname -m)" ]; then
  native=no
  run=("qemu-$architecture-static")
fi

fail() { echo "dist: $*" >&2; exit 1; }

# The program of this version answers, and gets as far as a connection that nobody accepts.
ask() { # what is installed, command...
  local what="$1" said code=0
  shift
  said="$("$@" --version </dev/null)" || fail "$what: --version ended with $?"
  [[ "$said" == "pgtether, version $version"* ]] || fail "$what: --version said: $said"
  said="$("$@" check 'postgresql://app@127.0.0.1:9/app' </dev/null)" || code=$?
  [ "$code" = 2 ] && [[ "$said" == *CRITICAL* ]] || fail "$what: check ended with $code: $said"
  echo "dist: $what for $architecture: $("$@" --version </dev/null | head -n 1)"
}

# Each file must be there and not be empty.
has() { # what is installed, file...
  local what="$1" file
  shift
  for file; do
    [ -s "$file" ] || fail "$what: there is no $file"
  done
}

archive() {
  local top="$work/pgtether-$version-$architecture-linux"
  tar --directory "$work" --extract --file "$folder/${top##*/}.tar.gz"
  has archive "$top"/{LICENSE,NOTICES,README.md,CHANGELOG.md,man/pgtether.1,completions/{pgtether.bash,_pgtether,pgtether.fish}}
  ask archive env -i "${run[@]}" "$top/pgtether"
}

wheel() {
  local wheels=("$folder"/pgtether-*"_$architecture.whl") program
  local pip=(-m pip install --quiet --disable-pip-version-check --no-index --no-deps)
  [ "${#wheels[@]}" = 1 ] || fail "wheel: ${#wheels[@]} wheels for $architecture in $folder"
  if [ "$native" = yes ]; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/python" "${pip[@]}" "${wheels[0]}"
    program="$work/venv/bin/pgtether"
    has wheel "$work/venv/share"/{man/man1/pgtether-exec.1,bash-completion/completions/pgtether}
    has wheel "$work"/venv/lib/python*/site-packages/pgtether-*.dist-info/licenses/{LICENSE,NOTICES}
  else
    python3 "${pip[@]}" --root-user-action=ignore --only-binary=:all: --platform "manylinux2014_$architecture" \
      --target "$work/venv" "${wheels[0]}"
    program="$work/venv/bin/pgtether"
  fi
  ask wheel "${run[@]}" "$program"
}

# The package that users name finds its program in the package for the machine, and is no layer that loses something.
npm_packages() {
  local app="$work/npm" said code=0
  local install=(npm install --prefix "$app" --offline --no-audit --no-fund --loglevel=error)
  mkdir "$app"
  echo '{"private": true}' >"$app/package.json"
  # Otherwise npm refuses what is for another machine.
  [ "$native" = yes ] || install+=(--force)
  "${install[@]}" "$folder/pgtether-linux-$node-$version.tgz" "$folder/pgtether-$version.tgz" >/dev/null
  has npm "$app/node_modules/pgtether"/{LICENSE,README.md} "$app/node_modules/pgtether-linux-$node"/{LICENSE,NOTICES}
  if [ "$native" = no ]; then
    ask npm "${run[@]}" "$app/node_modules/pgtether-linux-$node/bin/pgtether"
    return
  fi
  cd "$app"
  ask npm npx --offline pgtether
  echo 'console.log(process.env.DATABASE_URL); process.exit(7)' >app.js
  said="$(DATABASE_URL=postgresql://app:secret@127.0.0.1:9/app npx --offline pgtether exec \
    --web.listen-address=127.0.0.1:0 -- node app.js 2>log)" || code=$?
  [ "$code" = 7 ] && [[ "$said" == postgresql://app:secret@127.0.0.1:*/app && "$said" != *:9/* ]] ||
    fail "npm: exec ended with $code and gave the application $said: $(cat log)"
  signals_pass
  cd "$OLDPWD"
  rm -r "$app/node_modules/pgtether-linux-$node"
  code=0
  said="$("$app/node_modules/.bin/pgtether" --version 2>&1)" || code=$?
  [ "$code" = 127 ] && [[ "$said" == *"pgtether-linux-$node is not installed"* ]] ||
    fail "npm: without the program of this machine it ended with $code: $said"
}

# A signal reaches the application through the launcher, and the application's exit code comes back.
signals_pass() {
  local launcher code=0
  echo 'process.on("SIGTERM", () => process.exit(9)); setInterval(() => {}, 1000); console.log("listening")' >app.js
  DATABASE_URL=postgresql://app:secret@127.0.0.1:9/app node_modules/.bin/pgtether exec \
    --web.listen-address=127.0.0.1:0 -- node app.js >said 2>log </dev/null &
  launcher=$!
  for _ in $(seq 300); do
    ! grep -q listening said || break
    sleep 0.1
  done
  kill "$launcher"
  wait "$launcher" || code=$?
  [ "$code" = 9 ] || fail "npm: after SIGTERM it ended with $code, not with the application's 9: $(cat log)"
}

debian_package() {
  local package="$folder/pgtether_${version/-/\~}_$debian.deb" root="$work/debian" entry
  # dpkg for an empty folder: the package's scripts run here, with DPKG_ROOT.
  mkdir -p "$root/var/lib/dpkg"/{info,updates} "$root/etc"
  touch "$root/var/lib/dpkg/status"
  local dpkg=(dpkg "--root=$root" --force-script-chrootless --force-depends --force-architecture --force-not-root)
  "${dpkg[@]}" --install "$package" >"$work/log" 2>&1 || fail "deb: $(cat "$work/log")"
  has deb "$root/lib/systemd/system/pgtether.service" "$root/usr/share/doc/pgtether"/{copyright,changelog.gz,README.md}
  has deb "$root/usr/share"/{man/man1/pgtether.1.gz,bash-completion/completions/pgtether,zsh/vendor-completions/_pgtether}
  entry="$(grep ^pgtether: "$root/etc/passwd")"
  [[ "$entry" == *:/usr/sbin/nologin ]] || fail "deb: the service's user is $entry"
  grep -q '^ExecStart=/usr/bin/pgtether ' "$root/lib/systemd/system/pgtether.service" || fail "deb: the unit starts another program"
  ask deb env -i "${run[@]}" "$root/usr/bin/pgtether"
  "${dpkg[@]}" --purge pgtether >"$work/log" 2>&1 || fail "deb: purge: $(cat "$work/log")"
  [ ! -e "$root/usr/bin/pgtether" ] || fail "deb: it is still there after its removal"
  if [ -n "${DEBIAN_ROOT:-}" ] && [ "$native" = yes ]; then
    cp "$package" "$DEBIAN_ROOT/tmp/pgtether.deb"
    chroot "$DEBIAN_ROOT" dpkg --install /tmp/pgtether.deb >"$work/log" 2>&1 || fail "deb, in Debian: $(cat "$work/log")"
    ask "deb, in Debian," chroot "$DEBIAN_ROOT" /usr/bin/env -i /usr/bin/pgtether
    [ "$(chroot "$DEBIAN_ROOT" id -gn pgtether)" = pgtether ] || fail "deb, in Debian: the service has no group"
    chroot "$DEBIAN_ROOT" dpkg --purge pgtether >"$work/log" 2>&1 || fail "deb, in Debian: purge: $(cat "$work/log")"
  fi
}

archive
wheel
npm_packages
debian_package
