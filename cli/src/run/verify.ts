import { tmpdir } from "node:os";
import process from "node:process";
import { isAshlarError, PolicyError, UnsupportedError } from "@ashlar/core/errors";
import type { Descriptor, Repository } from "@ashlar/core/formats/oci";
import { decompressFrame, fileScratch, nodeHashes, type OpenSource, openArtifacts, openFile } from "@ashlar/core/node";
import { unpublished } from "@ashlar/core/ops";
import type { Reference } from "@ashlar/core/ops/image";
import { type ContentKind, recognise } from "@ashlar/core/ops/inspect";
import { pullRelease, readStoredRelease } from "@ashlar/core/ops/publish";
import { MAX_RELEASE_SIZE, parseRelease, type Release } from "@ashlar/core/ops/release";
import {
  type AcceptedSignature,
  admissionBy,
  assertProvenance,
  PROVENANCE_PREDICATE,
  type PublicKey,
  verifyStatement,
} from "@ashlar/core/ops/trust";
import {
  type Check,
  type Verification,
  type VerifyEnvironment,
  verifyDisk,
  verifyRelease,
} from "@ashlar/core/ops/verify";
import { readAll } from "@ashlar/core/source";
import type { VerifyFlags } from "../commands/verify.ts";
import { EXIT } from "../exit-codes.ts";
import { isReleaseFile, openArtifact } from "./images.ts";
import { platformOf } from "./inputs.ts";
import { Failed, inSession, type Session } from "./session.ts";
import { repositoryReference, withRepository } from "./stored-releases.ts";
import { describeSignature, resolveForTrust, trustEnvironment, trustsOf } from "./trust.ts";
import { blockHasher } from "./workers.ts";

/** What is in a repository is verified with who signed it. */
interface SignedVerification extends Verification {
  readonly digest?: string;
  readonly signatures?: readonly AcceptedSignature[];
}

/** Artifacts lie beside their release. */
async function verifyBeside(file: OpenSource, path: string, environment: VerifyEnvironment): Promise<Verification> {
  const release = parseRelease(await readAll(file, MAX_RELEASE_SIZE, path), path);
  const opened: OpenSource[] = [];
  try {
    return await verifyRelease(
      release,
      async (name) => {
        const source = await openArtifact(path, name);
        opened.push(source);
        return source;
      },
      environment,
    );
  } finally {
    for (const source of opened) await source.close();
  }
}

async function verifyFile(path: string, flags: VerifyFlags, environment: VerifyEnvironment): Promise<Verification> {
  await using file = await openFile(path);
  if (flags.key !== undefined || flags.policy !== undefined)
    throw new PolicyError("unsigned", `${path}: is not signed: only what is in a repository can be`, { path });
  if (await isReleaseFile(file)) return await verifyBeside(file, path, environment);
  await refuseOthers(file, path);
  return await verifyDisk(file, environment);
}

/** What is recognised as something else is no disk with failures. A disk that nobody recognises any more may be one. */
async function refuseOthers(file: OpenSource, path: string): Promise<void> {
  const kind = await recognise(file);
  if (file.size > 0 && (kind === undefined || kind === "disk")) return;
  const what = kind === undefined ? "is empty" : `holds ${NAMES[kind]}, which alone says nothing of what it should be`;
  throw new UnsupportedError("not-verifiable", `${path}: ${what}; verify takes a release or a disk`, { path });
}

const NAMES: Readonly<Record<ContentKind, string>> = {
  archive: "an archive",
  disk: "a disk",
  erofs: "an EROFS image",
  fat: "a FAT volume",
  initrd: "an initrd",
  pe: "a UKI",
  release: "a release",
  verity: "a hash device",
};

/** What is signed is resolved once; everything after that goes by digest. */
async function verifyStored(
  repository: Repository,
  reference: Reference,
  flags: VerifyFlags,
  session: Session,
  environment: VerifyEnvironment,
): Promise<SignedVerification> {
  const trusts = await trustsOf(flags);
  if (trusts.length === 0)
    throw new PolicyError("no-trust", `${reference.path}: say whose signature counts, by --key or --policy`);
  const { signal } = session;
  const resolved = await resolveForTrust(repository, reference, platformOf(flags), signal);
  const { start, release: descriptor, digests } = resolved;
  const signatures: AcceptedSignature[] = [];
  const keys: PublicKey[] = [];
  for (const trust of trusts) {
    const admit = admissionBy(trust, trustEnvironment(session), (_, admitted) =>
      signatures.push(...admitted.signatures),
    );
    await admit({ reference, repository, digests });
    if (trust.kind === "keys") keys.push(...trust.keys);
  }
  const checks: Check[] = signatures.map((signature) => ({
    name: "signature",
    ok: true,
    message: `${signature.digest} is ${describeSignature(signature)}`,
  }));
  if (signatures.length === 0) checks.push({ name: "policy", ok: true, message: "accepts it without any signature" });
  const digest = (descriptor ?? start).digest;
  if (descriptor === undefined) {
    const message = `${digest}: the manifest; what it names is checked when it is read`;
    checks.push({ name: "image", ok: true, message });
    return { checks, ok: true, digest, signatures };
  }
  const { release } = await readStoredRelease(repository, descriptor, { hashes: nodeHashes, signal: session.signal });
  const { imageId = "", imageVersion = "", rootHash } = release;
  checks.push({ name: "release", ok: true, message: `${digest}: ${imageId} ${imageVersion}, root hash ${rootHash}` });
  if (keys.length > 0) checks.push(...(await checkProvenance(repository, descriptor, release, keys, session)));
  if (!flags.signatureOnly)
    checks.push(...(await verifyBlocks(repository, descriptor, flags.tmpdir ?? tmpdir(), environment)));
  return { checks, ok: checks.every(({ ok }) => ok), digest, signatures };
}

/** Provenance need not be there; where it is, it has to be right. */
async function checkProvenance(
  repository: Repository,
  { digest }: Descriptor,
  release: Release,
  keys: readonly PublicKey[],
  session: Session,
): Promise<Check[]> {
  const signed = { repository, digest, name: undefined };
  try {
    const found = await verifyStatement(signed, PROVENANCE_PREDICATE, keys, trustEnvironment(session));
    const { builder, dependencies } = assertProvenance(found.statement, release, found.what);
    const inputs = dependencies.length === 1 ? "1 input" : `${dependencies.length} inputs`;
    return [{ name: "provenance", ok: true, message: `by ${builder}, from ${inputs}, about every artifact` }];
  } catch (error) {
    if (!isAshlarError(error) || error.kind === "SourceError") throw error;
    // Others may say what they like about the release; it is not asked for, and does not count.
    if (error.code === "unsigned" || error.code === "wrong-key") return [];
    return [{ name: "provenance", ok: false, message: error.message }];
  }
}

/** Every byte is needed, and those of the disk twice: it is fetched to files that never get a name. */
async function verifyBlocks(
  repository: Repository,
  descriptor: Descriptor,
  folder: string,
  environment: VerifyEnvironment,
): Promise<readonly Check[]> {
  const store = await openArtifacts(folder, { overwrite: true });
  try {
    const unnamed = unpublished(store);
    const pulling = { ...environment, decompressFrame, scratch: fileScratch(folder) };
    const { release } = await pullRelease(repository, descriptor, unnamed, pulling);
    const open = async (name: string) => unnamed.source(name, release)!; // all were written
    return (await verifyRelease(release, open, environment)).checks;
  } finally {
    await store.discard();
  }
}

export function runVerify(flags: VerifyFlags, word: string): Promise<void> {
  return inSession(flags, async (session) => {
    await using hasher = blockHasher(flags.workers);
    const environment = { hashes: nodeHashes, blockHasher: hasher, reporter: session.reporter, signal: session.signal };
    const reference = await repositoryReference(word);
    const result: SignedVerification =
      reference === undefined
        ? await verifyFile(word, flags, environment)
        : await withRepository(reference, flags, session.signal, (repository) =>
            verifyStored(repository, reference, flags, session, environment),
          );
    if (!result.ok) process.exitCode = EXIT.IntegrityError; // before a reader of the output may go away
    if (flags.json) session.printJson({ schema: "ashlar.verify/v1", subject: word, ...forJson(result) });
    else {
      for (const { ok, name, message } of result.checks) session.print(`${ok ? "ok  " : "FAIL"}  ${name}: ${message}`);
      const failed = result.checks.filter(({ ok }) => !ok).length;
      session.print(result.ok ? `${word}: verified` : `${word}: ${failed} of ${result.checks.length} checks failed`);
    }
    if (!result.ok) throw new Failed(EXIT.IntegrityError);
  });
}

function forJson({ signatures, ...rest }: SignedVerification) {
  if (signatures === undefined) return rest;
  const shown = signatures.map(({ key, form, digest, signedName }) => ({
    digest,
    form,
    identity: signedName ?? null,
    key: { name: key.name, type: key.type, id: key.id },
  }));
  return { ...rest, signatures: shown };
}
