import assert from "node:assert/strict";
import { bytes, columns, initTable } from "../../../../src/cli/text/tables.ts";
import type { InitReport, LayerReport } from "../../../../src/init/report.ts";

Deno.test("columns() aligns texts left and numbers right", () => {
  assert.equal(
    columns([["name", "n"], ["a", "10"], ["long name", "5"]], [1]),
    "name        n\na          10\nlong name   5",
  );
});

Deno.test("bytes() in units of a thousand", () => {
  assert.equal(bytes(999), "999 B");
  assert.equal(bytes(1000), "1.0 kB");
  assert.equal(bytes(1234567), "1.2 MB");
  assert.equal(bytes(456e6), "456 MB");
  assert.equal(bytes(3e15), "3000 TB");
});

function layer(
  name: string,
  plainError: number,
  error: number,
  more: Partial<LayerReport> = {},
): LayerReport {
  return {
    name,
    rows: 2,
    cols: 2,
    format: "nf4",
    block: 64,
    rank: 2,
    plainError,
    error,
    history: [error],
    iteration: 1,
    seconds: 1,
    ...more,
  };
}

function report(layers: LayerReport[], backbone = "bnb"): InitReport {
  return {
    verb: "init",
    version: "0",
    model: "m",
    out: "there",
    base: "",
    options: { backbone },
    layers,
    summary: {
      layers: layers.length,
      meanPlainError: 0,
      meanError: 0,
      seconds: 65,
      layerSeconds: 60,
      peakBytes: 2e8,
      bitsPerWeight: 4.5,
    },
  };
}

Deno.test("initTable(): a row for each kind of layer, means, and where it is", () => {
  const text = initTable(report([
    layer("l.0.q_proj", 0.1, 0.08),
    layer("l.1.q_proj", 0.2, 0.1),
    layer("l.1.up", 0.4, 0.44, { format: "nf2" }),
    layer("l.2.down", 0.5, 0.5),
    layer("l.3.zero", 0, 0),
  ]));
  const rows = text.split("\n").map((line) => line.trim().split(/ {2,}/));
  assert.deepEqual(rows.slice(2, 8), [
    ["layers", "format", "n", "plain", "with BA"],
    ["q_proj", "nf4", "2", "0.15000", "0.09000", "-40.0 %"],
    ["up", "nf2", "1", "0.40000", "0.44000", "+10.0 %"],
    ["down", "nf4", "1", "0.50000", "0.50000"],
    ["zero", "nf4", "1", "0.00000", "0.00000"],
    ["all", "mixed", "5", "0.24000", "0.22400", "-6.7 %"],
  ]);
  assert.match(text, /4\.50 bits a weight, 1:05, at most 200 MB of memory\.\n/);
  assert.match(
    text,
    /Written to there: backbone\/ \(bnb\), adapter\/ \(PEFT\), loqa\.json$/,
  );
});

Deno.test("initTable(): errors at the outputs, and no backbone", () => {
  const text = initTable(report(
    [layer("q", 0.1, 0.08, { plainOutputError: 0.3, outputError: 0.2 })],
    "none",
  ));
  assert.match(text, /outputs: 0\.30000 plain, 0\.20000 with BA\n/);
  assert.match(text, /Written to there: adapter\/ \(PEFT\), loqa\.json$/);
});
