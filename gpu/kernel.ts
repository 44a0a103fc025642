/**
 * Kernels as descriptions: a kernel's parameters and bindings are named once, beside its text. From that follow
 * `struct Params`, the declarations of the bindings, how a call's numbers are packed, and the type of a call, so that a
 * parameter that is missing or of another name is a compile error.
 *
 * @module
 */

import { KindError } from "../src/errors.ts";
import type {
  BoundBatch,
  BoundMat,
  BoundVector,
  WebGpuMemory,
} from "./buffers.ts";
import type { Dispatch, GpuContext, Kernel, Span, Word } from "./context.ts";

/** Type of a parameter. Tables stand before single words, for their alignment. */
export type ParamType = "u32" | "f32" | "array<vec4f, 4>";

/** Fields that each kind of binding adds to the parameters: those of `p` whose names begin with the binding's. */
const PLACES = {
  /** Nothing: it is bound from its first element on. */
  buffer: [],
  /** `p.x`: elements before the first. */
  vector: [""],
  /** `p.x` and `p.xStride`, the elements from a row to the next. */
  matrix: ["", "Stride"],
  /** `p.xStep` besides, the elements from a matrix to the next. */
  batch: ["", "Stride", "Step"],
} as const;

type BindingKind = keyof typeof PLACES;

/** A binding, as its kind and the type of its elements: `matrix f32`; false where a variant has none. */
export type BindingType = `${BindingKind} ${string}` | false;

/** Parameters by name. */
export type Params = Readonly<Record<string, ParamType>>;

/** Values of parameters. */
export type Values<P extends Params> = {
  readonly [K in keyof P]: P[K] extends "u32" | "f32" ? number
    : readonly number[];
};

type Bindings = Readonly<Record<string, BindingType>>;

/** A kernel as it is written. */
export interface KernelText<P extends Params, R extends Bindings, W> {
  /** Name in errors; it tells a text from all others. */
  readonly name: string;
  /** Values of `override` constants. */
  readonly constants?: Readonly<Record<string, number>>;
  /** Fields of `p`. */
  readonly params: P;
  /** Bindings that it reads, by name. */
  readonly reads: R;
  /** Bindings that it writes, or reads and writes. */
  readonly writes: W;
  /** Declarations before the entry point. */
  readonly helpers?: string | (() => string);
  /** Sizes of a workgroup: `64`, or `"8, 8"`. */
  readonly workgroup: number | string;
  /** Statements of the entry point; they know what {@linkcode BUILTINS} names. */
  readonly body: string | (() => string);
}

/** A kernel that {@linkcode run} takes: `D` are all of its bindings. */
export interface Described<P extends Params, D extends Bindings>
  extends Kernel {
  readonly params: P;
  readonly reads: Bindings;
  readonly writes: Bindings;
  /** For the type of a call; never there. */
  readonly bindings?: D;
}

type BoundAs = {
  buffer: Span;
  vector: BoundVector;
  matrix: BoundMat;
  batch: BoundBatch;
};

type Bound<B> = B extends `${infer K extends BindingKind} ${string}`
  ? BoundAs[K]
  : never;

type Absent<D> = { [K in keyof D]: false extends D[K] ? K : never }[keyof D];

/** One run of a kernel. */
export interface Call<P extends Params, D extends Bindings>
  extends Pick<Dispatch, "groups" | "shape"> {
  /** Its parameters; those that say where bindings begin come with the bindings. */
  readonly params: Values<P>;
  /** Its bindings; those that only some variants have may be left out. */
  readonly bind:
    & { readonly [K in Exclude<keyof D, Absent<D>>]: Bound<D[K]> }
    & { readonly [K in Absent<D>]?: Bound<D[K]> };
}

/** Built-in values by the names that a body knows them by; only those that it uses are declared. */
const BUILTINS = {
  group: "@builtin(workgroup_id) group: vec3u",
  groups: "@builtin(num_workgroups) groups: vec3u",
  local: "@builtin(local_invocation_id) local: vec3u",
  thread: "@builtin(local_invocation_index) thread: u32",
  invocation: "@builtin(global_invocation_id) invocation: vec3u",
} as const;

/** The kernel of a text; its code is made when it is asked for, which is once for each pipeline. */
export function kernel<
  const P extends Params,
  const R extends Bindings,
  const W extends Bindings,
>(text: KernelText<P, R, W>): Described<P, R & W> {
  const { name, constants, params, reads, writes } = text;
  return {
    ...{ name, constants, params, reads, writes },
    get code() {
      return codeOf(text);
    },
  };
}

/** Names, kinds and types of elements of the bindings that a variant has. */
function bindingsOf(
  bindings: Bindings,
): [name: string, kind: BindingKind, type: string][] {
  return Object.entries(bindings).flatMap(([name, binding]) => {
    if (!binding) return [];
    const at = binding.indexOf(" ");
    const kind = binding.slice(0, at) as BindingKind;
    return [[name, kind, binding.slice(at + 1)]];
  });
}

function codeOf(
  { params, reads, writes, workgroup, ...text }: KernelText<
    Params,
    Bindings,
    Bindings
  >,
): string {
  const read = bindingsOf(reads);
  const all = [...read, ...bindingsOf(writes)];
  const fields = [
    ...Object.entries(params),
    ...all.flatMap(([name, kind]) =>
      PLACES[kind].map((suffix) => [name + suffix, "u32"])
    ),
  ];
  const bindings = all.map(([name, _, type], i) =>
    `@group(0) @binding(${i + 1}) var<storage, ${
      i < read.length ? "read" : "read_write"
    }> ${name}: array<${type}>;`
  );
  const [helpers, body] = [text.helpers ?? "", text.body].map((part) =>
    typeof part === "string" ? part : part()
  );
  const builtins = Object.entries(BUILTINS).filter(([name]) =>
    new RegExp(`\\b${name}\\b`).test(body)
  );
  return `
struct Params {
${fields.map(([name, type]) => `  ${name}: ${type},`).join("\n")}
}
@group(0) @binding(0) var<uniform> p: Params;
${bindings.join("\n")}
${helpers}
@compute @workgroup_size(${workgroup})
fn main(
${builtins.map(([, text]) => `  ${text},`).join("\n")}
) {
${body}
}
`;
}

/** A call as the context takes it. */
function dispatchOf<P extends Params, D extends Bindings>(
  kernel: Described<P, D>,
  { params, bind, groups, shape }: Call<P, D>,
): Dispatch {
  const words: Word[] = [];
  for (const [name, type] of Object.entries(kernel.params)) {
    const value: number | readonly number[] | undefined = params[name];
    if (value === undefined) {
      throw new KindError(`Cannot run ${kernel.name} without ${name}`);
    }
    if (type === "u32") words.push(value as number);
    else for (const f32 of [value].flat()) words.push({ f32 });
  }
  const spans = (bindings: Bindings): Span[] =>
    bindingsOf(bindings).map(([name, kind]) => {
      const bound = (bind as Record<string, BoundBatch | Span | undefined>)[
        name
      ];
      if (!bound) {
        throw new KindError(`Cannot run ${kernel.name} without ${name}`);
      }
      if (!("span" in bound)) return bound;
      const { first, stride, step } = bound;
      words.push(...[first, stride, step].slice(0, PLACES[kind].length));
      return bound.span;
    });
  const [reads, writes] = [spans(kernel.reads), spans(kernel.writes)];
  return { params: words, reads, writes, groups, shape };
}

/** Records a run of `kernel` now: from inside work of {@linkcode WebGpuMemory.enqueue}. */
export function record<P extends Params, D extends Bindings>(
  context: GpuContext,
  kernel: Described<P, D>,
  call: NoInfer<Call<P, D>>,
): void {
  context.run(kernel, dispatchOf(kernel, call));
}

/** Enqueues a run of `kernel`. */
export function run<P extends Params, D extends Bindings>(
  memory: WebGpuMemory,
  kernel: Described<P, D>,
  call: NoInfer<Call<P, D>>,
): void {
  const dispatch = dispatchOf(kernel, call);
  memory.enqueue(() => memory.context.run(kernel, dispatch));
}
