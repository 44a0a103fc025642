/**
 * The rooms of the house and their imports: one row a room, from which the check and the picture derive.
 *
 * @module
 */

/** Rooms of files and formats. */
const IO = [
  "io",
  "io/affine",
  "io/bnb",
  "io/chat",
  "io/checkpoint",
  "io/files",
  "io/ggml",
  "io/gguf",
  "io/hub",
  "io/jinja",
  "io/onnx",
  "io/output",
  "io/packed",
  "io/peft",
  "io/safetensors",
  "io/tokenizer",
  "io/torch",
] as const;
/** Imports of every format of weights. */
const WEIGHTS = [
  "tensor",
  "quant",
  "io/files",
  "io/checkpoint",
  "io/safetensors",
];
const MATHS = ["tensor", "device", "linalg", "quant"];
const METHODS = [...MATHS, "loftq", "qalora"];
const NETWORK = ["tensor", "device", "families", "autograd", "nn", "models"];

/**
 * Rooms that each room may import from besides itself and the files of src itself, such as src/errors.ts. A room is a
 * folder of `src`, of `src/io`, `wasm`, `gpu`, or `mod.ts`. No room may be reached from itself over others.
 */
export const ROOMS: Readonly<Record<string, readonly string[]>> = {
  root: [],
  tensor: [],
  device: ["tensor"],
  wasm: ["tensor", "device"],
  gpu: ["tensor", "device", "wasm"],
  backend: ["tensor", "device", "wasm", "gpu"],
  linalg: ["tensor", "device"],
  quant: ["tensor", "device"],
  families: ["tensor", "device"],
  loftq: MATHS,
  qalora: [...MATHS, "loftq"],
  api: [...METHODS, "backend"],
  autograd: ["tensor", "device"],
  nn: ["tensor", "device", "quant", "families", "autograd"],
  "io/files": ["tensor"],
  "io/hub": ["io/files"],
  "io/onnx": ["io/files"],
  "io/output": ["io/files"],
  "io/jinja": ["io/files"],
  "io/chat": ["io/files", "io/jinja"],
  "io/tokenizer": ["io/files", "io/chat"],
  "io/checkpoint": ["tensor", "quant", "families", "io/files"],
  "io/safetensors": ["tensor", "io/files", "io/checkpoint"],
  "io/torch": ["tensor", "io/files", "io/checkpoint"],
  "io/bnb": WEIGHTS,
  "io/ggml": WEIGHTS,
  "io/gguf": [...WEIGHTS, "families", "io/ggml", "io/tokenizer"],
  "io/affine": WEIGHTS,
  "io/packed": [...WEIGHTS, "io/ggml"],
  "io/peft": [...WEIGHTS, "io/torch"],
  io: IO,
  models: [...NETWORK, "quant", ...IO],
  data: ["tensor", ...IO],
  calibrate: [...NETWORK, "loftq", "data", ...IO],
  init: [...NETWORK, ...METHODS, "backend", ...IO],
  train: [...NETWORK, "loftq", "data", ...IO],
  eval: [...NETWORK, "data", ...IO],
  lm: [...NETWORK, "backend", "loftq", "data", "train", ...IO],
  merge: [...NETWORK, "quant", "qalora", ...IO],
  export: [...NETWORK, "quant", ...IO],
  inspect: ["models", "init", "train", ...IO],
  plan: ["quant", "families", "models", ...IO],
  bench: ["tensor", "device", "quant", "wasm"],
  cli: [
    ...METHODS,
    ...NETWORK,
    ...IO,
    "backend",
    "bench",
    "calibrate",
    "data",
    "eval",
    "export",
    "init",
    "inspect",
    "merge",
    "plan",
    "train",
    "wasm",
  ],
  mod: [...MATHS, "backend", "loftq", "api", ...IO],
};

/** The room of a file, by its path from the root. */
export function roomOf(path: string): string {
  if (path === "mod.ts") return "mod";
  const [top, second, third, ...rest] = path.split("/");
  if (top !== "src") return top;
  if (third === undefined) return "root";
  return second === "io" && rest.length > 0 ? `io/${third}` : second;
}

/** From each room to those that it imports. */
export type Graph = ReadonlyMap<string, ReadonlySet<string>>;

/** Rooms that reach themselves over others, each circle once, as a list of its rooms in order. */
export function circlesOf(graph: Graph): string[][] {
  const found = new Map<string, string[]>();
  const done = new Set<string>();
  const walk = (room: string, path: readonly string[]): void => {
    const at = path.indexOf(room);
    if (at >= 0) {
      const circle = path.slice(at);
      found.set([...circle].sort().join(), circle);
      return;
    }
    if (done.has(room)) return;
    for (const next of graph.get(room) ?? []) walk(next, [...path, room]);
    done.add(room);
  };
  for (const room of graph.keys()) walk(room, []);
  return [...found.values()];
}

/** Rooms by floor, the ground first: a room stands on those that it imports. The graph has no circle. */
export function floorsOf(graph: Graph): string[][] {
  const floors: string[][] = [];
  const known = new Map<string, number>();
  const floorOf = (room: string): number => {
    const before = known.get(room);
    if (before !== undefined) return before;
    const below = Array.from(graph.get(room) ?? [], floorOf);
    const floor = Math.max(-1, ...below) + 1;
    known.set(room, floor);
    (floors[floor] ??= []).push(room);
    return floor;
  };
  for (const room of graph.keys()) floorOf(room);
  return floors.map((rooms) => rooms.sort());
}
