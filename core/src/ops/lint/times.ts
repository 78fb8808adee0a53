/** Times that move with every build. */
import type { ByteString } from "../../bytes/index.ts";
import { counted, type Lint } from "./finding.ts";

/** What is not older than this before the image's creation was written by its build; nanoseconds. */
const BUILD_WINDOW = 24n * 3600n * 1_000_000_000n;

export interface NewerTimes {
  /** Names with a time later than the clamp. */
  readonly count: number;
  /** Nanoseconds since 1970; of everything in the tree. */
  readonly newest: bigint;
}

/** RFC 3339 in UTC to the second; `@seconds` for what Date cannot hold. */
export function showTime(time: bigint): string {
  const nanoseconds = ((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  const seconds = Number((time - nanoseconds) / 1_000_000_000n);
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? `@${seconds}` : date.toISOString().replace(".000Z", "Z");
}

const DAY = 86_400n; // seconds

/** A day that is surely before the build: an example of a time that stays the same. Seconds since 1970. */
function exampleDay(builtAt: bigint): bigint {
  const day = builtAt / 1_000_000_000n / DAY - 2n;
  return (day > 0n ? day : 0n) * DAY;
}

function cureFor(seconds: bigint, hasCreation: boolean): string {
  const text = showTime(seconds * 1_000_000_000n);
  const option = `# no line is needed: ashlar build --timestamp ${text}, the same in every build (or SOURCE_DATE_EPOCH=${seconds})`;
  return hasCreation ? `${option}\nRUN find / -xdev -newermt @${seconds} -exec touch -h -d @${seconds} {} +` : option;
}

export const TIME_LINTS: readonly Lint[] = [
  {
    name: "timestamps",
    severity: "warning",
    looksFor:
      "times of the build itself or newer than the clamp, unless --timestamp or SOURCE_DATE_EPOCH fixes the clamp",
    cure: cureFor(1_767_225_600n, true),
    start(context) {
      const paths = context.paths();
      const { builtAt, clamp } = context;
      let newer = 0;
      let newest = -(2n ** 63n);
      const add = (path: ByteString, mtime: bigint): void => {
        if (mtime > newest) newest = mtime;
        if (mtime > clamp) newer++;
        if (mtime > clamp || mtime >= builtAt - BUILD_WINDOW) paths.add(path);
      };
      return {
        visit: ({ path, node }) => add(path, node.mtime),
        end() {
          // With a fixed clamp all of these get the same time in every build.
          if (context.clampOrigin === "given" || paths.count === 0) return [];
          const reason = [
            `${counted(paths.count, "name")} with a time of the build or later, the newest ${showTime(newest)}`,
            newer > 0
              ? `${counted(newer, "is", "are")} newer than the clamp, ${showTime(clamp)}`
              : `the clamp is ${showTime(clamp)}`,
            context.clampOrigin === "creation"
              ? "the clamp is the image's creation and moves with every build"
              : "the image has no creation time: the clamp is its newest time and moves with every build",
          ].join("; ");
          return [{ reason, paths, cure: cureFor(exampleDay(builtAt), context.created !== undefined) }];
        },
      };
    },
  },
];

/** Counts what the clamp changes. */
export function newerThanClamp(clamp: bigint): { add(mtime: bigint): void; result(): NewerTimes } {
  let count = 0;
  let newest: bigint | undefined;
  return {
    add(mtime) {
      if (newest === undefined || mtime > newest) newest = mtime;
      if (mtime > clamp) count++;
    },
    result: () => ({ count, newest: newest ?? 0n }),
  };
}
