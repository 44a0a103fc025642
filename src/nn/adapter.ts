/**
 * LoRA and QA-LoRA adapters on a model's linear layers.
 *
 * @module
 */

import { ParameterSet } from "../autograd/parameter.ts";
import type { Device, Mat } from "../device/device.ts";
import { mat } from "../device/device.ts";
import type { Linear } from "./linear.ts";

/** Factors of one module, in ordinary memory. */
export interface AdapterModuleFactors {
  /** Path of the module: `model.layers.0.self_attn.q_proj`. */
  readonly module: string;
  readonly rank: number;
  /** What the product of the factors is multiplied with. */
  readonly scaling: number;
  /** `lora_A: [rank, in]`, or `[rank, ceil(in / group)]`. */
  readonly a: Float32Array;
  /** `lora_B: [out, rank]`. */
  readonly b: Float32Array;
  /** Inputs that are summed before A, for QA-LoRA. */
  readonly group?: number;
}

/** Options of {@linkcode attachAdapter}. */
export interface AttachOptions {
  /** What it is enabled by. */
  readonly name: string;
  /** Whether the factors are to be trained (false). */
  readonly train?: boolean;
  /** Share of the inputs, pooled ones for QA-LoRA, that is dropped in training (0). */
  readonly dropout?: number;
}

/** An adapter on a model. Disposing of it frees its memory; it must not be enabled any more. */
export interface AttachedAdapter extends Disposable {
  readonly name: string;
  /** Modules in the order given. */
  readonly modules: readonly {
    readonly module: string;
    readonly rank: number;
    /** Columns of A: `in` features, or groups of them. */
    readonly inputs: number;
    readonly outputs: number;
  }[];
  /** The factors, named `MODULE.lora_A` and `MODULE.lora_B`, where they are trained. */
  readonly parameters?: ParameterSet;
}

/** Name of a factor among an adapter's parameters. */
export function factorName(module: string, factor: "A" | "B"): string {
  return `${module}.lora_${factor}`;
}

/**
 * Puts an adapter on the layers that it names; {@linkcode Linear.enable} makes it count.
 *
 * @throws {TypeError} That lists every module that the model has not, that has another shape, or whose weight is quantised
 * in groups that the adapter's are no multiple of: it could not be merged into them.
 */
export function attachAdapter(
  device: Device,
  linears: ReadonlyMap<string, Linear>,
  { factors, name, train = false, dropout = 0 }:
    & { factors: readonly AdapterModuleFactors[] }
    & AttachOptions,
): AttachedAdapter {
  const modules = checkFit(linears, factors, name);
  using memory = new DisposableStack();
  const parameters = train
    ? memory.use(
      new ParameterSet(
        device,
        modules.flatMap(({ module, rank, inputs, outputs }) => [
          {
            name: factorName(module, "A"),
            rows: rank,
            cols: inputs,
            decay: true,
          },
          {
            name: factorName(module, "B"),
            rows: outputs,
            cols: rank,
            decay: true,
          },
        ]),
      ),
    )
    : undefined;
  const put = (rows: number, cols: number, data: Float32Array): Mat => {
    const buffer = memory.use(device.alloc(data.byteLength));
    device.write(buffer, data);
    return mat(buffer, rows, cols);
  };
  for (const [i, factor] of factors.entries()) {
    const { module, rank, scaling, a, b, group } = factor;
    const { inputs, outputs } = modules[i];
    const layer = linears.get(module)!;
    if (!parameters) {
      layer.setAdapter(name, {
        a: put(rank, inputs, a),
        b: put(outputs, rank, b),
        scaling,
        dropout: 0,
        group,
      });
      continue;
    }
    const trained = {
      a: parameters.get(factorName(module, "A")),
      b: parameters.get(factorName(module, "B")),
    };
    parameters.set(trained.a.name, a);
    parameters.set(trained.b.name, b);
    layer.setAdapter(name, {
      a: trained.a.value,
      b: trained.b.value,
      scaling,
      dropout,
      group,
      trained,
    });
  }
  const owned = memory.move();
  return {
    name,
    modules,
    parameters,
    [Symbol.dispose]: () => owned.dispose(),
  };
}

const SHOWN = 20;

function checkFit(
  linears: ReadonlyMap<string, Linear>,
  factors: readonly AdapterModuleFactors[],
  name: string,
): AttachedAdapter["modules"] {
  const wrong: string[] = [];
  const modules = factors.map(({ module, rank, a, b, group = 1 }) => {
    const inputs = a.length / rank;
    const outputs = b.length / rank;
    const weight = linears.get(module)?.weight;
    if (!weight) wrong.push(`the model has no layer ${module}`);
    else if (
      Math.ceil(weight.cols / group) !== inputs || weight.rows !== outputs
    ) {
      wrong.push(
        `${module} is ${weight.rows} x ${weight.cols}, the adapter's ${outputs} x ${inputs}${
          group === 1 ? "" : ` groups of ${group}`
        }`,
      );
    } else if (group > 1 && weight.group && group % weight.group !== 0) {
      wrong.push(
        `${module} is quantised in groups of ${weight.group}, the adapter's of ${group}`,
      );
    }
    return { module, rank, inputs, outputs };
  });
  if (wrong.length > 0) {
    throw new TypeError(
      `Cannot put the adapter "${name}" on the model: ${
        wrong.slice(0, SHOWN).join("; ")
      }${wrong.length > SHOWN ? `; and ${wrong.length - SHOWN} more` : ""}`,
    );
  }
  return modules;
}
