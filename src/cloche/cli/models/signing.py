"""`cloche models sign` and `verify`: who stands for a version."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from cloche.cli import show
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.errors import SignerNotKnown, Unsigned
from cloche.registry.trust import Verdict
from cloche.values import SigningKey

_FILE = click.Path(exists=True, dir_okay=False, path_type=str)


class Signed(msgspec.Struct, frozen=True):
    """A signature that was added."""

    model: str
    version: str
    digest: str
    stored: str
    """Its key in the registry."""


class Found(msgspec.Struct, frozen=True):
    """What `verify` has found of a version."""

    model: str
    version: str
    digest: str
    loads: bool
    """Whether this host's policy lets it be loaded."""
    why: str
    signed_by: list[str]
    """The signers of this host who signed it."""
    signatures: list[str]
    """Of each signature, who made it, or why it does not count."""


@click.command()
@click.argument("name")
@click.argument("version")
@click.option("--key", "private_key", type=_FILE, metavar="FILE", help="The private key, PEM, on an elliptic curve.")
@click.option("--password-file", type=_FILE, metavar="FILE", help="What the key is encrypted with.")
@click.option("--certificate", type=_FILE, metavar="FILE", help="The certificate of the key.")
@click.option("--chain", type=_FILE, multiple=True, metavar="FILE", help="A certificate between that and its root.")
@click.option("--sigstore", "keyless", is_flag=True, help="Sign without a key, as who Sigstore says you are.")
@click.option("--identity-token-file", type=_FILE, metavar="FILE", help="What proves that to Sigstore.")
@click.option("--trust-config", "sigstore", type=_FILE, metavar="FILE", help="Another instance of Sigstore.")
@show.json_option
@click.pass_obj
def sign(
    place: Place, /, name: str, version: str, keyless: bool, chain: tuple[str, ...], as_json: bool, **files: str | None
) -> None:
    """Sign a version: say that you stand for it, for hosts that want somebody to.

    What is signed is its manifest, which names every file by its digest. The signature lies beside it in the registry,
    as OpenSSF Model Signing writes it; a version may have several. A server that waits for one tries again within
    minutes.

    With --sigstore the identity is that of the CI job that this runs in, or a browser opens; it ends up in a public
    log.
    """
    if keyless == (files["private_key"] is not None):
        raise click.UsageError("Say what to sign with: --key FILE, or --sigstore.")
    key = SigningKey(
        private_key=files["private_key"],
        password=_content(files["password_file"]),
        certificate=files["certificate"],
        chain=chain,
        identity_token=_content(files["identity_token_file"]),
        sigstore=files["sigstore"],
    )
    signed = wait_for(_signed(place, name, version, key))
    if as_json:
        show.document(signed)
    else:
        click.echo(f"Signed {name} {signed.version}: {signed.stored}")


async def _signed(place: Place, name: str, wanted: str, key: SigningKey) -> Signed:
    registry = place.registry()
    version, digest = await registry.resolve(name, wanted)
    manifest = await registry.encoded(name, version, digest)
    return Signed(name, version, digest, await registry.signatures.sign(name, version, manifest, key))


def _content(file: str | None) -> str | None:
    return None if file is None else Path(file).read_text(encoding="utf-8").strip()


@click.command()
@click.argument("name")
@click.argument("version")
@show.json_option
@click.pass_obj
def verify(place: Place, name: str, version: str, as_json: bool) -> None:
    """Say who signed a version, and whether this host loads it; every file of it is hashed.

    Signers are those of `[signers]` in cloche.toml. Ends with status 1 where none of them signed it.
    """
    found = wait_for(_verified(place, name, version))
    if as_json:
        show.document(found)
    else:
        show.facts(
            [
                ("version", f"{found.model} {found.version}, {found.digest}"),
                ("signed by", ", ".join(found.signed_by) or "nobody whom this host knows"),
                ("is loaded here", f"{'yes' if found.loads else 'NO'}: {found.why}"),
                *[("signature", line) for line in found.signatures],
            ]
        )
    if not found.signed_by:
        raise click.ClickException(f"No signer of this host has signed {found.model} {found.version}.")


async def _verified(place: Place, name: str, wanted: str) -> Found:
    registry = place.registry()
    version, digest = await registry.resolve(name, wanted)
    manifest = await registry.encoded(name, version, digest)
    verdicts = await registry.signatures.verdicts(name, version, manifest)
    loads, why = True, "no policy here asks for a signature"
    try:
        allowed = await registry.verdict(name, version, digest)
        await registry.fetch(name, version, digest)
        if allowed.signer is not None:
            why = f"signed by {allowed.signer}, and every file is what the manifest says"
    except (Unsigned, SignerNotKnown) as error:
        loads, why = False, str(error).partition("\n")[0]
    signed_by = [verdict.signer for verdict in verdicts if verdict.signer is not None]
    return Found(name, version, digest, loads, why, signed_by, list(map(in_words, verdicts)))


def in_words(verdict: Verdict) -> str:
    """Return who made a signature, or why it does not count."""
    return f"of {verdict.signer}" if verdict.signer is not None else verdict.faults[0].partition(": ")[2]
