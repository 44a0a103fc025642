/**
 * LoRA adapters in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors` (or `.bin`).
 *
 * Of a module at path `M` with weight `[out, in]`, the file holds `base_model.model.M.lora_A.weight`, `[r, in]`, and
 * `base_model.model.M.lora_B.weight`, `[out, r]`; the model adds `scaling * B * A` to the weight. Of an embedding with a row
 * for each token, `[tokens, features]`, it holds `M.lora_embedding_A`, `[r, tokens]`, and `M.lora_embedding_B`,
 * `[features, r]`; their product is transposed, and here its left factor is called B as everywhere. A of a QA-LoRA
 * adapter is `[r, groups of inputs]` and may be meant for another pooling than loqa's sums, see `qalora.ts`.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import type { DType } from "../../tensor/dtype.ts";
import { matrix, transposed } from "../../tensor/matrix.ts";
import { Problems, quoted } from "../files/errors.ts";
import { readFile } from "../files/files.ts";
import type { FileSet } from "../files/files.ts";
import { type JsonObject, parseJsonObject } from "../files/json.ts";
import { isTarget, moduleScaling, readAdapterConfig } from "./config.ts";
import type { ModuleScaling, ReadSettings } from "./config.ts";
import { poolingFactor, type QaloraGroups } from "./qalora.ts";
import type { SafetensorsEntry } from "../safetensors/write.ts";
import type { TensorReader } from "../checkpoint/tensor_reader.ts";
import { openSafetensorsFile } from "../safetensors/store.ts";
import { openTorchFiles } from "../torch/store.ts";

/** Name of the file that holds an adapter's tensors. */
export const ADAPTER_FILE = "adapter_model.safetensors";

/** Name of the file that holds an adapter's settings. */
export const ADAPTER_CONFIG = "adapter_config.json";

/**
 * Name of the tensor with factor A or B of the module at path `module`; of an embedding the other one holds it, turned.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { adapterTensorName } from "@loqa/loqa";
 *
 * assert.equal(
 *   adapterTensorName("model.layers.0.self_attn.q_proj", "A"),
 *   "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
 * );
 * ```
 */
export function adapterTensorName(
  module: string,
  factor: "A" | "B",
  embedding = false,
): string {
  if (!embedding) return `base_model.model.${module}.lora_${factor}.weight`;
  const other = factor === "A" ? "B" : "A";
  return `base_model.model.${module}.lora_embedding_${other}`;
}

/** A module that is to get factors. */
export interface AdapterModule {
  /** Path in the model: `model.layers.0.self_attn.q_proj`. */
  readonly module: string;
  /** Rows of A and columns of B. */
  readonly rank: number;
  /** Columns of A: `in` features, or groups of them. */
  readonly inputs: number;
  /** `out` features, or tokens of an embedding. */
  readonly outputs: number;
  /** True if it is an embedding. */
  readonly embedding?: boolean;
}

/**
 * The tensors of an adapter file for `safetensorsHeader`: A and B of each module, in the order given.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { adapterEntries } from "@loqa/loqa";
 *
 * const module = "model.layers.0.self_attn.q_proj";
 * const [a, b] = adapterEntries([{ module, rank: 4, inputs: 128, outputs: 64 }]);
 * assert.deepEqual([a.shape, b.shape], [[4, 128], [64, 4]]);
 * ```
 */
export function adapterEntries(
  modules: readonly AdapterModule[],
  dtype: DType = "f32",
): SafetensorsEntry[] {
  return modules.flatMap(({ module, rank, inputs, outputs, embedding }) => {
    const [a, b] = [[rank, inputs], [outputs, rank]];
    return [
      {
        name: adapterTensorName(module, "A", embedding),
        dtype,
        shape: embedding ? a.reverse() : a,
      },
      {
        name: adapterTensorName(module, "B", embedding),
        dtype,
        shape: embedding ? b.reverse() : b,
      },
    ];
  });
}

/** The factors of one module in an open adapter. */
export interface AdapterFactors extends AdapterModule, ModuleScaling {
  /** Inputs that are summed before A, for QA-LoRA. */
  readonly group?: number;
  /** Values of A, `[rank, inputs]`; where groups are pooled, for their sums. */
  readA(): Promise<Float32Array<ArrayBuffer>>;
  /** Values of B, `[outputs, rank]`. */
  readB(): Promise<Float32Array<ArrayBuffer>>;
}

/** An open LoRA adapter. */
export interface Adapter extends AsyncDisposable {
  /** Its name in errors. */
  readonly name: string;
  /** The adapter's settings, defaults filled in. */
  readonly settings: ReadSettings;
  /** Contents of `adapter_config.json`. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Adapted linear modules by path, in file order. */
  readonly modules: ReadonlyMap<string, AdapterFactors>;
  /** All other tensors (modules saved in full, embeddings' factors, DoRA's magnitudes), under the names of the file. */
  readonly others: ReadonlyMap<string, TensorReader>;
}

/** Names of factors; a bias is none. Older PEFT has the adapter's name before `.weight`, the LoRA authors' files neither. */
const FACTOR =
  /^(?:base_model\.model\.)?(.+)\.lora_(embedding_)?(A|B)(?:\.(?!bias$)[^.]+)?(?:\.weight)?$/;

/**
 * Opens the adapter in a set of files.
 *
 * @param options.config Settings for an adapter that comes without `adapter_config.json`.
 * @param options.qalora Groups of a QA-LoRA adapter without them in its settings: of the paper's own repository,
 * `{ group: 32, pooling: "average" }`.
 * @throws {TypeError} If there is no adapter, or it is no LoRA adapter.
 * @throws {SyntaxError} If a file is malformed or factors do not fit each other or the settings, all in one error.
 *
 * @example
 * ```ts
 * import { openAdapterFrom } from "@loqa/loqa";
 * import { folderFiles } from "@loqa/loqa/files";
 *
 * await using adapter = await openAdapterFrom(await folderFiles("tests/golden/io/adapter"));
 * console.log(adapter.modules);
 * ```
 */
export async function openAdapterFrom(
  files: FileSet,
  options: {
    config?: Readonly<Record<string, unknown>>;
    qalora?: QaloraGroups;
  } = {},
): Promise<Adapter> {
  const { name } = files;
  const bad = (reason: string) =>
    new KindError(`Cannot open the adapter ${quoted(name)}: ${reason}`);
  if (!options.config && !files.names.includes(ADAPTER_CONFIG)) {
    throw bad(`it has no ${ADAPTER_CONFIG}`);
  }
  const config = options.config ?? parseJsonObject(
    await readFile(files, ADAPTER_CONFIG),
    `${name}/${ADAPTER_CONFIG}`,
  );
  const settings = {
    ...readAdapterConfig(config, `${name}/${ADAPTER_CONFIG}`),
    ...(options.qalora && { qalora: options.qalora }),
  };
  const weights = [ADAPTER_FILE, "adapter_model.bin"]
    .find((file) => files.names.includes(file)) ??
    files.names.find((file) => /\.(safetensors|bin|pt)$/.test(file));
  if (weights === undefined) throw bad(`it has no ${ADAPTER_FILE}`);
  await using stack = new AsyncDisposableStack();
  const store = stack.use(
    await (weights.endsWith(".safetensors")
      ? openSafetensorsFile(files, weights)
      : openTorchFiles(files, weights)),
  );
  const { modules, others } = pairUp(store.tensors, {
    ...{ name, settings, config },
  });
  const owned = stack.move();
  return {
    name,
    settings,
    config,
    modules,
    others,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function pairUp(
  tensors: ReadonlyMap<string, TensorReader>,
  { name, settings, config }: {
    name: string;
    settings: ReadSettings;
    config: JsonObject;
  },
): {
  modules: Map<string, AdapterFactors>;
  others: Map<string, TensorReader>;
} {
  const problems = new Problems(`open the adapter ${quoted(name)}`);
  const pairs = new Map<
    string,
    { A?: TensorReader; B?: TensorReader; embedding?: boolean }
  >();
  const others = new Map<string, TensorReader>();
  for (const [key, reader] of tensors) {
    const match = FACTOR.exec(key);
    if (match === null) {
      others.set(key, reader);
      continue;
    }
    const pair = pairs.get(match[1]) ?? {};
    pairs.set(match[1], pair);
    const factor = match[3] as "A" | "B";
    if (match[2]) pair.embedding = true;
    if (pair[factor]) problems.add(`tensor ${quoted(key)} occurs twice`);
    pair[factor] = reader;
  }
  const { qalora } = settings;
  const modules = new Map<string, AdapterFactors>();
  for (const [module, { A, B, embedding }] of pairs) {
    const wrong = (reason: string) =>
      problems.add(
        `tensor ${quoted(adapterTensorName(module, "A"))}: ${reason}`,
      );
    if (A === undefined || B === undefined) {
      wrong(`factor ${A === undefined ? "A" : "B"} is missing`);
      continue;
    }
    const [rank, inputs] = A.info.shape;
    const [outputs, rankB] = B.info.shape;
    if (
      A.info.shape.length !== 2 || B.info.shape.length !== 2 || rank !== rankB
    ) {
      wrong(
        `[${A.info.shape.join(", ")}] and its B [${
          B.info.shape.join(", ")
        }] have no rank in common`,
      );
      continue;
    }
    if (!isTarget(config, module)) {
      wrong("its module is none of target_modules, so that PEFT leaves it out");
      continue;
    }
    const scaling = moduleScaling(settings, module);
    if (scaling.rank !== rank) {
      wrong(`it has rank ${rank}, the settings say ${scaling.rank}`);
      continue;
    }
    if (embedding) {
      modules.set(module, {
        ...{ module, ...scaling, embedding },
        inputs: outputs,
        outputs: inputs,
        readA: () => turned(B),
        readB: () => turned(A),
      });
      continue;
    }
    modules.set(module, {
      module,
      inputs,
      outputs,
      ...scaling,
      ...(qalora && { group: qalora.group }),
      async readA() {
        const values = await A.readF32(0, rank);
        const by = qalora ? poolingFactor(qalora, inputs) : 1;
        return by === 1 ? values : values.map((x) => x * by);
      },
      readB: () => B.readF32(0, outputs),
    });
  }
  problems.throwIfAny();
  return { modules, others };
}

/** Values of a factor with rows for columns. */
async function turned(
  reader: TensorReader,
): Promise<Float32Array<ArrayBuffer>> {
  const [rows, cols] = reader.info.shape;
  const { data } = transposed(
    matrix(rows, cols, await reader.readF32(0, rows)),
  );
  return data as Float32Array<ArrayBuffer>;
}
