/**
 * The Python that interop tests and benchmarks talk to: `$LOQA_PYTHON`, or `.venv` in the project's root, made
 * here with the versions of requirements.txt when it is not there yet. Beside it the consumers
 * from npm.
 *
 * @module
 */

const ROOT = new URL("../../", import.meta.url);
const VENV = new URL(".venv/", ROOT);
const PYTHON = new URL("bin/python", VENV);
const STAMP = new URL("loqa-requirements.txt", VENV);
const REQUIREMENTS = new URL("requirements.txt", import.meta.url);

async function exists(path: URL): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/** Path of a Python that is ready, or undefined where {@linkcode makePython} has not run. */
export async function findPython(): Promise<string | undefined> {
  const given = Deno.env.get("LOQA_PYTHON");
  if (given) return given;
  return await exists(STAMP) && await exists(PYTHON)
    ? PYTHON.pathname
    : undefined;
}

async function run(command: string, args: readonly string[]): Promise<void> {
  console.error(`$ ${command} ${args.join(" ")}`);
  const { code } = await new Deno.Command(command, {
    args: [...args],
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  if (code !== 0) {
    throw new Error(`Cannot make ${VENV.pathname}: ${command} exited ${code}`);
  }
}

/** Makes the environment unless one with these requirements is there. */
export async function makePython(): Promise<string> {
  const given = Deno.env.get("LOQA_PYTHON");
  if (given) return given;
  const wanted = await Deno.readTextFile(REQUIREMENTS);
  const have = await exists(STAMP) ? await Deno.readTextFile(STAMP) : "";
  if (have === wanted && await exists(PYTHON)) return PYTHON.pathname;
  await run("python3", ["-m", "venv", VENV.pathname]);
  const install = ["-m", "pip", "install", "--quiet"];
  // torch first: the others then take the build that is there, whichever index it came from.
  const torch = wanted.split("\n").find((line) => line.startsWith("torch=="));
  if (torch) await run(PYTHON.pathname, [...install, torch]);
  await run(PYTHON.pathname, [...install, "-r", REQUIREMENTS.pathname]);
  await Deno.writeTextFile(STAMP, wanted);
  return PYTHON.pathname;
}

/** Package with llama.cpp's binary for this machine. */
function llamaBinary(): string {
  const system = { linux: "linux", darwin: "mac", windows: "win" }[
    Deno.build.os as string
  ];
  const cpu = Deno.build.arch === "aarch64" ? "arm64" : "x64";
  return `@node-llama-cpp/${system}-${cpu}${
    system === "mac" && cpu === "arm64" ? "-metal" : ""
  }`;
}

/** A consumer from npm, in a folder of its own. */
interface NodePackage {
  /** Environment variable with a folder whose `node_modules` has it. */
  readonly variable: string;
  /** Its main file in `node_modules`. */
  readonly main: string;
  /** Arguments of `npm install`. */
  readonly install: readonly string[];
}

const NODE_PACKAGES = {
  "llama-cpp": {
    variable: "LOQA_LLAMA_CPP",
    main: "node-llama-cpp/dist/index.js",
    // Its optional packages are binaries for every GPU.
    install: [
      "--omit=optional",
      "node-llama-cpp@3.22.1",
      `${llamaBinary()}@3.22.1`,
    ],
  },
  "transformers-js": {
    variable: "LOQA_TRANSFORMERS_JS",
    main: "@huggingface/transformers/dist/transformers.node.mjs",
    install: ["@huggingface/transformers@4.3.1"],
  },
  "wllama": {
    variable: "LOQA_WLLAMA",
    main: "@wllama/wllama/esm/index.js",
    install: ["@wllama/wllama@3.13.0"],
  },
} satisfies Record<string, NodePackage>;

/** Where the main file of a package is: in the folder that its variable names, or where it was installed. */
export async function findNodePackage(
  key: keyof typeof NODE_PACKAGES,
): Promise<string | undefined> {
  const { variable, main } = NODE_PACKAGES[key];
  const folder = Deno.env.get(variable) ?? new URL(key, VENV).pathname;
  const path = `${folder}/node_modules/${main}`;
  return await exists(new URL(`file://${path}`)) ? path : undefined;
}

/** Installs the packages that are not there yet. */
export async function makeNodePackages(): Promise<void> {
  for (const key of ["llama-cpp", "transformers-js", "wllama"] as const) {
    if (await findNodePackage(key)) continue;
    const folder = new URL(key, VENV).pathname;
    await Deno.mkdir(folder, { recursive: true });
    const plain = ["--prefix", folder, "--ignore-scripts", "--no-save"];
    await run("npm", ["install", ...plain, ...NODE_PACKAGES[key].install]);
  }
}

/**
 * Runs `script` of this folder, whose first argument is the main file of a package, in a Deno that takes other packages
 * from beside it.
 *
 * @throws {Error} If it fails.
 */
export async function runNodePackage(
  script: string,
  module: string,
  request: unknown,
): Promise<void> {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--quiet",
      "--no-config",
      "--node-modules-dir=manual",
      new URL(script, import.meta.url).pathname,
      module,
      JSON.stringify(request),
    ],
    cwd: module.slice(0, module.indexOf("/node_modules/")),
  }).output();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
}

if (import.meta.main) {
  console.log(await makePython());
  await makeNodePackages();
}
