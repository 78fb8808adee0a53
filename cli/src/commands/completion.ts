import { buildCommand } from "@stricli/core";

export const completionCommand = buildCommand({
  loader: async () => (await import("../run/completion.ts")).runCompletion,
  parameters: {
    positional: {
      kind: "tuple",
      parameters: [{ brief: "bash, zsh or fish", parse: String, placeholder: "SHELL" }],
    },
  },
  docs: {
    brief: "Print a completion script for a shell",
    fullDescription: [
      "Completes commands, flags and their values. Load it in the start-up file of your shell:",
      "",
      "  bash:  source <(ashlar completion bash)",
      "  zsh:   source <(ashlar completion zsh)",
      "  fish:  ashlar completion fish | source",
    ].join("\n"),
  },
});
