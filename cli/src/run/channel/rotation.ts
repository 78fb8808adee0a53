/** The flags of `ashlar channel rotate`: which keys of which roles. */
import { FormatError, PolicyError } from "@ashlar/core/errors";
import { nodeHashes } from "@ashlar/core/node";
import { type ChannelDocuments, isRole, keyIdOf, lastRoot, type Role, type Rotation } from "@ashlar/core/ops/channel";
import type { RotateFlags } from "../../commands/channel-flags.ts";
import { parseThreshold } from "../../parse.ts";
import type { Session } from "../session.ts";
import { type ChannelKey, type KeyReader, keyReader } from "./keys.ts";

/** `online` stands for both roles whose key is online. */
const ONLINE: readonly Role[] = ["snapshot", "timestamp"];

/** `ROLE=VALUE`. Throws FormatError `bad-role`. */
function splitRole(text: string): { readonly roles: readonly Role[]; readonly value: string } {
  const at = text.indexOf("=");
  const role = text.slice(0, Math.max(at, 0));
  const value = text.slice(at + 1);
  if (value !== "" && role === "online") return { roles: ONLINE, value };
  if (value !== "" && isRole(role)) return { roles: [role], value };
  throw new FormatError(
    "bad-role",
    `${JSON.stringify(text)}: write ROLE=VALUE, ROLE one of root, targets, snapshot, timestamp, online`,
  );
}

export async function rotationOf(
  flags: RotateFlags,
  current: ChannelDocuments,
  session: Pick<Session, "signal">,
): Promise<Rotation> {
  const { read } = keyReader(flags, session);
  const add: { role: Role; key: ChannelKey["key"] }[] = [];
  for (const { roles, value } of (flags.add ?? []).map(splitRole)) {
    const { key } = await read(value);
    add.push(...roles.map((role) => ({ role, key })));
  }
  const remove: { role: Role; keyId: string }[] = [];
  for (const { roles, value } of (flags.remove ?? []).map(splitRole))
    for (const role of roles) remove.push({ role, keyId: await findKey(current, role, value, read) });
  const thresholds: Partial<Record<Role, number>> = {};
  for (const { roles, value } of (flags.threshold ?? []).map(splitRole))
    for (const role of roles) thresholds[role] = thresholdOf(value);
  return { add, remove, thresholds, newEpoch: flags.newEpoch, drop: flags.drop };
}

function thresholdOf(value: string): number {
  try {
    return parseThreshold(value);
  } catch (cause) {
    throw new FormatError("bad-role", `--threshold: ${value} is not a number from 1 to 64`, { cause });
  }
}

/** A key of the role, by the beginning of its id or by its file. */
async function findKey(current: ChannelDocuments, role: Role, value: string, read: KeyReader["read"]): Promise<string> {
  const { keyids } = lastRoot(current).signed.roles[role];
  const meant = /^[0-9a-f]{4,64}$/.test(value) ? value : keyIdOf((await read(value)).key, nodeHashes);
  const found = keyids.filter((id) => id.startsWith(meant));
  const [id] = found;
  if (id === undefined || found.length > 1)
    throw new PolicyError("channel-key", `${role} has ${found.length} keys whose id begins with ${meant}`);
  return id;
}
