/** Paragraphs of `Field: value` lines, as dpkg's and apk's databases have them. */

/** The lines of a text without their line ends. */
export function* linesOf<T extends string>(text: T): Generator<T> {
  for (let start = 0; start < text.length; ) {
    const end = text.indexOf("\n", start);
    const stop = end < 0 ? text.length : end;
    yield text.slice(start, stop) as T;
    start = stop + 1;
  }
}

/** Fields of each paragraph; of a field that is there twice the last one counts. Continuation lines are left out. */
export function* stanzasOf(text: string): Generator<ReadonlyMap<string, string>> {
  let fields = new Map<string, string>();
  for (const line of linesOf(text)) {
    if (line.trim() === "") {
      if (fields.size > 0) yield fields;
      fields = new Map();
      continue;
    }
    const colon = line.indexOf(":");
    if (colon <= 0 || line.startsWith(" ") || line.startsWith("\t")) continue;
    fields.set(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  if (fields.size > 0) yield fields;
}
