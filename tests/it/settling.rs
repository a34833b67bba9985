//! What a pipeline leaves behind when it returns, and failures that it never looked at.

use crate::support::Ci;

/// Short ways to a task and to some time.
const HELPERS: &str = r#"
const sh = (name: string, script: string): RunOptions => ({
  name,
  image: "busybox",
  command: { path: "sh", args: ["-c", script] },
});
const run = (name: string, script: string) => runtime.run(sh(name, script));
const missing = (): RunOptions => ({ name: "build", image: "busybox", command: { path: "nmp" } });
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
"#;

fn pipeline(body: &str) -> Ci {
    Ci::module(&format!("{HELPERS}export const pipeline = async () => {{\n{body}\n}};\n"))
}

#[test]
fn what_nobody_waits_for_still_counts() {
    for (name, body) in [
        (
            "a volume",
            r#"const build = async () => {
                 const work = await runtime.createVolume();
                 const { code } = await runtime.run({ ...sh("build", "exit 7"), mounts: { work } });
                 assert.equal(code, 0);
               };
               void build();"#,
        ),
        (
            "sandboxes",
            r#"["a", "b"].forEach(async (name) => {
                 const box = await runtime.startSandbox({ name, image: "busybox" });
                 await box.exec({ command: { path: "true" } });
                 await box.close();
                 assert.equal((await run(name, "exit 7")).code, 0);
               });"#,
        ),
        (
            "a timer between two tasks",
            r#"const later = async () => {
                 await run("a", "true");
                 await sleep(100);
                 assert.equal((await run("b", "exit 7")).code, 0);
               };
               void later();"#,
        ),
        ("a timer alone", "setTimeout(() => assert.equal(7, 0), 50);"),
        ("a timer with text", "setTimeout('assert.equal(7, 0)' as never, 50);"),
        (
            "timers that set timers",
            "const next = (left: number) => { if (left === 0) assert.equal(7, 0); setTimeout(next, 5, left - 1); }; next(5);",
        ),
        ("an import", r#"void import("./other.ts").then((other) => other.build());"#),
        (
            "output",
            r#"void runtime.run({ ...sh("a", "echo hi"), onOutput: async () => { await sleep(50); assert.equal(7, 0); } });"#,
        ),
    ] {
        let outcome = pipeline(body)
            .file(
                "other.ts",
                "await new Promise((r) => setTimeout(r, 20)); export const build = () => assert.equal(7, 0);\n",
            )
            .run();
        assert_eq!(outcome.code, 1, "{name}: {}", outcome.transcript());
        assert!(outcome.stderr.contains("expected 0, got 7"), "{name}: {}", outcome.transcript());
    }
    pipeline("setTimeout(() => console.log('fired'), 20);").run().exits(0).stdout_has("fired");
}

#[test]
fn an_interval_that_nobody_stops_is_an_error() {
    const LEFT: &str = "an interval goes on after the pipeline has ended";
    for body in [
        "setInterval(() => undefined, 5);",
        "setInterval(() => undefined, 2 ** 32);",
        "setTimeout(() => setInterval(() => undefined, 5), 5);",
    ] {
        pipeline(body).run().exits(1).stderr_has(LEFT).stderr_has("pipeline.ts:11:");
    }
    let two = "setInterval(() => undefined, 5); setInterval(() => undefined, 6);";
    pipeline(two).run().exits(1).stderr_has("2 intervals go on after the pipeline has ended");
    for body in [
        "clearInterval(setInterval(() => undefined, 5));",
        "const id = setInterval(() => undefined, 5); setTimeout(() => clearInterval(id), 50);",
        "const id = setInterval(() => undefined, 2 ** 32); setTimeout(() => clearInterval(id), 5);",
        "let n = 0; const id = setInterval(() => { if (++n === 3) clearInterval(id); }, 5); await run('a', 'sleep 0.2');",
    ] {
        pipeline(body).run().exits(0);
    }
}

#[test]
fn a_long_timer_is_named_and_the_runs_timeout_is_heard() {
    for wait in ["3_600_000", "2 ** 40", "Infinity"] {
        let body = format!("setTimeout(() => undefined, {wait});");
        pipeline(&body).args(["--timeout", "1s"]).run().exits(124).stdout_has(
            "the run goes on until the timer has fired that was set at pipeline.ts:11:1; end it with \
             `clearTimeout`",
        );
    }
}

#[test]
fn a_signals_timeout_keeps_no_run_alive() {
    for wait in ["3_600_000", "2 ** 40"] {
        for signal in ["AbortSignal.timeout(WAIT)", "AbortSignal.any([AbortSignal.timeout(WAIT)])"]
        {
            let signal = signal.replace("WAIT", wait);
            for body in [
                format!("{signal}.addEventListener('abort', () => undefined);"),
                format!(
                    "setTimeout(() => {signal}.addEventListener('abort', () => undefined), 5);"
                ),
                format!("await runtime.run({{ ...sh('a', 'true'), signal: {signal} }});"),
            ] {
                pipeline(&body).args(["--timeout", "30s"]).run().exits(0);
            }
        }
    }
    let fires = "await new Promise((r) => AbortSignal.timeout(5).addEventListener('abort', r));";
    pipeline(fires).run().exits(0);
}

#[test]
fn an_error_that_nobody_reads_fails_the_run() {
    for (name, body) in [
        ("allSettled", "await Promise.allSettled([runtime.run(missing())]);"),
        ("any", "await Promise.any([runtime.run(missing()), run('good', 'sleep 0.2')]);"),
        ("race", "await Promise.race([Promise.resolve(), runtime.run(missing())]);"),
        ("an empty catch", "try { await runtime.run(missing()); } catch {}"),
        ("a catch that reads nothing", "await runtime.run(missing()).catch(() => undefined);"),
        (
            "one of two",
            "try { await Promise.all([runtime.run(missing()), runtime.run(missing())]); } catch (e) { String(e); }",
        ),
        (
            "printed",
            "await runtime.run(missing()).catch((e) => { console.log(e); console.error('no', { e }); console.table([e]); console.dir(e); });",
        ),
        (
            "aborted",
            "await Promise.allSettled([runtime.run({ ...sh('a', 'sleep 60'), signal: AbortSignal.abort() })]);",
        ),
        (
            "in a sandbox",
            "await using box = await runtime.startSandbox({ name: 'box', image: 'x' }); await Promise.allSettled([box.exec({ command: { path: 'nmp' } })]);",
        ),
        (
            "a closed sandbox",
            "const box = await runtime.startSandbox({ name: 'box', image: 'x' }); await box.close(); await Promise.allSettled([box.exec({ command: { path: 'true' } })]);",
        ),
        ("a misspelled option", "await Promise.allSettled([runtime.run({ nam: 'a' } as never)]);"),
        ("a volume", "await Promise.allSettled([runtime.createVolume({ name: '../a' })]);"),
        (
            "a volume of two sizes",
            "await runtime.createVolume({ name: 'a', size: 1 }); await Promise.allSettled([runtime.createVolume({ name: 'a', size: 2 })]);",
        ),
        ("a sandbox", "await Promise.allSettled([runtime.startSandbox({} as never)]);"),
        (
            "a wrong command for a sandbox",
            "const box = await runtime.startSandbox({ name: 'box', image: 'x' }); await box.exec({} as never).catch(() => undefined);",
        ),
    ] {
        let outcome = pipeline(body).run();
        let transcript = outcome.transcript();
        assert_eq!(outcome.code, 1, "{name}: {transcript}");
        assert!(outcome.stderr.contains("never looked at"), "{name}: {transcript}");
        assert!(outcome.stderr.contains("pipeline.ts:11:"), "{name}: {transcript}");
    }
    let two = "await Promise.allSettled([runtime.run(missing()), run('bad', 'exit 3')]);";
    pipeline(two)
        .run()
        .exits(1)
        .stderr_has("the pipeline never looked at 2 failures")
        .stderr_has("failure: `build`: cannot start `nmp`")
        .stderr_has("failure: `bad` did not succeed: exit code 3");
    pipeline("await Promise.allSettled([runtime.run(missing())]);")
        .run()
        .exits(1)
        .stderr_has("error: the pipeline never looked at an error: `build`: cannot start `nmp`")
        .stderr_has("help: read the error's `message` where it is caught");
}

#[test]
fn an_error_that_is_read_is_the_pipelines_own_business() {
    for (name, body) in [
        ("message", "await runtime.run(missing()).catch((e) => e.message);"),
        ("name", "await runtime.run(missing()).catch((e) => assert.equal(e.name, 'Error'));"),
        (
            "stack",
            "await runtime.run(missing()).catch((e) => assert.containsString(e.stack, 'pipeline.ts'));",
        ),
        ("text", "await runtime.run(missing()).catch((e) => console.log(`${e}`));"),
        (
            "a clone",
            "await runtime.run(missing()).catch((e) => assert.containsString(structuredClone(e).message, 'nmp'));",
        ),
        (
            "a new message",
            "await runtime.run(missing()).catch((e) => { e.message = 'mine'; assert.equal(e.message, 'mine'); });",
        ),
        (
            "the reason",
            "const [r] = await Promise.allSettled([runtime.run(missing())]); assert.containsString((r as PromiseRejectedResult).reason.message, 'nmp');",
        ),
        (
            "allowed",
            "await runtime.run({ ...missing(), allowFailure: true }).catch(() => undefined);",
        ),
        (
            "allowed in allSettled",
            "await Promise.allSettled([runtime.run({ ...missing(), allowFailure: true })]);",
        ),
        (
            "ordinary afterwards",
            "await runtime.run(missing()).catch((e) => { String(e); const own = Object.getOwnPropertyDescriptor(e, 'message'); assert.equal([typeof own?.value, own?.enumerable, Object.hasOwn(e, 'name')], ['string', false, false]); });",
        ),
    ] {
        let outcome = pipeline(body).run();
        assert_eq!(outcome.code, 0, "{name}: {}", outcome.transcript());
    }
    for body in [
        "await runtime.run(missing());",
        "try { await runtime.run(missing()); } catch (e) { throw e; }",
        "try { await runtime.run(missing()); } catch (cause) { throw new Error('wrapped', { cause }); }",
        "void runtime.run(missing());",
    ] {
        let outcome = pipeline(body).run().exits(1).lacks("never looked at");
        outcome.stderr_has("Error: cannot start `nmp`").stderr_has("pipeline.ts:11:");
    }
}

#[test]
fn printing_a_result_is_not_looking_at_it() {
    for print in [
        "console.log(r)",
        "console.table(r)",
        "console.table([r])",
        "console.table({ r }, ['code'])",
        "console.dir(r)",
        "console.dir({ r }, { depth: 5 })",
        "console.assert(false, r)",
        "console.group(r)",
        "console.log('%o %O %j', r, r, r)",
        "console.log(new Error('x', { cause: r }))",
        "console.log(new Map([[r, r]]), new Set([r]))",
        "try { assert.truthy([r].length === 0 ? r : '', 'x') } catch (e) { console.log(String(e)) }",
        "try { assert.containsString('a', r as never) } catch (e) { console.log(String(e)) }",
        "try { assert.equal(1, { get x() { return 1; }, r } as never) } catch (e) { console.log(String(e)) }",
    ] {
        let outcome = pipeline(&format!("const r = await run('build', 'exit 3'); {print};")).run();
        assert_eq!(outcome.code, 1, "{print}: {}", outcome.transcript());
        assert!(outcome.stderr.contains("never looked at"), "{print}: {}", outcome.transcript());
    }
    for (print, shown) in [
        ("console.log(r)", "code: 3"),
        ("console.table([r])", " 3 │"),
        ("console.dir({ r })", "code: 3"),
    ] {
        let body = format!("const r = await run('build', 'exit 3'); {print};");
        pipeline(&body).run().stdout_has(shown);
    }
}
