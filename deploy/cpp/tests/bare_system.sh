#!/usr/bin/env bash
# Does what was handed in run on a Debian with nothing on it? As root, with debootstrap:
#   deploy/cpp/tests/bare_system.sh runs/mine/submission PICTURES [bullseye]
# PICTURES is a folder. There must be the same answers as here, by classify and by a C program linked with -lji.
set -euo pipefail
submission=$(realpath "$1") pictures=$(realpath "$2") suite=${3:-bullseye}
place=$(mktemp -d)
trap 'rm -rf --one-file-system "$place"' EXIT
cp -r "$pictures" "$place/pictures"

make_root() { # name, packages besides
  debootstrap --variant=minbase "${@:2}" "$suite" "$place/$1" http://deb.debian.org/debian >"$place/log" || { tail "$place/log"; exit 1; }
  cp -r "$submission" "$place/$1/handed-in"
  cp -r "$pictures" "$place/$1/pictures"
}

within() { # name, command; /proc is mounted for its time alone
  unshare --mount bash -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$place/$1" "${@:2}"
}

make_root bare
make_root compiler --include=gcc,libc6-dev
within compiler gcc /handed-in/example/answer.c -I/handed-in/include -L/handed-in/lib -lji -Wl,-rpath,/handed-in/lib -o /answer
cp "$place/compiler/answer" "$place/bare"

within bare ldd --version | head -1
echo "not of the folder:"
within bare ldd /handed-in/bin/classify /handed-in/lib/libji.so /answer | awk '/=>/ && !/handed-in/ {print "  " $1}' | sort -u

model=$(basename "$submission"/model/*.xml)
classify="bin/classify --model /handed-in/model/$model --batch-files pictures"
(cd "$place" && "$submission/bin/classify" --model "$submission/model/$model" --batch-files pictures) >"$place/here.csv"
within bare sh -c "cd / && handed-in/$classify" >"$place/there.csv"
cmp "$place/here.csv" "$place/there.csv"
echo "classify: $(($(wc -l <"$place/here.csv") - 1)) files, the same answers as here"

answers=$(within bare sh -c 'cd / && ./answer pictures/*' | grep -c '"class"' || true)
expected=$(python3 -c 'import csv, sys; print(sum(not row["error"] for row in csv.DictReader(sys.stdin)))' <"$place/here.csv")
[ "$answers" = "$expected" ] || { echo "the C program answered for $answers of $expected pictures"; exit 1; }
echo "C program: $answers answers"
