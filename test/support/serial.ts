// The guest's serial line: everything it said, waiting for something it says, and a root shell on it.
import type { Socket } from "node:net";

const LOG_LINES_IN_ERRORS = 40;
const ANSWER_TIMEOUT = 20_000; // milliseconds before a line is typed again

interface Waiter {
  readonly check: () => void;
  readonly fail: (reason: string) => void;
}

export class SerialConsole {
  /** Without escape sequences and carriage returns. */
  text = "";
  readonly #socket: Socket;
  readonly #decoder = new TextDecoder();
  readonly #waiters = new Set<Waiter>();
  #partial = ""; // the last bytes, if they may be the start of an escape sequence
  #start = 0; // in `text`, of the current boot
  #end: string | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("error", () => {}); // a killed guest resets the connection; `end` tells those who wait
    socket.on("data", (chunk: Uint8Array) => this.#receive(chunk));
  }

  /** Ctrl-C: ends what runs in the foreground. */
  interrupt(): void {
    this.#socket.write("\x03\n");
  }

  send(line: string): void {
    this.#socket.write(`${line}\n`);
  }

  /** Matches from now on look only at later output: the guest reboots. */
  startAgain(): void {
    this.#start = this.text.length;
  }

  end(reason: string): void {
    this.#end = reason;
    for (const waiter of this.#waiters) waiter.fail(reason);
  }

  /** Looks at the output from the position `from` in `text` on; since the guest's start when absent. */
  waitFor(pattern: RegExp, timeoutMs: number, from = this.#start, what = String(pattern)): Promise<RegExpExecArray> {
    const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>();
    const finish = (): void => {
      clearTimeout(timer);
      this.#waiters.delete(waiter);
    };
    const fail = (reason: string): void => {
      finish();
      reject(this.#error(`waiting for ${what}: ${reason}`));
    };
    const check = (): void => {
      const match = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, "")).exec(this.text.slice(from));
      if (match === null) return;
      finish();
      resolve(match);
    };
    const waiter: Waiter = { check, fail };
    const timer = setTimeout(() => fail(`nothing after ${timeoutMs / 1000} s`), timeoutMs);
    this.#waiters.add(waiter);
    check();
    if (this.#end !== undefined && this.#waiters.has(waiter)) fail(this.#end);
    return promise;
  }

  /** `promise`, or an error with the end of the log after `timeoutMs`. */
  async within<T>(promise: Promise<T>, timeoutMs: number, what: string): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(this.#error(`waiting for ${what}: nothing after ${timeoutMs / 1000} s`)),
        timeoutMs,
      );
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
  }

  /** Gets a quiet root shell: at a login prompt, or at a shell that is there already (`rdinit=/bin/sh`, autologin). */
  async login(user: string, timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    const [prompt] = await this.waitFor(/\n[^\n]*(?: login: ?|[#$] )$/, timeoutMs);
    if (/login: ?$/.test(prompt)) {
      const answer = await this.#sendUntil(user, /(?:[#$] |[Pp]assword: ?)$/, deadline);
      if (/[Pp]assword/.test(answer)) throw this.#error(`${user} has a password; test images must not set one`);
    }
    // No echo, no prompts, no line editing; and no messages of the kernel or of systemd on this terminal.
    const quiet =
      "stty -echo cols 500; PS1= PS2= PROMPT_COMMAND=; unset HISTFILE; set +o emacs 2>/dev/null; dmesg -n 1; kill -s RTMIN+21 1";
    await this.#sendUntil(`${quiet}; echo "<"READY`, /<READY\n/, deadline);
  }

  /** Sends until answered: a getty drops what is typed before it reads, and other output may follow a prompt. */
  async #sendUntil(line: string, pattern: RegExp, deadline: number): Promise<string> {
    for (;;) {
      const from = this.text.length;
      this.send(line);
      const left = deadline - Date.now();
      try {
        return (await this.waitFor(pattern, Math.max(1000, Math.min(left, ANSWER_TIMEOUT)), from))[0];
      } catch (error) {
        if (this.#end !== undefined || left <= ANSWER_TIMEOUT) throw error;
      }
    }
  }

  #receive(chunk: Uint8Array): void {
    let text = this.#partial + this.#decoder.decode(chunk, { stream: true });
    // An escape sequence may be cut by the end of a chunk; keep it for the next one.
    const cut = CUT_ESCAPE.exec(text);
    this.#partial = cut === null ? "" : cut[0];
    if (cut !== null) text = text.slice(0, cut.index);
    this.text += text.replace(ESCAPES, "");
    for (const waiter of [...this.#waiters]) waiter.check();
  }

  #error(what: string): Error {
    const lines = this.text.trimEnd().split("\n").slice(-LOG_LINES_IN_ERRORS);
    return new Error(`${what}; last lines of the serial log:\n${lines.map((line) => `  | ${line}`).join("\n")}`);
  }
}

// CSI, OSC and two-character sequences, and carriage returns: firmware and systemd colour and position their output.
// biome-ignore lint/suspicious/noControlCharactersInRegex: removing control characters is the purpose
const ESCAPES = /\x1b\[[\x20-\x3f]*[\x40-\x7e]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[^[\]]|\r/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: the same
const CUT_ESCAPE = /\x1b(?:\[[\x20-\x3f]*|\][^\x07\x1b]*|)$/;
