#!/bin/sh
# Installs what building, running and testing need from the system's package manager:
#
#   Redis 7.0 or later, or Valkey 8 or later;  PostgreSQL 15 or later (server);
#   a C compiler (cc);  curl;  make
#
# Does nothing where all of it is there. Never asks a question of its own; sudo may ask for a
# password at a terminal.
#
#   deploy/install-deps.sh [--dry-run] [--build-only] [--chaos] [--bench] [--proxy]
#
#   --dry-run     print the commands instead of running them
#   --build-only  leave the servers out (they run in containers)
#   --chaos       also what cutting a server off its network takes (ip)
#   --bench       also what the benchmark's peers need: Node 20 or later, npm
#   --proxy       also nginx, for `make test-proxy`
#
# Debian starts a packaged service when it is installed, and this script lets it: a policy-rc.d
# would hold only until the next boot, and one left behind by an interrupted run would silently
# keep later packages from starting theirs. Doorbuster's own servers use other ports and
# directories, so the two do not meet. To turn the packaged ones off:
#   systemctl disable --now redis-server postgresql
set -eu

# For the tests of this script: a directory to look for system directories in, instead of /.
root=${DOORBUSTER_DEPS_ROOT:-}
dry_run=false
servers=true
chaos=false
bench=false
proxy=false
for argument in "$@"; do
    case $argument in
        --dry-run) dry_run=true ;;
        --build-only) servers=false ;;
        --chaos) chaos=true ;;
        --bench) bench=true ;;
        --proxy) proxy=true ;;
        *)
            echo "install-deps: unknown option $argument; known are --dry-run, --build-only, --chaos, --bench and --proxy" >&2
            exit 2
            ;;
    esac
done

have() { command -v "$1" >/dev/null 2>&1; }

# server_is_new_enough BINARY: by the major version in "Redis server v=7.0.15" and its like.
server_is_new_enough() {
    have "$1" || return 1
    line=$("$1" --version 2>/dev/null) || return 1
    major=${line#*v=}
    major=${major%%[!0-9]*}
    case $line in
        Valkey*) [ "${major:-0}" -ge 8 ] ;;
        *) [ "${major:-0}" -ge 7 ] ;;
    esac
}

have_redis() { server_is_new_enough redis-server || server_is_new_enough valkey-server; }

# Both binaries in one place, as "postgres (PostgreSQL) 15.18". The places that packages use are
# often outside PATH.
have_postgres() {
    for binary in "$(command -v postgres 2>/dev/null || :)" "$root"/usr/lib/postgresql/*/bin/postgres \
        "$root"/usr/pgsql-*/bin/postgres "$root"/usr/lib/postgresql*/bin/postgres \
        "$root"/usr/libexec/postgresql*/postgres "$root"/opt/homebrew/opt/postgresql@*/bin/postgres \
        "$root"/usr/local/opt/postgresql@*/bin/postgres; do
        [ -x "$binary" ] && [ -x "${binary%/*}/initdb" ] || continue
        line=$("$binary" --version 2>/dev/null) || continue
        major=${line#*PostgreSQL) }
        major=${major%%[!0-9]*}
        [ "${major:-0}" -ge 15 ] && return 0
    done
    return 1
}

# By the major version in "v20.11.1".
have_node() {
    have node || return 1
    line=$(node --version 2>/dev/null) || return 1
    major=${line#v}
    major=${major%%[!0-9]*}
    [ "${major:-0}" -ge 20 ]
}

# The words of what is missing, in the order in which they are installed.
find_missing() {
    missing=
    if $servers; then
        have_redis || missing="$missing redis"
        have_postgres || missing="$missing postgresql"
    fi
    have cc || missing="$missing cc"
    have curl || missing="$missing curl"
    have make || missing="$missing make"
    ! $chaos || have ip || missing="$missing ip"
    # Often outside PATH.
    ! $proxy || have nginx || [ -x "$root/usr/sbin/nginx" ] || missing="$missing nginx"
    if $bench; then
        have_node || missing="$missing nodejs"
        have npm || missing="$missing npm"
    fi
}

find_package_manager() {
    for manager in apt-get dnf apk pacman zypper brew; do
        have "$manager" && return 0
    done
    manager=none
}

# package WORD: the packages that bring it, by package manager.
package() {
    case $manager:$1 in
        apt-get:redis) echo redis-server ;;
        apt-get:cc) echo gcc libc6-dev ;;
        apt-get:nginx) echo nginx-light ;;
        apk:cc) echo gcc musl-dev ;;
        pacman:redis) echo valkey ;;
        dnf:postgresql | zypper:postgresql) echo postgresql-server ;;
        brew:postgresql) echo postgresql@17 ;;
        dnf:ip) echo iproute ;;
        brew:ip) echo iproute2mac ;;
        *:ip) echo iproute2 ;;
        # Homebrew's brings npm with it.
        brew:nodejs | brew:npm) echo node ;;
        zypper:nodejs) echo nodejs-default ;;
        zypper:npm) echo npm-default ;;
        *:cc) echo gcc ;;
        *) echo "$1" ;;
    esac
}

# Decides once how as_root becomes root; fails where there is no way.
choose_root() {
    become=
    # Homebrew refuses to run as root.
    [ "$manager" = brew ] && return 0
    [ "$(id -u 2>/dev/null || echo unknown)" = 0 ] && return 0
    if have sudo; then
        if sudo -n true 2>/dev/null; then
            become="sudo -n"
            return 0
        elif [ -t 0 ] || $dry_run; then
            become=sudo
            return 0
        fi
    fi
    return 1
}

# as_root COMMAND...
as_root() {
    if $dry_run; then
        echo "would run: ${become:+$become }$*"
    else
        # shellcheck disable=SC2086 # "sudo -n" is two words on purpose
        ${become:-env} "$@"
    fi
}

install_packages() {
    case $manager in
        apt-get)
            as_root apt-get update -q
            as_root env DEBIAN_FRONTEND=noninteractive \
                apt-get install -q -y --no-install-recommends "$@"
            ;;
        # Distributions have moved from Redis to Valkey at different times.
        dnf) as_root dnf install -y "$@" || as_root dnf install -y $(valkey_for_redis "$@") ;;
        apk) as_root apk add --no-cache "$@" ;;
        pacman) as_root pacman -Sy --noconfirm --needed "$@" ;;
        zypper)
            as_root zypper --non-interactive install "$@" ||
                as_root zypper --non-interactive install $(valkey_for_redis "$@")
            ;;
        brew) as_root brew install "$@" ;;
    esac
}

valkey_for_redis() {
    for name in "$@"; do
        [ "$name" = redis ] && name=valkey
        echo "$name"
    done
}

find_missing
[ -n "$missing" ] || exit 0
find_package_manager
if [ "$manager" = none ]; then
    echo "install-deps: missing:$missing. No package manager that this script knows was found:" \
        "install Redis 7.0 or later (or Valkey 8), PostgreSQL 15 or later (server)," \
        "a C compiler, curl and make by hand, whichever is missing." >&2
    exit 1
fi
packages=
for word in $missing; do
    packages="$packages $(package "$word")"
done
if ! choose_root; then
    echo "install-deps: missing:$missing. This user is neither root nor able to use sudo:" \
        "have an administrator install these packages with $manager:$packages" >&2
    exit 1
fi
# shellcheck disable=SC2086 # a list of words on purpose
install_packages $packages
$dry_run && exit 0

find_missing
if [ -n "$missing" ]; then
    echo "install-deps: still missing after the installation:$missing." \
        "The distribution's version may be too old: Redis 7.0 or Valkey 8, and PostgreSQL 15, are" \
        "the oldest that will do; packages.redis.io and apt.postgresql.org (yum.postgresql.org)" \
        "have newer ones. The benchmark's peers need Node 20." >&2
    exit 1
fi
