/**
 * Which tools load what `loqa init` wrote, and how.
 *
 * @module
 */

import { bnbHolds } from "../io/bnb/write.ts";
import type { InitReport } from "../init/report.ts";
import { TORCH_DTYPES } from "../tensor/dtype.ts";

/** One line for the end of `init`; none where the report has no class. */
export function loadingLine(report: InitReport): string | undefined {
  const { options, autoClass: auto, model, layers, merged, group } = report;
  const { backbone, dtype } = options;
  if (backbone === "packed") {
    const next = merged
      ? "loqa export makes a file for other tools"
      : group !== undefined
      ? "for other tools: loqa train, merge, export"
      : `for Python: --backbone ${
        !options.quantEmbedding &&
          layers.every(({ format, block }) => bnbHolds(format, block))
          ? "bnb or dense"
          : "dense"
      }`;
    return `Loads in: loqa alone (packed layout); ${next}.`;
  }
  if (auto === undefined) return undefined;
  if (backbone === "none") {
    return `Loads in: Python, ${auto}.from_pretrained("${model}"), then peft for adapter/.`;
  }
  const type = TORCH_DTYPES[dtype as keyof typeof TORCH_DTYPES] ?? dtype;
  return `Loads in: Python, ${auto}.from_pretrained on backbone/ (${
    backbone === "bnb" ? "transformers with bitsandbytes" : "transformers"
  }, ${type}), then peft for adapter/.`;
}
