#!/usr/bin/env bash
# Breaks the library in many ways, one at a time, and requires that the kill suite finds each.
#
#   tests/kill/mutants.sh [NAME ..]       every patch in tests/kill/mutants/, or the named ones
#   tests/kill/mutants.sh --apply         only checks that every patch applies and names scenarios
#   MUTANTS_JOBS=1 tests/kill/mutants.sh  one build at a time (default: 2)
#
# A mutant fails if its patch does not apply without fuzz, if it does not compile, or if the scenarios named in the
# patch find no violation. The unbroken library must pass the short pass first: of all scenarios, or of those that the
# named mutants need.
#
# Each job has one copy of the tree in target/mutants/, where patches are applied and reverted. Only the files of a
# patch change between two builds, so cargo compiles the library and the suite incrementally, and nothing else. Builds
# run beside each other, and beside the suite; two suites never do, because a survivor has a time limit.
set -eu

kill_folder=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$kill_folder/../.." && pwd)
work=${MUTANTS_DIR:-$root/target/mutants}
jobs=${MUTANTS_JOBS:-2}
# A survivor that has not finished after half a second never will; ten violations are proof enough.
patience=${KILL_PATIENCE_MS:-500}
export KILL_ENOUGH="${KILL_ENOUGH:-10}" KILL_JOBS=1
export CARGO_INCREMENTAL=1 CARGO_TERM_COLOR=never

scenarios_of() {
    sed -n 's/^scenarios: //p' "$1"
}

# The files that a patch changes.
files_of() {
    sed -n 's|^+++ b/\([^[:space:]]*\).*|\1|p' "$1"
}

apply() { # PATCH TREE [OPTION]
    patch -p1 -s -F0 --no-backup-if-mismatch -r - -d "$2" ${3:-} <"$1"
}

# Makes $2 equal to $1 and touches only the files that differ, so that cargo rebuilds those and no others.
mirror() {
    mkdir -p "$2"
    (cd "$2" && find . -type f -o -type l) | while read -r path; do
        [ -e "$1/$path" ] || rm -f "$2/$path"
    done
    (cd "$1" && find . -type f) | while read -r path; do
        cmp -s "$1/$path" "$2/$path" && continue
        mkdir -p "$2/$(dirname "$path")"
        cp "$1/$path" "$2/$path"
    done
}

# Builds the suite of a job; prints the path of the program.
build() {
    (cd "$work/$1/tree" && CARGO_TARGET_DIR="$work/$1/target" \
        cargo test -p crossproc --profile kill --no-run --test kill) >"$work/$1/build" 2>&1 || return 1
    # A program that was not compiled anew would be another mutant's.
    grep -q '^ *Compiling crossproc v' "$work/$1/build" || [ -n "${2:-}" ] || return 1
    sed -n 's/^ *Executable .*(\(.*\))$/\1/p' "$work/$1/build" | while read -r path; do
        case $path in /*) echo "$path" ;; *) echo "$work/$1/tree/$path" ;; esac
    done
}

# Runs the suite; the last line of the output counts points and violations.
suite() { # JOB PATIENCE PROGRAM [ARGUMENT ..]
    local job=$1 patience=$2
    shift 2
    KILL_PATIENCE_MS=$patience flock "$work/suite" timeout 900 "$@" >"$work/$job/output" 2>&1
}

counts() {
    sed -n 's/^[0-9]* scenarios, \([0-9]*\) points, \([0-9]*\) violations.*/\2 \1/p' "$work/$1/output"
}

# Prints "caught", or the reason why not.
try_mutant() { # JOB PATCH
    local job=$1 patch=$2 program scenarios status=0
    scenarios=$(scenarios_of "$patch")
    [ -n "$scenarios" ] || { echo "NAMES NO SCENARIO"; return; }
    apply "$patch" "$work/$job/tree" >"$work/$job/patch" 2>&1 || { echo "DOES NOT APPLY"; return; }
    program=$(build "$job") && [ -n "$program" ] || { echo "DOES NOT COMPILE"; return; }
    # shellcheck disable=SC2086 # several names
    suite "$job" "$patience" "$program" --full $scenarios || status=$?
    # shellcheck disable=SC2046 # two numbers
    set -- $(counts "$job") 0 0
    if [ "$status" -eq 1 ] && [ "$1" -gt 0 ]; then
        echo "caught ($1/$2)"
    else
        echo "NOT CAUGHT (exit $status, $1/$2)"
    fi
}

# Reverts a patch. The copy must then be the unbroken tree again, or every later verdict would be void.
revert() { # JOB PATCH
    local path
    for path in $(files_of "$2"); do
        cp "$work/unbroken/$path" "$work/$1/tree/$path"
    done
    diff -r "$work/unbroken" "$work/$1/tree" >"$work/$1/differs" 2>&1 && return
    echo "the tree of job $1 is not as it was:" && cat "$work/$1/differs"
    return 1
}

# Takes mutants off the list, which the jobs share, until none is left.
job() {
    local name verdict begun
    exec 4>"$work/list.lock"
    while flock 4 && read -r name <&3 && flock -u 4; do
        begun=$SECONDS
        verdict=$(try_mutant "$1" "$kill_folder/mutants/$name.patch")
        printf '%-45s %s, %d s\n' "$name" "$verdict" $((SECONDS - begun))
        case $verdict in caught*) echo "$name" >>"$work/caught" ;; esac
        revert "$1" "$kill_folder/mutants/$name.patch"
    done
}

check_patches() {
    local patch failed=0
    for patch in "$kill_folder"/mutants/*.patch; do
        if ! apply "$patch" "$root" --dry-run; then
            echo "does not apply: $(basename "$patch" .patch)" && failed=1
        elif [ -z "$(scenarios_of "$patch")" ]; then
            echo "names no scenario: $(basename "$patch" .patch)" && failed=1
        fi
    done
    return $failed
}

if [ "${1:-}" = --apply ]; then
    check_patches
    exit
fi
# The scenarios of the first pass, where none means all of them.
needed=()
for name in "$@"; do
    [ -f "$kill_folder/mutants/${name%.patch}.patch" ] || { echo "there is no mutant $name" && exit 1; }
    # shellcheck disable=SC2207 # several names
    needed+=($(scenarios_of "$kill_folder/mutants/${name%.patch}.patch"))
done
# shellcheck disable=SC2046 # one name a line
[ $# -gt 0 ] || set -- $(cd "$kill_folder/mutants" && ls ./*.patch | sed 's|^./||')

mkdir -p "$work"
exec 5>"$work/lock"
flock -n 5 || { echo "another run is at work in $work" && exit 1; }
rm -rf "$work/unbroken" "$work/caught"
mkdir "$work/unbroken"
(cd "$root" && tar -cf - --exclude=./target --exclude=./.git .) | tar -xf - -C "$work/unbroken"
mirror "$work/unbroken" "$work/1/tree"
if ! program=$(build 1 maybe-fresh) || [ -z "$program" ]; then
    cat "$work/1/build"
    exit 1
fi
if ! suite 1 10000 "$program" ${needed[@]+"${needed[@]}"}; then
    grep -B 1 '^    ' "$work/1/output" || tail -n 20 "$work/1/output"
    echo "the unbroken library does not pass"
    exit 1
fi
printf '%-45s %s\n' "the library as it is" "$(tail -n 1 "$work/1/output")"

printf '%s\n' "${@%.patch}" >"$work/list"
exec 3<"$work/list"
[ $# -ge "$jobs" ] || jobs=$#
for number in $(seq 2 "$jobs"); do
    mirror "$work/unbroken" "$work/$number/tree"
    [ -d "$work/$number/target" ] || cp -a "$work/1/target" "$work/$number/target"
done
pids=()
for number in $(seq "$jobs"); do
    job "$number" &
    pids+=($!)
done
status=0
for pid in "${pids[@]}"; do
    wait "$pid" || status=1
done
# A mutant that no job came to is not caught either.
caught=$(sort -u "$work/caught" 2>/dev/null | wc -l)
echo "$caught of $# mutants are caught, in $SECONDS s"
[ "$status" -eq 0 ] && [ "$caught" -eq $# ]
