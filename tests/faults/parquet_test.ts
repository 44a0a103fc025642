/** Parquet files that are damaged, or say in a few bytes that they hold a lot, are refused: no hang, no rejection that nobody hears. */

import assert from "node:assert/strict";
import { readParquet } from "../../src/data/records/parquet.ts";
import {
  checkDeltas,
  checkRuns,
  checkThrift,
  Cursor,
} from "../../src/data/records/parquet_check.ts";
import { bytesSource } from "../../src/io/files/sources.ts";

/** A field of a Thrift structure: a number, a text, a structure or a list of structures. */
type Field = number | string | Field[] | { list: (Field[] | string)[] };

function varint(value: number): number[] {
  const out = [];
  for (; value > 127; value = Math.floor(value / 128)) {
    out.push(value % 128 + 128);
  }
  return [...out, value];
}

/** A structure in Thrift's compact protocol; undefined fields are left out. */
function thrift(fields: readonly (Field | undefined)[]): number[] {
  const text = (value: string) => {
    const bytes = new TextEncoder().encode(value);
    return [...varint(bytes.length), ...bytes];
  };
  const out: number[] = [];
  for (const [i, field] of fields.entries()) {
    if (field === undefined) continue;
    const head = (type: number) => out.push(type, ...varint(2 * (i + 1)));
    if (typeof field === "number") {
      head(5);
      out.push(...varint(2 * field));
    } else if (typeof field === "string") {
      head(8);
      out.push(...text(field));
    } else if (Array.isArray(field)) {
      head(12);
      out.push(...thrift(field));
    } else {
      head(9);
      const texts = typeof field.list[0] === "string";
      out.push(0xf0 | (texts ? 8 : 12), ...varint(field.list.length));
      for (const item of field.list) {
        out.push(...(typeof item === "string" ? text(item) : thrift(item)));
      }
    }
  }
  return [...out, 0];
}

interface Made {
  rows: number;
  columns: number;
  /** Values that the page's header claims, and the page. */
  page: { values: number; bytes: number[]; unpacked?: number };
  codec?: number;
}

/** A file of columns of optional texts, each with one page. */
function parquet(
  { rows, columns, page, codec = 0 }: Made,
): Uint8Array<ArrayBuffer> {
  const out = [...new TextEncoder().encode("PAR1")];
  const header = thrift([
    0,
    page.unpacked ?? page.bytes.length,
    page.bytes.length,
    undefined,
    [page.values, 0, 3, 3],
  ]);
  const chunk = [...header, ...page.bytes];
  const chunks: Field[][] = [];
  for (let i = 0; i < columns; i++) {
    chunks.push([undefined as unknown as Field, out.length, [
      6,
      { list: [] },
      { list: [`c${i}`] },
      codec,
      rows,
      chunk.length,
      chunk.length,
      undefined as unknown as Field,
      out.length,
    ]]);
    out.push(...chunk);
  }
  const leaves = chunks.map((_, i) =>
    [6, undefined, 1, `c${i}`, undefined, 0] as Field[]
  );
  const root = [undefined, undefined, undefined, "root", columns] as Field[];
  const footer = thrift([
    1,
    { list: [root, ...leaves] },
    rows,
    { list: [[{ list: chunks }, out.length, rows]] },
  ]);
  out.push(...footer, footer.length & 255, footer.length >> 8, 0, 0);
  return Uint8Array.from([...out, ...new TextEncoder().encode("PAR1")]);
}

/** Definition levels in one run. */
function levels(run: number, level: number): number[] {
  const bytes = [...varint(2 * run), level];
  return [bytes.length, 0, 0, 0, ...bytes];
}

async function read(bytes: Uint8Array<ArrayBuffer>, most = Infinity) {
  const rows = [];
  for await (const { fields } of readParquet(bytesSource(bytes, "d.parquet"))) {
    if (rows.push(fields) >= most) break;
  }
  return rows;
}

async function refuses(
  made: Made,
  Kind: typeof RangeError | typeof SyntaxError,
  message: RegExp,
) {
  const began = performance.now();
  await assert.rejects(() => read(parquet(made)), (error) => {
    assert.ok(error instanceof Kind, String(error));
    assert.match(error.message, /^Cannot read "d.parquet": /);
    assert.match(error.message, message);
    return true;
  });
  assert.ok(performance.now() - began < 60_000);
}

Deno.test("a Parquet file of absent and present texts is read", async () => {
  const bytes = [...levels(2, 1), 1, 0, 0, 0, 0x61, 1, 0, 0, 0, 0x62];
  assert.deepEqual(
    await read(
      parquet({ rows: 2, columns: 2, page: { values: 2, bytes } }),
    ),
    [{ c0: "a", c1: "a" }, { c0: "b", c1: "b" }],
  );
  const absent = { values: 3, bytes: levels(3, 0) };
  const rows = await read(parquet({ rows: 3, columns: 1, page: absent }));
  assert.deepEqual(rows.map(({ c0 }) => c0 ?? null), [null, null, null]);
});

Deno.test("a run of two thousand million values is refused before it is written out", async () => {
  for (const run of [4, 2 ** 30, 2 ** 31 - 1]) {
    await refuses(
      { rows: 3, columns: 1, page: { values: 3, bytes: levels(run, 0) } },
      SyntaxError,
      new RegExp(`column "c0": a run of ${run} values where 3 are left`),
    );
  }
  await refuses(
    { rows: 3, columns: 1, page: { values: 2 ** 31 - 1, bytes: levels(3, 0) } },
    SyntaxError,
    /a page of 2147483647 values where its column has 3 more/,
  );
});

Deno.test("thirty columns of four million absent texts each are refused", async () => {
  const values = 2 ** 22;
  const page = { values, bytes: levels(values, 0) };
  await refuses(
    { rows: values, columns: 30, page },
    RangeError,
    /column "c8": its columns have pages of more than 33554432 values together; write it anew with smaller row groups/,
  );
  const rows = await read(parquet({ rows: values, columns: 4, page }), 3);
  assert.equal(rows.length, 3);
});

Deno.test("a page that unpacks to far more than it holds is refused", async () => {
  await refuses(
    {
      rows: 1,
      columns: 1,
      page: { values: 1, bytes: [1, 2, 3], unpacked: 2 ** 30 },
      codec: 2,
    },
    RangeError,
    /a page of 3 bytes claims to unpack to 1073741824/,
  );
});

Deno.test("counts in headers, runs and differences are held against the bytes", () => {
  const cursor = (...bytes: number[]) => new Cursor(Uint8Array.from(bytes));
  const fails = (work: () => void, message: RegExp) =>
    assert.throws(work, { name: "SyntaxError", message });
  fails(() => checkThrift(cursor(0x19, 0xf1, ...varint(2 ** 31), 0)), /a list/);
  fails(() => checkThrift(cursor(...Array(99).fill(0x1c))), /nested/);
  fails(
    () => checkThrift(cursor(0x16, ...Array(99).fill(0xff))),
    /a number of more than 10 bytes/,
  );
  fails(
    () => checkRuns(cursor(...varint(2 ** 30 + 1), 0), { width: 0, count: 9 }),
    /a run of/,
  );
  checkRuns(cursor(3, 0xff), { width: 1, count: 5 });
  // Block size, parts, count, first value; smallest difference, widths.
  fails(() => checkDeltas(cursor(128, 1, 0, 9, 0), 9), /in 0 parts/);
  fails(
    () => checkDeltas(cursor(128, 1, 4, 9, 0, 0, 65, 0, 0, 0), 9),
    /differences of 65 bits/,
  );
  checkDeltas(cursor(128, 1, 4, 9, 0, 2, 0, 0, 0, 0), 129);
  fails(() => checkDeltas(cursor(128, 1, 4, 9, 0, 2, 0, 0, 0, 0), 130), /ends/);
});

Deno.test("no damaged Parquet hangs, takes memory without bound, or rejects unheard", async () => {
  const unheard: unknown[] = [];
  const hear = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    unheard.push(event.reason);
  };
  globalThis.addEventListener("unhandledrejection", hear);
  try {
    let seed = 1;
    const random = (below: number) => {
      seed = (seed * 1103515245 + 12345) % 2 ** 31;
      return Math.floor(seed / 2 ** 31 * below);
    };
    let refused = 0;
    for (const kind of ["none", "snappy", "zstd", "gzip"]) {
      const whole = await Deno.readFile(
        new URL(`../golden/eval/rows-${kind}.parquet`, import.meta.url),
      );
      for (let i = 0; i < 300; i++) {
        const bytes = whole.slice();
        const changed: number[][] = [];
        for (let n = 1 + random(3); n > 0; n--) {
          const at = random(bytes.length);
          bytes[at] = [0, 255, 127, random(256)][random(4)];
          changed.push([at, bytes[at]]);
        }
        const what = `${kind}: ${JSON.stringify(changed)}`;
        const began = performance.now();
        await read(bytes).catch((error) => {
          assert.match(error.message, /^Cannot read "d.parquet": /, what);
          assert.ok(error.message.length < 500, what);
          refused++;
        });
        assert.ok(performance.now() - began < 5000, what);
      }
    }
    await new Promise((done) => setTimeout(done));
    assert.ok(refused > 300, `${refused}`);
    assert.deepEqual(unheard, []);
  } finally {
    globalThis.removeEventListener("unhandledrejection", hear);
  }
});
