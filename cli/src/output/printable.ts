/** Text that comes from an image or a release, made safe for a terminal. */

/** C0 and C1 controls, line separators, and the marks that change the direction of what follows (Unicode TR36, 3.2). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNPRINTABLE = /[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** One line: what could move the cursor, start a new line or reorder the text becomes `\u001b`. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
