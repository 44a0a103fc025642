import assert from "node:assert/strict";
import { OnnxGraph } from "../../../../src/io/onnx/graph.ts";
import { ProtoWriter } from "../../../../src/io/onnx/protobuf.ts";
import { memorySink } from "../../../../src/io/files/sources.ts";
import { ProtoReader } from "../../../../src/io/tokenizer/sentencepiece/protobuf.ts";

function reader(bytes: Uint8Array): ProtoReader {
  return new ProtoReader(bytes, (reason) => new SyntaxError(reason));
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

Deno.test("ProtoWriter writes what ProtoReader reads", () => {
  const inner = new ProtoWriter().string(1, "ä").int(2, 300);
  const bytes = new ProtoWriter().int(1, 0).int(2, -1).int(3, 2 ** 31 - 1)
    .float(4, -0.5).message(16, inner).data(5, Uint8Array.of(7)).bytes();
  const seen: unknown[] = [];
  const outer = reader(bytes);
  for (const field of outer.fields()) {
    if (field < 4) seen.push(outer.int32("a number"));
    else if (field === 4) seen.push(outer.float("a number"));
    else if (field === 5) seen.push([...outer.bytes("bytes")]);
    else {
      const message = outer.message("a message");
      for (const part of message.fields()) {
        seen.push(
          part === 1
            ? text(message.bytes("a text"))
            : message.int32("a number"),
        );
      }
    }
  }
  assert.deepEqual(seen, [0, -1, 2 ** 31 - 1, -0.5, "ä", 300, [7]]);
});

Deno.test("varints have the bytes of the format's own examples", () => {
  // protobuf.dev/programming-guides/encoding: 150 in field 1, "testing" in field 2, -2 in ten bytes.
  assert.equal(new ProtoWriter().int(1, 150).bytes().toHex(), "089601");
  assert.equal(
    new ProtoWriter().string(2, "testing").bytes().toHex(),
    "120774657374696e67",
  );
  assert.equal(
    new ProtoWriter().int(1, -2).bytes().toHex(),
    "08feffffffffffffffff01",
  );
});

Deno.test("weights of an ONNX graph lie aligned in their own file, equal constants are one", async () => {
  const sink = memorySink("m.onnx_data");
  const graph = new OnnxGraph({ name: "m.onnx_data", sink });
  for (const name of ["a", "b"]) {
    await graph.weight(name, {
      type: "u8",
      dims: [3],
      parts: [Uint8Array.of(1), Uint8Array.of(2, 3)],
    });
  }
  assert.equal(graph.constant("i64", [1, 2]), graph.constant("i64", [1, 2]));
  assert.notEqual(graph.constant("i64", [1]), graph.constant("i64", 1));
  assert.notEqual(graph.constant("f32", 1), graph.constant("i64", 1));
  await sink.close();
  assert.equal(sink.size, 67);
  assert.deepEqual([...sink.bytes().slice(64)], [1, 2, 3]);
  const model = text(graph.encode({
    name: "g",
    producer: "p",
    version: "1",
    opsets: { "": 21 },
  }));
  for (const part of ["m.onnx_data", "offset", "64", "length"]) {
    assert.ok(model.includes(part), part);
  }
});
