/**
 * Outputs of `init` for a family equal those of transformers, bitsandbytes and PEFT: every architecture that can be built
 * small, loaded as README says, against the original with backbone + BA put into it.
 *
 * @module
 */

import { openDevice } from "../../src/backend/open.ts";
import { init } from "../../src/init/run.ts";
import type { InitOptions } from "../../src/init/options.ts";
import { openCheckpoint } from "../../src/io/open.ts";
import { peerTests, scratch } from "./run.ts";

const folder = scratch();

/** A model that families_make.py wrote. */
interface Row {
  readonly label: string;
  readonly place: string;
  readonly options: Partial<InitOptions>;
  readonly made: boolean;
}

await peerTests(
  { label: "families" },
  "families_make.py",
  () => Promise.resolve([folder]),
);

/** Runs `init` on each model; gives the errors of those that it refuses. */
async function initAll(): Promise<Map<string, Error>> {
  const refused = new Map<string, Error>();
  using device = await openDevice("wasm", { threads: 1 });
  const rows: Row[] = JSON.parse(
    await Deno.readTextFile(`${folder}/rows.json`),
  );
  for (const { label, place, options, made } of rows) {
    if (!made) continue;
    try {
      await using checkpoint = await openCheckpoint(`${place}/model`);
      const own = {
        method: "loftq",
        rank: 4,
        alpha: 8,
        iterations: 2,
      } as const;
      await init(
        checkpoint,
        { ...own, seed: 1, ...options },
        { device, out: `${place}/out` },
      );
    } catch (error) {
      refused.set(label, error as Error);
    }
  }
  return refused;
}

await peerTests({ label: "families" }, "families_load.py", async () => {
  const refused = await initAll();
  Deno.test("families: init refuses none of them", () => {
    if (refused.size === 0) return;
    throw new Error(
      [...refused].map(([label, { message }]) => `${label}: ${message}`)
        .join("\n"),
    );
  });
  return [folder];
});
