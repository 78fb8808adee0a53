/** Shell completion: a script for each shell that asks the hidden command `__complete` for proposals. */
import process from "node:process";
import { EXIT } from "../exit-codes.ts";

/** Files are completed by the shell itself where we have nothing to propose. */
const SCRIPTS: Readonly<Record<string, string>> = {
  bash: `# ashlar completion for bash
_ashlar() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$(ashlar __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _ashlar ashlar
`,
  zsh: `# ashlar completion for zsh
_ashlar() {
  local -a proposals
  proposals=("\${(@f)$(ashlar __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "\${proposals[*]}" ]]; then compadd -a proposals; else _files; fi
}
compdef _ashlar ashlar
`,
  fish: `# ashlar completion for fish
function __ashlar_complete
  set -l words (commandline -opc) (commandline -ct)
  ashlar __complete $words[2..-1] 2>/dev/null
end
complete -c ashlar -a '(__ashlar_complete)'
`,
};

export function runCompletion(_flags: object, shell: string): void {
  const script = SCRIPTS[shell];
  if (script === undefined) {
    process.stderr.write(`ashlar: no completion for ${shell}; there is one for ${Object.keys(SCRIPTS).join(", ")}\n`);
    process.exitCode = EXIT.usage;
    return;
  }
  process.stdout.write(script);
}
