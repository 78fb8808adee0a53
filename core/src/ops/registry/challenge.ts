/** WWW-Authenticate: what a server wants to see. Spec: RFC 9110, 11.6.1; distribution-spec, token authentication. */
import { MAX_HEADER } from "./limits.ts";

export interface Challenge {
  /** In lower case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: Readonly<Record<string, string>>;
}

const SPACE = /[ \t]*/y;
const COMMAS = /[ \t,]*/y;
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const EQUALS = /[ \t]*=[ \t]*/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
/** A challenge with one value and no names, such as Negotiate's. */
const TOKEN68 = /[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y;

/** All challenges of a header's value; what makes no sense ends the list. Never throws. */
export function parseChallenges(header: string | undefined): Challenge[] {
  const text = (header ?? "").slice(0, MAX_HEADER);
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  let at = 0;
  function take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match === null) return undefined;
    at += match[0].length;
    return match;
  }
  while (at < text.length) {
    take(COMMAS);
    const start = at;
    const name = take(TOKEN)?.[0].toLowerCase();
    if (name === undefined) break;
    const current = challenges.at(-1);
    if (current !== undefined && take(EQUALS) !== undefined) {
      const quoted = take(QUOTED);
      const value = quoted === undefined ? take(TOKEN)?.[0] : quoted[1]?.replace(/\\(.)/g, "$1");
      if (value === undefined) break;
      if (!Object.hasOwn(current.parameters, name)) current.parameters[name] = value; // the first one counts
      continue;
    }
    challenges.push({ scheme: name, parameters: Object.create(null) as Record<string, string> });
    take(SPACE);
    take(TOKEN68);
    if (at === start) break;
  }
  return challenges;
}
