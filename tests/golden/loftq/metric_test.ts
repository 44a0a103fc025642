import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { loftq } from "../../../src/api/loftq.ts";
import type { Metric } from "../../../src/loftq/metric.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { floats, golden } from "../../helpers/golden.ts";
import { product } from "../../unit/linalg/matrices.ts";
import { nearNormal } from "./data.ts";

interface Best {
  product: string;
  plain: number;
  best: number;
  identity: number;
}

interface Row {
  name: string;
  moments: string;
  diag: Best;
  full: Best;
}

const { rank, rows } = golden<{ metrics: { rank: number; rows: Row[] } }>(
  import.meta,
  "loftq.json",
).metrics;

for (const row of rows) {
  for (const kind of ["diag", "full"] as const) {
    for (const name of ["reference", "wasm"] as const) {
      for (const svd of ["exact", "randomized"] as const) {
        Deno.test(`${kind} metric, ${row.name}, ${svd} on ${name}: NumPy's optimum`, async () => {
          using device = await openDevice(name);
          const h = floats(row.moments);
          const metric: Metric = {
            kind,
            moments: kind === "full" ? h : h.filter((_, i) => i % 41 === 0),
          };
          const options = {
            format: "nf2",
            rank,
            iterations: 1,
            svd,
            device,
          } as const;
          const w = nearNormal(48, 40, 20);
          const found = await loftq(w, { ...options, metric });
          const { plain, best, identity, product: wanted } = row[kind];
          assertAllClose([found.plainOutputError!], [plain], { rtol: 1e-4 });
          const tolerance = svd === "exact" ? 1e-4 : 1e-2;
          assertAllClose([found.outputError!], [best], { rtol: tolerance });
          assertAllClose(found.history, [best], { rtol: tolerance });
          assert.ok(found.outputError! < identity, "better than the identity");
          if (svd === "exact") {
            assertAllClose(
              product(found.b, found.a).data,
              floats(wanted),
              { atol: 2e-3 },
            );
          }
          const other = await loftq(w, options);
          assert.ok(other.error < found.error, "the identity is best for W");
          assert.equal(other.outputError, undefined);
        });
      }
    }
  }
}
