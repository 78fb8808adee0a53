// What registries, and the files that tell of them, send and say.
import { decodeUtf8, encodeUtf8 } from "../../../core/src/bytes/index.ts";
import { parseChallenges } from "../../../core/src/ops/registry/challenge.ts";
import { parseComplaint } from "../../../core/src/ops/registry/failure.ts";
import {
  chooseProxy,
  credentialKeys,
  editAuthFile,
  parseAuthFile,
  parseHelperAnswer,
  parseRegistriesConf,
  parseRegistryReference,
  placesOf,
} from "../../../core/src/ops/registry/index.ts";
import { parseTags } from "../../../core/src/ops/registry/tags.ts";
import { parseToken } from "../../../core/src/ops/registry/token.ts";
import { nextLink, resolveLocation } from "../../../core/src/ops/registry/url.ts";
import { mutateJson, mutateText } from "../../support/mutate.ts";
import type { Parser } from "../harness.ts";

const base64 = (text: string): string => Buffer.from(text).toString("base64");

const AUTH_FILE = JSON.stringify({
  auths: {
    "registry.example/team": { auth: base64("user:password") },
    "https://index.docker.io/v1/": { auth: base64("a:b"), identitytoken: "token" },
    "other.example": { username: "u", password: "p", registrytoken: "t" },
  },
  credHelpers: { "ecr.example": "ecr-login" },
  credsStore: "pass",
});

const REGISTRIES_CONF = `unqualified-search-registries = ["docker.io"]
[[registry]]
prefix = "registry.example/team"
location = "internal.example:5000/mirror"
insecure = true
mirror-by-digest-only = true
[[registry.mirror]]
location = "mirror.example/x"
pull-from-mirror = "tag-only"
[[registry]]
prefix = "*.blocked.example"
blocked = true
`;

const CHALLENGE =
  'Negotiate, Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push", Basic realm="x \\"y\\""';
const LINK = '</v2/a/tags/list?n=2&last=b>; rel="next", <https://x.example/>; rel=prev; a="b,c"';
const BASE = new URL("https://registry.example/v2/a/b?c=d");

export const REGISTRY_PARSERS: readonly Parser[] = [
  {
    name: "registry reference",
    mutants: (random) => mutateText(`registry.example:5000/team/os_x__y-z:1.2-a@sha256:${"ab".repeat(32)}`, random),
    read: async (bytes) => parseRegistryReference(decodeUtf8(bytes)),
  },
  {
    name: "registry headers",
    mutants: (random) => mutateText(`${CHALLENGE}\n${LINK}`, random),
    *shapes() {
      for (const part of ["a=", ",", '"\\', "<", "a ", "Basic ", '<>; rel="', "=", "\\\\"])
        yield { what: `many ${part}`, bytes: encodeUtf8(part.repeat(100_000)) };
    },
    async read(bytes) {
      const text = decodeUtf8(bytes);
      parseChallenges(text);
      for (const location of [nextLink(text), ...text.split("\n")]) resolveLocation(location, BASE, "x");
    },
  },
  {
    name: "registry answers",
    mutants: (random) =>
      mutateJson(
        JSON.stringify({
          errors: [{ code: "DENIED", message: "no", detail: {} }],
          token: "abc",
          access_token: "def",
          expires_in: 300,
          tags: ["a", "b"],
        }),
        random,
      ),
    async read(bytes) {
      parseComplaint(bytes);
      parseTags(bytes, "x");
      const { value, until } = parseToken(bytes, 0, "x");
      if (/[\r\n]/.test(value) || !(until > 0)) throw new RangeError("a token that is none");
    },
  },
  {
    name: "auth.json",
    mutants: (random) => mutateJson(AUTH_FILE, random),
    async read(bytes) {
      const { credentials } = parseAuthFile(bytes, "auth.json");
      credentialKeys({ host: "registry.example", repository: "team/os" }).map((key) => credentials.get(key));
      editAuthFile(bytes, "registry.example", { username: "u", password: "p" }, "auth.json");
    },
  },
  {
    name: "credential helper",
    mutants: (random) => mutateJson(JSON.stringify({ ServerURL: "x", Username: "u", Secret: "s" }), random),
    read: async (bytes) => parseHelperAnswer(bytes, "docker-credential-x"),
  },
  {
    name: "registries.conf",
    mutants: (random) => mutateText(REGISTRIES_CONF, random),
    async read(bytes) {
      const rules = parseRegistriesConf(bytes, "registries.conf");
      for (const host of ["registry.example", "a.blocked.example"]) placesOf({ host, repository: "team/os" }, rules);
    },
  },
  {
    name: "proxy variables",
    mutants: (random) => mutateText("http://user:p%20w@proxy.example:3128\n.example,10.0.0.0/8,[::1]:80,*", random),
    async read(bytes) {
      const [proxy = "", noProxy = ""] = decodeUtf8(bytes).split("\n");
      for (const url of ["https://a.test:5000/", "http://10.1.2.3/"])
        chooseProxy(new URL(url), { httpProxy: proxy, httpsProxy: proxy, noProxy });
    },
  },
];
