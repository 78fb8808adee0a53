/** The order of versions that systemd-boot, sysupdate and `systemd-analyze compare-versions` take: UAPI.10. */

const isDigit = (code: number): boolean => code >= 48 && code <= 57;
const isLetter = (code: number): boolean => (code >= 65 && code <= 90) || (code >= 97 && code <= 122);
/** `~ - ^ .`: the first sorts before the end of the text, the others after it, in this order before anything else. */
const SEPARATORS = "~-^.";
const END = -1;

/** Negative where `a` is older than `b`, positive where it is newer, 0 where they are of one age (`1.0` and `1.00`). */
export function compareVersions(a: string, b: string): number {
  const left = cursorOf(a);
  const right = cursorOf(b);
  for (;;) {
    left.skipOthers();
    right.skipOthers();
    for (const separator of SEPARATORS) {
      if (separator === "-" && (left.code() === END || right.code() === END))
        return Number(left.code() !== END) - Number(right.code() !== END); // the longer one is newer
      const [here, there] = [left.skip(separator), right.skip(separator)];
      if (here !== there) return here ? -1 : 1;
    }
    const numeric = isDigit(left.code()) || isDigit(right.code());
    const [one, other] = [left.take(numeric ? isDigit : isLetter), right.take(numeric ? isDigit : isLetter)];
    const order = numeric ? compareNumbers(one, other) : compareText(one, other);
    if (order !== 0) return order;
  }
}

/** A number is newer than none; numbers of any length. */
function compareNumbers(a: string, b: string): number {
  if (a === "" || b === "") return Number(a !== "") - Number(b !== "");
  const [x, y] = [a.replace(/^0+/, ""), b.replace(/^0+/, "")];
  return x.length - y.length || compareText(x, y);
}

function compareText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

function cursorOf(text: string) {
  let at = 0;
  const code = (): number => (at < text.length ? text.charCodeAt(at) : END);
  return {
    code,
    skip(character: string): boolean {
      if (text[at] !== character) return false;
      at++;
      return true;
    },
    /** What belongs to no version, such as `_` or `+`, does not count. */
    skipOthers(): void {
      while (at < text.length && !isDigit(code()) && !isLetter(code()) && !SEPARATORS.includes(text[at] ?? "")) at++;
    },
    take(belongs: (code: number) => boolean): string {
      const start = at;
      while (belongs(code())) at++;
      return text.slice(start, at);
    },
  };
}
