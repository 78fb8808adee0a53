// Registries as a machine knows them: certificates, proxies, credentials and registries.conf from where other tools have
// them. The servers are in this process; the files are in a home of the test's own.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import http, { type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import https from "node:https";
import net, { type AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";

import { openRegistries, type RegistriesOptions } from "../../core/src/node/registry/index.ts";
import { createTransport } from "../../core/src/node/registry/transport.ts";
import { type Certificates, makeCertificates } from "../support/certificates.ts";
import { REPOSITORY } from "../support/roots.ts";
import { workFolder } from "../support/samples.ts";

const folder = workFolder({ after });
const home = join(folder, "home");
const certificates: Certificates = makeCertificates(join(folder, "pki"));
const servers: Server[] = [];
const MANIFEST = JSON.stringify({
  schemaVersion: 2,
  config: { mediaType: "x", digest: `sha256:${"0".repeat(64)}`, size: 1 },
});
const DIGEST = `sha256:${createHash("sha256").update(MANIFEST).digest("hex")}`;

async function listen(server: Server): Promise<string> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

after(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

interface Asked {
  readonly url: string;
  readonly authorization: string | undefined;
}

/** Has one manifest under every tag of every repository. */
function registry(asked: Asked[], authorization?: string): RequestListener {
  return (request: IncomingMessage, response: ServerResponse) => {
    asked.push({ url: request.url ?? "", authorization: request.headers.authorization });
    if (authorization !== undefined && request.headers.authorization !== authorization)
      response.writeHead(401, { "www-authenticate": 'Basic realm="test"' }).end();
    else if (request.url === "/v2/") response.end("{}");
    else response.writeHead(200, { "content-type": "application/vnd.oci.image.manifest.v1+json" }).end(MANIFEST);
  };
}

function write(path: string, text: string | Buffer): void {
  mkdirSync(dirname(join(home, path)), { recursive: true });
  writeFileSync(join(home, path), text);
}

const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
const auths = (entries: Record<string, string>): string =>
  JSON.stringify({
    auths: Object.fromEntries(
      Object.entries(entries).map(([key, who]) => [key, { auth: Buffer.from(who).toString("base64") }]),
    ),
  });

/** The digest of a tag, with a home and an environment of the test's own. */
async function resolve(name: string, options: RegistriesOptions = {}, environment: Record<string, string> = {}) {
  const env = { HOME: home, PATH: process.env["PATH"] ?? "", ...environment };
  const registries = openRegistries({ retryTimes: 0, ...options, environment: env });
  const slash = name.indexOf("/");
  try {
    const repository = await registries.open({ host: name.slice(0, slash), repository: name.slice(slash + 1) });
    return (await repository.resolve({ tag: "1" })).digest;
  } finally {
    registries.close();
  }
}

/** The command beside this process, which serves it. */
async function runAshlar(args: readonly string[], env: Record<string, string>, input = "") {
  const child = spawn(join(REPOSITORY, "ashlar"), args, { env: { PATH: process.env["PATH"] ?? "", ...env } });
  const said = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    said.stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said.stderr += text;
  });
  child.stdin.on("error", () => {}).end(input);
  const status = await new Promise<number | null>((done) => child.on("close", done));
  return { status, ...said };
}

const fails = (code: string) => (error: unknown) => {
  assert.equal((error as { code: string }).code, code, (error as Error).message);
  assert.doesNotMatch((error as Error).message, /\n/);
  return true;
};

let host = "";
const asked: Asked[] = [];
before(async () => {
  const { certificate, key } = certificates;
  host = await listen(
    https.createServer(
      { cert: readFileSync(certificate), key: readFileSync(key) },
      registry(asked),
    ) as unknown as Server,
  );
});

test("certificates: what nobody vouches for is refused, certs.d vouches, a person may look away", async () => {
  await assert.rejects(resolve(`${host}/os`), fails("tls"));
  assert.equal(await resolve(`${host}/os`, { tlsVerify: false }), DIGEST);
  write(`.config/containers/certs.d/${host}/ca.crt`, readFileSync(certificates.authority));
  assert.equal(await resolve(`${host}/os`), DIGEST);
  const other = await listen(http.createServer(registry([])));
  await assert.rejects(resolve(`${other}/os`), fails("tls"));
  assert.equal(await resolve(`${other}/os`, { tlsVerify: false }), DIGEST);
});

test("certificates: SSL_CERT_FILE of the system is what Node reads", async () => {
  const image = `docker://${host}/os:1`;
  const env = { HOME: join(folder, "empty"), SSL_CERT_FILE: certificates.authority };
  const { stderr } = await runAshlar(["inspect", image, "--retry-times", "0"], env);
  assert.match(stderr, /blob|config/); // it came as far as the config, which is not there
  const without = await runAshlar(["inspect", image, "--retry-times", "0"], { HOME: join(folder, "empty") });
  assert.equal(without.status, 7);
  assert.match(without.stderr, /certificate/);
});

test("certificates: a system without a folder for them is no reason to say something, nor one to trust anybody", async () => {
  const image = `docker://${host}/os:1`;
  const bare = { HOME: join(folder, "empty"), SSL_CERT_DIR: join(folder, "no-such-folder") };
  const without = await runAshlar(["inspect", image, "--retry-times", "0"], bare);
  assert.equal(without.status, 7);
  assert.equal(without.stderr.trim().split("\n").length, 1, without.stderr);
  assert.match(without.stderr, /certificate/);
  const env = { ...bare, SSL_CERT_FILE: certificates.authority };
  const { stderr } = await runAshlar(["inspect", image, "--retry-times", "0"], env);
  assert.match(stderr, /blob|config/);
  assert.doesNotMatch(stderr, /Cannot open/);
});

test("certificates: a registry that wants one gets that of certs.d", async () => {
  const { authority, certificate, key } = certificates;
  const options = {
    cert: readFileSync(certificate),
    key: readFileSync(key),
    ca: readFileSync(authority),
    requestCert: true,
    rejectUnauthorized: true,
  };
  const strict = await listen(https.createServer(options, registry([])) as unknown as Server);
  const place = `.config/containers/certs.d/${strict}`;
  write(`${place}/ca.crt`, readFileSync(authority));
  await assert.rejects(resolve(`${strict}/os`), /./);
  write(`${place}/client.cert`, readFileSync(certificate));
  await assert.rejects(resolve(`${strict}/os`), fails("not-found"));
  write(`${place}/client.key`, readFileSync(key));
  assert.equal(await resolve(`${strict}/os`), DIGEST);
});

test("certificates: what is none is said", async () => {
  const at = await listen(https.createServer(registry([])) as unknown as Server);
  const place = `.config/containers/certs.d/${at}`;
  write(`${place}/client.cert`, "not a certificate");
  write(`${place}/client.key`, readFileSync(certificates.key));
  await assert.rejects(resolve(`${at}/os`), fails("bad-certificate"));
  write(`${place}/client.cert`, readFileSync(certificates.certificate));
  write(`${place}/client.key`, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
  await assert.rejects(resolve(`${at}/os`), fails("bad-certificate"));
});

test("proxies: CONNECT for https, the whole address for http, none for NO_PROXY and this machine", async () => {
  const connects: string[] = [];
  const plain: string[] = [];
  const proxy = http.createServer((request, response) => {
    plain.push(request.url ?? "");
    if (request.headers["proxy-authorization"] !== basic("user", "p w")) response.writeHead(407).end();
    else registry([])(request as never, response as never);
  });
  proxy.on("connect", (request, socket, head) => {
    connects.push(request.url ?? "");
    if (request.headers["proxy-authorization"] !== basic("user", "p w")) {
      socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
      return;
    }
    const [, port] = host.split(":");
    const onward = net.connect(Number(port), "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      onward.write(head);
      onward.pipe(socket).pipe(onward);
    });
    onward.on("error", () => socket.destroy());
    socket.on("error", () => onward.destroy());
  });
  const at = await listen(proxy);
  const env = { HTTPS_PROXY: `http://user:p%20w@${at}`, HTTP_PROXY: `http://user:p%20w@${at}` };
  // A name that only the proxy can find.
  assert.equal(await resolve("registry.test/os", { tlsVerify: false }, env), DIGEST);
  assert.ok(connects.length > 0 && connects.every((target) => target === "registry.test:443"));
  await assert.rejects(resolve("registry.test/os", {}, env), fails("tls")); // the certificate is for another name
  const before = connects.length;
  assert.equal(await resolve(`${host}/os`, {}, env), DIGEST);
  await assert.rejects(resolve("registry.test/os", {}, { ...env, NO_PROXY: ".test" }), fails("host-not-found"));
  assert.equal(connects.length, before);
  await assert.rejects(resolve("registry.test/os", {}, { HTTPS_PROXY: `http://user:wrong@${at}` }), fails("proxy"));
  await assert.rejects(resolve("registry.test/os", {}, { HTTPS_PROXY: "http://127.0.0.1:1" }), fails("connection"));
  // A proxy that is spoken to over TLS, with certificates of its own.
  const secureProxy = https.createServer({
    cert: readFileSync(certificates.certificate),
    key: readFileSync(certificates.key),
  });
  for (const event of ["request", "connect"])
    for (const listener of proxy.listeners(event)) secureProxy.on(event, listener as () => void);
  const secureAt = await listen(secureProxy as unknown as Server);
  const secureEnv = { HTTPS_PROXY: `https://user:p%20w@${secureAt}`, HTTP_PROXY: `https://user:p%20w@${secureAt}` };
  await assert.rejects(resolve("registry.test/os", { tlsVerify: false }, secureEnv), fails("tls"));
  write(`.config/containers/certs.d/${secureAt}/ca.crt`, readFileSync(certificates.authority));
  assert.equal(await resolve("registry.test/os", { tlsVerify: false }, secureEnv), DIGEST);
  secureProxy.removeAllListeners("connect");
  secureProxy.on("connect", (_, socket) => socket.destroy());
  assert.equal(await resolve("registry.test/os", { tlsVerify: false }, secureEnv), DIGEST);
  // https fails at the proxy, which then is asked for http.
  proxy.removeAllListeners("connect");
  proxy.on("connect", (_, socket) => socket.destroy());
  assert.equal(await resolve("registry.test/os", { tlsVerify: false }, env), DIGEST);
  assert.ok(plain.every((url) => url.startsWith("http://registry.test/v2/")));
});

test("credentials: every place in its turn, the most specific key, helpers", async () => {
  const wanted: Asked[] = [];
  const secure = { cert: readFileSync(certificates.certificate), key: readFileSync(certificates.key) };
  const at = await listen(https.createServer(secure, registry(wanted, basic("right", "1"))) as unknown as Server);
  write(`.config/containers/certs.d/${at}/ca.crt`, readFileSync(certificates.authority));
  const name = `${at}/team/os`;
  const good = auths({ [at]: "right:1" });
  const bad = auths({ [at]: "wrong:1" });
  await assert.rejects(resolve(name), fails("unauthorized"));

  write(".docker/config.json", good);
  assert.equal(await resolve(name), DIGEST);
  write(".config/containers/auth.json", bad);
  await assert.rejects(resolve(name), fails("unauthorized"));
  write(".config/containers/auth.json", auths({ [at]: "wrong:1", [`${at}/team`]: "right:1" }));
  assert.equal(await resolve(name), DIGEST);
  write("run/containers/auth.json", bad);
  await assert.rejects(resolve(name, {}, { XDG_RUNTIME_DIR: join(home, "run") }), fails("unauthorized"));
  write("only.json", bad);
  await assert.rejects(resolve(name, { authFile: join(home, "only.json") }), fails("unauthorized"));
  await assert.rejects(resolve(name, {}, { REGISTRY_AUTH_FILE: join(home, "only.json") }), fails("unauthorized"));
  await assert.rejects(resolve(name, { authFile: join(home, "missing.json") }), fails("not-found"));
  write("only.json", "{");
  await assert.rejects(resolve(name, { authFile: join(home, "only.json") }), fails("bad-auth-file"));

  const script = (text: string) => {
    write("bin/docker-credential-test", `#!/bin/sh\n${text}\n`);
    chmodSync(join(home, "bin/docker-credential-test"), 0o755);
  };
  const PATH = `${join(home, "bin")}:${process.env["PATH"]}`;
  const authFile = join(home, "helpers.json");
  write("helpers.json", JSON.stringify({ credHelpers: { [at]: "test" } }));
  script(`[ "$1" = get ] && [ "$(cat)" = "${at}" ] && echo '{"ServerURL":"x","Username":"right","Secret":"1"}'`);
  assert.equal(await resolve(name, { authFile }, { PATH }), DIGEST);
  write("helpers.json", JSON.stringify({ credsStore: "test" }));
  assert.equal(await resolve(name, { authFile }, { PATH }), DIGEST);
  script("echo credentials not found in native keychain; exit 1");
  await assert.rejects(resolve(name, { authFile }, { PATH }), fails("unauthorized"));
  script("echo broken; exit 3");
  await assert.rejects(resolve(name, { authFile }, { PATH }), fails("credential-helper"));
  script("echo '{}'");
  await assert.rejects(resolve(name, { authFile }, { PATH }), fails("bad-helper"));
  await assert.rejects(resolve(name, { authFile }, { PATH: join(home, "nowhere") }), fails("credential-helper"));
  assert.ok(wanted.every(({ authorization = "" }) => authorization === "" || authorization.startsWith("Basic ")));
});

test("registries.conf: elsewhere, mirrors, insecure, blocked; the user's file and drop-ins", async () => {
  const plain: Asked[] = [];
  const open = await listen(http.createServer(registry(plain)));
  const gone = await listen(http.createServer());
  servers.pop()?.close();
  write(
    ".config/containers/registries.conf",
    `[[registry]]\nprefix = "registry.test/team"\nlocation = "${host}/elsewhere"\n` +
      `[[registry.mirror]]\nlocation = "${gone}"\ninsecure = true\n` +
      `[[registry.mirror]]\nlocation = "${open}/mirror"\ninsecure = true\n`,
  );
  assert.equal(await resolve("registry.test/team/os"), DIGEST);
  assert.ok(plain.some(({ url }) => url === "/v2/mirror/os/manifests/1"));
  // A person's word counts more than the file's.
  asked.length = 0;
  assert.equal(await resolve("registry.test/team/os", { tlsVerify: true }), DIGEST);
  assert.ok(asked.some(({ url }) => url === "/v2/elsewhere/os/manifests/1"));
  write(
    ".config/containers/registries.conf.d/10-block.conf",
    '[[registry]]\nprefix = "registry.test"\nblocked = true\n',
  );
  await assert.rejects(resolve("registry.test/other/os"), fails("blocked-registry"));
  assert.equal(await resolve("registry.test/team/os"), DIGEST);
  write("conf", "[[registry]]\nlocation = 3");
  const environment = { CONTAINERS_REGISTRIES_CONF: join(home, "conf") };
  await assert.rejects(resolve(`${host}/os`, {}, environment), fails("bad-registries-conf"));
});

test("login and logout: checked first, stored for this user alone, found by others", async () => {
  const at = await listen(http.createServer(registry([], basic("right", "1 : x"))));
  const authFile = join(home, "login/auth.json");
  const ashlar = (args: string[], input = "") => runAshlar([...args, "--authfile", authFile], { HOME: home }, input);
  const login = (password: string) =>
    ashlar(["login", at, "-u", "right", "--password-stdin", "--no-tls-verify"], password);
  const refused = await login("wrong\n");
  assert.equal(refused.status, 7, refused.stderr);
  assert.equal(existsSync(authFile), false);
  const accepted = await login("1 : x\n");
  assert.equal(accepted.status, 0, accepted.stderr);
  assert.doesNotMatch(accepted.stdout + accepted.stderr, /1 : x/);
  assert.equal(statSync(authFile).mode & 0o777, 0o600);
  assert.equal(statSync(dirname(authFile)).mode & 0o777, 0o700);
  assert.equal(await resolve(`${at}/os`, { tlsVerify: false, authFile }), DIGEST);
  assert.equal(JSON.parse(readFileSync(authFile, "utf8")).auths[at].auth, btoa("right:1 : x"));
  assert.equal((await ashlar(["logout", at])).status, 0);
  assert.equal((await ashlar(["logout", at])).status, 7);
  assert.deepEqual(JSON.parse(readFileSync(authFile, "utf8")).auths, {});
  assert.equal((await ashlar(["login", "not a host", "-u", "x", "--password-stdin"], "x")).status, 3);
  assert.equal((await ashlar(["login", at, "--password-stdin"], "x")).status, 6);
});

test("one connection serves many reads", async () => {
  const content = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 251));
  let connections = 0;
  const server = http.createServer((request, response) => {
    const [, start = "", end = ""] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    if (start === "") response.writeHead(404, { "content-length": 0 }).end();
    else {
      const part = content.subarray(Number(start), Number(end) + 1);
      const range = `bytes ${start}-${end}/${content.length}`;
      response.writeHead(206, { "content-range": range, "content-length": part.length }).end(part);
    }
  });
  const at = await listen(server);
  server.on("connection", () => connections++);
  const registries = openRegistries({ tlsVerify: false, environment: { HOME: home } });
  const repository = await registries.open({ host: at, repository: "os" });
  const blob = { mediaType: "x", digest: `sha256:${"0".repeat(64)}` as const, size: content.length, annotations: {} };
  const source = await repository.openBlob(blob);
  await source.read(0, 1); // which also finds out that it is no https
  const before = connections;
  for (let index = 0; index < 20; index++) {
    const bytes = await source.read(index * 1000, 1000 + index * 3000);
    assert.ok(Buffer.from(bytes).equals(content.subarray(index * 1000, index * 1000 + bytes.length)));
    assert.equal(await repository.has(blob), false);
  }
  assert.equal(connections, before);
  registries.close();
});

test("headers that drip are waited for only so long", async () => {
  const sockets: net.Socket[] = [];
  const server = net.createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.write("HTTP/1.1 200 OK\r\n");
    const drip = setInterval(() => socket.write("x-drip: 1\r\n"), 20);
    socket.on("close", () => clearInterval(drip));
  });
  const at = await listen(server as unknown as Server);
  const transport = createTransport({
    tlsOptions: async () => ({}),
    proxyFor: () => undefined,
    userAgent: "ashlar",
    headTimeout: 300,
  });
  const request = { method: "GET", url: `http://${at}/v2/`, headers: {}, insecure: false } as const;
  await assert.rejects(transport.send(request), fails("timeout"));
  const controller = new AbortController();
  const interrupted = transport.send({ ...request, signal: controller.signal });
  controller.abort(new Error("interrupted"));
  await assert.rejects(interrupted, /interrupted/);
  transport.close();
  for (const socket of sockets) socket.destroy();
  server.close();
  servers.pop();
});

test("a proxy that says nothing, before or behind its answer, is waited for only so long", async () => {
  const sockets: net.Socket[] = [];
  for (const answer of ["", "HTTP/1.1 200 OK\r\n\r\n"]) {
    const server = net.createServer((socket) => {
      sockets.push(socket);
      socket.on("error", () => {});
      socket.once("data", () => socket.write(answer));
    });
    const port = (await listen(server as unknown as Server)).split(":")[1]!;
    const options = {
      tlsOptions: async () => ({}),
      proxyFor: () => ({ protocol: "http:", hostname: "127.0.0.1", port, headers: {} }) as const,
      userAgent: "ashlar",
    };
    const request = { method: "GET", url: "https://registry.test/v2/", headers: {}, insecure: false } as const;
    const impatient = createTransport({ ...options, tunnelTimeout: 300 });
    await assert.rejects(impatient.send(request), fails("timeout"));
    impatient.close();
    // What is being made when all is closed does not keep the process.
    const transport = createTransport(options);
    const interrupted = transport.send(request);
    const came = new Promise<unknown>((resolve) =>
      server.once("connection", (socket) => socket.once("close", resolve)),
    );
    setTimeout(() => transport.close(), 100);
    await assert.rejects(interrupted, fails("connection"));
    await came;
    for (const socket of sockets) socket.destroy();
    server.close();
    servers.pop();
  }
});
