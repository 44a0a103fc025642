import assert from "node:assert/strict";
import { checkRanks } from "../../../src/nn/ranks.ts";

const layer = (module: string, rank: number, rows: number, cols: number) => ({
  ...{ module, rank, rows, cols },
});

Deno.test("checkRanks(): a rank that every layer can have is not spoken of", () => {
  assert.equal(
    checkRanks([layer("q", 8, 8, 64), layer("k", 4, 64, 4)]),
    undefined,
  );
  assert.equal(checkRanks([]), undefined);
});

Deno.test("checkRanks(): a rank that some layers cannot have is told", () => {
  assert.equal(
    checkRanks([
      layer("q", 16, 64, 64),
      layer("k", 16, 8, 64),
      layer("v", 16, 12, 64),
    ]),
    "rank 16 is more than 2 of 3 layers have (k: 8); what is beyond adds nothing",
  );
});

Deno.test("checkRanks(): a rank that no layer can have is refused", () => {
  assert.throws(
    () => checkRanks([layer("q", 1000, 64, 64), layer("k", 1000, 32, 64)]),
    {
      name: "RangeError",
      message:
        "Cannot use rank 1000: no layer has more than 64, its smaller side",
    },
  );
});
