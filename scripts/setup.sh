#!/usr/bin/env bash
# Makes a virtual environment with everything the demo and the tests need, on a machine that has only python3 and make.
#
#   scripts/setup.sh VENV TORCH
#
# VENV is the folder to make; TORCH is a requirement for PyTorch, such as torch==2.13.0. An environment that is there
# already is kept and completed, so a CUDA build installed into it by hand stays as long as its version fits.
set -euo pipefail

venv=$1
torch=$2

# What napari's window needs beside Python (Qt's xcb platform, OpenGL, fonts), and a virtual screen for the tests.
window_packages=(
    xvfb xauth libegl1 libgl1 libgl1-mesa-dri libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0
    libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libdbus-1-3 libfontconfig1 fonts-dejavu-core
)

say() { echo "setup: $*" >&2; }

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_install() {
    say "installing $*"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# The first Python of at least 3.11 on the path that can make a virtual environment.
find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null &&
            "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

# What to ask apt for when no such Python is there: the venv module of the one that is new enough, else 3.11.
python_packages() {
    if python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo python3-venv
    else
        echo python3.11 python3.11-venv
    fi
}

install_python() {
    local packages
    read -ra packages <<<"$(python_packages)"
    if can_install; then
        apt_install "${packages[@]}"
    else
        say "needs Python 3.11 or newer with its venv module; run: sudo apt-get install ${packages[*]}"
        exit 1
    fi
}

install_window_libraries() {
    command -v dpkg-query >/dev/null || { say "not a Debian system: the window needs Qt's xcb libraries"; return; }
    local missing=() package
    for package in "${window_packages[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    if can_install; then
        apt_install "${missing[@]}"
    else
        say "the napari window and its tests need system libraries; run: sudo apt-get install ${missing[*]}"
    fi
}

python=$(find_python) || { install_python; python=$(find_python); }
install_window_libraries
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"

# One line of constraints.txt may be overridden from the command line: which PyTorch.
{ grep -v '^torch==' constraints.txt; echo "$torch"; } >"$venv/constraints.txt"
say "installing Python packages into $venv (a few minutes the first time)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint "$venv/constraints.txt" \
    --editable '.[all,dask,dev,plot]'
