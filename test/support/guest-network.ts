// A network for a guest in which there is one server of this machine and nothing else.
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** Where the guest finds the server; the guest's own address and the prefix are QEMU's. */
const SERVER = "10.0.2.100";
const SERVER_PORT = 5000;

export interface GuestNetwork {
  /** For `netdev` of the guest. */
  readonly netdev: string;
  /** `HOST:PORT` of the server, as the guest says it. */
  readonly host: string;
  /** Run in the guest: brings its network card up. */
  readonly up: string;
}

/**
 * QEMU's user network, closed but for one address, whose connections go to `port` of the loopback interface. QEMU starts a
 * program for each of them: its own way without one (`-tcp:`) opens a single connection and never another.
 *
 * @param folder gets the program
 */
export function guestNetwork(folder: string, port: number): GuestNetwork {
  const program = join(folder, "forward");
  const script = `exec 3<>/dev/tcp/127.0.0.1/${port} || exit\ncat <&3 & answers=$!\ncat >&3\nkill $answers\n`;
  writeFileSync(program, `#!/bin/bash\n${script}`, { mode: 0o755 });
  return {
    netdev: `user,restrict=on,guestfwd=tcp:${SERVER}:${SERVER_PORT}-cmd:/bin/bash ${program}`,
    host: `${SERVER}:${SERVER_PORT}`,
    up: 'card=$(ls /sys/class/net | grep -v \'^lo$\') && ip link set "$card" up && ip address replace 10.0.2.15/24 dev "$card"',
  };
}
