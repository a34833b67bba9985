//! What a pipeline may use of this machine while its code is read and runs, and whose files it may import.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};

use crate::support::{Ci, Outcome};

/// A run of this body with at most 64 MiB.
fn limited(body: &str) -> Outcome {
    Ci::pipeline(body).args(["--output", "plain", "--js-heap", "64MiB"]).run()
}

#[track_caller]
fn is_exhausted(name: &str, outcome: Outcome) {
    assert_eq!(outcome.code, 1, "{name}: {}", outcome.transcript());
    let told = outcome.stderr.contains("more memory than its limit");
    assert!(told, "{name}: {}", outcome.transcript());
}

#[test]
fn nothing_switches_the_limit_off() {
    for (name, trick) in [
        (
            "too large",
            "for (const max of [2 ** 63, 2 ** 53, 2 ** 64, 1e300, Infinity]) try { new ArrayBuffer(1, { maxByteLength: max }) } catch {}",
        ),
        (
            "no number",
            "for (const max of [-1, NaN, 'x', {}, -(2 ** 63)]) try { new ArrayBuffer(0, { maxByteLength: max as number }) } catch {}",
        ),
        (
            "too small",
            "for (let i = 0; i < 100; i++) try { new ArrayBuffer(2 << 20, { maxByteLength: 1 << 20 }) } catch {}",
        ),
        (
            "no buffer",
            "for (const max of [2 ** 63, 1 << 20]) for (let i = 0; i < 100; i++) try { ArrayBuffer.prototype.transfer.call({ resizable: true, maxByteLength: max } as never) } catch {}",
        ),
        (
            "transfers that fail",
            "for (let i = 0; i < 100; i++) try { new ArrayBuffer(1, { maxByteLength: 1 << 20 }).transfer(2 << 20) } catch {}",
        ),
        (
            "filter",
            "Array.prototype.filter = function (f: any) { for (const x of this) f(x); f({ buffer: { deref() {} }, bytes: 2 ** 40 }); return []; } as never;",
        ),
        ("deref", "WeakRef.prototype.deref = () => undefined;"),
        (
            "iterators",
            "const own = Array.prototype[Symbol.iterator]; Array.prototype[Symbol.iterator] = function (this: unknown[]) { return typeof this[1] === 'number' ? own.call([this[0], 0]) : own.call(this); } as never;",
        ),
        ("apply", "Reflect.apply = (() => 0) as never; Math.trunc = () => 0;"),
    ] {
        let fill = "const kept = []; while (kept.length < 1000) kept.push(new Uint8Array(1 << 20).fill(1));";
        is_exhausted(name, limited(&format!("{trick}\n{fill}")));
        let fill = "const kept = []; while (kept.length < 1000) { const b = new ArrayBuffer(0, { maxByteLength: 1 << 20 }); b.resize(1 << 20); new Uint8Array(b).fill(1); kept.push(b); }";
        is_exhausted(name, limited(&format!("{trick}\n{fill}")));
    }
    for (name, trick) in [
        // Together these would give back 1 MiB, if what fails gave back anything.
        ("sums beyond 2^64", "for (const max of [2 ** 63, 2 ** 62, 2 ** 62 + 2 ** 20])"),
        (
            "a buffer of its own",
            "Array.prototype.filter = function (f: any) { f({ buffer: { deref() {} }, bytes: 1 << 20 }); return []; } as never; for (const max of [2 ** 40])",
        ),
    ] {
        let body = format!(
            "const kept = []; while (kept.length < 1000) {{
                kept.push(new Uint8Array(1 << 20).fill(1));
                {trick} try {{ new ArrayBuffer(1, {{ maxByteLength: max }}); }} catch {{}}
            }}"
        );
        is_exhausted(name, limited(&body));
    }
    is_exhausted(
        "a buffer that denies that it can grow",
        limited(
            "const kept = []; while (kept.length < 1000) {
                const b = new ArrayBuffer(1 << 20, { maxByteLength: 1 << 20 });
                Object.defineProperty(b, 'resizable', { value: false });
                Object.defineProperty(b, 'maxByteLength', { value: 0 });
                const c = b.transfer();
                new Uint8Array(c).fill(1);
                kept.push(c);
            }",
        ),
    );
}

#[test]
fn what_fails_and_what_is_gone_does_not_count() {
    let outcome = limited(
        "for (let i = 0; i < 200; i++) {
            try { new ArrayBuffer(2 << 20, { maxByteLength: 1 << 20 }); } catch {}
            try { new ArrayBuffer(1, { maxByteLength: 1 << 20 }).transfer(2 << 20); } catch {}
            new ArrayBuffer(1, { maxByteLength: 8 << 20 }).transfer().transfer();
        }
        new Uint8Array(32 << 20).fill(1);
        console.log('enough');",
    );
    outcome.exits(0).stdout_has("enough");
}

#[test]
fn tasks_that_wait_count_with_all_their_texts() {
    let text = "const text = 'x'.repeat(100_000); const many = Array.from({ length: 50 }, (_, i) => `V${i}`);";
    for options in [
        "env: Object.fromEntries(many.map((name) => [name, text])), command: { path: 'sleep', args: ['60'] }",
        "command: { path: 'sleep', args: many.map(() => text) }",
        "name: text.repeat(50), command: { path: 'sleep', args: ['60'] }",
        "workDir: text.repeat(50), command: { path: 'sleep', args: ['60'] }",
    ] {
        let body = format!(
            "{text} const tasks = []; for (let i = 0; i < 100; i++) tasks.push(runtime.run({{ name: 't', image: 'x', {options} }})); await Promise.all(tasks);"
        );
        is_exhausted(options, limited(&body));
    }
}

#[test]
fn texts_that_no_kernel_takes_are_refused_before_they_are_copied() {
    let text = "const text = 'x'.repeat(1 << 20); const many = Array.from({ length: 100_000 }, (_, i) => `V${i}`);";
    for options in [
        "env: Object.fromEntries(many.map((name) => [name, text])), command: { path: 'true' }",
        "command: { path: 'true', args: many.map(() => text) }",
        "command: { path: text.repeat(20) }",
        "mounts: many.map((name) => ({ name, path: text })), command: { path: 'true' }",
    ] {
        let body = format!("{text} await runtime.run({{ name: 't', image: 'x', {options} }});");
        let outcome = Ci::pipeline(&body).run();
        assert_eq!(outcome.code, 1, "{options}: {}", outcome.transcript());
        let told = outcome.stderr.contains("more than any kernel takes");
        assert!(told, "{options}: {}", outcome.transcript());
    }
}

#[test]
fn text_of_values_is_within_the_limit() {
    let body = "YAML.stringify(Array(100_000).fill('x'.repeat(1 << 20)));";
    is_exhausted("stringify", limited(body));
    let outcome = limited("assert.equal('a\\n'.repeat(2_000_000), 'b\\n'.repeat(2_000_000));");
    outcome.exits(1).stderr_has("uncaught AssertionError: expected \"b\\n\" +");
}

#[test]
fn typescript_has_a_limit_of_its_own() {
    let large = format!("//{}\nexport const pipeline = () => {{}};\n", "x".repeat(33 << 20));
    for command in ["check", "run"] {
        let ci = Ci::new().file("pipeline.ts", &large).args([command, "pipeline.ts"]);
        ci.run()
            .exits(2)
            .stderr_has("`pipeline.ts` has 33.0 MiB, and TypeScript may have 32.0 MiB");
    }
    Ci::new().file("pipeline.js", &large).args(["run", "pipeline.js"]).run().exits(0);
}

#[test]
fn the_memory_of_transpiling_is_limited() {
    let source = format!(
        "export const x = [{}];\nexport const pipeline = () => {{}};\n",
        "1,".repeat(3_000_000)
    );
    let ci = Ci::new().file("pipeline.ts", source);
    ci.args(["run", "--js-heap", "64MiB", "pipeline.ts"]).run().exits(2).stderr_has(
        "cannot transpile `pipeline.ts`: the pipeline needs more memory than its limit",
    );
}

#[test]
fn javascript_of_any_depth_ends_no_process() {
    const LEVELS: usize = 200_000;
    let around = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(LEVELS), close.repeat(LEVELS))
    };
    for (name, source) in [
        ("sum", format!("export const x = 1{};", around("+1", "", ""))),
        ("millions of terms", format!("export const x = 1{};", "+1".repeat(3_000_000))),
        ("power", format!("export const x = 1{};", around("**1", "", ""))),
        ("or", format!("export const x = 1{};", around("||1", "", ""))),
        (
            "member",
            format!("export const a = {{}}; export const x = () => a{};", around(".b", "", "")),
        ),
        (
            "millions of members",
            format!("export const a = {{}}; export const x = () => a{};", ".b".repeat(4_000_000)),
        ),
        (
            "optional",
            format!("export const a = {{}}; export const x = () => a{};", around("?.b", "", "")),
        ),
        ("calls", format!("export const x = () => x{};", around("()", "", ""))),
        ("else if", format!("const a = 0; if (a) ; {}", around("else if (a) ;", "", ""))),
        ("template", format!("export const x = {};", around("`${", "1", "}`"))),
        ("arrow", format!("export const x = {};", around("a=>", "1", ""))),
        ("unary", format!("export const x = {};", around("!", "1", ""))),
        ("minus", format!("export const x = {};", around("- ", "1", ""))),
        ("ternary", format!("const a = 0; export const x = {};", around("a?0:", "1", ""))),
        ("comma", format!("export const x = (0{});", around(",1", "", ""))),
    ] {
        let source = format!("{source}\nexport const pipeline = () => {{}};\n");
        for command in ["check", "run"] {
            let ci = Ci::new().file("pipeline.js", &source).args([command, "pipeline.js"]);
            let outcome = ci.run();
            let is_refused = outcome.code == 2 && outcome.stderr.contains("nested too deeply");
            // Code that is not too deep to be compiled may still be too deep to be run.
            let is_thrown = outcome.code == 1 && outcome.stderr.contains("RangeError");
            let is_good = outcome.code == 0 || is_refused || (command == "run" && is_thrown);
            assert!(is_good, "{command} {name}: {} {}", outcome.code, outcome.stderr);
        }
    }
}

/// A user that is neither root nor the one who runs the tests.
const SOMEBODY: u32 = 65_533;

/// A pipeline in `p/ci` that imports `p/lib.ts`, below a `.git` that is a file.
fn tree() -> Ci {
    Ci::new()
        .file("p/.git", "gitdir: elsewhere\n")
        .file("p/lib.ts", "export const lib = \"imported\";\n")
        .file(
            "p/ci/pipeline.ts",
            "import { lib } from \"../lib.ts\";\nexport const pipeline = () => console.log(lib);\n",
        )
        .args(["run", "p/ci/pipeline.ts"])
}

/// Needs the right to give files away.
#[test]
fn a_work_tree_of_somebody_else_is_no_project() {
    tree().run().exits(0).stdout_has("imported");

    let ci = tree();
    chown(ci.dir().join("p/.git"), Some(SOMEBODY), None).unwrap();
    ci.run().exits(2).stderr_has("outside of the project `p/ci`");

    let ci = tree();
    std::fs::remove_file(ci.dir().join("p/.git")).unwrap();
    std::fs::create_dir(ci.dir().join("p/.git")).unwrap();
    chown(ci.dir().join("p/.git"), Some(SOMEBODY), None).unwrap();
    ci.run().exits(2).stderr_has("outside of the project `p/ci`");

    // Nobody planted it who did not write the pipeline, too.
    let ci = tree();
    chown(ci.dir().join("p/.git"), Some(SOMEBODY), None).unwrap();
    chown(ci.dir().join("p/ci/pipeline.ts"), Some(SOMEBODY), None).unwrap();
    ci.run().exits(0).stdout_has("imported");
}

#[test]
fn a_work_tree_that_anybody_can_write_to_is_no_project() {
    for (mode, code) in [(0o777, 2), (0o1777, 0), (0o775, 0), (0o755, 0)] {
        let ci = tree();
        std::fs::set_permissions(ci.dir().join("p"), Permissions::from_mode(mode)).unwrap();
        ci.run().exits(code);
    }
    let ci = tree();
    std::fs::set_permissions(ci.dir().join("p"), Permissions::from_mode(0o1777)).unwrap();
    chown(ci.dir().join("p"), Some(SOMEBODY), None).unwrap();
    ci.run().exits(2).stderr_has("outside of the project `p/ci`");

    let ci = tree();
    std::fs::remove_file(ci.dir().join("p/.git")).unwrap();
    std::os::unix::fs::symlink("/", ci.dir().join("p/.git")).unwrap();
    ci.run().exits(2).stderr_has("outside of the project `p/ci`");
}
