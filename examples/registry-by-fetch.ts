// A registry through `fetch`: the client's Transport in a few lines, as a browser has it. Here a function stands in place of
// the network; give `globalThis.fetch` instead, and it speaks to registries. `node examples/registry-by-fetch.ts`
import { encodeUtf8 } from "@ashlar/core/bytes";
import { SourceError } from "@ashlar/core/errors";
import { parseArtifactManifest, readBlob } from "@ashlar/core/formats/oci";
import { digestOf, pureHashes } from "@ashlar/core/hash";
import { openRegistryRepository, type Timing, type Transport } from "@ashlar/core/ops/registry";

type Fetch = (url: string, options: RequestInit) => Promise<Response>;

// 1. The port: one request, one answer. Redirects are left to the browser, which keeps credentials to their origin.
function fetchTransport(fetch: Fetch): Transport {
  return {
    async send({ method, url, headers, body }) {
      const parts: Uint8Array<ArrayBuffer>[] = [];
      for await (const chunk of body?.chunks() ?? []) parts.push(Uint8Array.from(chunk));
      const sent = body === undefined ? {} : { body: new Blob(parts) };
      const response = await fetch(url, { method, headers, ...sent }).catch((cause: unknown) => {
        throw new SourceError("connection", `${new URL(url).host}: no connection`, { cause });
      });
      return {
        status: response.status,
        headers: Object.fromEntries(response.headers),
        body: (response.body ?? []) as AsyncIterable<Uint8Array>,
        cancel: () => void response.body?.cancel().catch(() => {}),
      };
    },
  };
}

const timing: Timing = {
  now: () => performance.now(),
  date: () => Date.now(),
  random: () => Math.random(),
  sleep: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
};

// 2. A registry with one artifact: a note.
const note = encodeUtf8("every block is checked before it is used\n");
const described = (bytes: Uint8Array) => ({ digest: digestOf(pureHashes, bytes), size: bytes.length });
const layer = { mediaType: "text/plain", ...described(note) };
const mediaType = "application/vnd.oci.image.manifest.v1+json";
const manifest = encodeUtf8(JSON.stringify({ schemaVersion: 2, mediaType, config: layer, layers: [layer] }));
const pages = new Map([
  ["/v2/notes/manifests/latest", manifest],
  [`/v2/notes/blobs/${layer.digest}`, note],
]);
const answer: Fetch = async (url) => {
  const page = pages.get(new URL(url).pathname);
  const headers = { "content-type": page === manifest ? mediaType : "application/octet-stream" };
  return page === undefined ? new Response(null, { status: 404 }) : new Response(Uint8Array.from(page), { headers });
};

// 3. The tag, the manifest behind it, and the blob that it names; each is what its digest says, or an IntegrityError.
const notes = openRegistryRepository(
  { host: "registry.example", repository: "notes", insecure: false, credentials: async () => undefined },
  { transport: fetchTransport(answer), timing, hashes: pureHashes },
);
const found = await notes.resolve({ tag: "latest" });
const { layers } = parseArtifactManifest(await readBlob(notes, found, pureHashes, "manifest"), "manifest");
for (const blob of layers) {
  const bytes = await readBlob(notes, blob, pureHashes, "blob");
  console.log(`${notes.name} ${blob.digest}: ${new TextDecoder().decode(bytes).trim()}`);
}
