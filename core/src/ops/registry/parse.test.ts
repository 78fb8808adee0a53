import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeUtf8, encodeUtf8 } from "../../bytes/index.ts";
import { credentialKeys, editAuthFile, parseAuthFile, parseHelperAnswer } from "./auth-file.ts";
import { parseChallenges } from "./challenge.ts";
import { chooseProxy } from "./proxy.ts";
import { parseRegistryReference } from "./reference.ts";
import { mergeRules, parseRegistriesConf, placesOf } from "./registries-conf.ts";
import { parseRetryAfter } from "./retry.ts";
import { nextLink, resolveLocation } from "./url.ts";

const fails = (code: string) => (error: unknown) => {
  assert.equal((error as { code: string }).code, code, (error as Error).message);
  assert.doesNotMatch((error as Error).message, /\n|secret/);
  return true;
};

test("names of repositories", () => {
  const shape = (text: string) => {
    const { host, repository, tag, digest } = parseRegistryReference(text);
    return [host, repository, tag, digest];
  };
  const digest = `sha256:${"a".repeat(64)}`;
  assert.deepEqual(shape("debian"), ["docker.io", "library/debian", undefined, undefined]);
  assert.deepEqual(shape("debian:12"), ["docker.io", "library/debian", "12", undefined]);
  assert.deepEqual(shape("a/b/c"), ["docker.io", "a/b/c", undefined, undefined]);
  assert.deepEqual(shape("index.docker.io/debian"), ["docker.io", "library/debian", undefined, undefined]);
  assert.deepEqual(shape("localhost/os"), ["localhost", "os", undefined, undefined]);
  assert.deepEqual(shape("registry:5000/os"), ["registry:5000", "os", undefined, undefined]);
  assert.deepEqual(shape(`quay.io/a/b_c__d-e.f:T-1.x@${digest}`), ["quay.io", "a/b_c__d-e.f", "T-1.x", digest]);
  assert.deepEqual(shape("[fe80::1]:5000/os:1"), ["[fe80::1]:5000", "os", "1", undefined]);
  for (const text of ["registry.example", "registry.example:5000", "127.0.0.1:5000", "localhost:5000", "localhost"])
    assert.throws(() => parseRegistryReference(text), fails("bad-reference"), text); // not an image of Docker's registry
  for (const text of [
    "",
    "/os",
    "a.b/",
    "a.b/OS",
    "a.b/os:",
    "a.b/os: x",
    "a.b/os:-x",
    "a.b//os",
    "a.b/../os",
    "a.b/os?x=1",
    "a.b/os#x",
    "user@a.b/os",
    "a.b:port/os",
    "-a.b/os",
    `a.b/${"x".repeat(300)}`,
    `a.b/os:${"x".repeat(129)}`,
  ])
    assert.throws(() => parseRegistryReference(text), /./, text);
  assert.throws(() => parseRegistryReference("a.b/os@sha256:12"), fails("bad-digest"));
});

test("challenges", () => {
  const shape = (header: string) =>
    parseChallenges(header).map(({ scheme, parameters }) => [scheme, { ...parameters }]);
  assert.deepEqual(shape('Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"'), [
    ["bearer", { realm: "https://a/t", service: "s", scope: "repository:x:pull,push" }],
  ]);
  assert.deepEqual(shape('BASIC Realm = "a \\"b\\"" , charset=UTF-8'), [
    ["basic", { realm: 'a "b"', charset: "UTF-8" }],
  ]);
  assert.deepEqual(shape('Negotiate, Basic realm="x", Bearer realm="y",service=z'), [
    ["negotiate", {}],
    ["basic", { realm: "x" }],
    ["bearer", { realm: "y", service: "z" }],
  ]);
  assert.deepEqual(shape("Negotiate YII=, Basic"), [
    ["negotiate", {}],
    ["basic", {}],
  ]);
  assert.deepEqual(shape('Bearer realm="a",realm="b",__proto__="c"'), [["bearer", { realm: "a", ["__proto__"]: "c" }]]);
  for (const header of ["", "=", '"', "Bearer realm=", 'Bearer realm="x', ",,,,", "é", "a=b"]) parseChallenges(header);
});

test("addresses", () => {
  const base = new URL("https://registry.example/v2/os/blobs/x?y=1");
  const to = (location: string | undefined) => String(resolveLocation(location, base, "x"));
  assert.equal(to("/v2/a?b=c#d"), "https://registry.example/v2/a?b=c");
  assert.equal(to("uploads/1"), "https://registry.example/v2/os/blobs/uploads/1");
  assert.equal(to("https://user:secret@cdn.example/x"), "https://cdn.example/x");
  assert.throws(() => to("http://cdn.example/x"), fails("insecure-redirect"));
  for (const location of [undefined, "", "https://", "javascript:1", "http:///"])
    assert.throws(() => to(location), /./, String(location));
  assert.equal(nextLink('</v2/x?last=a&n=2>; rel="next"'), "/v2/x?last=a&n=2");
  assert.equal(nextLink("</a>; rel=prev, </b>; foo=1; rel=next"), "/b");
  for (const header of [undefined, "", "</a>", '</a>; rel="previous"', "</a; rel=next"])
    assert.equal(nextLink(header), undefined, header);
});

test("Retry-After", () => {
  assert.equal(parseRetryAfter("7", 0), 7000);
  assert.equal(parseRetryAfter("Thu, 01 Jan 1970 00:01:00 GMT", 10_000), 50_000);
  assert.equal(parseRetryAfter("Thu, 01 Jan 1970 00:00:00 GMT", 10_000), 0);
  for (const text of [undefined, "", "-1", "soon", "1e9", "99999999999999"])
    assert.equal(parseRetryAfter(text, 0), undefined, text);
});

test("proxies", () => {
  const settings = { httpProxy: "proxy.example:3128", httpsProxy: "http://proxy.example:3129", noProxy: undefined };
  const host = (url: string, noProxy?: string) => chooseProxy(new URL(url), { ...settings, noProxy })?.host;
  assert.equal(host("http://a.example/"), "proxy.example:3128");
  assert.equal(host("https://a.example/"), "proxy.example:3129");
  for (const url of ["https://localhost/", "https://127.0.0.1:5000/", "https://[::1]/"])
    assert.equal(host(url), undefined);
  assert.equal(chooseProxy(new URL("https://a.example/"), { ...settings, httpsProxy: "" }), undefined);
  for (const [noProxy, url, exempt] of [
    ["*", "https://a.example/", true],
    ["a.example", "https://a.example/", true],
    ["example", "https://a.example/", true],
    [".example", "https://a.example/", true],
    ["*.example", "https://a.example/", true],
    [".a.example", "https://a.example/", false],
    ["ample", "https://a.example/", false],
    [" b, a.example:443 ", "https://a.example/", true],
    ["a.example:5000", "https://a.example/", false],
    ["10.0.0.0/8", "https://10.1.2.3/", true],
    ["10.0.0.0/8", "https://11.1.2.3/", false],
    ["10.0.0.0/99", "https://10.1.2.3/", false],
    ["", "https://a.example/", false],
  ] as const)
    assert.equal(host(url, noProxy) === undefined, exempt, `${noProxy} ${url}`);
  for (const httpsProxy of ["socks5://a:1", "http://", "http://a:b:c", "http://user:100%@a:1"])
    assert.throws(() => chooseProxy(new URL("https://a.example/"), { ...settings, httpsProxy }), fails("bad-proxy"));
});

test("files of credentials: the most specific key first", () => {
  const file = (document: unknown) => parseAuthFile(encodeUtf8(JSON.stringify(document)), "auth.json");
  const auth = (text: string) => ({ auth: btoa(text) });
  const { credentials, helpers, store } = file({
    auths: {
      "registry.example": auth("host:1"),
      "registry.example/team": auth("team:p:w\0\0"),
      "https://index.docker.io/v1/": { ...auth("hub:2"), identitytoken: "token" },
      "https://old.example/v2/": auth("old:3"),
      "empty.example": {},
    },
    credHelpers: { "ecr.example": "ecr-login" },
    credsStore: "secretservice",
    other: [1],
  });
  assert.deepEqual(credentialKeys({ host: "registry.example", repository: "team/a/b" }), [
    "registry.example/team/a/b",
    "registry.example/team/a",
    "registry.example/team",
    "registry.example",
  ]);
  assert.deepEqual(credentials.get("registry.example/team"), { username: "team", password: "p:w" });
  assert.deepEqual(credentials.get("docker.io"), { username: "hub", password: "2", identityToken: "token" });
  assert.deepEqual(credentials.get("old.example"), { username: "old", password: "3" });
  assert.equal(credentials.has("empty.example"), false);
  assert.equal(helpers.get("ecr.example"), "ecr-login");
  assert.equal(store, "secretservice");
  for (const document of [
    "x",
    { auths: 1 },
    { auths: { a: { auth: "%" } } },
    { auths: { a: { auth: btoa("secret") } } },
    { credsStore: "../evil" },
    { credHelpers: { a: "b/c" } },
  ])
    assert.throws(() => file(document), fails("bad-auth-file"), JSON.stringify(document));
  assert.throws(() => parseAuthFile(encodeUtf8('{"auths": secret'), "auth.json"), fails("bad-auth-file"));
  assert.deepEqual(file({}).credentials.size, 0);

  const answer = (text: string) => parseHelperAnswer(encodeUtf8(text), "docker-credential-x");
  assert.deepEqual(answer('{"ServerURL":"x","Username":"u","Secret":"s"}'), { username: "u", password: "s" });
  assert.equal(answer('{"Username":"<token>","Secret":"s"}').identityToken, "s");
  for (const text of ["", "secret", "[]", '{"Username":1,"Secret":"s"}'])
    assert.throws(() => answer(text), fails("bad-helper"));
});

test("files of credentials: what else is in them stays", () => {
  const before = encodeUtf8(
    JSON.stringify({ auths: { "a.example": { auth: btoa("a:1") } }, credsStore: "x", more: { b: 1 } }),
  );
  const edited = editAuthFile(before, "b.example", { username: "u", password: "p" }, "auth.json");
  const document = JSON.parse(decodeUtf8(edited!));
  assert.deepEqual(document.more, { b: 1 });
  assert.deepEqual(Object.keys(document.auths), ["a.example", "b.example"]);
  assert.equal(document.auths["b.example"].auth, btoa("u:p"));
  assert.deepEqual(parseAuthFile(edited!, "x").credentials.get("b.example"), { username: "u", password: "p" });
  const without = editAuthFile(edited, "a.example", undefined, "auth.json");
  assert.deepEqual(Object.keys(JSON.parse(decodeUtf8(without!)).auths), ["b.example"]);
  assert.equal(editAuthFile(without, "a.example", undefined, "auth.json"), undefined);
  assert.ok(editAuthFile(undefined, "a.example", { username: "u", password: "p" }, "auth.json"));
});

const conf = (text: string) => parseRegistriesConf(encodeUtf8(text), "registries.conf");

test("registries.conf: elsewhere, mirrors, blocked, insecure", () => {
  const rules = conf(`
    unqualified-search-registries = ["docker.io"]
    [[registry]]
    location = "registry.example"
    insecure = true
    [[registry]]
    prefix = "registry.example/team"
    location = "internal.example:5000/mirror/team"
    [[registry.mirror]]
    location = "mirror.example/team"
    pull-from-mirror = "digest-only"
    [[registry.mirror]]
    location = "https://second.example/"
    insecure = true
    [[registry]]
    prefix = "*.blocked.example"
    blocked = true
    [[registry]]
    prefix = "docker.io"
    mirror-by-digest-only = true
    [[registry.mirror]]
    location = "hub.example"
  `);
  const places = (host: string, repository: string) =>
    placesOf({ host, repository }, rules).map(({ host: at, repository: path, insecure, tags, digests }) =>
      [`${at}/${path}`, insecure && "insecure", tags && "tags", digests && "digests"].filter(Boolean).join(" "),
    );
  assert.deepEqual(places("other.example", "os"), ["other.example/os tags digests"]);
  assert.deepEqual(places("registry.example", "os"), ["registry.example/os insecure tags digests"]);
  assert.deepEqual(places("registry.example", "teams"), ["registry.example/teams insecure tags digests"]);
  assert.deepEqual(places("registry.example.org", "os"), ["registry.example.org/os tags digests"]);
  assert.deepEqual(places("registry.example", "team/os"), [
    "mirror.example/team/os digests",
    "second.example/os insecure tags digests",
    "internal.example:5000/mirror/team/os tags digests",
  ]);
  assert.deepEqual(places("docker.io", "library/debian"), [
    "hub.example/library/debian digests",
    "docker.io/library/debian tags digests",
  ]);
  assert.throws(() => places("a.blocked.example", "os"), fails("blocked-registry"));
  assert.throws(() => places("a.b.blocked.example", "os"), fails("blocked-registry"));
  assert.deepEqual(places("blocked.example", "os"), ["blocked.example/os tags digests"]);

  const later = mergeRules([rules, conf('[[registry]]\nprefix = "*.blocked.example"\nblocked = false')]);
  assert.equal(placesOf({ host: "a.blocked.example", repository: "os" }, later).length, 1);
});

test("registries.conf: what is wrong is said", () => {
  for (const text of [
    "[[registry]]",
    "[[registry]\n",
    'registry = "x"',
    "[[registry]]\nlocation = 1",
    '[[registry]]\nlocation = "a.b"\n[[registry.mirror]]\n',
    '[[registry]]\nlocation = "a.b"\n[[registry.mirror]]\nlocation="c.d"\npull-from-mirror = "never"',
  ])
    assert.throws(() => conf(text), fails("bad-registries-conf"), text);
  assert.throws(() => conf("[registries.search]\nregistries = []"), fails("registries-conf-version"));
  assert.throws(() => parseRegistriesConf(Uint8Array.of(0xff), "x"), fails("bad-registries-conf"));
  const rules = conf('[[registry]]\nprefix = "a.b"\nlocation = "C/D E"');
  assert.throws(() => placesOf({ host: "a.b", repository: "os" }, rules), fails("bad-reference"));
});
