#!/usr/bin/env bash
# Signs a link of pinhole with openssl: sign.sh PATH EXP KID EP SECRET
#
# PATH is /i/{id}/{options} as it will be asked for, byte for byte: the signature is over that spelling. EP is the
# image's epoch (GET /v1/images/{id}): with another one the link is a 404. EXP, in Unix seconds, is best rounded up to
# a window, as $(((now + lifetime + 899) / 900 * 900)), so that all viewers share one URL and a cache one copy.
set -euo pipefail

sign() {
    local path=$1 exp=$2 kid=$3 ep=$4 secret=$5
    local claim="$path?exp=$exp&kid=$kid&ep=$ep" key sig
    key=$(printf '%s=' "$secret" | tr -- '-_' '+/' | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
    sig=$(printf '%s' "$claim" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)
    printf '%s&sig=%s\n' "$claim" "$(printf '%s' "$sig" | tr -- '+/' '-_' | tr -d '=')"
}

sign "$@"
