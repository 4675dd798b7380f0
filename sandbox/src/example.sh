#!/bin/sh
# A WeChat Pay order from end to end against the sandbox: signed by hand with openssl, created, paid, found.
# Needs curl and openssl. Written by the sandbox at each start; addresses and keys are those of this folder.
set -eu
base=@BASE@
control=@CONTROL@
folder=@FOLDER@
serial=@SERIAL@
number="TRY$(date +%s)"

call() { # method, target, body
  at=$(date +%s)
  nonce=$(openssl rand -hex 16)
  signature=$(printf '%s\n%s\n%s\n%s\n%s\n' "$1" "$2" "$at" "$nonce" "$3" |
    openssl dgst -sha256 -sign "$folder/wechat/merchant_key.pem" | openssl base64 -A)
  set -- "$1" "$2" "$3" "WECHATPAY2-SHA256-RSA2048 mchid=\"1900000001\",nonce_str=\"$nonce\",signature=\"$signature\",timestamp=\"$at\",serial_no=\"$serial\""
  if [ -n "$3" ]; then
    curl -sS -X "$1" "$base$2" -H "Authorization: $4" -H 'Accept: application/json' -H 'Content-Type: application/json' -d "$3"
  else
    curl -sS -X "$1" "$base$2" -H "Authorization: $4" -H 'Accept: application/json'
  fi
  echo
}

echo "1. create"
made=$(call POST /v3/pay/transactions/native '{"appid":"wx0000000000000001","mchid":"1900000001","description":"lunch","out_trade_no":"'"$number"'","notify_url":"http://127.0.0.1:9/notify","amount":{"total":1850,"currency":"CNY"}}')
echo "$made"
echo "2. the payer pays"
curl -sS "$control/_sandbox/pay" -d '{"channel":"wechat","credential":'"$made"'}'
echo
echo "3. query"
call GET "/v3/pay/transactions/out-trade-no/$number?mchid=1900000001" ''
