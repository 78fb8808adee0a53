// File contexts of SELinux policies.
import {
  compileContexts,
  parseFileContexts,
  parseSubstitutions,
  policyName,
} from "../../../core/src/formats/selinux/index.ts";
import type { Parser } from "../harness.ts";
import { b, runOf, shape, text } from "./common.ts";

const CONTEXTS = [
  "# comment",
  "/.*\tsystem_u:object_r:default_t:s0",
  "/usr/(s)?bin/[^/]+\t--\tsystem_u:object_r:bin_t:s0",
  "/usr/lib(64)?/x\\.so(\\.[0-9]+)*\t-l\tsystem_u:object_r:lib_t:s0",
  "/etc/[[:alpha:]]{2,4}\\d?\t<<none>>",
  "/var/(?!log).*\t-d\tsystem_u:object_r:var_t:s0",
  "/a/b|/c\tsystem_u:object_r:c_t:s0",
  "",
].join("\n");

const PATHS = ["/", "/usr/bin/x", "/usr/lib64/x.so.1.2", "/etc/abc", "/var/lib/x", `/${"a".repeat(4000)}`].map(b);

export const SELINUX_PARSERS: readonly Parser[] = [
  {
    name: "file_contexts",
    mutants: text(CONTEXTS),
    *shapes() {
      for (const pattern of [
        "(a+)+b",
        "(a|a?)+",
        "(a*)*",
        "(.*){50}",
        "(?=(a+)+b)a*",
        "a{1000}{1000}",
        "((a{900}){900}){900}",
      ])
        yield shape(pattern, `/${pattern} u:t\n`);
      yield shape("many groups", `/${"(".repeat(1500)}${")".repeat(1500)} u:t\n`);
      yield shape("brackets", `/${runOf("[", 4000)} u:t\n`);
      yield shape("a long line", `/${runOf("a", 5_000_000)} u:t\n`);
      yield shape("many lines", Array.from({ length: 60_000 }, (_, i) => `/d${i % 500}/f${i}.* u:t\n`).join(""));
      yield shape("many stars", `/${".*x".repeat(1300)} u:t\n`);
    },
    async read(bytes) {
      const specs = parseFileContexts(bytes, "file_contexts");
      const subs = parseSubstitutions(bytes);
      const files = { base: specs, homedirs: [], local: specs, subs, subsDist: subs };
      for (const reading of ["libselinux", "composefs-rs"] as const) {
        const contexts = compileContexts(files, reading);
        for (const path of PATHS) contexts.lookup(path, "file");
      }
    },
  },
  {
    name: "selinux config",
    mutants: text("# config\nSELINUX=enforcing\nSELINUXTYPE=targeted\n"),
    *shapes() {
      yield shape("equals signs", runOf("=", 1_000_000));
    },
    read: async (bytes) => policyName(bytes),
  },
];
