/**
 * Machine code compresses better once the targets of its branches are places instead of distances: all calls of one function
 * look alike then. Filters work in place and keep the number of bytes.
 * Source: the instruction formats in the Intel SDM (volume 2: CALL, JMP, LEA, MOV, ModR/M) and the Arm ARM (A64: BL).
 */
/** By the name that OCI gives the architecture. */
export type BranchFilter = "amd64" | "arm64";

/** Makes distances places, counted from the first of `bytes`, of which there are at most 16 MiB. */
export function filterBranches(bytes: Uint8Array, filter: BranchFilter): void {
  FILTERS[filter](bytes, toPlace);
}

/** The inverse of {@link filterBranches}. There is one for any bytes: nothing is refused. */
export function unfilterBranches(bytes: Uint8Array, filter: BranchFilter): void {
  FILTERS[filter](bytes, toDistance);
}

/** One of the two below; numbers modulo a power of two, which `mask` is one less than. */
type Convert = (value: number, from: number, mask: number) => number;

/** A distance of 0 stays: that is what a linker has yet to fill in. The distance that would become 0 takes the place of 0's. */
function toPlace(distance: number, from: number, mask: number): number {
  if (distance === 0) return 0;
  return (distance + from) & mask || from & mask;
}

function toDistance(place: number, from: number, mask: number): number {
  if (place === 0) return 0;
  return (place - from) & mask || -from & mask;
}

const FILTERS: Readonly<Record<BranchFilter, (bytes: Uint8Array, convert: Convert) => void>> = {
  amd64: filterAmd64,
  arm64: filterArm64,
};

/** Distances of 25 bits, sign included, are converted: the highest byte is 00 or ff, which it seldom is in what is no distance. */
const AMD64_MASK = 0x1ffffff;
const AMD64_SIGN = 0x1000000;

/**
 * CALL and JMP (e8, e9), and LEA and MOV of 64 bits that address by RIP (48 or 4c, then 89, 8b or 8d, ModR/M 00___101), each with
 * four bytes of distance from the end of the instruction. Both directions decide alike, since nothing that decides is changed:
 * neither the bytes before a distance, nor a highest byte that was looked at and found to be another.
 */
function filterAmd64(bytes: Uint8Array, convert: Convert): void {
  const last = bytes.length - 5;
  let seen = -1; // the furthest byte that must stay
  for (let i = 0; i <= last; i++) {
    const opcode = bytes[i]!; // i is in range
    let at: number;
    if ((opcode & 0xfe) === 0xe8) at = i + 1;
    else if ((opcode & 0xfb) === 0x48 && addressesByRip(bytes, i + 1) && i + 7 <= bytes.length) at = i + 3;
    else continue;
    if (at <= seen) continue;
    const high = bytes[at + 3]!; // as just seen
    if (high !== 0 && high !== 0xff) {
      seen = at + 3;
      continue;
    }
    const distance = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | ((high & 1) << 24); // in range
    const converted = convert(distance, at + 4, AMD64_MASK);
    bytes[at] = converted;
    bytes[at + 1] = converted >> 8;
    bytes[at + 2] = converted >> 16;
    bytes[at + 3] = (converted & AMD64_SIGN) === 0 ? 0 : 0xff;
    i = at + 3;
  }
}

function addressesByRip(bytes: Uint8Array, at: number): boolean {
  const opcode = bytes[at]!; // four more follow where it is asked
  return (opcode === 0x8d || opcode === 0x8b || opcode === 0x89) && (bytes[at + 1]! & 0xc7) === 0x05; // in range
}

const BL_MASK = 0x3ffffff;

/** BL: 26 bits of distance from the instruction, in words. */
function filterArm64(bytes: Uint8Array, convert: Convert): void {
  for (let i = 0; i + 4 <= bytes.length; i += 4) {
    const high = bytes[i + 3]!; // in range, as the others
    if ((high & 0xfc) !== 0x94) continue;
    const distance = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | ((high & 3) << 24);
    const converted = convert(distance, i >> 2, BL_MASK);
    bytes[i] = converted;
    bytes[i + 1] = converted >> 8;
    bytes[i + 2] = converted >> 16;
    bytes[i + 3] = 0x94 | (converted >> 24);
  }
}
