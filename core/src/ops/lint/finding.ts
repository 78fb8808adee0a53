/** What a lint is and what it finds. Everything that comes out of an image is bounded and escaped here. */
import type { ByteString } from "../../bytes/index.ts";
import { showPath, type Visit } from "../../tree/index.ts";
import type { LintContext } from "./context.ts";

/** `fatal`: the image cannot be built, or does not boot as it should. `warning`: it can, but should be better. */
export type Severity = "fatal" | "warning";

/** How many paths of a finding are kept where nothing else is asked for; the rest is counted. */
export const DEFAULT_MAX_PATHS = 100;
/** Characters of a path or a reason as they are shown. An image can have paths of half a megabyte. */
const MAX_SHOWN = 400;

export interface Finding {
  readonly lint: string;
  readonly severity: Severity;
  /** Of the error that `ashlar build` ends with, where it does. */
  readonly code: string | undefined;
  /** One line. */
  readonly reason: string;
  /** In canonical order, as people read them; the first ones where there are many. */
  readonly paths: readonly string[];
  /** How many more paths there are. */
  readonly morePaths: number;
  /** Lines for a Containerfile. */
  readonly cure: string;
  /** Packages that the cure installs. */
  readonly packages: readonly string[];
}

/** What a lint itself says; name and severity are those of the lint, the cure too where it says none. */
export interface Found {
  readonly reason: string;
  readonly paths?: PathList;
  readonly code?: string;
  readonly cure?: string | undefined;
  readonly packages?: readonly string[] | undefined;
}

/** Looks at every name of the tree, in canonical order, and says at the end what it found. */
export interface NodeCheck {
  visit(visit: Visit): void;
  end(): Iterable<Found> | Promise<Iterable<Found>>;
}

interface Description {
  readonly name: string;
  readonly severity: Severity;
  /** One sentence without a full stop. */
  readonly looksFor: string;
  /** Lines for a Containerfile that cure it in general. */
  readonly cure: string;
}

/** `run` looks where it likes; `start` takes part in the one walk over the tree. */
export type Lint = Description &
  (
    | { readonly run: (context: LintContext) => Iterable<Found> | Promise<Iterable<Found>> }
    | { readonly start: (context: LintContext) => NodeCheck }
  );

/** Paths as they may be shown: the first ones, and how many there are. */
export interface PathList {
  readonly count: number;
  readonly shown: readonly string[];
  add(path: ByteString): void;
  /** A path that is text already, such as that of an error. */
  addShown(path: string): void;
  /** Paths that are only counted. */
  addMore(count: number): void;
}

export function pathList(limit: number): PathList {
  const shown: string[] = [];
  let count = 0;
  function addShown(path: string): void {
    count++;
    if (shown.length < limit) shown.push(boundedLine(path));
  }
  return {
    get count() {
      return count;
    },
    shown,
    add: (path) => (shown.length < limit ? addShown(showPath(path)) : void count++),
    addShown,
    addMore(more) {
      count += more;
    },
  };
}

/** One line without control characters, of bounded length: messages quote what stands in an image's configuration. */
export function boundedLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  const line = text.slice(0, MAX_SHOWN + 1).replace(/[\x00-\x1f\x7f-\x9f]/g, (character) => {
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
  return text.length > MAX_SHOWN ? `${line.slice(0, MAX_SHOWN)}…` : line;
}

/** `1 file`, `12,345 files`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${String(count).replace(/\B(?=(\d{3})+$)/g, ",")} ${count === 1 ? one : many}`;
}
