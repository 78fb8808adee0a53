import { UnsupportedError } from "@ashlar/core/errors";
import type { Descriptor, Repository } from "@ashlar/core/formats/oci";
import { openFile } from "@ashlar/core/node";
import { commandSigner, nodeVerifier, openPrivateKey, readPublicKey } from "@ashlar/core/node/trust";
import { readStoredRelease, releasesIn } from "@ashlar/core/ops/publish";
import {
  attachStatement,
  describeKey,
  MAX_KEY_SIZE,
  provenanceOf,
  type Signer,
  type SignResult,
  signDigest,
  type TrustEnvironment,
} from "@ashlar/core/ops/trust";
import { readAll } from "@ashlar/core/source";
import type { SignFlags } from "../commands/sign.ts";
import { passwordSource } from "./password.ts";
import { inSession, type Session } from "./session.ts";
import { mustBeInRepository, withRepository } from "./stored-releases.ts";
import { trustEnvironment } from "./trust.ts";

async function openSigner(flags: SignFlags, session: Session): Promise<Signer> {
  const { key, signer: command, signerTimeout } = flags;
  if (command !== undefined) {
    const timeout = signerTimeout === undefined ? undefined : signerTimeout * 1000;
    return commandSigner({ command, publicKey: await readPublicKey(key), verifier: nodeVerifier, timeout });
  }
  await using file = await openFile(key);
  const bytes = await readAll(file, MAX_KEY_SIZE, key);
  // Not without await: the file is closed first, and until then nobody would hear of a failure.
  return await openPrivateKey(bytes, key, passwordSource(flags.passwordFile, session.signal));
}

/** Provenance of every release that the reference means: of each architecture, where it is an index. */
async function attachProvenance(
  repository: Repository,
  subject: Descriptor,
  signer: Signer,
  { name, builderId }: { readonly name: string | undefined; readonly builderId: string | undefined },
  environment: TrustEnvironment,
): Promise<SignResult["result"]> {
  let result: SignResult["result"] = "present";
  for (const descriptor of await releasesIn(repository, subject, environment.hashes, environment)) {
    const { release } = await readStoredRelease(repository, descriptor, environment);
    const statement = provenanceOf({ release, digest: descriptor.digest, name }, builderId);
    const attached = await attachStatement(repository, descriptor, statement, signer, environment);
    if (attached.result === "added") result = "added";
  }
  return result;
}

export function runSign(flags: SignFlags, word: string): Promise<void> {
  return inSession(flags, async (session) => {
    const reference = await mustBeInRepository(word);
    if (reference.transport === "oci-archive")
      throw new UnsupportedError("read-only", `${word}: an archive is not changed in place`);
    await withRepository(reference, flags, session.signal, async (repository) => {
      const environment = trustEnvironment(session);
      const signer = await openSigner(flags, session);
      const subject = await repository.resolve(reference, environment);
      const name = flags.identity ?? (reference.transport === "docker" ? reference.path : undefined);
      const results: { readonly what: string; readonly result: SignResult["result"] }[] = [];
      // The provenance first: whoever sees a signature sees everything that belongs to it.
      if (flags.provenance) {
        const options = { name, builderId: flags.builderId };
        const result = await attachProvenance(repository, subject, signer, options, environment);
        results.push({ what: "provenance", result });
      }
      for (const form of flags.form === "both" ? (["bundle", "classic"] as const) : [flags.form]) {
        const { result } = await signDigest(repository, subject, { signer, form, name }, environment);
        results.push({ what: form, result });
      }
      if (flags.json) {
        const { id, type } = signer.publicKey;
        session.printJson({
          schema: "ashlar.sign/v1",
          reference: word,
          digest: subject.digest,
          identity: name ?? null,
          key: { id, type },
          signatures: results,
        });
        return;
      }
      for (const { what, result } of results)
        session.print(`${what}: ${result === "added" ? "signed" : "was signed by this key before"}`);
      session.print(`${subject.digest}: by ${describeKey(signer.publicKey)}`);
    });
  });
}
