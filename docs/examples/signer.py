#!/usr/bin/env python3
"""A signer for mcp-authfetch (docs/signer.md) that uses a key file through openssl.

    signer.py CHAIN.pem KEY.pem

It gains nothing over naming the two files in the configuration: it is where to begin with a signer
of your own. What is particular about a key, such as its token, is in sign() alone.
"""

import base64
import hashlib
import json
import re
import subprocess
import sys
import tempfile

PROTOCOL = 1


class Refused(Exception):
    """Its text is shown to people and to a model."""

    def __init__(self, text, retryable=False):
        super().__init__(text)
        self.retryable = retryable


def read_chain(path):
    """The certificates as base64 of DER, which is what stands between the lines of PEM."""
    with open(path, encoding="ascii", errors="replace") as file:
        blocks = re.findall("-----BEGIN CERTIFICATE-----(.*?)-----END", file.read(), re.DOTALL)
    return ["".join(block.split()) for block in blocks]


def openssl(*arguments, data=b""):
    """Runs openssl, whose own messages stay in here: they may name what is secret."""
    run = subprocess.run(["openssl", *arguments], input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if run.returncode != 0:
        raise Refused("openssl " + arguments[0] + " ended with " + str(run.returncode))
    return run.stdout


def key_id(leaf):
    """The SHA-256 of the certificate's public key, by which requests name the key."""
    pem = openssl("x509", "-inform", "DER", "-pubkey", "-noout", data=base64.b64decode(leaf))
    der = openssl("pkey", "-pubin", "-outform", "DER", data=pem)
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def sign(key_file, request):
    command = ["pkeyutl", "-sign", "-inkey", key_file]
    if request["hash"] == "none":  # Ed25519: openssl wants the message in a file
        with tempfile.NamedTemporaryFile() as file:
            file.write(base64.b64decode(request["message"]))
            file.flush()
            return openssl(*command, "-rawin", "-in", file.name)
    hashes = {"SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}
    if request["hash"] not in hashes:
        raise Refused("unknown hash")
    command += ["-pkeyopt", "digest:" + hashes[request["hash"]]]
    padding = request.get("padding")  # of RSA; ECDSA has none
    if padding == "pss":
        command += ["-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:%d" % request["salt_length"]]
    elif padding == "pkcs1":
        command += ["-pkeyopt", "rsa_padding_mode:pkcs1"]
    elif padding is not None:
        raise Refused("unknown padding")
    return openssl(*command, data=base64.b64decode(request["digest"]))


def answer(request, chain_file, key_file):
    method = request.get("method")
    if method == "hello":
        return {"protocol": PROTOCOL}
    if method not in ("chain", "sign"):
        raise Refused("unknown method")
    chain = read_chain(chain_file)  # each time: a renewed certificate is seen without a restart
    if not chain:
        raise Refused("the chain file has no certificate")
    if method == "chain":
        return {"chain": chain}
    if request["key_sha256"] != key_id(chain[0]):
        raise Refused("the certificate was renewed", retryable=True)
    return {"signature": base64.b64encode(sign(key_file, request)).decode()}


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: signer.py CHAIN.pem KEY.pem")
    for line in sys.stdin:  # ends with standard input, and so do we
        request = json.loads(line)
        try:
            result = answer(request, *sys.argv[1:])
        except Refused as refusal:
            result = {"error": str(refusal), "retryable": refusal.retryable}
        except (OSError, ValueError, KeyError) as problem:  # their text may hold what is secret
            result = {"error": "internal: " + type(problem).__name__}
        print(json.dumps({"id": request["id"], **result}), flush=True)


if __name__ == "__main__":
    main()
