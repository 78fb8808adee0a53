// A headless Chromium that opens one page and says everything that went wrong and everything that it asked for.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** Path of the browser; undefined where there is none. */
export function findChromium(): string | undefined {
  for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
    const { status, stdout } = spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" });
    if (status === 0) return stdout.trim();
  }
  return undefined;
}

const FLAGS = [
  "--headless",
  "--no-sandbox", // the tests run as root in CI
  "--disable-gpu",
  "--disable-quic",
  "--disable-dev-shm-usage",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--hide-scrollbars",
  "--remote-debugging-port=0",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", // nothing outside can be reached, by the page or by the browser itself
];

/** Milliseconds; a loaded machine takes seconds to start the browser. */
const TIMEOUT = 120_000; // milliseconds

export interface PageOptions {
  readonly width: number;
  readonly height: number;
}

export interface Page {
  /** Console errors and warnings, uncaught exceptions, violations of the content security policy. */
  readonly problems: readonly string[];
  /** Addresses that the page asked for, its own first. */
  readonly requests: readonly string[];
  /** Evaluates an expression in the page; the result must be JSON. */
  evaluate(expression: string): Promise<unknown>;
  /** A PNG of what is visible. */
  screenshot(): Promise<Uint8Array>;
  close(): Promise<void>;
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  // biome-ignore lint/suspicious/noExplicitAny: of the DevTools protocol, too many shapes to write down
  readonly params?: any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly result?: any;
  readonly error?: { readonly message: string };
}

async function waitFor<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + TIMEOUT;
  while (Date.now() < end) {
    const found = await look();
    if (found !== undefined) return found;
    await delay(50);
  }
  throw new Error(`Chromium: no ${what} after ${TIMEOUT / 1000} s`);
}

/** Opens `url` in a browser and profile of its own, and waits until it is loaded. */
export async function openPage(chromium: string, url: string, { width, height }: PageOptions): Promise<Page> {
  const profile = await mkdtemp(join(tmpdir(), "ashlar-chromium-"));
  const args = [...FLAGS, `--user-data-dir=${profile}`, `--window-size=${width},${height}`, "about:blank"];
  const child = spawn(chromium, args, { stdio: "ignore" });
  try {
    const port = await waitFor("port of the debugger", async () => {
      const file = join(profile, "DevToolsActivePort");
      return existsSync(file) ? (await readFile(file, "utf8")).split("\n")[0] || undefined : undefined;
    });
    const target = await waitFor("page", async () => {
      const list = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as Record<string, string>[];
      return list.find(({ type }) => type === "page");
    });
    return await attach(target["webSocketDebuggerUrl"] ?? "", url, () => stop(child, profile));
  } catch (error) {
    await stop(child, profile);
    throw error;
  }
}

async function stop(child: ChildProcess, profile: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill();
    await ended;
  }
  await rm(profile, { recursive: true, force: true, maxRetries: 5 });
}

async function attach(address: string, url: string, stopBrowser: () => Promise<void>): Promise<Page> {
  const socket = new WebSocket(address);
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve, { once: true });
    socket.addEventListener("error", () => reject(new Error("Chromium: no connection to the debugger")), {
      once: true,
    });
  });
  const problems: string[] = [];
  const requests: string[] = [];
  const waiting = new Map<number, (message: Message) => void>();
  let isLoaded = false;
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(String(data)) as Message;
    const { id, method, params } = message;
    if (id !== undefined) waiting.get(id)?.(message);
    else if (method === "Runtime.exceptionThrown")
      problems.push(`exception: ${params.exceptionDetails.exception?.description ?? params.exceptionDetails.text}`);
    else if (method === "Runtime.consoleAPICalled" && (params.type === "error" || params.type === "warning"))
      problems.push(`console: ${JSON.stringify(params.args)}`);
    else if (method === "Log.entryAdded" && params.entry.level !== "info" && params.entry.level !== "verbose")
      problems.push(`${params.entry.source}: ${params.entry.text}`);
    else if (method === "Network.requestWillBeSent") requests.push(params.request.url);
    else if (method === "Page.loadEventFired") isLoaded = true;
  });
  let last = 0;
  function send(method: string, params: Record<string, unknown> = {}): Promise<Message["result"]> {
    const id = ++last;
    return new Promise((resolve, reject) => {
      waiting.set(id, ({ result, error }) => {
        waiting.delete(id);
        if (error === undefined) resolve(result);
        else reject(new Error(`${method}: ${error.message}`));
      });
      socket.send(JSON.stringify({ id, method, params }));
    });
  }
  for (const domain of ["Page", "Runtime", "Log", "Network"]) await send(`${domain}.enable`);
  isLoaded = false;
  await send("Page.navigate", { url });
  await waitFor("load event", async () => isLoaded || undefined);
  return {
    problems,
    requests,
    async evaluate(expression) {
      const { result, exceptionDetails } = await send("Runtime.evaluate", { expression, returnByValue: true });
      if (exceptionDetails !== undefined) throw new Error(`in the page: ${JSON.stringify(exceptionDetails)}`);
      return result.value;
    },
    async screenshot() {
      const { data } = await send("Page.captureScreenshot", { format: "png" });
      return Buffer.from(data, "base64");
    },
    async close() {
      socket.close();
      await stopBrowser();
    },
  };
}
