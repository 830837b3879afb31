#!/bin/sh
# Makes every secret that docker-compose.yml names, once: `sh deploy/make-secrets.sh`. Needs openssl and mosquitto_passwd
# (Debian: openssl, mosquitto). What exists is left as it is. A gateway's log-in is added with
# `mosquitto_passwd deploy/secrets/broker_passwords ESTATE/GATEWAY`.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
cd secrets
random() { openssl rand -base64 24 | tr -d '\n'; }
for name in db_password api_db_password ingest_password simulator_password grafana_password; do
    [ -s "$name" ] || random > "$name"
done
if [ ! -s broker_passwords ]; then
    : > broker_passwords
    mosquitto_passwd -b broker_passwords ingest "$(cat ingest_password)"
    # The simulated estate's gateways, one log-in each; the profile is off unless it is asked for.
    for n in $(seq 1 "${ANJU_SIM_GATEWAYS:-12}"); do
        mosquitto_passwd -b broker_passwords "qingnian/gw-$(printf %02d "$n")" "$(cat simulator_password)"
    done
fi
if [ ! -s ca.crt ]; then
    openssl req -x509 -newkey rsa:3072 -nodes -days 3650 -subj "/CN=Anju broker authority" \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout ca.key -out ca.crt 2>/dev/null
fi
if [ ! -s broker.crt ]; then
    openssl req -newkey rsa:3072 -nodes -subj "/CN=mosquitto" -keyout broker.key -out broker.csr 2>/dev/null
    # Python 3.13 and newer hold a certificate to the whole of RFC 5280.
    printf '%s\n' 'subjectAltName=DNS:mosquitto,DNS:localhost,IP:127.0.0.1' 'basicConstraints=critical,CA:FALSE' \
        'keyUsage=critical,digitalSignature,keyEncipherment' 'extendedKeyUsage=serverAuth' 'subjectKeyIdentifier=hash' \
        'authorityKeyIdentifier=keyid' > broker.ext
    openssl x509 -req -in broker.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -extfile broker.ext -out broker.crt 2>/dev/null
    rm -f broker.csr broker.ext
fi
# The authority of gateways' certificates, and an empty list of revoked ones for the broker.
mkdir -p authority trust
if [ ! -s authority/ca.key ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=Anju gateway authority ca" \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -keyout authority/ca.key -out authority/ca.crt 2>/dev/null
    cp authority/ca.crt trust/ca.crt
fi
if [ ! -s trust/revoked.pem ]; then
    printf '[ca]\ndefault_ca=a\n[a]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=3650\n' > crl.conf
    : > index.txt
    openssl ca -gencrl -config crl.conf -keyfile authority/ca.key -cert authority/ca.crt -out trust/revoked.pem 2>/dev/null
    rm -f crl.conf index.txt index.txt.attr
fi
# The keys of people's data and second factors: a folder, so that `anju keys rotate` can put a new file in place of the old one.
mkdir -p keys
if [ ! -s keys/keys.toml ]; then
    printf 'current = "k1"\nindex_key = "%s"\n\n[keys.k1]\nscheme = "aes-256-gcm"\nkey = "%s"\n' \
        "$(openssl rand -base64 32)" "$(openssl rand -base64 32)" > keys/keys.toml
fi
# The containers' own users read these through the secrets mount.
chmod 755 . authority trust keys
chmod 644 keys/keys.toml authority/ca.crt authority/ca.key trust/ca.crt trust/revoked.pem ca.crt broker.crt broker_passwords broker.key ./*_password
echo "secrets are in deploy/secrets"
