/** One expression that looks ahead, which an automaton cannot: tried out, with a bound on the steps. */
import { UnsupportedError } from "../../errors/index.ts";
import { has, type Regex } from "./regex.ts";

/** Steps of one match. Real patterns need some hundred. */
const MAX_STEPS = 200_000;
/** Steps within each other: what the host's stack holds with room to spare. */
const MAX_NESTING = 1500;

export function looksAhead(regex: Regex): boolean {
  switch (regex.kind) {
    case "ahead":
      return true;
    case "sequence":
      return regex.parts.some(looksAhead);
    case "choice":
      return regex.options.some(looksAhead);
    case "repeat":
      return looksAhead(regex.part);
    default:
      return false;
  }
}

/** Whether `regex` matches all of `text` from `start` on. Throws UnsupportedError `selinux-regex` past a bound of steps. */
export function matchesByTrying(regex: Regex, text: string, start: number): boolean {
  let steps = 0;
  let nesting = 0;
  function run(part: Regex, at: number, then: (at: number) => boolean): boolean {
    if (++steps > MAX_STEPS || nesting > MAX_NESTING)
      throw new UnsupportedError("selinux-regex", `a file context pattern needs more than ${MAX_STEPS} steps`);
    nesting++;
    const result = attempt(part, at, then);
    nesting--;
    return result;
  }
  function attempt(part: Regex, at: number, then: (at: number) => boolean): boolean {
    switch (part.kind) {
      case "set":
        return at < text.length && has(part.set, text.charCodeAt(at)) && then(at + 1);
      case "sequence": {
        const go = (i: number, here: number): boolean => {
          const next = part.parts[i];
          return next === undefined ? then(here) : run(next, here, (after) => go(i + 1, after));
        };
        return go(0, at);
      }
      case "choice":
        return part.options.some((option) => run(option, at, then));
      case "repeat": {
        const go = (count: number, here: number): boolean =>
          (count < part.max &&
            run(part.part, here, (after) => (after > here || count < part.min) && go(count + 1, after))) ||
          (count >= part.min && then(here));
        return go(0, at);
      }
      case "start":
        return at === start && then(at);
      case "end":
        return at === text.length && then(at);
      case "ahead":
        return run(part.part, at, () => true) !== part.negated && then(at);
    }
  }
  return run(regex, start, (at) => at === text.length);
}
