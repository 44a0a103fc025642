import assert from "node:assert/strict";
import { httpSource } from "../../../../src/io/hub/http.ts";
import type { ByteSource } from "../../../../src/io/files/bytes.ts";
import { fileSource } from "../../../../src/io/files/deno.ts";
import { IoError } from "../../../../src/io/files/errors.ts";
import {
  blobSource,
  bytesSource,
  memorySink,
  sliceSource,
} from "../../../../src/io/files/sources.ts";
import { inFolder, rejects } from "../helpers.ts";

const DATA = Uint8Array.from({ length: 1000 }, (_, i) => i * 7 & 255);

/** A server of ranges over DATA; `answer` may take a request over. */
async function serving(
  work: (url: string) => Promise<void>,
  answer: (request: Request) => Response | undefined = () => undefined,
): Promise<void> {
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    (request) => {
      const own = answer(request);
      if (own !== undefined) return own;
      const [from, to] = request.headers.get("range")!.slice(6).split("-")
        .map(Number);
      return new Response(DATA.slice(from, to + 1), {
        status: 206,
        headers: {
          "content-range": `bytes ${from}-${to}/${DATA.length}`,
          etag: "one",
        },
      });
    },
  );
  try {
    await work(`http://127.0.0.1:${server.addr.port}/data`);
  } finally {
    await server.shutdown();
  }
}

async function check(source: ByteSource): Promise<void> {
  assert.equal(source.size, 1000);
  assert.deepEqual(await source.read(0, 1000), DATA);
  assert.deepEqual(await source.read(17, 5), DATA.slice(17, 22));
  assert.equal((await source.read(1000, 0)).length, 0);
  const many = await Promise.all(
    Array.from({ length: 20 }, (_, i) => source.read(i * 50, 50)),
  );
  assert.deepEqual(
    many,
    Array.from({ length: 20 }, (_, i) => DATA.slice(i * 50, i * 50 + 50)),
  );
  const one = await source.read(3, 2);
  one[0] = ~one[0];
  assert.deepEqual(await source.read(3, 2), DATA.slice(3, 5));
  for (
    const [at, length] of [[0, 1001], [1000, 1], [-1, 2], [0.5, 1], [0, -1], [
      NaN,
      1,
    ]]
  ) {
    await rejects(
      () => source.read(at, length),
      RangeError,
      source.name,
      "1000",
    );
  }
}

Deno.test("bytesSource() and sliceSource() read ranges", async () => {
  await check(bytesSource(DATA, "bytes"));
  const padded = Uint8Array.from([1, 2, ...DATA, 3]);
  await check(
    sliceSource(bytesSource(padded, "all"), {
      offset: 2,
      length: 1000,
      name: "slice",
    }),
  );
});

Deno.test("blobSource() reads ranges", async () => {
  await check(blobSource(new Blob([DATA]), "blob"));
});

Deno.test("fileSource() reads ranges, overlapping in time", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/data`;
    await Deno.writeFile(path, DATA);
    await using source = await fileSource(path);
    await check(source);
  });
});

Deno.test("httpSource() reads ranges", async () => {
  await serving(async (url) => {
    await using source = await httpSource(url, { headers: { "x-key": "k" } });
    await check(source);
  }, (request) => {
    assert.equal(request.headers.get("x-key"), "k");
    return undefined;
  });
});

Deno.test("httpSource() asks again after a failure that may pass", async () => {
  let failures = 0;
  await serving(
    async (url) => {
      await using source = await httpSource(url);
      assert.deepEqual(await source.read(5, 5), DATA.slice(5, 10));
      assert.equal(failures, 2);
    },
    () =>
      failures < 2
        ? (failures++, new Response(null, { status: 503 }))
        : undefined,
  );
});

Deno.test("httpSource() gives up after the retries", async () => {
  await serving(
    async (url) => {
      await rejects(
        () => httpSource(url, { retries: 1 }),
        IoError,
        url,
        "500",
        "2 times",
      );
    },
    () => new Response(null, { status: 500 }),
  );
  const unreachable = () => Promise.reject(new TypeError("connection refused"));
  await rejects(
    () => httpSource("http://x.test/", { fetch: unreachable, retries: 0 }),
    IoError,
    "http://x.test/",
    "connection refused",
  );
});

Deno.test("httpSource() refuses servers without ranges and wrong ranges", async () => {
  const answers: [Response, string][] = [
    [new Response(DATA), "does not serve ranges"],
    [new Response(null, { status: 404 }), "404"],
    [
      new Response(DATA.slice(0, 1), {
        status: 206,
        headers: { "content-range": "bytes 5-5/1000" },
      }),
      "5-5",
    ],
    [new Response(DATA.slice(0, 1), { status: 206 }), "got null"],
    [
      new Response(DATA, {
        status: 206,
        headers: { "content-range": "bytes 0-0/1000" },
      }),
      "sends more",
    ],
  ];
  for (const [response, part] of answers) {
    const fetch = () => Promise.resolve(response);
    await rejects(
      () => httpSource("http://x.test/", { fetch }),
      IoError,
      "x.test",
      part,
    );
  }
});

Deno.test("httpSource() notices that the resource changed", async () => {
  let first = true;
  await serving(async (url) => {
    await using source = await httpSource(url);
    first = false;
    await rejects(() => source.read(0, 4), IoError, url, "changed");
  }, () =>
    first ? undefined : new Response(DATA.slice(0, 4), {
      status: 206,
      headers: { "content-range": "bytes 0-3/1000", etag: "two" },
    }));
});

Deno.test("httpSource() takes an empty resource", async () => {
  const fetch = () =>
    Promise.resolve(
      new Response(null, {
        status: 416,
        headers: { "content-range": "bytes */0" },
      }),
    );
  await using source = await httpSource("http://x.test/", { fetch });
  assert.equal(source.size, 0);
});

Deno.test("memorySink() keeps what it takes, once closed", async () => {
  const sink = memorySink("memory");
  const piece = Uint8Array.of(1, 2, 3);
  for (let i = 0; i < 1000; i++) await sink.write(piece);
  piece[0] = 9;
  assert.equal(sink.size, 3000);
  assert.throws(() => sink.bytes(), RangeError);
  await sink.close();
  assert.equal(sink.bytes().length, 3000);
  assert.deepEqual(sink.bytes().slice(2997), Uint8Array.of(1, 2, 3));
  await rejects(() => sink.write(piece), RangeError, "memory");
});
