/**
 * The Discoverable Partitions Specification (UAPI.2): partition types, attribute flags, and the partition UUIDs that a
 * root hash gives.
 */
import { formatUuid, type Uuid } from "../../bytes/index.ts";

/** As the specification writes them. */
export type DpsArchitecture = "x86-64" | "arm64";

const BY_ARCHITECTURE = {
  root: { "x86-64": "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", arm64: "b921b045-1df0-41c3-af44-4c6f280d3fae" },
  "root-verity": { "x86-64": "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5", arm64: "df3300ce-d69f-4c92-978c-9bfb0f38d820" },
  "root-verity-sig": {
    "x86-64": "41092b05-9fc8-4523-994f-2def0408b176",
    arm64: "6db69de6-29f4-4758-a7a5-962190f00ce3",
  },
  usr: { "x86-64": "8484680c-9521-48c6-9c11-b0720656f69e", arm64: "b0e01050-ee5f-4390-949a-9101b17104e9" },
  "usr-verity": { "x86-64": "77ff5f63-e7b6-4633-acf4-1565b864c0e6", arm64: "6e11a4e7-fbca-4ded-b9e9-e1a512bb664e" },
  "usr-verity-sig": {
    "x86-64": "e7bb33fb-06cf-4e81-8273-e543b413e2e2",
    arm64: "c23ce4ff-44bd-4b00-b2d4-b41b3419e02a",
  },
} as const satisfies Record<string, Record<DpsArchitecture, Uuid>>;

const FOR_ALL = {
  esp: "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
  xbootldr: "bc13c2ff-59e6-4262-a352-b275fd6f7172",
  swap: "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f",
  home: "933ac7e1-2eb4-4f13-b844-0e14e2aef915",
  srv: "3b8f8425-20e0-4f3b-907f-1a25a76f98e8",
  var: "4d21b016-b534-45c2-a9fb-5c16e091fd2d",
  tmp: "7ec6f557-3bc5-4aca-b293-16ef5df639d1", // mounted at /var/tmp
  "user-home": "773f91ef-66d4-49b5-bd83-d683bf40ad16",
  "linux-generic": "0fc63daf-8483-4772-8e79-3d69d8477de4",
} as const satisfies Record<string, Uuid>;

/** Designators whose type depends on the architecture. */
export type ArchitectureDesignator = keyof typeof BY_ARCHITECTURE;
/** Designators with one type for all architectures. */
export type CommonDesignator = keyof typeof FOR_ALL;
/** What a partition is for, in the words of the specification. */
export type Designator = ArchitectureDesignator | CommonDesignator;

function isCommon(designator: Designator): designator is CommonDesignator {
  return Object.hasOwn(FOR_ALL, designator);
}

/** The type GUID of a partition; `architecture` matters for root, usr and their kin only. */
export function partitionType(designator: Designator, architecture: DpsArchitecture): Uuid {
  return isCommon(designator) ? FOR_ALL[designator] : BY_ARCHITECTURE[designator][architecture];
}

/** What a type GUID stands for, or undefined for a type that is not in the tables above. */
export function designatorOf(
  typeGuid: Uuid,
): { readonly designator: Designator; readonly architecture?: DpsArchitecture } | undefined {
  const wanted = typeGuid.toLowerCase();
  for (const [designator, guid] of Object.entries(FOR_ALL))
    if (guid === wanted) return { designator: designator as CommonDesignator };
  for (const [designator, guids] of Object.entries(BY_ARCHITECTURE))
    for (const [architecture, guid] of Object.entries(guids))
      if (guid === wanted)
        return { designator: designator as ArchitectureDesignator, architecture: architecture as DpsArchitecture };
  return undefined;
}

/** Bits of a partition's attributes (UEFI 2.10, table 5.8; UAPI.2, "Partition flags"). */
export const PARTITION_FLAGS = {
  /** Firmware needs it. */
  required: 1n << 0n,
  /** Firmware makes no block device of it; on an ESP also: not mounted by itself. */
  noBlockIo: 1n << 1n,
  legacyBoot: 1n << 2n,
  /** The file system is grown to the partition when mounted; nothing where read-only is set. */
  growFileSystem: 1n << 59n,
  /** Always on verity and verity-sig partitions, and on sealed data. */
  readOnly: 1n << 60n,
  /** Never mounted by itself. */
  noAuto: 1n << 63n,
} as const;

/** Where systemd's generators look for the two partitions of a sealed pair. */
export interface SealedPartitionUuids {
  /** Of the data partition: the first 16 bytes of the root hash. */
  readonly root: Uuid;
  /** Of the hash partition: the last 16 bytes. */
  readonly verity: Uuid;
}

/** Bytes are taken as they are, no version or variant bits are forced. Throws RangeError for a hash under 32 bytes. */
export function partitionUuidsFromRootHash(rootHash: Uint8Array): SealedPartitionUuids {
  if (rootHash.length < 32)
    throw new RangeError(`a root hash of ${rootHash.length} bytes does not name two partitions`);
  return { root: formatUuid(rootHash.subarray(0, 16)), verity: formatUuid(rootHash.subarray(-16)) };
}
