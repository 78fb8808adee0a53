/** The policy that a system brings along, in /etc/selinux. */
import { FormatError } from "../../errors/index.ts";
import {
  MAX_CONTEXTS_SIZE,
  type PolicyFiles,
  parseFileContexts,
  parseSubstitutions,
  policyName,
} from "../../formats/selinux/index.ts";
import { readAll } from "../../source/index.ts";
import { type Directory, resolvePath } from "../../tree/index.ts";

export interface SystemPolicy {
  /** SELINUXTYPE, such as `targeted`. */
  readonly name: string;
  readonly files: PolicyFiles;
}

const CONFIG = "etc/selinux/config";
/** Bytes; a page of comments. */
const MAX_CONFIG_SIZE = 1024 * 1024;

async function readFile(root: Directory, path: string, limit: number): Promise<Uint8Array | undefined> {
  const node = resolvePath(root, path)?.node;
  return node?.type === "file" ? readAll(node.content, limit, `/${path}`) : undefined;
}

/**
 * Undefined where the system has no /etc/selinux/config, or one that names no policy. Throws FormatError
 * `selinux-no-policy` where the policy that it names is not there, and for files that cannot be read.
 */
export async function readSystemPolicy(root: Directory): Promise<SystemPolicy | undefined> {
  const config = await readFile(root, CONFIG, MAX_CONFIG_SIZE);
  const name = config === undefined ? undefined : policyName(config);
  if (name === undefined) return undefined;
  const path = `etc/selinux/${name}/contexts/files/file_contexts`;
  const read = (suffix: string) => readFile(root, path + suffix, MAX_CONTEXTS_SIZE);
  const base = await read("");
  if (base === undefined)
    throw new FormatError("selinux-no-policy", `/${CONFIG} names the policy ${name}, and /${path} is not there`, {
      path: `/${path}`,
    });
  const specs = async (suffix: string) => {
    const bytes = suffix === "" ? base : await read(suffix);
    return bytes === undefined ? [] : parseFileContexts(bytes, `/${path}${suffix}`);
  };
  const substitutions = async (suffix: string) => {
    const bytes = await read(suffix);
    return bytes === undefined ? [] : parseSubstitutions(bytes);
  };
  return {
    name,
    files: {
      base: await specs(""),
      homedirs: await specs(".homedirs"),
      local: await specs(".local"),
      subs: await substitutions(".subs"),
      subsDist: await substitutions(".subs_dist"),
    },
  };
}
