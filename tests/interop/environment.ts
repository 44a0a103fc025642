/**
 * The Python that interop tests and benchmarks talk to: `$LOQA_PYTHON`, or `.venv` in the project's root, made
 * here with the versions of requirements.txt when it is not there yet.
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

if (import.meta.main) console.log(await makePython());
