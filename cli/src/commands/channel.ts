/** `ashlar channel …`: signed pointers to releases. docs/channels.md explains them. */
import { buildCommand, buildRouteMap } from "@stricli/core";
import { parseEpoch, parseText, parseTimestamp } from "../parse.ts";
import {
  changeFlags,
  channelParameter,
  common,
  keyFlags,
  list,
  one,
  rootFlag,
  ruleFlags,
  signingFlags,
  stateFlag,
  threshold,
} from "./channel-flags.ts";
import { jsonFlag, text } from "./flags.ts";

const initCommand = buildCommand({
  loader: async () => (await import("../run/channel/change.ts")).runInit,
  parameters: {
    flags: {
      product: { kind: "parsed", parse: parseText, brief: "Image id of the releases", placeholder: "ID" },
      name: text("Name of the channel, signed (default: the tag)", "NAME"),
      rootKey: list("Key of the root role, public or private; may be given again", "FILE"),
      targetsKey: list("Key of the role that adds releases", "FILE"),
      onlineKey: list("Key that renews the channel from cron or CI: timestamp, and snapshot", "FILE"),
      snapshotKey: list("Key of the snapshot, where it is not the online key", "FILE"),
      rootThreshold: threshold("Signatures that a root needs"),
      targetsThreshold: threshold("Signatures that a list of releases needs"),
      ...changeFlags,
    },
    positional: one(channelParameter),
  },
  docs: {
    brief: "Make an empty channel",
    fullDescription: [
      "Makes root, targets, snapshot and timestamp of a new channel. Keys that are given as private keys sign at once;",
      "where a threshold asks for keys that are elsewhere, --partial writes a draft for `channel sign`.",
      "",
      "  ashlar channel init registry.example/os:stable --product os \\",
      "    --root-key root.key --targets-key targets.key --online-key online.key",
      "  ashlar channel init registry.example/os:stable --product os --root-threshold 2 --partial draft.json \\",
      "    --root-key ann.pub --root-key bob.pub --root-key eve.pub --targets-key targets.pub --online-key online.pub",
    ].join("\n"),
  },
});

const releaseParameter = {
  brief: "HOST/NAME:TAG or @DIGEST of the release",
  parse: String,
  placeholder: "RELEASE",
} as const;

const addCommand = buildCommand({
  loader: async () => (await import("../run/channel/change.ts")).runAdd,
  parameters: {
    flags: { ...ruleFlags, ...changeFlags },
    positional: { kind: "tuple", parameters: [channelParameter, releaseParameter] },
  },
  docs: {
    brief: "Add a release to a channel, or give one other rules",
    fullDescription: [
      "Resolves RELEASE once and signs its digest, size, root hash, version and architecture; of an index, every release",
      "in it. RELEASE lies in the repository of the channel. Given again, only its rules change: a rollout can be widened,",
      "or halted with --rollout 0%.",
      "",
      "  ashlar channel add registry.example/os:stable registry.example/os:42 --key targets.key --key online.key",
      "  ashlar channel add registry.example/os:stable registry.example/os:43 --rollout 5% --key targets.key --key online.key",
    ].join("\n"),
  },
});

const removeCommand = buildCommand({
  loader: async () => (await import("../run/channel/change.ts")).runRemove,
  parameters: {
    flags: changeFlags,
    positional: {
      kind: "tuple",
      parameters: [channelParameter, { brief: "IMAGE_VERSION", parse: String, placeholder: "VERSION" }],
    },
  },
  docs: {
    brief: "Take a version out of a channel",
    fullDescription: [
      "Devices that run it stay on it until a newer one is there.",
      "",
      "  ashlar channel remove registry.example/os:stable 42 --key targets.key --key online.key",
    ].join("\n"),
  },
});

const promoteCommand = buildCommand({
  loader: async () => (await import("../run/channel/change.ts")).runPromote,
  parameters: {
    flags: {
      version: text("Version to promote (default: the newest of FROM)", "VERSION"),
      fromRoot: text("Root that FROM must descend from: a file or sha256:…", "ROOT"),
      ...ruleFlags,
      ...changeFlags,
    },
    positional: {
      kind: "tuple",
      parameters: [
        { brief: "HOST/NAME:TAG of a channel", parse: String, placeholder: "FROM" },
        { brief: "HOST/NAME:TAG of the channel that changes", parse: String, placeholder: "TO" },
      ],
    },
  },
  docs: {
    brief: "Add to one channel what another one has",
    fullDescription: [
      "Verifies FROM and adds a version of it to TO, for all architectures, by the digests that FROM has signed. Barrier and",
      "minimum agent come along; a rollout does not.",
      "",
      "  ashlar channel promote registry.example/os:beta registry.example/os:stable --key targets.key --key online.key",
    ].join("\n"),
  },
});

const refreshCommand = buildCommand({
  loader: async () => (await import("../run/channel/change.ts")).runRefresh,
  parameters: { flags: { root: rootFlag, state: stateFlag, ...signingFlags }, positional: one(channelParameter) },
  docs: {
    brief: "Renew the short-lived part of a channel",
    fullDescription: [
      "Signs snapshot and timestamp anew, with the online key alone: for cron or CI, at least twice in the lifetime of a",
      "timestamp. Says nothing new: devices only learn that what they know is still so.",
      "",
      "  ashlar channel refresh registry.example/os:stable --key online.key",
    ].join("\n"),
  },
});

const rotateCommand = buildCommand({
  loader: async () => (await import("../run/channel/change.ts")).runRotate,
  parameters: {
    flags: {
      add: list("Key to add; ROLE is root, targets, snapshot, timestamp or online, the last two", "ROLE=FILE"),
      remove: list("Key to take out, by the beginning of its id or by its file", "ROLE=KEY"),
      threshold: list("Signatures that a role needs from now on", "ROLE=N"),
      newEpoch: {
        kind: "boolean",
        brief: "All that was released so far counts as older than what stays in the channel",
        default: false,
      },
      drop: list("Version to take out in the same step", "VERSION"),
      ...changeFlags,
    },
    positional: one(channelParameter),
  },
  docs: {
    brief: "Make the next root: other keys, other thresholds, or another year",
    fullDescription: [
      "A new root is signed by as many keys as the old one asks for, and as many as it asks for itself. Devices follow the",
      "chain of roots. Where the keys of targets change, the list of releases is signed anew.",
      "",
      "  ashlar channel rotate registry.example/os:stable --key root.key --key online.key",
      "  ashlar channel rotate registry.example/os:stable --add online=new.pub --remove online=online.pub \\",
      "    --key root.key --key new.key",
      "  ashlar channel rotate registry.example/os:stable --add targets=new.pub --remove targets=3f2a --drop 999 \\",
      "    --new-epoch --key root.key --key new.key --key online.key",
    ].join("\n"),
  },
});

const signCommand = buildCommand({
  loader: async () => (await import("../run/channel/drafts.ts")).runSign,
  parameters: {
    flags: {
      root: text(
        "Newest root of the channel that you know, its file or sha256:…: the draft must be made from it",
        "ROOT",
      ),
      ...keyFlags,
      json: jsonFlag,
    },
    positional: one({ brief: "Draft that --partial has written", parse: String, placeholder: "DRAFT" }),
  },
  docs: {
    brief: "Sign a draft, without a network",
    fullDescription: [
      "Shows what the draft says and changes, and adds signatures of the keys to it. Without --key it only shows. What",
      "it changes is told by comparing with what it was made from, which --root proves to be the channel that you know.",
      "",
      "  ashlar channel sign draft.json",
      "  ashlar channel sign draft.json --root root.json --key ann.key",
    ].join("\n"),
  },
});

const publishCommand = buildCommand({
  loader: async () => (await import("../run/channel/change.ts")).runPublish,
  parameters: {
    flags: { root: rootFlag, state: stateFlag, ...signingFlags },
    positional: {
      kind: "tuple",
      parameters: [channelParameter, { brief: "Signed draft", parse: String, placeholder: "DRAFT" }],
    },
  },
  docs: {
    brief: "Publish a draft that has its signatures",
    fullDescription: [
      "Makes snapshot and timestamp with the online key and moves the tag. Refuses a draft that was made from another state",
      "than the channel's.",
      "",
      "  ashlar channel publish registry.example/os:stable draft.json --key online.key",
    ].join("\n"),
  },
});

const showCommand = buildCommand({
  loader: async () => (await import("../run/channel/show.ts")).runShow,
  parameters: {
    flags: {
      root: rootFlag,
      saveRoot: text("Write the newest root there: what devices and other people are given to trust", "FILE"),
      ...common,
    },
    positional: one(channelParameter),
  },
  docs: {
    brief: "Print what a channel says and who may change it",
    fullDescription: [
      "Verifies the channel. Without --root it is trusted from its own first root, whose digest is printed: compare it.",
      "",
      "  ashlar channel show registry.example/os:stable",
      "  ashlar channel show registry.example/os:stable --save-root root.json",
    ].join("\n"),
  },
});

const checkCommand = buildCommand({
  loader: async () => (await import("../run/channel/show.ts")).runCheck,
  parameters: {
    flags: {
      root: rootFlag,
      state: stateFlag,
      product: text("Product of the device (default: the channel's)", "ID"),
      architecture: text("Architecture of the device (default: this machine's)", "ARCH"),
      version: text("IMAGE_VERSION that runs (default: nothing is installed)", "VERSION"),
      epoch: {
        kind: "parsed",
        parse: parseEpoch,
        brief: "Epoch of the channel when that was installed",
        placeholder: "N",
        default: "0",
      },
      agentVersion: text("Version of the device's agent", "VERSION"),
      device: text(
        "What is the device's own, such as its machine id: its place in rollouts (default: the last)",
        "KEY",
      ),
      notBefore: {
        kind: "parsed",
        parse: parseTimestamp,
        brief: "No clock is believed below this time, such as when the image was built",
        placeholder: "TIME",
        optional: true,
      },
      ...common,
    },
    positional: one(channelParameter),
  },
  docs: {
    brief: "Look at a channel as a device does",
    fullDescription: [
      "Exit code 0: current. 10: there is a newer release. 11: stale, the channel has expired and may be held back. Any other:",
      "nothing is known, by the kind of error; a registry that fails or refuses has not said that there is nothing newer.",
      "",
      "  ashlar channel check registry.example/os:stable --root root.json --state channel.state --version 42",
    ].join("\n"),
  },
});

export const channelRoutes = buildRouteMap({
  routes: {
    init: initCommand,
    add: addCommand,
    remove: removeCommand,
    promote: promoteCommand,
    refresh: refreshCommand,
    rotate: rotateCommand,
    sign: signCommand,
    publish: publishCommand,
    show: showCommand,
    check: checkCommand,
  },
  docs: { brief: "Signed, expiring pointers to releases" },
});
