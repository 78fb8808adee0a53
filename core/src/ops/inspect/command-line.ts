/** The root hash that a kernel command line names; null for none, and for one that is no digest. The last one counts. */
export function rootHashOf(commandLine: string): string | null {
  const word = commandLine.split(/\s+/).findLast((part) => part.startsWith("roothash="));
  const value = word?.slice("roothash=".length).toLowerCase();
  return value !== undefined && /^([0-9a-f]{2}){32,64}$/.test(value) ? value : null;
}
