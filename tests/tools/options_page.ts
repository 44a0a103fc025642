/**
 * `docs/options.md` from what `loqa VERB --help` prints: `deno task docs:options` writes it, a test compares.
 *
 * @module
 */

import { ROOT } from "./source.ts";

const PAGE = new URL("docs/options.md", ROOT);
const MAIN = new URL("src/cli/main.ts", ROOT).pathname;

/** An option as the help lists it. */
interface Listed {
  readonly names: string;
  readonly help: string;
  readonly fallback: string;
}

async function help(...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-read", "--quiet", MAIN, ...args, "--help"],
    env: { NO_COLOR: "1" },
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/** Options of a help page. */
function optionsOf(page: string): Listed[] {
  const list = page.slice(page.indexOf("\nOptions:\n"));
  const pattern =
    /^ +((?:-\w, +)?--[\w-]+(?: \S+)?) {2,}(.*?)(?: \(default: (.*)\))?$/gm;
  return Array.from(
    list.matchAll(pattern),
    ([, names, help, fallback = ""]) => ({
      names,
      help,
      fallback,
    }),
  );
}

const cell = (text: string) =>
  text.replaceAll("|", "\\|").replaceAll("<", "&lt;");

/** The text of the page. */
export async function optionsPage(): Promise<string> {
  const verbs = (await help()).matchAll(/^ {2}(\w+) {2,}(\w.*)$/gm).toArray();
  const sections = await Promise.all(verbs.map(async ([, verb, summary]) => {
    const page = await help(verb);
    const rows = optionsOf(page).map(({ names, help, fallback }) =>
      `| \`${cell(names)}\` | ${cell(help)} | ${cell(fallback)} |`
    );
    const flags = /^Permissions: deno run (.*)$/m.exec(page)![1];
    return `## ${verb}

${summary[0].toUpperCase()}${summary.slice(1)}. Permissions: \`${flags}\`.

| option | | default |
| --- | --- | --- |
${rows.join("\n")}
`;
  }));
  return await formatted(`# Every option

Written from \`--help\` by \`deno task docs:options\`. The verbs: ${
    verbs.map(([, verb]) => `[${verb}](#${verb})`).join(", ")
  }.

${sections.join("\n")}`);
}

/** `text` as `deno fmt` lays it out. */
async function formatted(text: string): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["fmt", "--ext", "md", "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
  return new TextDecoder().decode((await child.output()).stdout);
}

if (import.meta.main) await Deno.writeTextFile(PAGE, await optionsPage());
