/**
 * Building ONNX models: nodes, constants, and weights that lie in a file beside the model.
 *
 * @module
 */

import type { ByteSink } from "../files/bytes.ts";
import { ProtoWriter } from "./protobuf.ts";

/** Element types that are used here, and their numbers (`onnx.proto`, `TensorProto.DataType`). */
const TYPES = { f32: 1, u8: 2, i64: 7, bool: 9, f16: 10 } as const;

/** An element type of ONNX. */
export type OnnxType = keyof typeof TYPES;

/** A dimension: a size, or the name of one that is known only when the model runs. */
export type OnnxDim = number | string;

/** An attribute of a node: a whole number, a list of them, a text, or an f32 as `{ float }`. */
export type OnnxAttribute =
  | number
  | string
  | readonly number[]
  | { readonly float: number };

/** Options of a node. */
export interface OnnxNodeOptions {
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
  /** Set of operators, the standard one by default. */
  readonly domain?: string;
  /** Names of the outputs; by default one generated name. */
  readonly outputs?: readonly string[];
}

/** Offsets in the data file are multiples of this, so that any element type can be viewed in place. */
const ALIGNMENT = 64;

/** `AttributeProto.AttributeType`. */
const [FLOAT, INT, STRING, INTS] = [1, 2, 3, 7];

/** A graph that grows; every value is known by its name. */
export class OnnxGraph {
  readonly #nodes: ProtoWriter[] = [];
  readonly #initializers: ProtoWriter[] = [];
  readonly #inputs: ProtoWriter[] = [];
  readonly #outputs: ProtoWriter[] = [];
  readonly #constants = new Map<string, string>();
  readonly #data: { readonly name: string; readonly sink: ByteSink };
  #count = 0;

  /**
   * An empty graph.
   *
   * @param data Sink of the weights, and the name of that file beside the model.
   */
  constructor(data: { readonly name: string; readonly sink: ByteSink }) {
    this.#data = data;
  }

  /** Declares an input. */
  input(name: string, type: OnnxType, dims: readonly OnnxDim[]): string {
    this.#inputs.push(valueInfo(name, type, dims));
    return name;
  }

  /** Declares an output: that of the node with this output name. */
  output(name: string, type: OnnxType, dims: readonly OnnxDim[]): void {
    this.#outputs.push(valueInfo(name, type, dims));
  }

  /** Adds a node with one output, and gives the output's name. */
  node(
    op: string,
    inputs: readonly string[],
    options: OnnxNodeOptions = {},
  ): string {
    return this.nodes(op, inputs, options)[0];
  }

  /** Adds a node, and gives the names of its outputs. */
  nodes(
    op: string,
    inputs: readonly string[],
    {
      attributes = {},
      domain,
      outputs = [`${op}_${this.#count}`],
    }: OnnxNodeOptions = {},
  ): readonly string[] {
    const node = new ProtoWriter();
    for (const name of inputs) node.string(1, name);
    for (const name of outputs) node.string(2, name);
    node.string(3, `${op}_node_${this.#count++}`).string(4, op);
    for (const [name, value] of Object.entries(attributes)) {
      node.message(5, attribute(name, value));
    }
    if (domain) node.string(7, domain);
    this.#nodes.push(node);
    return outputs;
  }

  /** A small constant, stored in the model itself; equal ones are one. Without `dims` it is a scalar. */
  constant(
    type: "f32" | "i64",
    values: number | readonly number[],
    dims: readonly number[] = typeof values === "number" ? [] : [values.length],
  ): string {
    const list = typeof values === "number" ? [values] : values;
    const key = `${type} ${dims} ${list}`;
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const name = `constant_${this.#constants.size}`;
    this.#constants.set(key, name);
    const bytes = new Uint8Array(
      type === "f32"
        ? Float32Array.from(list).buffer
        : BigInt64Array.from(list, BigInt).buffer,
    );
    this.#initializers.push(
      tensor(name, type, dims).data(9, bytes),
    );
    return name;
  }

  /** A weight, whose little-endian bytes go into the data file now. */
  async weight(
    name: string,
    { type, dims, parts }: {
      type: OnnxType;
      dims: readonly number[];
      parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
    },
  ): Promise<string> {
    const { sink } = this.#data;
    await sink.write(new Uint8Array(-sink.size & (ALIGNMENT - 1)));
    const offset = sink.size;
    for await (const bytes of parts) await sink.write(bytes);
    const proto = tensor(name, type, dims);
    const told = {
      location: this.#data.name,
      offset: `${offset}`,
      length: `${sink.size - offset}`,
    };
    for (const [key, value] of Object.entries(told)) {
      proto.message(13, new ProtoWriter().string(1, key).string(2, value));
    }
    // TensorProto.DataLocation.EXTERNAL
    this.#initializers.push(proto.int(14, 1));
    return name;
  }

  /**
   * The model file.
   *
   * @param opsets Versions of the sets of operators, by domain (`""` the standard one).
   */
  encode(
    { name, producer, version, opsets }: {
      name: string;
      producer: string;
      version: string;
      opsets: Readonly<Record<string, number>>;
    },
  ): Uint8Array<ArrayBuffer> {
    const graph = new ProtoWriter();
    for (const node of this.#nodes) graph.message(1, node);
    graph.string(2, name);
    for (const initializer of this.#initializers) graph.message(5, initializer);
    for (const input of this.#inputs) graph.message(11, input);
    for (const output of this.#outputs) graph.message(12, output);
    const model = new ProtoWriter().int(1, 10).string(2, producer)
      .string(3, version).message(7, graph);
    for (const [domain, set] of Object.entries(opsets)) {
      model.message(8, new ProtoWriter().string(1, domain).int(2, set));
    }
    return model.bytes();
  }
}

function tensor(
  name: string,
  type: OnnxType,
  dims: readonly number[],
): ProtoWriter {
  const proto = new ProtoWriter();
  for (const n of dims) proto.int(1, n);
  return proto.int(2, TYPES[type]).string(8, name);
}

function valueInfo(
  name: string,
  type: OnnxType,
  dims: readonly OnnxDim[],
): ProtoWriter {
  const shape = new ProtoWriter();
  for (const dim of dims) {
    shape.message(
      1,
      typeof dim === "number"
        ? new ProtoWriter().int(1, dim)
        : new ProtoWriter().string(2, dim),
    );
  }
  const tensorType = new ProtoWriter().int(1, TYPES[type]).message(2, shape);
  return new ProtoWriter().string(1, name)
    .message(2, new ProtoWriter().message(1, tensorType));
}

function attribute(name: string, value: OnnxAttribute): ProtoWriter {
  const proto = new ProtoWriter().string(1, name);
  if (typeof value === "number") return proto.int(3, value).int(20, INT);
  if (typeof value === "string") return proto.string(4, value).int(20, STRING);
  if ("float" in value) return proto.float(2, value.float).int(20, FLOAT);
  for (const n of value) proto.int(8, n);
  return proto.int(20, INTS);
}
