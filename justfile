# Shortcuts for work on crossproc. Each calls cargo or a script, so nothing here needs `just`.

# Lists the recipes
default:
    @just --list --unsorted

# Type-checks everything that `cargo test` builds, with all features
check:
    cargo check --all-features --all-targets

# Runs the tests of one area: a folder of tests/, a subject such as queue or lock, models, interop, unit, doc, or all
test AREA *ARGS:
    #!/usr/bin/env bash
    set -eu
    binary() { cargo test -p crossproc --test "$@"; }
    case "{{AREA}}" in
        sync|memory|messages|process|pool|programs|house|kill) binary "{{AREA}}" -- {{ARGS}} ;;
        # One part of an area, by the name of its module.
        value|lock|rlock|semaphore|event|condition|barrier|atomic|array) binary sync -- "{{AREA}}" {{ARGS}} ;;
        handles|names|limits|within|travel) binary memory -- "{{AREA}}" {{ARGS}} ;;
        ring|queue) binary messages -- queue {{ARGS}} ;;
        pipe|wait) binary messages -- "{{AREA}}" {{ARGS}} ;;
        models|interop) cargo test -p "crossproc-{{AREA}}" -- {{ARGS}} ;;
        unit) cargo test -p crossproc --lib -- {{ARGS}} ;;
        doc) cargo test -p crossproc --doc -- {{ARGS}} ;;
        all) cargo test -- {{ARGS}} ;;
        *) echo "there is no area {{AREA}}: see just --list" >&2; exit 2 ;;
    esac

# Kills a process at every instruction of the scenarios whose names contain one of NAMES, or of all
kill *NAMES:
    cargo test -p crossproc --test kill -- --full {{NAMES}}

# Breaks the library on purpose: each mutant, or those named, must be caught by the kill suite
mutants *NAMES:
    tests/kill/mutants.sh {{NAMES}}

# Explores the models of the protocols exhaustively
models *ARGS:
    cargo test -p crossproc-models -- {{ARGS}}

# Measures groups of the benchmark harness beside their peers, or all groups
bench *GROUPS:
    cargo run --release -p crossproc-bench -- run {{GROUPS}}

# Measures single operations in one process
micro *ARGS:
    cargo bench -p crossproc-micro-benches {{ARGS}}

# Runs the named steps of the checks that a change must pass, or all of them
ci *STEPS:
    .ci/run {{STEPS}}
