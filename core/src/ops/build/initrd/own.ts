/** What of the initrd is ours: units, scripts and settings. Also what is appended to an initramfs that the image brings. */
import { type ByteString, encodeUtf8 } from "../../../bytes/index.ts";
import { bytesSource } from "../../../source/index.ts";
import { attributes, type Directory, putNode, regularFile, symlink } from "../../../tree/index.ts";
import { ETC, FAILURE, FUNCTIONS, LIMIT, SEED, VAR } from "./assets/scripts.ts";
import {
  EMERGENCY_SERVICE,
  EMERGENCY_TARGET,
  ETC_SERVICE,
  LIMIT_SERVICE,
  limitTimer,
  managerConf,
  TIME_LIMITS,
  timeLimit,
  VAR_SERVICE,
  VERITY_DROP_IN,
} from "./assets/units.ts";

export interface OwnOptions {
  /** Where changes to /etc go: to /var, or to memory until the next boot. */
  readonly etc: "persistent" | "transient";
  /** Seconds in which the devices of the root must appear; the machine reboots 30 later unless it is mounted. Default 90. */
  readonly rootTimeout?: number | undefined;
}

/** Seconds: as long as systemd itself waits for a device. */
export const ROOT_TIMEOUT = 90;
/** Seconds. */
export const ROOT_TIMEOUTS = { least: 10, most: 3600 } as const;

/** Type of the /var partition (DPS), as udev prints it. The same for all architectures. */
const VAR_TYPE = "4d21b016-b534-45c2-a9fb-5c16e091fd2d";
export const VAR_FILE_SYSTEM = "ext4";

const UNITS = "usr/lib/systemd/system";
const SCRIPTS = "usr/lib/ashlar/initrd";
const OUR_SCRIPTS: Readonly<Record<string, string>> = {
  "functions.sh": FUNCTIONS,
  "seed.sh": SEED,
  "var.sh": VAR,
  "etc.sh": ETC,
  "limit.sh": LIMIT,
  "failure.sh": FAILURE,
};

/** Chosen when the image is built and sealed with it: a command line could be changed where Secure Boot is off. */
function settings({ etc }: OwnOptions): string {
  return `ETC=${etc}\nVAR_FSTYPE=${VAR_FILE_SYSTEM}\nVAR_TYPE=${VAR_TYPE}\n`;
}

export function putText(root: Directory, path: string, text: string, mode = 0o644): void {
  putNode(root, path, regularFile(attributes(mode), bytesSource(encodeUtf8(text))));
}

export function putLink(root: Directory, path: string, target: string): void {
  putNode(root, path, symlink(attributes(0o777), target as ByteString));
}

export function putOwnFiles(root: Directory, options: OwnOptions): void {
  const { rootTimeout = ROOT_TIMEOUT } = options;
  for (const [name, text] of Object.entries(OUR_SCRIPTS)) putText(root, `${SCRIPTS}/${name}`, text);
  putText(root, "etc/ashlar/initrd.conf", settings(options));
  putText(root, `${UNITS}/ashlar-var.service`, VAR_SERVICE);
  putText(root, `${UNITS}/ashlar-etc.service`, ETC_SERVICE);
  for (const name of ["ashlar-var.service", "ashlar-etc.service"])
    putLink(root, `${UNITS}/initrd-fs.target.requires/${name}`, `../${name}`);
  putText(root, `${UNITS}/ashlar-limit.timer`, limitTimer(rootTimeout));
  putText(root, `${UNITS}/ashlar-limit.service`, LIMIT_SERVICE);
  putLink(root, `${UNITS}/sysinit.target.wants/ashlar-limit.timer`, "../ashlar-limit.timer");
  putText(root, `${UNITS}/emergency.service`, EMERGENCY_SERVICE);
  putText(root, `${UNITS}/emergency.target`, EMERGENCY_TARGET);
  putLink(root, `${UNITS}/rescue.target`, "emergency.target");
  putText(root, `${UNITS}/systemd-veritysetup@root.service.d/50-ashlar.conf`, VERITY_DROP_IN);
  for (const [unit, limit] of Object.entries(TIME_LIMITS))
    putText(root, `${UNITS}/${unit}.d/50-ashlar.conf`, timeLimit(limit));
  putText(root, "etc/systemd/system.conf.d/50-ashlar.conf", managerConf(rootTimeout));
}
