/**
 * POSIX ACLs. Archives hold them as text, in the records SCHILY.acl.access and SCHILY.acl.default (star(5)); a file
 * system as an xattr. Text: acl(5), "ACL TEXT FORMS". Bytes: Linux, uapi/linux/posix_acl_xattr.h and posix_acl.h.
 */
import { type ByteString, concatBytes, defineStruct, le } from "../../bytes/index.ts";

/** struct posix_acl_xattr_header */
const RawAclHeader = /* @__PURE__ */ defineStruct("acl.header", 4, {
  version: le.u32(0),
});
/** struct posix_acl_xattr_entry */
const RawAclEntry = /* @__PURE__ */ defineStruct("acl.entry", 8, {
  tag: le.u16(0),
  permissions: le.u16(2),
  id: le.u32(4), // NO_ID for all but named users and groups
});

const VERSION = 2;
const NO_ID = 0xffffffff;
/** In the order in which the kernel wants them. */
const TAGS = { owner: 0x01, user: 0x02, owningGroup: 0x04, group: 0x08, mask: 0x10, other: 0x20 } as const;
type Tag = keyof typeof TAGS;

/** Entries of one ACL; ext4 holds some 500 in a block of 4 KiB. */
export const MAX_ACL_ENTRIES = 8191;

export interface AclEntry {
  readonly tag: Tag;
  /** Read, write, execute: 4, 2, 1. */
  readonly permissions: number;
  /** Who is meant, of a named user or group: a number, or a name where the archive has no number. */
  readonly who: number | ByteString | undefined;
}

/** Named users and groups by number. */
export interface NumberedAclEntry extends AclEntry {
  readonly who: number | undefined;
}

/**
 * The entries of a text, separated by commas or newlines. GNU tar writes names, star and libarchive a name and behind
 * it the number. A string says what is wrong.
 */
export function parseAcl(text: ByteString): AclEntry[] | string {
  const entries: AclEntry[] = [];
  for (const part of text.split(/[,\n]/, MAX_ACL_ENTRIES + 1)) {
    const line = part.replace(/#.*$/, "").trim();
    if (line === "") continue;
    const entry = parseEntry(line);
    if (entry === undefined) return `${JSON.stringify(line.slice(0, 80))} is no ACL entry`;
    entries.push(entry);
  }
  if (entries.length > MAX_ACL_ENTRIES) return `an ACL has more than ${MAX_ACL_ENTRIES} entries`;
  return entries;
}

function parseEntry(line: string): AclEntry | undefined {
  const fields = line.split(":").map((field) => field.trim());
  const tag = fields.shift() ?? "";
  const isShared = /^m(ask)?$|^o(ther)?$/.test(tag);
  if (isShared && fields.length === 1) fields.unshift(""); // Solaris leaves the empty name out
  const [name = "", letters = "", number] = fields;
  if (fields.length < 2 || fields.length > 3 || (number !== undefined && !isNumber(number))) return undefined;
  const permissions = parsePermissions(letters);
  if (permissions === undefined) return undefined;
  if (isShared)
    return name === "" ? { tag: tag[0] === "m" ? "mask" : "other", permissions, who: undefined } : undefined;
  const isUser = /^u(ser)?$/.test(tag);
  if (!isUser && !/^g(roup)?$/.test(tag)) return undefined;
  if (name === "") return { tag: isUser ? "owner" : "owningGroup", permissions, who: undefined };
  const id = number ?? (isNumber(name) ? name : undefined);
  return { tag: isUser ? "user" : "group", permissions, who: id === undefined ? (name as ByteString) : Number(id) };
}

function isNumber(text: string): boolean {
  return /^[0-9]{1,10}$/.test(text) && Number(text) < NO_ID;
}

function parsePermissions(letters: string): number | undefined {
  if (!/^[rwx-]{0,3}$/.test(letters)) return undefined;
  return (letters.includes("r") ? 4 : 0) + (letters.includes("w") ? 2 : 0) + (letters.includes("x") ? 1 : 0);
}

/** The value of `system.posix_acl_access` or `system.posix_acl_default`. A string says what is wrong. */
export function encodeAcl(entries: readonly NumberedAclEntry[]): Uint8Array | string {
  const sorted = entries.toSorted((a, b) => TAGS[a.tag] - TAGS[b.tag] || (a.who ?? 0) - (b.who ?? 0));
  for (const [index, { tag, who }] of sorted.entries())
    if (index > 0 && sorted[index - 1]?.tag === tag && sorted[index - 1]?.who === who)
      return `an ACL has two entries for ${tag}${who === undefined ? "" : ` ${who}`}`;
  const has = (tag: Tag) => sorted.some((entry) => entry.tag === tag);
  for (const tag of ["owner", "owningGroup", "other"] as const) if (!has(tag)) return `an ACL has no entry for ${tag}`;
  if (!has("mask") && (has("user") || has("group"))) return "an ACL with named entries has no mask";
  return concatBytes(
    RawAclHeader.encode({ version: VERSION }),
    ...sorted.map(({ tag, permissions, who = NO_ID }) => RawAclEntry.encode({ tag: TAGS[tag], permissions, id: who })),
  );
}

/** The nine bits of a mode that say the same as an access ACL: of a group, what the mask allows. */
export function modeOfAcl(entries: readonly AclEntry[]): number {
  const of = (tag: Tag) => entries.find((entry) => entry.tag === tag)?.permissions;
  return ((of("owner") ?? 0) << 6) | ((of("mask") ?? of("owningGroup") ?? 0) << 3) | (of("other") ?? 0);
}

/** Whether the mode alone says all of it: then file systems keep no ACL. */
export function isPlainMode(entries: readonly AclEntry[]): boolean {
  return entries.every(({ tag }) => tag === "owner" || tag === "owningGroup" || tag === "other");
}
