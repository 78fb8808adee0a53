/** The policy file with everything that can be said in it, for people: in the documents, and in each image with an agent. */

/** Every line that says something is a comment; without the `#` it is what holds by default, or an example. */
export const POLICY_EXAMPLE = `# How this machine updates itself. Files with the ending .toml count in /usr/lib/ashlar, sealed with the image, and in /etc/ashlar.
# Of [source] and [trust] those of the image win as a whole; of everything else the machine's own.

[source]
# channel = "registry.example/os:stable"     # or a reference:
# reference = "registry.example/os:latest"
# root = "/usr/lib/ashlar/channel-root.json" # the root of the channel that is trusted: a file, or sha256:…
# fixed = false                              # true: \`ashlar switch\` is refused; default: true where the image names a root and no [trust]

[trust]
# keys = ["/usr/lib/ashlar/release.pub"]     # any of them must have signed a release
# policy = "/etc/containers/policy.json"     # and this policy must allow it
# identity = "registry.example/os"           # name that it must be signed under
# unsigned = "refuse"                        # "accept": a reference is taken as it is

[check]
# interval = "6h"                            # how often the timer looks
# jitter = "1h"                              # a machine looks that much later at most
# windows = []                               # looks only then; such as ["Mon..Fri 01:00-05:00"]

[update]
# mode = "stage"                             # "check": only look; "download": all but the boot loader's entry

[reboot]
# policy = "never"                           # "window": reboot into what is staged, in one of the windows
# windows = []                               # ["Sat,Sun 02:00-04:00"]; times of the machine's time zone; none: at any time

[etc]
# conflicts = "keep-local"                   # where machine and image changed one file: "take-image", "refuse"

[health]
# timeout = "60s"                            # of each health check
# failed-units = "ignore"                    # "fail": a failed unit is a failed check
`;
