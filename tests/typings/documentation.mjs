// Reads the public API's declarations and their documentation.

import ts from "typescript";

import { inRepository } from "./paths.mjs";

const file = inRepository("typings/ci.d.ts");

/** The shortest text that can say something. */
const SENTENCE = 10;

export function checkDocumentation() {
  const program = ts.createProgram([file], { lib: ["lib.es2023.d.ts"], types: [] });
  const checker = program.getTypeChecker();
  const problems = [];
  let count = 0;

  const check = (node, name, needsExample) => {
    count++;
    const symbol = checker.getSymbolAtLocation(node.name);
    const text = ts.displayPartsToString(symbol.getDocumentationComment(checker)).trim();
    const tags = symbol.getJsDocTags(checker).map((tag) => tag.name);
    if (text.length < SENTENCE) {
      problems.push(`\`${name}\` has no description`);
    }
    if (needsExample && !tags.includes("example")) {
      problems.push(`\`${name}\` has no \`@example\``);
    }
  };

  for (const statement of program.getSourceFile(file).statements) {
    if (ts.isVariableStatement(statement)) {
      for (const declaration of statement.declarationList.declarations) {
        check(declaration, declaration.name.text, true);
      }
      continue;
    }
    check(statement, statement.name.text, true);
    for (const member of statement.members ?? []) {
      // A constructor has no name to ask for, and says the same as the class.
      if (member.name !== undefined) {
        const name = `${statement.name.text}.${member.name.getText()}`;
        check(member, name, ts.isMethodSignature(member));
      }
    }
  }
  if (problems.length > 0) {
    throw new Error(`in \`typings/ci.d.ts\`\n  ${problems.join("\n  ")}`);
  }
  return `${count} declarations are documented`;
}
