/**
 * `docs/options.md` from the verbs' tables of options: `deno task docs:options` writes it, a test compares.
 *
 * @module
 */

import { VERBS } from "../../src/cli/main.ts";
import {
  optionDefault,
  optionFacts,
  optionName,
  optionText,
} from "../../src/cli/options.ts";
import { ROOT } from "./source.ts";

const PAGE = new URL("docs/options.md", ROOT);

const cell = (text: string) =>
  text.replaceAll("|", "\\|").replaceAll("<", "&lt;");

/** The text of the page. */
export async function optionsPage(): Promise<string> {
  const verbs = Object.entries(VERBS);
  const sections = await Promise.all(
    verbs.map(async ([name, { summary, permissions, load }]) => {
      const { verb: { options } } = await load();
      const rows = Object.entries(options).map(([name, option]) => {
        const facts = optionFacts({
          ...option,
          default: undefined,
          otherwise: undefined,
        });
        const text = optionText(option, facts);
        return `| \`${cell(optionName(name, option))}\` | ${cell(text)} | ${
          cell(optionDefault(option) ?? "")
        } |`;
      });
      return `## ${name}

${summary[0].toUpperCase()}${summary.slice(1)}. Permissions: \`${
        permissions.join(" ")
      }\`.

| option | | default |
| --- | --- | --- |
${rows.join("\n")}
`;
    }),
  );
  return await formatted(`# Every option

Written from the verbs' tables of options by \`deno task docs:options\`. The
verbs: ${verbs.map(([verb]) => `[${verb}](#${verb})`).join(", ")}.

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
