/** How an operation tells what it does. The host decides what becomes of it: a progress bar, lines, nothing. */

export interface Task {
  /** @param amount bytes done since the last call */
  advance(amount: number): void;
  end(): void;
}

/** Something a person should know about what was done to their image. */
export interface Note {
  /** Stable name of the rule or finding, such as `fstab-dropped`. */
  readonly code: string;
  readonly message: string;
}

export interface Reporter {
  /** @param total bytes, where known */
  start(name: string, total?: number): Task;
  note(note: Note): void;
}

export const silentReporter: Reporter = {
  start: () => ({ advance() {}, end() {} }),
  note() {},
};
