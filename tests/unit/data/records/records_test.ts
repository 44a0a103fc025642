import assert from "node:assert/strict";
import { bytesSource } from "../../../../src/io/files/sources.ts";
import { readLines } from "../../../../src/data/records/lines.ts";
import type { DataRecord } from "../../../../src/data/records/record.ts";
import { placeOf, textField } from "../../../../src/data/records/record.ts";
import {
  formatOfFile,
  readAll,
  type ReadOptions,
  readRecords,
} from "../../../../src/data/records/records.ts";

function source(name: string, text: string | Uint8Array) {
  const bytes = typeof text === "string"
    ? new TextEncoder().encode(text)
    : text;
  return bytesSource(bytes, name);
}

async function read(
  name: string,
  text: string | Uint8Array,
  options: ReadOptions = {},
): Promise<DataRecord[]> {
  const records = await Array.fromAsync(
    readRecords(source(name, text), options),
  );
  // What it gives has a test of its own.
  return records.map(({ exact: _, ...record }) => record);
}

async function refuses(
  name: string,
  text: string | Uint8Array,
  message: RegExp,
): Promise<void> {
  for (const chunk of [1, 7, 4096]) {
    await assert.rejects(() => read(name, text, { chunk }), {
      name: "SyntaxError",
      message,
    }, `chunks of ${chunk}`);
  }
}

/** Error of a file without a record. */
const EMPTY =
  /^(SyntaxError: )?Cannot use "d\.\w+": it is empty; wanted a record at the least$/;

Deno.test("readLines() with every size of chunk", async () => {
  const text = "\ufeffGrüße\r\n\nlast 😀 line\n\ufeffx";
  for (let chunk = 1; chunk < 40; chunk++) {
    assert.deepEqual(
      await Array.fromAsync(readLines(source("x.txt", text), { chunk })),
      [
        { text: "Grüße", line: 1 },
        { text: "", line: 2 },
        { text: "last 😀 line", line: 3 },
        { text: "\ufeffx", line: 4 },
      ],
    );
  }
  assert.deepEqual(await Array.fromAsync(readLines(source("x", ""))), []);
  assert.deepEqual(await Array.fromAsync(readLines(source("x", "\n"))), [
    { text: "", line: 1 },
  ]);
});

Deno.test("formatOfFile() goes by the extension", () => {
  const cases = {
    "a/b.jsonl": "jsonl",
    "b.NDJSON": "jsonl",
    "b.json": "json",
    "b.csv": "csv",
    "b.tsv": "tsv",
    "b.txt": "text",
    "x.y/b.parquet": "parquet",
  };
  for (const [name, format] of Object.entries(cases)) {
    assert.equal(formatOfFile(name), format);
  }
  for (const name of ["data", "data.txt/part", "a.zip", "a.constructor"]) {
    assert.throws(() => formatOfFile(name), {
      name: "RangeError",
      message: /^Cannot read ".*" as data: wanted one of \.jsonl, /,
    });
  }
});

Deno.test("one JSON object a line, with file, row and line", async () => {
  const text = '{"a": "x"}\r\n\n  \n{"a": 2, "b": [null]}';
  for (const chunk of [1, 3, 100]) {
    assert.deepEqual(await read("d.jsonl", text, { chunk }), [
      { fields: { a: "x" }, file: "d.jsonl", row: 1, line: 1 },
      { fields: { a: 2, b: [null] }, file: "d.jsonl", row: 2, line: 4 },
    ]);
  }
});

Deno.test("a bad line is one error with file and line", async () => {
  const at = (line: number, reason: string) =>
    new RegExp(`^Cannot read "d.jsonl", line ${line}: ${reason}`);
  await refuses("d.jsonl", '{"a":1}\n{"a":', at(2, "it is not JSON: "));
  await refuses("d.jsonl", '{"a":1}\n[1]\n', at(2, "wanted a JSON object"));
  await refuses(
    "d.jsonl",
    '{"a":1}\n\n{"a":1,"a":2}\n',
    at(3, 'the key "a" occurs twice'),
  );
  await refuses(
    "d.jsonl",
    Uint8Array.of(0x7b, 0x7d, 0x0a, 0x22, 0xff, 0x22, 0x0a),
    at(2, "it is not UTF-8 text"),
  );
});

Deno.test("an array of JSON objects, streamed, with the lines they begin on", async () => {
  const objects = [
    { a: 'quotes " and \\ and ]}', b: { c: [[1], { d: "{[" }] } },
    { a: "\n😀" },
    {},
  ];
  for (
    const text of [
      JSON.stringify(objects),
      "\ufeff" + JSON.stringify(objects, null, 2),
    ]
  ) {
    const pretty = text.split("\n").flatMap((line, i) =>
      line.startsWith("  {") ? [i + 1] : []
    );
    const lines = pretty.length > 0 ? pretty : [1, 1, 1];
    for (let chunk = 1; chunk < 30; chunk++) {
      const found = await read("d.json", text, { chunk });
      assert.deepEqual(found.map(({ fields }) => fields), objects);
      assert.deepEqual(found.map(({ row }) => row), [1, 2, 3]);
      assert.deepEqual(found.map(({ line }) => line), lines);
    }
  }
  await refuses("d.json", " [ ] \n", EMPTY);
});

Deno.test("a .json file with one object a line", async () => {
  const found = await read("d.json", '\n{"a":1}\n{"a":2}\n');
  assert.deepEqual(found.map(({ line }) => line), [2, 3]);
});

Deno.test("what is in a JSON file tells how it is read, not its name", async () => {
  for (const name of ["d.json", "d.jsonl", "d.ndjson"]) {
    for (const text of ['[{"a":1},\n{"a":2}]', '{"a":1}\n{"a":2}']) {
      const found = await read(name, text);
      assert.deepEqual(found.map(({ fields }) => fields), [{ a: 1 }, { a: 2 }]);
    }
    for (const text of ["", "\n \n"]) {
      await refuses(name, text, /^Cannot use "d\.\w+": it (is empty|has no)/);
    }
    await refuses(
      name,
      '\n{\n  "a": 1\n}\n',
      /^Cannot read "d\.\w+", line 2: wanted one object a line, or an array of objects, got an object over several lines$/,
    );
  }
});

Deno.test("half of a character is refused, a whole one in two escapes is not", async () => {
  const [whole] = await read("d.jsonl", '{"a":"\\ud83d\\ude00 \\\\ud800"}');
  assert.equal(whole.fields.a, "😀 \\ud800");
  for (
    const text of ['{"a":["x\\ud800"]}', '{"\\uDFFF":1}', '{"a":"\\\\\\ud83d"}']
  ) {
    await refuses(
      "d.jsonl",
      text,
      /^Cannot read "d\.jsonl", line 1: a text has half of a character, \\ud[89a-f][\da-f]{2}$/,
    );
  }
});

Deno.test("arrays that are none are refused with their line", async () => {
  const at = (line: number, reason: string) =>
    new RegExp(`^Cannot read "d.json", line ${line}: ${reason}`);
  await refuses("d.json", '[{"a":1},\n', at(2, "the array does not end"));
  await refuses("d.json", '[{"a":"x\n', at(2, "the array does not end"));
  await refuses("d.json", '[{"a":1},\n]', at(2, "wanted an object"));
  await refuses("d.json", "[\n1]", at(2, "wanted an object"));
  await refuses("d.json", '[{"a":1}\n{"a":2}]', at(2, "wanted , or ]"));
  await refuses("d.json", '[{"a":1}]\n[', at(2, "wanted nothing after"));
  await refuses("d.json", '[{"a":1},\n{"a":tru}]', at(2, "it is not JSON"));
  await refuses("d.json", '[{"a":1},\n{"a":1]}]', at(2, "it is not JSON"));
});

Deno.test("CSV: quotes, line breaks in fields, lines of records", async () => {
  const text =
    'name,text\r\nx,"a, ""b""\r\nc"\r\n\r\n"","Grüße 😀"\r\nlast,-\r\n';
  for (const chunk of [1, 5, 100]) {
    assert.deepEqual(await read("d.csv", text, { chunk }), [
      {
        fields: { name: "x", text: 'a, "b"\nc' },
        file: "d.csv",
        row: 1,
        line: 2,
      },
      {
        fields: { name: "", text: "Grüße 😀" },
        file: "d.csv",
        row: 2,
        line: 5,
      },
      { fields: { name: "last", text: "-" }, file: "d.csv", row: 3, line: 6 },
    ]);
  }
  const plain = await read("d.csv", "1,2\n3,4\n", { header: false });
  assert.deepEqual(plain.map(({ fields }) => fields), [
    { 0: "1", 1: "2" },
    { 0: "3", 1: "4" },
  ]);
  await refuses("d.csv", "a,b\n", EMPTY);
});

Deno.test("CSV of more lines than are handed on at a time", async () => {
  const rows = Array.from({ length: 2000 }, (_, i) => `${i},"x\n${i}"`);
  const found = await read("d.csv", `a,b\n${rows.join("\n")}\n`);
  assert.equal(found.length, 2000);
  assert.deepEqual(found[1999].fields, { a: "1999", b: "x\n1999" });
  assert.equal(found[1999].line, 2 + 2 * 1999);
});

Deno.test("TSV has no quotes", async () => {
  const found = await read("d.tsv", 'a\tb\n"x\ty "z"\n');
  assert.deepEqual(found[0].fields, { a: '"x', b: 'y "z"' });
});

Deno.test("malformed CSV is refused with file and line", async () => {
  const at = (line: number, reason: string) =>
    new RegExp(`^Cannot read "d.csv", line ${line}: ${reason}`);
  await refuses("d.csv", "a,b\n1,2\n3\n", at(3, "wanted 2 fields, got 1"));
  await refuses("d.csv", "a,b\n1,2,3\n", at(2, "wanted 2 fields, got 3"));
  await refuses("d.csv", "a,a\n1,2\n", at(1, 'the field "a" occurs twice'));
  await refuses("d.csv", 'a,b\n1,"2\n3,4\n', at(3, "a quote before it is"));
  await refuses("d.csv", 'a,b\n1,2 "x"\n', at(2, "Invalid Opening Quote"));
  await refuses(
    "d.csv",
    Uint8Array.of(0x61, 0x0a, 0xc3, 0x0a),
    at(2, "it is not UTF-8"),
  );
});

Deno.test("plain text by line, by paragraph and as a whole", async () => {
  const text = "\none\ntwo\n\n \nthree";
  const by = async (unit: ReadOptions["unit"]) =>
    (await read("d.txt", text, { unit })).map(({ fields, line, row }) => [
      fields.text,
      line,
      row,
    ]);
  assert.deepEqual(await by("line"), [
    ["one", 2, 1],
    ["two", 3, 2],
    ["three", 6, 3],
  ]);
  assert.deepEqual(await by("paragraph"), [
    ["one\ntwo", 2, 1],
    ["three", 6, 2],
  ]);
  assert.deepEqual(await by("file"), [[text, 1, 1]]);
  for (const empty of ["", " \n\n"]) {
    await refuses("d.txt", empty, EMPTY);
    await assert.rejects(read("d.txt", empty, { unit: "file" }), EMPTY);
  }
});

Deno.test("Parquet in every compression, lists of objects and all", async () => {
  for (const kind of ["none", "snappy", "gzip", "zstd", "lz4"]) {
    const path = new URL(
      `../../../golden/eval/rows-${kind}.parquet`,
      import.meta.url,
    );
    const found = await read("d.parquet", await Deno.readFile(path));
    assert.equal(found.length, 7, kind);
    for (const [i, { fields, row, line }] of found.entries()) {
      assert.deepEqual([row, line], [i + 1, undefined]);
      assert.deepEqual(fields, {
        text: i === 3 ? null : `row ${i}: Grüße`,
        label: i,
        messages: [
          { role: "user", content: `q${i}` },
          { role: "assistant", content: "a".repeat(i) },
        ],
      });
    }
  }
});

Deno.test("damaged Parquet is refused, whatever byte is wrong", async () => {
  const path = new URL(
    "../../../golden/eval/rows-snappy.parquet",
    import.meta.url,
  );
  const whole = await Deno.readFile(path);
  for (const size of [0, 4, 11, whole.length - 1, whole.length - 9]) {
    await assert.rejects(() => read("d.parquet", whole.slice(0, size)), {
      name: "SyntaxError",
      message: /^Cannot read "d.parquet": it is no sound Parquet file: /,
    }, `${size} bytes`);
  }
  let refused = 0;
  for (let at = 4; at < whole.length; at += 13) {
    const bytes = whole.slice();
    bytes[at] ^= 0xff;
    await read("d.parquet", bytes).catch((error) => {
      assert.ok(
        error instanceof SyntaxError || error instanceof RangeError,
        `byte ${at}: ${error}`,
      );
      assert.match(error.message, /^Cannot read "d.parquet": /);
      refused++;
    });
  }
  assert.ok(refused > 50, `${refused} refused`);
});

Deno.test("readAll() reads files one after the other", async () => {
  const sources = [
    source("a.jsonl", '{"text":"x"}'),
    source("b.txt", "y"),
    source("c.csv", "text\nz\n"),
  ];
  const found = await Array.fromAsync(readAll(sources));
  assert.deepEqual(found.map((r) => [r.file, r.fields.text]), [
    ["a.jsonl", "x"],
    ["b.txt", "y"],
    ["c.csv", "z"],
  ]);
});

Deno.test("textField() says what it found and where", () => {
  const record = { fields: { a: 1, b: null }, file: "d.jsonl", row: 2 };
  assert.equal(placeOf({ ...record, line: 5 }), '"d.jsonl", line 5');
  assert.throws(() => textField(record, "a"), {
    name: "SyntaxError",
    message:
      'Cannot use "d.jsonl", row 2: field "a": wanted a text, got a number',
  });
  assert.throws(() => textField(record, "b"), /wanted a text, got null/);
  assert.throws(
    () => textField({ ...record, line: 5 }, "c"),
    /^SyntaxError: Cannot use "d.jsonl", line 5: wanted a field "c", got "a", "b"$/,
  );
});
