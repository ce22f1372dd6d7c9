#!/bin/sh
# Breaks the library in many ways, one at a time, and demands that the kill suite finds each.
#
#   tests/kill/mutants.sh [NAME ..]     all of tests/kill/mutants/*.patch, or those named
#   MUTANTS_PROFILE= tests/kill/mutants.sh       the same without optimisation beyond that of the test profile
#
# Works on a copy of the tree in a temporary folder. A patch that does not apply or does not compile is a failure; so is
# a mutant that the scenarios named in its patch do not catch. The unbroken library must pass the short pass first.
set -eu

kill_folder=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$kill_folder/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
export CARGO_TARGET_DIR="${MUTANTS_TARGET_DIR:-$work/target}"
# A survivor that is not through in half a second never will be; ten violations are proof enough.
export KILL_PATIENCE_MS="${KILL_PATIENCE_MS:-500}" KILL_ENOUGH="${KILL_ENOUGH:-10}"

fresh_copy() {
    rm -rf "$work/tree" && mkdir "$work/tree"
    (cd "$root" && tar -cf - --exclude=./target --exclude=./.git .) | tar -xf - -C "$work/tree"
    # A target folder from another run may know a broken tree that is newer.
    find "$work/tree/src" "$work/tree/tests" -name '*.rs' -exec touch {} +
}

# Builds the suite in the copy; prints the path of the program.
build() {
    (cd "$work/tree" && cargo test ${MUTANTS_PROFILE---release} --no-run --test kill 2>&1) >"$work/build" || return 1
    sed -n 's/^ *Executable .*(\(.*\))$/\1/p' "$work/build" | while read -r path; do
        case $path in /*) echo "$path" ;; *) echo "$work/tree/$path" ;; esac
    done
}

# Runs the suite; the last line of the output counts points and violations.
run() {
    timeout 900 "$@" >"$work/output" 2>&1
}

counts() {
    sed -n 's/^[0-9]* scenarios, \([0-9]*\) points, \([0-9]*\) violations.*/\2 \1/p' "$work/output"
}

# caught, or the reason why not.
try_mutant() {
    fresh_copy
    (cd "$work/tree" && patch -p1 -s -F0 <"$1") >"$work/patch" 2>&1 || { echo "DOES NOT APPLY"; return; }
    program=$(build) && [ -n "$program" ] || { echo "DOES NOT COMPILE"; return; }
    scenarios=$(sed -n 's/^scenarios: //p' "$1")
    status=0
    # shellcheck disable=SC2086 # several names
    run "$program" --full $scenarios || status=$?
    set -- $(counts) 0 0
    if [ "$status" -eq 1 ] && [ "$1" -gt 0 ]; then echo "caught ($1/$2)"; else echo "NOT CAUGHT (exit $status, $1/$2)"; fi
}

cd "$root"
failed=0
fresh_copy
if ! program=$(build) || [ -z "$program" ]; then
    cat "$work/build"
    exit 1
fi
if ! KILL_PATIENCE_MS=10000 run "$program"; then
    grep -B 1 '^    ' "$work/output" || tail -n 20 "$work/output"
    echo "the unbroken library does not pass"
    exit 1
fi
printf '%-40s %s\n' "the library as it is" "$(tail -n 1 "$work/output")"

[ $# -gt 0 ] || set -- $(cd "$kill_folder/mutants" && ls *.patch)
for name in "$@"; do
    name=${name%.patch}
    verdict=$(try_mutant "$kill_folder/mutants/$name.patch")
    printf '%-40s %s\n' "$name" "$verdict"
    case $verdict in caught*) ;; *) failed=$((failed + 1)) ;; esac
done
[ "$failed" -eq 0 ] || { echo "$failed mutants are not caught"; exit 1; }
echo "all mutants are caught"
