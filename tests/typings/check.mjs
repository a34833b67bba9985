// Checks the typings as users meet them: through the compiler, in an editor, and as documentation.
//
// Run it with `node tests/typings/check.mjs` after `npm ci` in this directory. It exits with 1 when
// something is wrong, and says what.

import { checkCompiler } from "./compiler.mjs";
import { checkDocumentation } from "./documentation.mjs";
import { checkEditor } from "./editor.mjs";
import { checkSchema } from "./schema.mjs";
import { checkTranspiled } from "./transpiled.mjs";

const checks = {
  "the compiler": checkCompiler,
  "the documentation": checkDocumentation,
  "the editor": checkEditor,
  "the schema": checkSchema,
  "transpiled pipelines": checkTranspiled,
};

for (const [name, check] of Object.entries(checks)) {
  const start = performance.now();
  try {
    const summary = await check();
    console.log(`typings: ${name}: ${summary} (${Math.round(performance.now() - start)} ms)`);
  } catch (error) {
    console.error(`typings: ${name}: ${error.message}`);
    process.exitCode = 1;
  }
}
