#!/bin/sh
# Stands in for somebody else's compiler. It compiles nothing: it checks that npu_model calls it as documented,
#   COMPILER @FILE    with the lines: compile MODEL -o OUT.enf --target-npu NPU --batch-size N [copts...]
# without environment, and writes the lines, less the paths, to OUT.enf for the test to read.
set -eu

refuse() {
    echo "ERROR: stand-in compiler: $1" >&2
    exit 255
}

[ $# -eq 1 ] || refuse "expected one argument, @FILE, got $#"
case $1 in @*) ;; *) refuse "expected @FILE, got $1" ;; esac
[ -z "${HOME+set}" ] || refuse "HOME is in the environment"

file=${1#@}
set --
while IFS= read -r line; do set -- "$@" "$line"; done < "$file"

[ $# -ge 8 ] || refuse "expected at least 8 lines, got $#"
[ "$1 $3 $5 $7" = "compile -o --target-npu --batch-size" ] || refuse "unexpected order: $*"
[ -r "$2" ] || refuse "cannot read the model $2"
for argument; do
    case $argument in /*) refuse "$argument is an absolute path" ;; esac
done

model=${2##*/} out=$4 npu=$6 batch=$8
shift 8
printf '%s\n' "$model" "$npu" "$batch" "$@" > "$out"
