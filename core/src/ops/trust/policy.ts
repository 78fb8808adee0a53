/**
 * containers' `policy.json`: which images may be used, by where they come from.
 * Spec: containers-policy.json(5). Read whole and strictly, as a typing mistake must not open a door; what is not
 * implemented is refused when an image falls under it, not before.
 */
import * as v from "valibot";
import { decodeUtf8, fromBase64, oneLine } from "../../bytes/index.ts";
import { FormatError, PolicyError, UnsupportedError } from "../../errors/index.ts";
import { checkDocument, parseDocument } from "../../formats/oci/index.ts";
import type { TrustEnvironment } from "./attachments.ts";
import type { PublicKey } from "./keys.ts";
import { type IdentityRule, parseImageName } from "./names.ts";
import { type AcceptedSignature, type Signed, verifySignature } from "./verify.ts";

/** Where a key of a policy is. */
export type KeySource = { readonly path: string } | { readonly data: Uint8Array };

export type Requirement =
  | { readonly type: "insecureAcceptAnything" | "reject" }
  | {
      readonly type: "sigstoreSigned";
      /** A signature by any of them will do. */
      readonly keys: readonly KeySource[];
      readonly identity: IdentityRule;
    }
  /** Well-formed, and not implemented: why. */
  | { readonly type: "unsupported"; readonly reason: string };

export interface Policy {
  readonly default: readonly Requirement[];
  /** Transport → scope → what is required; the scope "" is the transport's own default. */
  readonly transports: ReadonlyMap<string, ReadonlyMap<string, readonly Requirement[]>>;
}

const Identity = v.variant("type", [
  v.strictObject({ type: v.picklist(["matchExact", "matchRepoDigestOrExact", "matchRepository"]) }),
  v.strictObject({ type: v.literal("exactReference"), dockerReference: v.string() }),
  v.strictObject({ type: v.literal("exactRepository"), dockerRepository: v.string() }),
  v.strictObject({ type: v.literal("remapIdentity"), prefix: v.string(), signedPrefix: v.string() }),
]);

const List = v.pipe(v.array(v.string()), v.minLength(1));
const SigstoreSigned = v.strictObject({
  type: v.literal("sigstoreSigned"),
  keyPath: v.optional(v.string()),
  keyPaths: v.optional(List),
  keyData: v.optional(v.string()),
  keyDatas: v.optional(List),
  fulcio: v.optional(v.unknown()),
  pki: v.optional(v.unknown()),
  rekorPublicKeyPath: v.optional(v.string()),
  rekorPublicKeyPaths: v.optional(List),
  rekorPublicKeyData: v.optional(v.string()),
  rekorPublicKeyDatas: v.optional(List),
  signedIdentity: v.optional(Identity),
});
const Simple = v.strictObject({ type: v.picklist(["insecureAcceptAnything", "reject"]) });
const SignedBy = v.looseObject({ type: v.picklist(["signedBy", "signedBaseLayer"]) });
const RawRequirement = v.variant("type", [Simple, SignedBy, SigstoreSigned]);
const RawRequirements = v.pipe(v.array(RawRequirement), v.minLength(1));
const RawPolicy = v.strictObject({
  default: RawRequirements,
  transports: v.optional(v.record(v.string(), v.record(v.string(), RawRequirements)), {}),
});

/** Errors: FormatError `bad-json`, `bad-policy`, `bad-base64`, `bad-name`, `too-large`. */
export function parsePolicy(bytes: Uint8Array, what: string): Policy {
  const document = parseDocument(bytes, what);
  const twice = repeatedKey(decodeUtf8(bytes));
  if (twice !== undefined)
    throw new FormatError("bad-policy", `${what}: ${JSON.stringify(oneLine(twice))} is there twice`);
  const raw = checkDocument(RawPolicy, document, "bad-policy", what);
  const all = (requirements: v.InferOutput<typeof RawRequirements>, where: string) =>
    requirements.map((requirement, index) => requirementOf(requirement, `${what}: ${where}[${index}]`));
  const transports = Object.entries(raw.transports).map(([transport, scopes]) => {
    const read = Object.entries(scopes).map(
      ([scope, requirements]) =>
        [scope, all(requirements, `transports.${oneLine(transport)}.${JSON.stringify(oneLine(scope))}`)] as const,
    );
    return [transport, new Map(read)] as const;
  });
  return { default: all(raw.default, "default"), transports: new Map(transports) };
}

/** A key that an object of the text, which is JSON, has twice: readers differ in which of the two they believe. */
function repeatedKey(text: string): string | undefined {
  const open: Set<string>[] = [];
  for (const [token, key] of text.matchAll(/("(?:[^"\\]|\\.)*")\s*:|"(?:[^"\\]|\\.)*"|[{}]/g)) {
    if (token === "{") open.push(new Set());
    else if (token === "}") open.pop();
    else if (key !== undefined) {
      const name = JSON.parse(key) as string;
      const known = open.at(-1);
      if (known?.has(name)) return name;
      known?.add(name);
    }
  }
  return undefined;
}

function requirementOf(raw: v.InferOutput<typeof RawRequirement>, where: string): Requirement {
  if (raw.type === "insecureAcceptAnything" || raw.type === "reject") return { type: raw.type };
  if (raw.type !== "sigstoreSigned") return { type: "unsupported", reason: `${where}: ${raw.type} is not supported` };
  const { keyPath, keyPaths, keyData, keyDatas, fulcio, pki, signedIdentity, type: _, ...rekor } = raw;
  const given = [keyPath, keyPaths, keyData, keyDatas, fulcio, pki].filter((value) => value !== undefined);
  if (given.length !== 1)
    throw new FormatError(
      "bad-policy",
      `${where}: sigstoreSigned needs exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki`,
    );
  const identity = identityOf(signedIdentity, where);
  const unsupported = fulcio !== undefined ? "fulcio" : pki !== undefined ? "pki" : Object.keys(rekor)[0];
  if (unsupported !== undefined)
    return { type: "unsupported", reason: `${where}: sigstoreSigned with ${unsupported} is not supported` };
  const paths = [...(keyPaths ?? []), ...(keyPath === undefined ? [] : [keyPath])];
  const datas = [...(keyDatas ?? []), ...(keyData === undefined ? [] : [keyData])];
  const keys = [...paths.map((path) => ({ path })), ...datas.map((data) => ({ data: fromBase64(data, where) }))];
  return { type: "sigstoreSigned", keys, identity };
}

function identityOf(raw: v.InferOutput<typeof Identity> | undefined, where: string): IdentityRule {
  if (raw === undefined) return { type: "matchRepoDigestOrExact" };
  switch (raw.type) {
    case "exactReference": {
      const { tag, digest } = parseImageName(raw.dockerReference);
      if (tag === undefined && digest === undefined)
        throw new FormatError("bad-policy", `${where}: exactReference needs a tag or digest`);
      return { type: raw.type, reference: raw.dockerReference };
    }
    case "exactRepository":
      parseImageName(raw.dockerRepository);
      return { type: raw.type, repository: raw.dockerRepository };
    case "remapIdentity":
      return { type: raw.type, prefix: raw.prefix, signedPrefix: raw.signedPrefix };
    default:
      return { type: raw.type };
  }
}

/** Of an image of a registry, the most specific first: the reference, its repository, the paths above, host, `*.` domains. */
export function dockerScopes(name: string): string[] {
  const { repository, tag, digest } = parseImageName(name);
  const reference = digest !== undefined ? `${repository}@${digest}` : `${repository}:${tag ?? "latest"}`;
  const scopes = [reference];
  for (let scope = repository; ; scope = scope.slice(0, scope.lastIndexOf("/"))) {
    scopes.push(scope);
    if (!scope.includes("/")) break;
  }
  const host = scopes.at(-1)!.replace(/:\d+$/, ""); // never empty
  for (let dot = host.indexOf("."); dot >= 0; dot = host.indexOf(".", dot + 1)) scopes.push(`*${host.slice(dot)}`);
  return scopes;
}

/** Of an image in a file or directory: the path with its tag, the path, the directories above it, without the root. */
export function pathScopes(path: string, tag: string | undefined): string[] {
  const scopes = tag === undefined ? [] : [`${path}:${tag}`];
  for (let scope = path; scope !== "" && scope !== "/"; scope = scope.slice(0, scope.lastIndexOf("/")))
    scopes.push(scope);
  return scopes;
}

/** What the policy requires of an image with these scopes, which are ordered as {@link dockerScopes} does. */
export function requirementsFor(policy: Policy, transport: string, scopes: readonly string[]): readonly Requirement[] {
  const known = policy.transports.get(transport);
  for (const scope of [...scopes, ""]) {
    const found = known?.get(scope);
    if (found !== undefined) return found;
  }
  return policy.default;
}

export interface PolicyHost {
  /** The keys of a file, or of data that the policy holds. */
  loadKey(source: KeySource): Promise<PublicKey>;
  /** Whether `registries.d` lets signatures be read beside this image. */
  readonly usesAttachments: boolean;
}

/**
 * `signed` is undefined for what is in no repository, where nothing can be signed. Throws unless every requirement is met; what comes back are the signatures that met them, none where the policy accepts
 * anything. Errors: PolicyError `rejected`, `attachments-disabled`, those of {@link verifySignature}; UnsupportedError
 * `policy-requirement`; FormatError of keys.
 */
export async function verifyRequirements(
  requirements: readonly Requirement[],
  image: string,
  signed: Signed | undefined,
  host: PolicyHost,
  environment: TrustEnvironment,
): Promise<readonly AcceptedSignature[]> {
  const accepted: AcceptedSignature[] = [];
  for (const requirement of requirements)
    switch (requirement.type) {
      case "insecureAcceptAnything":
        break;
      case "reject":
        throw new PolicyError("rejected", `${image}: the policy rejects it`, { path: image });
      case "unsupported":
        throw new UnsupportedError("policy-requirement", requirement.reason, { path: image });
      default: {
        if (signed === undefined) throw unsignable(image);
        if (!host.usesAttachments)
          throw new PolicyError(
            "attachments-disabled",
            `${image}: the policy asks for a sigstore signature, but registries.d does not set use-sigstore-attachments`,
            { path: image },
          );
        const keys: PublicKey[] = [];
        for (const source of requirement.keys) keys.push(await host.loadKey(source));
        accepted.push(await verifySignature(signed, { keys, identity: requirement.identity }, environment));
      }
    }
  return accepted;
}

/** Why an input that is in no repository does not count as signed. */
export function unsignable(image: string): PolicyError {
  return new PolicyError("unsigned", `${image}: is not signed: only what is in a repository can be`, { path: image });
}
