/**
 * LoRA and QA-LoRA adapters on a model's linear layers.
 *
 * @module
 */

import { KindError } from "../errors.ts";
import { ParameterSet } from "../autograd/parameter.ts";
import type { Device } from "../device/device.ts";
import type { Mat } from "../device/buffer.ts";
import { mat } from "../device/buffer.ts";
import { nonFiniteAt } from "../tensor/finite.ts";
import { matrix, transposed } from "../tensor/matrix.ts";
import type { Embedding } from "./embedding.ts";
import type { Linear } from "./linear.ts";

/** LoRA factors of one module, in ordinary memory. */
export interface AdapterModuleFactors {
  /** Path of the module: `model.layers.0.self_attn.q_proj`. */
  readonly module: string;
  readonly rank: number;
  /** LoRA scaling: factor of `lora_B lora_A`. */
  readonly scaling: number;
  /** `lora_A: [rank, in]`, or `[rank, ceil(in / group)]`. */
  readonly a: Float32Array;
  /** `lora_B: [out, rank]`. */
  readonly b: Float32Array;
  /** Group size of QA-LoRA: inputs that are summed before A. */
  readonly group?: number;
  /**
   * True if the module is a token embedding: `in` features, `out` tokens. PEFT's names of its factors are the other way
   * round.
   */
  readonly embedding?: boolean;
}

/** Options of {@linkcode attachAdapter}. */
export interface AttachOptions {
  /** Name that it is enabled by. */
  readonly name: string;
  /** True if the factors are trainable (false). */
  readonly train?: boolean;
  /** LoRA dropout probability of the inputs, pooled ones for QA-LoRA (0); none for embeddings. */
  readonly dropout?: number;
  /** Token embeddings of the model by module path, where adapters go on them. */
  readonly embeddings?: ReadonlyMap<string, Embedding>;
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
    /** True if it is a token embedding: its parameters are then B as it is, and A transposed, `[in, rank]`. */
    readonly embedding?: boolean;
  }[];
  /** The factors, named `MODULE.lora_A` and `MODULE.lora_B`, where they are trained. */
  readonly parameters?: ParameterSet;
}

/** Name of a factor among an adapter's parameters. */
export function factorName(module: string, factor: "A" | "B"): string {
  return `${module}.lora_${factor}`;
}

/**
 * Puts an adapter on the layers that it names; {@linkcode Linear.enable} turns it on.
 *
 * @throws {TypeError} That lists every module that the model lacks, that has another shape, or whose weight is quantised
 * in groups that the adapter's are no multiple of: it could not be merged into them; and factors that are not finite.
 */
export function attachAdapter(
  device: Device,
  linears: ReadonlyMap<string, Linear>,
  { factors, name, train = false, dropout = 0, embeddings }:
    & { factors: readonly AdapterModuleFactors[] }
    & AttachOptions,
): AttachedAdapter {
  const modules = checkFit({ linears, embeddings }, factors, name);
  using memory = new DisposableStack();
  const parameters = train
    ? memory.use(
      new ParameterSet(
        device,
        modules.flatMap(({ module, rank, inputs, outputs, embedding }) => [
          {
            name: factorName(module, "A"),
            ...(embedding
              ? { rows: inputs, cols: rank }
              : { rows: rank, cols: inputs }),
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
    if (factor.embedding) {
      const turned = transposed(matrix(rank, inputs, a)).data;
      const trained = parameters && {
        table: parameters.get(factorName(module, "B")),
        up: parameters.get(factorName(module, "A")),
      };
      if (trained) {
        parameters.set(trained.table.name, b);
        parameters.set(trained.up.name, turned);
      }
      embeddings!.get(module)!.setAdapter(name, {
        table: trained?.table.value ?? put(outputs, rank, b),
        up: trained?.up.value ?? put(inputs, rank, turned),
        scaling,
        trained,
      });
      continue;
    }
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
  { linears, embeddings }: {
    linears: ReadonlyMap<string, Linear>;
    embeddings?: ReadonlyMap<string, Embedding>;
  },
  factors: readonly AdapterModuleFactors[],
  name: string,
): AttachedAdapter["modules"] {
  const wrong: string[] = [];
  const modules = factors.map((factor) => {
    const { module, rank, a, b, group = 1, embedding } = factor;
    const inputs = a.length / rank;
    const outputs = b.length / rank;
    for (const [which, values] of [["A", a], ["B", b]] as const) {
      const at = nonFiniteAt(values);
      if (at < 0) continue;
      wrong.push(`${factorName(module, which)} holds ${values[at]}`);
    }
    if (embedding) {
      const table = embeddings?.get(module)?.value;
      if (!table) wrong.push(`the model has no table ${module}`);
      else if (table.rows !== outputs || table.cols !== inputs) {
        wrong.push(
          `${module} is ${table.rows} x ${table.cols}, the adapter's ${outputs} x ${inputs}`,
        );
      }
      return { module, rank, inputs, outputs, embedding };
    }
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
    } else if (group > 1 && weight.groups && group % weight.groups.size !== 0) {
      wrong.push(
        `${module} is quantised in groups of ${weight.groups.size}, the adapter's of ${group}`,
      );
    }
    return { module, rank, inputs, outputs };
  });
  if (wrong.length > 0) {
    throw new KindError(
      `Cannot put the adapter "${name}" on the model: ${
        wrong.slice(0, SHOWN).join("; ")
      }${wrong.length > SHOWN ? `; and ${wrong.length - SHOWN} more` : ""}`,
    );
  }
  return modules;
}
