/**
 * Where credentials are kept: containers-auth.json(5), and Docker's config.json, which has the same form.
 * Pure; the host reads and writes the files and runs the helpers.
 */
import * as v from "valibot";
import { decodeUtf8, decodeUtf8Strict, encodeUtf8, oneLine } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { type Credentials, encodeBase64 } from "./credentials.ts";
import { DOCKER_HUB, type RepositoryName } from "./reference.ts";

const text = v.nullish(v.string());
const Entry = v.looseObject({
  auth: text,
  username: text,
  password: text,
  identitytoken: text,
  registrytoken: text,
});

const File = v.looseObject({
  auths: v.nullish(v.record(v.string(), v.nullish(Entry))),
  credsStore: text,
  credHelpers: v.nullish(v.record(v.string(), v.string())),
});

export interface AuthFile {
  /** By key as {@link credentialKeys} makes them. */
  readonly credentials: ReadonlyMap<string, Credentials>;
  /** Programs `docker-credential-NAME` by key. */
  readonly helpers: ReadonlyMap<string, string>;
  /** The program for everything else. */
  readonly store: string | undefined;
}

/** Bytes of a file that are read. */
export const MAX_AUTH_FILE = 4 * 1024 * 1024;
/** Docker's own key for its registry. */
const DOCKER_HUB_KEY = "https://index.docker.io/v1/";
/** Name of a helper, which becomes part of a program's name. */
const HELPER = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/;

/**
 * Where to look for the credentials of a repository: the whole name first, the host last.
 * Spec: containers-auth.json(5), «hierarchical».
 */
export function credentialKeys({ host, repository }: RepositoryName): string[] {
  const parts = repository === "" ? [] : repository.split("/");
  const keys = parts.map((_, index) => `${host}/${parts.slice(0, parts.length - index).join("/")}`);
  return [...keys, host];
}

/** What a helper is asked for. */
export function helperKey(key: string): string {
  return key === DOCKER_HUB ? DOCKER_HUB_KEY : key;
}

/** Docker writes addresses as keys, also such as `https://host/v1/`; what counts is the host. */
function normalKey(key: string): string {
  const bare = key.replace(/^https?:\/\//, "").replace(/\/+$/, "");
  const isAddress = bare !== key.replace(/\/+$/, "");
  const slash = bare.indexOf("/");
  const path = slash < 0 ? "" : bare.slice(slash + 1);
  const host = slash < 0 ? bare : bare.slice(0, slash);
  const name = host === "index.docker.io" || host === "registry-1.docker.io" ? DOCKER_HUB : host;
  return isAddress || /^v[12]$/.test(path) || path === "" ? name : `${name}/${path}`;
}

/** Errors: FormatError `bad-auth-file`, without a word of what is in it. @param what names the file */
export function parseAuthFile(bytes: Uint8Array, what: string): AuthFile {
  const { auths, credHelpers, credsStore } = checkFile(bytes, what);
  const credentials = new Map<string, Credentials>();
  for (const [key, entry] of Object.entries(auths ?? {})) {
    const found = entry ? parseEntry(entry, what) : undefined;
    const name = normalKey(key);
    // A key that is written as it is meant counts more than one in another form.
    if (found !== undefined && (key === name || !credentials.has(name))) credentials.set(name, found);
  }
  const helpers = new Map<string, string>();
  for (const [key, helper] of Object.entries(credHelpers ?? {})) helpers.set(normalKey(key), helperName(helper, what));
  return { credentials, helpers, store: credsStore ? helperName(credsStore, what) : undefined };
}

function checkFile(bytes: Uint8Array, what: string): v.InferOutput<typeof File> {
  let document: unknown;
  try {
    document = JSON.parse(decodeUtf8(bytes) || "{}");
  } catch {
    throw new FormatError("bad-auth-file", `${what}: is not JSON`); // the parser's message quotes the input
  }
  const file = v.safeParse(File, document);
  if (!file.success)
    throw new FormatError(
      "bad-auth-file",
      `${what}: is no file of credentials (${oneLine(v.getDotPath(file.issues[0]) ?? "document")})`,
    );
  return file.output;
}

function helperName(name: string, what: string): string {
  if (!HELPER.test(name)) throw new FormatError("bad-auth-file", `${what}: names no credential helper`);
  return name;
}

function parseEntry(entry: v.InferOutput<typeof Entry>, what: string): Credentials | undefined {
  const tokens = {
    ...(entry.identitytoken ? { identityToken: entry.identitytoken } : {}),
    ...(entry.registrytoken ? { registryToken: entry.registrytoken } : {}),
  };
  if (entry.auth) {
    const decoded = decodeBase64(entry.auth);
    const colon = decoded?.indexOf(":") ?? -1;
    if (decoded === undefined || colon < 0)
      throw new FormatError("bad-auth-file", `${what}: an entry holds no user and password`);
    // Docker pads passwords with zeros.
    const password = decoded.slice(colon + 1).replace(/\0+$/, "");
    return { username: decoded.slice(0, colon), password, ...tokens };
  }
  if (entry.username) return { username: entry.username, password: entry.password ?? "", ...tokens };
  return Object.keys(tokens).length > 0 ? { username: "", password: "", ...tokens } : undefined;
}

function decodeBase64(base64: string): string | undefined {
  try {
    return decodeUtf8Strict(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)));
  } catch {
    return undefined;
  }
}

const HelperAnswer = v.looseObject({ Username: v.string(), Secret: v.string() });

/** What `docker-credential-NAME get` prints. Errors: FormatError `bad-helper`. @param what names the helper */
export function parseHelperAnswer(bytes: Uint8Array, what: string): Credentials {
  let document: unknown;
  try {
    document = JSON.parse(decodeUtf8(bytes));
  } catch {
    document = undefined;
  }
  const answer = v.safeParse(HelperAnswer, document);
  if (!answer.success) throw new FormatError("bad-helper", `${what}: the answer holds no credentials`);
  const { Username: username, Secret: password } = answer.output;
  return username === "<token>" ? { username, password: "", identityToken: password } : { username, password };
}

/**
 * The file with the credentials of `key`, or without them where there are none; everything else in it stays.
 * Undefined where there was nothing to take out. @param bytes of the file; undefined where there is none yet
 */
export function editAuthFile(
  bytes: Uint8Array | undefined,
  key: string,
  credentials: Credentials | undefined,
  what: string,
): Uint8Array | undefined {
  const document = bytes === undefined ? {} : checkFile(bytes, what);
  const auths: Record<string, unknown> = { ...document.auths };
  let isChanged = false;
  for (const there of Object.keys(auths))
    if (normalKey(there) === key) {
      delete auths[there];
      isChanged = true;
    }
  if (credentials === undefined && !isChanged) return undefined;
  if (credentials !== undefined) {
    const { username, password, identityToken } = credentials;
    const auth = encodeBase64(encodeUtf8(`${username}:${password}`));
    auths[key] = { auth, ...(identityToken === undefined ? {} : { identitytoken: identityToken }) };
  }
  try {
    return encodeUtf8(`${JSON.stringify({ ...document, auths }, null, "\t")}\n`);
  } catch {
    throw new FormatError("bad-auth-file", `${what}: nests too deep to be written again`); // V8 reads deeper than it writes
  }
}
