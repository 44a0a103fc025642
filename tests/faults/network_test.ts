/** Servers that fall silent, list without end, or would have the token sent elsewhere. */

import assert from "node:assert/strict";
import { IoError } from "../../src/io/files/errors.ts";
import { httpSource } from "../../src/io/hub/http.ts";
import { fetchModel } from "../../src/io/hub/hub.ts";
import { inFolder, rejects } from "../unit/io/helpers.ts";

const SILENCE = 200;

/** Runs `work` with a server on `host`. */
async function serving(
  answer: (request: Request) => Response | Promise<Response>,
  work: (url: string) => Promise<void>,
  hostname = "127.0.0.1",
): Promise<void> {
  const stop = new AbortController();
  const server = Deno.serve({
    port: 0,
    hostname,
    onListen: () => {},
    signal: stop.signal,
  }, answer);
  try {
    await work(`http://${hostname}:${server.addr.port}`);
  } finally {
    stop.abort();
    await server.finished;
  }
}

/** A body of `first` and then nothing, for as long as anybody listens. */
function stalling(first: Uint8Array<ArrayBuffer>, init?: ResponseInit) {
  return new Response(
    new ReadableStream({ start: (stream) => stream.enqueue(first) }),
    init,
  );
}

const never = () => new Promise<Response>(() => {});
const partial = {
  status: 206,
  headers: { "content-range": "bytes 0-0/100" },
};

/** Fetches `o/n` from the hub at `endpoint`. */
async function fetching(endpoint: string): Promise<string> {
  let found = "";
  await inFolder(async (cache) => {
    found = await fetchModel("hf:o/n", {
      cache,
      endpoint,
      token: "secret",
      retries: 0,
      silence: SILENCE,
    });
  });
  return found;
}

Deno.test("a server that does not answer is given up", async () => {
  await serving(never, (url) =>
    rejects(
      () => httpSource(url, { retries: 0, silence: SILENCE }),
      IoError,
      url,
      "the server has sent nothing for 0.2 s",
    ));
  await serving(
    never,
    (url) => rejects(() => fetching(url), IoError, "hf:o/n", "sent nothing"),
  );
});

Deno.test("a server that stops in the middle is given up", async () => {
  await serving(
    () => stalling(new Uint8Array(), partial),
    (url) =>
      rejects(
        () => httpSource(url, { retries: 0, silence: SILENCE }),
        IoError,
        url,
        "sent nothing",
      ),
  );
  await serving(
    () => stalling(new TextEncoder().encode("[")),
    (url) => rejects(() => fetching(url), IoError, "hf:o/n", "sent nothing"),
  );
  const files = [{ type: "file", path: "config.json", size: 9, oid: "0" }];
  await serving(
    (request) =>
      request.url.includes("/api/")
        ? Response.json(files)
        : stalling(new Uint8Array(3)),
    (url) =>
      rejects(() => fetching(url), IoError, "config.json", "sent nothing"),
  );
});

Deno.test("a list of endless pages ends", async () => {
  let pages = 0;
  await serving(
    (request) => {
      pages++;
      return Response.json([], {
        headers: { link: `<${request.url}>; rel="next"` },
      });
    },
    (url) =>
      rejects(() => fetching(url), IoError, "hf:o/n", "at most 100 pages"),
  );
  assert.equal(pages, 100);
});

Deno.test("a page of a list that goes on and on is given up", async () => {
  const spaces = new TextEncoder().encode(" ".repeat(1 << 20));
  await serving(
    () =>
      new Response(
        new ReadableStream({ pull: (stream) => stream.enqueue(spaces) }),
      ),
    (url) => rejects(() => fetching(url), IoError, "hf:o/n", "bytes a page"),
  );
});

Deno.test("the token goes to the hub alone", async () => {
  const tokens: (string | null)[] = [];
  await serving(
    (request) => {
      tokens.push(request.headers.get("authorization"));
      return Response.json([]);
    },
    async (other) => {
      await serving((request) => {
        assert.equal(request.headers.get("authorization"), "Bearer secret");
        return Response.json([], {
          headers: { link: `<${other}/next>; rel="next"` },
        });
      }, (url) => rejects(() => fetching(url), TypeError, "hf:o/n"));
    },
    "localhost",
  );
  assert.deepEqual(tokens, [null]);
});
