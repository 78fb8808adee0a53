/** Users and groups: who makes them, whose files nobody owns, and the dates in /etc/shadow. */
import { type ByteString, byteString, showBytes } from "../../bytes/index.ts";
import { resolvePath } from "../../tree/index.ts";
import type { LintContext } from "./context.ts";
import { counted, DEFAULT_MAX_PATHS, type Found, type Lint } from "./finding.ts";

const MAX_ACCOUNTS_FILE = 4 * 1024 * 1024; // bytes
const MAX_SYSUSERS_FILE = 256 * 1024; // bytes
/** Ids below are given by the distribution and are the same in every build (Debian policy 9.2.2; 100 is the group users). */
const FIRST_DYNAMIC_ID = 101;
const NOBODY = 65534;
/** Ids that systemd gives out itself, for services and containers (systemd's UIDS-GIDS document). */
const SYSTEMD_IDS = [61184, 65519] as const;

const ID = /^[0-9]{1,10}$/;

interface Account {
  readonly name: string;
  readonly id: number;
  /** Primary group of a user. */
  readonly group?: number | undefined;
}

async function readLines(context: LintContext, path: string, limit = MAX_ACCOUNTS_FILE): Promise<string[]> {
  const bytes = await context.read(path, limit);
  return bytes === undefined ? [] : byteString(bytes).split("\n");
}

/** /etc/passwd or /etc/group, and those of nss-altfiles. */
async function readAccounts(context: LintContext, file: "passwd" | "group"): Promise<Account[]> {
  const accounts: Account[] = [];
  for (const path of [`etc/${file}`, `usr/lib/${file}`])
    for (const line of await readLines(context, path)) {
      const [name = "", , id = "", gid = ""] = line.split(":");
      if (name === "" || !ID.test(id)) continue;
      accounts.push({ name, id: Number(id), group: file === "passwd" && ID.test(gid) ? Number(gid) : undefined });
    }
  return accounts;
}

interface Sysusers {
  readonly users: ReadonlySet<string>;
  readonly groups: ReadonlySet<string>;
  /** Ids that are written out. */
  readonly userIds: ReadonlySet<number>;
  readonly groupIds: ReadonlySet<number>;
}

/** The users and groups that sysusers.d(5) makes: lines `u` (user with a group of its name), `g`, and `m` for both. */
async function readSysusers(context: LintContext): Promise<Sysusers> {
  const users = new Set<string>();
  const groups = new Set<string>();
  const userIds = new Set<number>();
  const groupIds = new Set<number>();
  for (const folder of ["usr/lib/sysusers.d", "etc/sysusers.d"]) {
    const found = resolvePath(context.tree, folder);
    if (found?.node.type !== "directory") continue;
    for (const file of [...found.node.entries.keys()].sort()) {
      if (!file.endsWith(".conf")) continue;
      for (const line of await readLines(context, `${folder}/${file}`, MAX_SYSUSERS_FILE)) {
        const [type = "", name = "", ids = ""] = line.trim().split(/[ \t]+/);
        const kind = type.replace("!", "");
        const [id, group] = ids.split(":").map((text) => (ID.test(text) ? Number(text) : undefined));
        if (kind === "u") {
          users.add(name);
          groups.add(name);
          if (id !== undefined) userIds.add(id);
          if (id !== undefined) groupIds.add(group ?? id);
        }
        if (kind === "g") {
          groups.add(name);
          if (id !== undefined) groupIds.add(id);
        }
      }
    }
  }
  return { users, groups, userIds, groupIds };
}

const isDynamic = ({ id }: Account): boolean => id >= FIRST_DYNAMIC_ID && id !== NOBODY;

/** Names for a message: a few, and how many more. */
function listNames(accounts: readonly Pick<Account, "name">[]): string {
  const shown = accounts.slice(0, 8).map(({ name }) => showBytes(name as ByteString));
  return accounts.length > 8 ? `${shown.join(", ")} and ${accounts.length - 8} more` : shown.join(", ");
}

/** Accounts in one line, at most; the others come in the next run. */
const MAX_CURED = 20;
/** systemd's strict rule for names; what needs no quoting. */
const SAFE_NAME = /^[a-z_][a-z0-9_-]{0,30}$/;

/** Fixes the ids that this image has. Undefined where no name may stand in a shell line. */
function sysusersLine(users: readonly Account[], groups: readonly Account[]): string | undefined {
  const safe = (list: readonly Account[]) => list.filter(({ name }) => SAFE_NAME.test(name)).slice(0, MAX_CURED);
  const lines = [
    // A group of the same name comes with the user.
    ...safe(users).map(
      ({ name, id, group }) => `u ${name} ${group === undefined || group === id ? id : `${id}:${group}`}`,
    ),
    ...safe(groups).map(({ name, id }) => `g ${name} ${id}`),
  ];
  if (lines.length === 0) return undefined;
  return `RUN printf '%s\\n' ${lines.map((line) => `'${line}'`).join(" ")} > /usr/lib/sysusers.d/image.conf`;
}

/** Pairs of user and group that are told apart. */
const MAX_OWNERS = 4096;
const MAX_OWNER_FINDINGS = 8;

const NANOSECONDS_A_DAY = 86_400_000_000_000n;

export const ACCOUNT_LINTS: readonly Lint[] = [
  {
    name: "sysusers",
    severity: "warning",
    looksFor: "users and groups with ids above 100 that no sysusers.d line makes (those below are the distribution's)",
    cure: "RUN echo 'u my-user 950 \"My service\" /var/lib/my-service' > /usr/lib/sysusers.d/my-user.conf",
    async run(context) {
      const known = await readSysusers(context);
      const users = (await readAccounts(context, "passwd")).filter(
        (one) => isDynamic(one) && !known.users.has(one.name),
      );
      const lostUsers = new Set(users.map(({ name }) => name));
      const groups = (await readAccounts(context, "group")).filter(
        (one) => isDynamic(one) && !known.groups.has(one.name) && !lostUsers.has(one.name),
      );
      if (users.length + groups.length === 0) return [];
      const paths = context.paths();
      if (users.length > 0) paths.addShown("/etc/passwd");
      if (groups.length > 0) paths.addShown("/etc/group");
      const lists = [
        ...(users.length > 0 ? [`${counted(users.length, "user")} (${listNames(users)})`] : []),
        ...(groups.length > 0 ? [`${counted(groups.length, "group")} (${listNames(groups)})`] : []),
      ];
      const reason = `${lists.join(" and ")} without a line in sysusers.d: another build may give other ids, while files on /var keep the old ones`;
      return [{ reason, paths, cure: sysusersLine(users, groups) }];
    },
  },
  {
    name: "owners",
    severity: "warning",
    looksFor: "files of users and groups that neither passwd and group nor sysusers.d name",
    cure: "RUN find / -xdev \\( -nouser -o -nogroup \\) -exec chown -h root:root {} +",
    start(context) {
      const owners = new Map<
        string,
        { readonly uid: number; readonly gid: number; readonly paths: ByteString[]; count: number }
      >();
      const limit = context.options.maxPaths ?? DEFAULT_MAX_PATHS;
      return {
        visit({ path, node: { uid, gid } }) {
          const key = `${uid}:${gid}`;
          let owner = owners.get(key);
          if (owner === undefined) {
            // A hostile image has an owner for each file; then it is enough to know of the first ones.
            if (owners.size >= MAX_OWNERS) return;
            owner = { uid, gid, paths: [], count: 0 };
            owners.set(key, owner);
          }
          owner.count++;
          if (owner.paths.length < limit) owner.paths.push(path);
        },
        async end() {
          const { userIds, groupIds } = await readSysusers(context);
          const users = new Set([
            0,
            NOBODY,
            ...userIds,
            ...(await readAccounts(context, "passwd")).map(({ id }) => id),
          ]);
          const groups = new Set([
            0,
            NOBODY,
            ...groupIds,
            ...(await readAccounts(context, "group")).map(({ id }) => id),
          ]);
          const isSystemd = (id: number) => id >= SYSTEMD_IDS[0] && id <= SYSTEMD_IDS[1];
          const unknown = [...owners.values()].filter(
            ({ uid, gid }) => !((users.has(uid) || isSystemd(uid)) && (groups.has(gid) || isSystemd(gid))),
          );
          return unknown.slice(0, MAX_OWNER_FINDINGS).map(({ uid, gid, paths: list, count }): Found => {
            const paths = context.paths();
            for (const path of list) paths.add(path);
            paths.addMore(count - list.length);
            const user = users.has(uid) || isSystemd(uid) ? [] : [`user ${uid}`];
            const group = groups.has(gid) || isSystemd(gid) ? [] : [`group ${gid}`];
            return {
              reason: `${counted(count, "file")} of ${[...user, ...group].join(" and ")}, which the image does not know`,
              paths,
            };
          });
        },
      };
    },
  },
  {
    name: "shadow-dates",
    severity: "warning",
    looksFor: "days of the build in /etc/shadow, where every new account gets one",
    cure: "RUN sed -i -E 's/^([^:]*:[^:]*):[0-9]+:/\\1::/' /etc/shadow && rm -f /etc/shadow-",
    async run(context) {
      // A base image's accounts are older than that and the same in every build upon it.
      const first = context.builtAt / NANOSECONDS_A_DAY - 1n;
      const names: { readonly name: string }[] = [];
      for (const line of await readLines(context, "etc/shadow")) {
        const [name = "", , day = ""] = line.split(":");
        if (/^[0-9]{1,9}$/.test(day) && BigInt(day) >= first) names.push({ name });
      }
      if (names.length === 0) return [];
      const paths = context.paths();
      paths.addShown("/etc/shadow");
      return [
        {
          reason: `${counted(names.length, "account")} with the day of the build as that of the last password change: ${listNames(names)}`,
          paths,
        },
      ];
    },
  },
];
