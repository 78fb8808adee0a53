/** The commands. Each is loaded when it is called, so that `--help` and `ls` do not pay for `build`. */
import { buildApplication, buildRouteMap } from "@stricli/core";
import packageJson from "../package.json" with { type: "json" };
import { agentRoutes } from "./commands/agent.ts";
import { buildDiskCommand } from "./commands/build.ts";
import { channelRoutes } from "./commands/channel.ts";
import { completionCommand } from "./commands/completion.ts";
import { composefsRoutes } from "./commands/composefs.ts";
import { copyCommand } from "./commands/copy.ts";
import { diffCommand } from "./commands/diff.ts";
import { dumpCommand, fsckCommand } from "./commands/erofs.ts";
import { etcRoutes } from "./commands/etc.ts";
import { catCommand, extractCommand, lsCommand } from "./commands/files.ts";
import { fsverityRoutes } from "./commands/fsverity.ts";
import { inspectCommand } from "./commands/inspect.ts";
import { installCommand } from "./commands/install.ts";
import { keygenCommand } from "./commands/keygen.ts";
import { lintCommand } from "./commands/lint.ts";
import { loginCommand, logoutCommand } from "./commands/login.ts";
import {
  gcCommand,
  historyCommand,
  rollbackCommand,
  statusCommand,
  switchCommand,
  upgradeCommand,
} from "./commands/machine.ts";
import { pullCommand } from "./commands/pull.ts";
import { pushCommand } from "./commands/push.ts";
import { reproduceCommand } from "./commands/reproduce.ts";
import { sealCommand } from "./commands/seal.ts";
import { signCommand } from "./commands/sign.ts";
import { verifyCommand } from "./commands/verify.ts";

const routes = buildRouteMap({
  routes: {
    build: buildDiskCommand,
    seal: sealCommand,
    ls: lsCommand,
    cat: catCommand,
    extract: extractCommand,
    verify: verifyCommand,
    sign: signCommand,
    keygen: keygenCommand,
    inspect: inspectCommand,
    diff: diffCommand,
    lint: lintCommand,
    composefs: composefsRoutes,
    copy: copyCommand,
    login: loginCommand,
    logout: logoutCommand,
    fsck: fsckCommand,
    dump: dumpCommand,
    fsverity: fsverityRoutes,
    channel: channelRoutes,
    push: pushCommand,
    pull: pullCommand,
    reproduce: reproduceCommand,
    install: installCommand,
    status: statusCommand,
    upgrade: upgradeCommand,
    switch: switchCommand,
    rollback: rollbackCommand,
    history: historyCommand,
    gc: gcCommand,
    etc: etcRoutes,
    agent: agentRoutes,
    completion: completionCommand,
  },
  aliases: { update: "upgrade" }, // as with bootc
  docs: {
    hideRoute: { agent: true },
    brief: "Container images in, verified operating system images out",
    fullDescription: [
      "Turns an OCI image into a disk whose every block is checked before it is used:",
      "an EROFS root under dm-verity, its root hash in a unified kernel image.",
      "",
      "  ashlar build oci:./my-os:v1 -o out       a bootable disk from an image",
      "  ashlar verify out/my-os_1.release.json   check every block of it again",
      "  ashlar ls out/my-os_1.raw /usr           look inside without mounting",
    ].join("\n"),
  },
});

export const app = buildApplication(routes, {
  name: "ashlar",
  versionInfo: { currentVersion: packageJson.version },
  scanner: { caseStyle: "allow-kebab-for-camel" },
  documentation: { caseStyle: "convert-camel-to-kebab", onlyRequiredInUsageLine: true },
});
