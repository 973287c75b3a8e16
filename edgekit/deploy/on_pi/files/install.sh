#!/bin/sh
# Makes this folder ready: a virtual environment with what classify.py needs, then the check that the
# model gives the answers of the desk. It does what is missing, so run it again whenever you like.
#
#   ./install.sh              install and check; no root is needed
#   ./install.sh --service    also start the page for the browser with the machine (uses sudo)
#
# PYTHON=python3.12 ./install.sh chooses a Python. To remove all of it, remove this folder.
set -eu

needed_mib=600

say() { printf '%s\n' "$*" >&2; }
fail() {
  code=$1
  say "Error: $2"
  say "  $3"
  exit "$code"
}

service=no
for word; do
  case $word in
    --service) service=yes ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail 2 "$word: not known" "See ./install.sh --help" ;;
  esac
done

cd "$(dirname "$0")"
here=$(pwd -P)
python=${PYTHON:-python3}

command -v "$python" >/dev/null 2>&1 ||
  fail 5 "$python is not installed" "sudo apt-get install python3 python3-venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  fail 5 "$("$python" -V) is too old: 3.10 or newer is needed" "Raspberry Pi OS Bookworm has 3.11."
"$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
  fail 5 "$("$python" -V) comes without venv" "sudo apt-get install python3-venv"
case $(uname -m)-$(getconf LONG_BIT) in
  aarch64-64 | x86_64-64 | armv7l-32) ;;
  aarch64-32) fail 5 "this is a 32-bit system on a 64-bit processor" \
    "There is no runtime for it: install the 64-bit Raspberry Pi OS." ;;
  *) fail 5 "$(uname -m): there is no runtime for this processor" \
    "A Raspberry Pi 3, 4, 5 or Zero 2 W with a 64-bit system has one." ;;
esac

# Of what is to be installed, and by which Python.
wanted=$({ cat requirements.txt; "$python" -V; } | sha256sum | cut -d ' ' -f 1)
if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
  free_mib=$(($(df -Pk . | awk 'NR == 2 { print $4 }') / 1024))
  [ "$free_mib" -ge "$needed_mib" ] ||
    fail 4 "$here: $free_mib MiB are free, $needed_mib are needed" "Make room and run it again."
  say "Installing numpy, OpenCV and a TFLite runtime into $here/.venv ..."
  "$python" -m venv --clear .venv
  set --
  [ ! -d wheels ] || set -- --no-index --find-links wheels
  .venv/bin/python -m pip --disable-pip-version-check install --quiet "$@" -r requirements.txt >&2 ||
    fail 5 "pip could not install what is needed" \
      "Is there a connection? Without one: edgekit bundle pi --wheels PYTHON-VERSION"
  printf '%s\n' "$wanted" >.venv/installed
fi

./classify.py --verify

if [ "$service" = yes ]; then
  command -v systemctl >/dev/null 2>&1 || fail 5 "systemd is not installed" "Start it yourself."
  sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  unit=edgekit-@name@.service
  $sudo tee "/etc/systemd/system/$unit" >/dev/null <<UNIT
[Unit]
Description=edgekit: @name@ on http://localhost:8000

[Service]
ExecStart="$here/classify.py" --http 8000
User=$(id -un)
Restart=on-failure
RestartSec=5
NoNewPrivileges=yes
ProtectSystem=strict
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
UNIT
  $sudo systemctl daemon-reload
  $sudo systemctl enable "$unit"
  $sudo systemctl restart "$unit"
  say "Started $unit: http://localhost:8000. Its log: journalctl -u $unit"
fi
