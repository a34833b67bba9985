//! What a pipeline cannot do: read what is not its project's, use more memory than it may, or end the
//! program that runs it.

use std::os::unix::fs::symlink;

use rustix::fs::{CWD, Mode, mkfifoat};

use crate::support::Ci;

const SECRET: &str = "hunter2";

/// A project in a work tree, with a directory of secrets beside it. The pipeline is `p/ci/pipeline.ts`.
fn project(source: &str) -> Ci {
    let ci = Ci::new()
        .file("p/.git", "gitdir: elsewhere\n")
        .file("p/lib/helper.ts", "export const helper = \"of the work tree\";\n")
        .file("p/ci/pipeline.ts", source)
        .file("outside/secret.json", format!("{{\"password\": \"{SECRET}\"}}"))
        .file("outside/secret.txt", format!("password = {SECRET}\n"))
        .file("outside/secret.ts", format!("export const {SECRET} = 1; export default 2;\n"));
    symlink("../../outside/secret.json", ci.dir().join("p/ci/link.json")).unwrap();
    symlink("../../outside/secret.txt", ci.dir().join("p/ci/link.ts")).unwrap();
    symlink("../../outside", ci.dir().join("p/ci/directory")).unwrap();
    symlink("../lib/helper.ts", ci.dir().join("p/ci/inside.ts")).unwrap();
    ci.args(["run", "--output", "plain", "p/ci/pipeline.ts"])
}

/// The module names `x`, since TypeScript leaves out what nobody uses.
fn importing(import: &str) -> Ci {
    let body = if import.contains(" x ") { "console.log(x)" } else { "" };
    project(&format!("{import}\nexport const pipeline = async () => {{ {body} }};\n"))
}

#[test]
fn imports_end_at_the_work_tree() {
    importing("import { helper } from \"../lib/helper.ts\"; console.log(helper);")
        .run()
        .exits(0)
        .stdout_has("of the work tree");
    importing("import { helper } from \"./inside.ts\"; console.log(helper);").run().exits(0);
    for import in [
        "import x from \"../../outside/secret.json\" with { type: \"json\" };",
        "import x from \"./link.json\" with { type: \"json\" };",
        "import x from \"./directory/secret.json\" with { type: \"json\" };",
        "import x from \"./link.ts\";",
        "import x from \"./directory/secret.ts\";",
        "import x from \"../../outside/secret.ts\";",
        "import x from \"/etc/passwd.json\" with { type: \"json\" };",
        "import x from \"file:///proc/self/environ.json\" with { type: \"json\" };",
        "const x = await import(\"./link.json\", { with: { type: \"json\" } });",
        "const x = await import(\"./link.ts\");",
    ] {
        let outcome = importing(import).run();
        assert_ne!(outcome.code, 0, "{import}\n{}", outcome.transcript());
        outcome.lacks(SECRET).lacks("root:").stderr_has("outside of the project `p`");
    }
}

#[test]
fn an_absolute_link_out_of_the_project_is_refused() {
    let ci = importing("import x from \"./absolute.json\" with { type: \"json\" };");
    symlink(ci.dir().join("outside/secret.json"), ci.dir().join("p/ci/absolute.json")).unwrap();
    ci.run().exits(2).lacks(SECRET).stderr_has("outside of the project");
}

#[test]
fn without_a_work_tree_the_project_is_the_pipelines_directory() {
    let ci = Ci::new()
        .file("lib.ts", "export default 1;\n")
        .file("ci/beside.ts", "export default 2;\n")
        .file(
            "ci/good.ts",
            "import x from \"./beside.ts\"; export const pipeline = () => console.log(x);\n",
        )
        .file(
            "ci/pipeline.ts",
            "import x from \"../lib.ts\"; export const pipeline = () => console.log(x);\n",
        );
    let ci = ci.args(["run", "ci/pipeline.ts"]);
    ci.run().exits(2).stderr_has("outside of the project `ci`").stderr_has("pipeline.ts:1:");
    let ci = Ci::new().file("ci/beside.ts", "export default 2;\n").file(
        "ci/good.ts",
        "import x from \"./beside.ts\"; export const pipeline = () => console.log(x);\n",
    );
    ci.args(["run", "ci/good.ts"]).run().exits(0);
}

#[test]
fn packages_may_be_linked_within_the_project_only() {
    let source = "import a from \"inner\"; console.log(a);";
    let ci = importing(source)
        .file(
            "p/node_modules/.pnpm/inner@1/node_modules/inner/index.js",
            "export default \"linked\";\n",
        )
        .file(
            "p/node_modules/.pnpm/inner@1/node_modules/inner/package.json",
            "{\"name\": \"inner\", \"type\": \"module\", \"exports\": \"./index.js\"}",
        );
    symlink(".pnpm/inner@1/node_modules/inner", ci.dir().join("p/node_modules/inner")).unwrap();
    ci.run().exits(0).stdout_has("linked");

    // A workspace links its packages to their sources.
    let ci = importing(source)
        .file("p/packages/inner/src/index.ts", "export default \"workspace\" as string;\n")
        .file(
            "p/packages/inner/package.json",
            "{\"name\": \"inner\", \"exports\": \"./src/index.ts\"}",
        )
        .file("p/node_modules/.keep", "");
    symlink("../packages/inner", ci.dir().join("p/node_modules/inner")).unwrap();
    ci.run().exits(0).stdout_has("workspace");

    let outside =
        format!("{{\"name\": \"inner\", \"type\": \"module\", \"exports\": \"./{SECRET}.js\"}}");
    let ci = importing(source)
        .file("other/index.js", "export default 1;\n")
        .file("other/package.json", &outside)
        .file("node_modules/inner/package.json", &outside)
        .file("p/node_modules/.keep", "");
    symlink("../../other", ci.dir().join("p/node_modules/inner")).unwrap();
    ci.run().exits(2).lacks(SECRET).stderr_has("there is no such package");
}

#[test]
fn only_regular_files_are_read() {
    let ci = importing("import x from \"./pipe.json\" with { type: \"json\" };");
    mkfifoat(CWD, ci.dir().join("p/ci/pipe.json"), Mode::RUSR).unwrap();
    ci.run().exits(2).stderr_has("not a regular file");

    let ci = importing("import x from \"./zero.json\" with { type: \"json\" };");
    symlink("/dev/zero", ci.dir().join("p/ci/zero.json")).unwrap();
    ci.run().exits(2).stderr_has("outside of the project");

    let ci = importing("import x from \"./folder.ts\";").file("p/ci/folder.ts/x", "");
    ci.run().exits(2).stderr_has("not a regular file");
}

#[test]
fn a_file_has_a_limit() {
    let ci = importing("import x from \"./large.json\" with { type: \"json\" };");
    let file = std::fs::File::create(ci.dir().join("p/ci/large.json")).unwrap();
    file.set_len(1 << 40).unwrap();
    ci.run().exits(2).stderr_has("it has 1.0 TiB, the most is 256.0 MiB");
}

#[test]
fn one_limit_holds_for_everything() {
    for (name, body) in [
        (
            "typed arrays",
            "const kept = []; while (true) kept.push(new Uint8Array(1 << 20).fill(1));",
        ),
        (
            "encoded text",
            "const text = 'x'.repeat(1 << 20), kept = []; while (true) kept.push(new TextEncoder().encode(text));",
        ),
        (
            "resizable",
            "const b = new ArrayBuffer(1, { maxByteLength: 8e9 }); b.resize(8e9); new Uint8Array(b).fill(1);",
        ),
        (
            "resizables",
            "const kept = []; while (true) { const b = new ArrayBuffer(1, { maxByteLength: 1 << 20 }); b.resize(1 << 20); kept.push(new Uint8Array(b).fill(1)); }",
        ),
        (
            "transferred",
            "let kept = []; while (true) { const b = new ArrayBuffer(1 << 20, { maxByteLength: 1 << 20 }).transfer(); new Uint8Array(b).fill(1); kept.push(b); }",
        ),
        (
            "cloned",
            "const b = new ArrayBuffer(1 << 20, { maxByteLength: 2 << 20 }), kept = []; while (true) kept.push(structuredClone({ b }));",
        ),
        ("heap", "const kept = []; while (true) kept.push({ a: kept.length });"),
        (
            "base64",
            "const text = 'A'.repeat(1 << 20), kept = []; while (true) kept.push(atob(text));",
        ),
        (
            "stdin",
            "const stdin = new Uint8Array(8 << 20), tasks = []; for (let i = 0; i < 100; i++) tasks.push(runtime.run({ name: 't', image: 'x', command: { path: 'sleep', args: ['60'] }, stdin })); await Promise.all(tasks);",
        ),
        (
            "results",
            "const kept = []; while (true) kept.push(await runtime.run({ name: 't', image: 'x', command: { path: 'sh', args: ['-c', 'yes | head -c 8000000'] } }));",
        ),
    ] {
        let source = format!("export const pipeline = async () => {{ {body} }};\n");
        let outcome = Ci::new()
            .file("pipeline.ts", source)
            .args(["run", "--output", "plain", "--js-heap", "64MiB", "pipeline.ts"])
            .run();
        assert_eq!(outcome.code, 1, "{name}");
        assert!(
            outcome.stderr.contains("more memory than its limit"),
            "{name}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn what_is_not_kept_does_not_count() {
    let body = "
        for (let i = 0; i < 200; i++) {
            new TextEncoder().encode('x'.repeat(1 << 20));
            new Uint8Array(1 << 20).fill(i);
            const { code } = await runtime.run({ name: 't', image: 'x', command: { path: 'true' }, stdin: new Uint8Array(1 << 20) });
            assert.equal(code, 0);
        }";
    Ci::new()
        .file("pipeline.ts", format!("export const pipeline = async () => {{ {body} }};\n"))
        .args(["run", "--output", "plain", "--js-heap", "32MiB", "pipeline.ts"])
        .run()
        .exits(0);
}

#[test]
fn deep_nesting_is_an_error_with_a_place() {
    const LEVELS: usize = 200_000;
    let around = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(LEVELS), close.repeat(LEVELS))
    };
    let sources = [
        ("parentheses", format!("export const x = {};", around("(", "1", ")"))),
        ("brackets", format!("export const x = {};", around("[", "", "]"))),
        ("braces", format!("export const x = {};", around("{a:", "1", "}"))),
        ("unary", format!("export const x = {};", around("!", "1", ""))),
        ("ternary", format!("export const x = {};", around("a?b:", "1", ""))),
        ("template", format!("export const x = {};", around("`${", "1", "}`"))),
        ("arrow", format!("export const x = {};", around("a=>", "1", ""))),
        ("sum", format!("export const x = 1{};", around("+1", "", ""))),
        ("member", format!("export const x = a{};", around(".b", "", ""))),
        ("calls", format!("export const x = a{};", around("()", "", ""))),
        ("assignment", format!("let a; {};", around("a=", "1", ""))),
        ("block", around("{", "", "}")),
        ("if", format!("{};", around("if(a)", "", ""))),
        ("type", format!("type X = {};", around("A<", "B", ">"))),
        ("type in parentheses", format!("type X = {};", around("(", "A", ")"))),
        ("array type", format!("type X = A{};", around("[]", "", ""))),
        ("keyof", format!("type X = {};", around("keyof ", "A", ""))),
        ("conditional type", format!("type X = {};", around("A extends B ? C : ", "D", ""))),
        ("as", format!("export const x = a{};", around(" as any", "", ""))),
        ("namespace", format!("namespace A{} {{ export const y = 1 }}", around(".A", "", ""))),
    ];
    for (name, source) in sources {
        let source = format!("{source}\nexport const pipeline = () => {{}};\n");
        let outcome = Ci::new().file("pipeline.ts", source).args(["check", "pipeline.ts"]).run();
        assert_eq!(outcome.code, 2, "{name}: {}", outcome.code);
        assert!(outcome.stderr.contains("nested too deeply"), "{name}: no reason");
        assert!(outcome.stderr.contains("--> pipeline.ts:"), "{name}: no place");
    }
    let source = format!(
        "export const x = {};\nexport const pipeline = () => {{}};\n",
        around("(", "1", ")")
    );
    let outcome = Ci::new().file("pipeline.js", source).args(["check", "pipeline.js"]).run();
    assert_eq!(outcome.code, 2, "JavaScript");
    assert!(outcome.stderr.contains("nested too deeply"), "JavaScript: no reason");
    assert!(outcome.stderr.contains("--> pipeline.js:"), "JavaScript: no place");
}

#[test]
fn deep_data_ends_no_process() {
    let body = r#"
        const levels = 200_000;
        const deep = JSON.parse("[".repeat(levels) + "]".repeat(levels));
        const attempts: Record<string, () => unknown> = {
            stringify: () => JSON.stringify(deep),
            clone: () => structuredClone(deep),
            equal: () => assert.equal(deep, JSON.parse("[".repeat(levels) + "]".repeat(levels))),
            log: () => console.log(deep),
            dir: () => console.dir(deep, { depth: null }),
            yaml: () => YAML.stringify(deep),
            parse: () => YAML.parse("[".repeat(levels)),
            cause: () => {
                let error = new Error("first");
                for (let i = 0; i < levels; i++) error = new Error("next", { cause: error });
                console.log(String(error));
            },
        };
        for (const [name, attempt] of Object.entries(attempts)) {
            try {
                attempt();
                console.log(`${name} returned`);
            } catch (error) {
                console.log(`${name} threw ${(error as Error).name}`);
            }
        }
        console.log("the end");
    "#;
    Ci::pipeline(body).run().exits(0).stdout_has("the end");
}

#[test]
fn check_names_what_is_exported_instead_of_a_pipeline() {
    for (source, expected) in [
        ("", "it exports nothing"),
        ("export type A = string;\n", "it exports nothing"),
        ("export const build = () => {};\n", "it exports `build`"),
        ("export const pipeline = 5;\n", "exports a `pipeline` that is a number, not a function"),
        ("export const pipeline = { name: \"x\" } as const;\n", "`pipeline` that is an object"),
        ("const a = `x`;\nexport { a as pipeline };\n", "`pipeline` that is a string"),
        ("export default [1];\n", "`default` that is an object"),
        ("const pipeline = () => {};\nexport = pipeline;\n", "`export =` is for CommonJS modules"),
    ] {
        for command in ["check", "run"] {
            let ci = Ci::new().file("pipeline.ts", source).args([command, "pipeline.ts"]);
            ci.run().exits(2).stderr_has(expected);
        }
    }
    for source in [
        "export const pipeline = () => {};\n",
        "export default async function () {}\n",
        "export const pipeline = 5;\nexport default () => {};\n",
        "const make = () => () => {};\nexport const pipeline = make();\n",
        "let later: unknown = 1;\nlater = () => {};\nexport { later as pipeline };\n",
        "export function pipeline() {}\n",
    ] {
        Ci::new().file("pipeline.ts", source).args(["check", "pipeline.ts"]).run().exits(0);
    }
}

#[test]
fn printing_never_throws() {
    let body = r##"
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  const fail = (): never => {
    throw new Error("do not look");
  };
  const traps = new Proxy({ a: 1 }, {
    get: fail,
    has: fail,
    ownKeys: fail,
    getPrototypeOf: fail,
    getOwnPropertyDescriptor: fail,
  });
  const values: Record<string, unknown> = {
    revoked: revoked.proxy,
    nested: { good: 1, bad: revoked.proxy },
    list: [1, revoked.proxy, 3],
    traps,
    getter: Object.defineProperty({}, "x", { get: fail, enumerable: true }),
    toString: { toString: fail },
    tag: { get [Symbol.toStringTag](): string { return fail(); } },
    tagValue: { [Symbol.toStringTag]: revoked.proxy },
    constructor: { get constructor(): unknown { return fail(); } },
    custom: { [Symbol.for("Deno.customInspect")]: fail },
    node: { [Symbol.for("nodejs.util.inspect.custom")]: fail },
    stack: Object.defineProperty(new Error("e"), "stack", { get: fail }),
    name: Object.defineProperty(new Error("e"), "name", { get: fail }),
    message: Object.defineProperty(new Error("e"), "message", { get: fail }),
    date: new Date(NaN),
    symbol: Symbol("s"),
    bare: Object.create(null),
    function: Object.defineProperty(() => {}, "name", { get: fail }),
    map: new Map([[revoked.proxy, 1]]),
    set: new Set([revoked.proxy]),
    cause: new Error("outer", { cause: revoked.proxy }),
  };
  for (const [name, value] of Object.entries(values)) {
    for (const print of [console.log, console.error, console.dir, console.debug]) {
      print(name, value);
    }
    console.log("%s %d %i %f %o %O %j %c", value, value, value, value, value, value, value, value);
    console.table(value);
    console.table([value]);
    console.assert(false, value);
    console.group(value);
    console.groupEnd();
    console.count(value as string);
    console.countReset(value as string);
    console.time(value as string);
    console.timeLog(value as string, value);
    console.timeEnd(value as string);
  }
  console.log("all were printed");
"##;
    Ci::pipeline(body).run().exits(0).stdout_has("all were printed");
}

/// Calls every function that a pipeline finds, with arguments of several kinds. A `TypeError` is a good
/// answer; that a part of the runtime is missing is none.
#[test]
fn no_global_lacks_a_part_of_itself() {
    let body = r##"
        const missing = new Set<string>();
        const attempt = (name: string, call: () => unknown) => {
            try {
                const result = call() as { catch?: (handler: (reason: unknown) => void) => void };
                result?.catch?.((reason) => check(name, reason));
            } catch (error) {
                check(name, error);
            }
        };
        const check = (name: string, error: unknown) => {
            const text = String((error as Error)?.message ?? error);
            if (/is not defined|lazy-loaded|not included|op_/.test(text)) missing.add(`${name}: ${text}`);
        };
        const skipped = ["reportError", "globalThis", "console", "eval", "setTimeout", "setInterval"];
        const global = globalThis as unknown as Record<string, any>;
        const all: Record<string, any> = {
            signal: AbortSignal.timeout(60_000),
            mark: performance.mark("mark", { detail: { deep: [1] } }),
            measure: performance.measure("measure"),
            decoder: new TextDecoder(),
            url: new URL("http://a/b"),
            event: new CustomEvent("e", { detail: 1 }),
            exception: new DOMException("a", "b"),
        };
        for (const name of Object.getOwnPropertyNames(globalThis)) {
            if (!skipped.includes(name)) all[name] = global[name];
        }
        for (const [name, value] of Object.entries(all)) {
            for (let target of [value, value?.prototype]) {
                for (; target && target !== Object.prototype; target = Object.getPrototypeOf(target)) {
                    if (typeof target !== "object" && typeof target !== "function") break;
                    for (const key of Reflect.ownKeys(target)) {
                        if (key === "constructor" || typeof key === "symbol") continue;
                        for (const args of [[], ["a"], [{}], [1, 2], ["a", "b"]]) {
                            attempt(`${name}.${key}`, () => {
                                const member = Reflect.get(target, key, value);
                                return typeof member === "function" ? Reflect.apply(member, value, args) : 0;
                            });
                        }
                    }
                }
            }
            if (typeof value === "function") {
                for (const args of [[], ["a"], [{}], [1, 2]]) attempt(name, () => new value(...args));
            }
        }
        await new Promise((resolve) => setTimeout(resolve, 5));
        assert.equal([...missing], []);
    "##;
    Ci::pipeline(body).run().exits(0);
}
