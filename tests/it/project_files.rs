//! The project's files go in, and artifacts come out, on every driver.

use std::path::Path;
use std::process::Command;

use crate::support::{Ci, Outcome};

/// One driver's tests of this.
#[macro_export]
macro_rules! project_files {
    ($dsn:expr) => {
        $crate::project_files! { $dsn,
            a_project_is_built_where_it_is
            what_ignore_files_name_is_left_out
            a_part_of_the_project_is_taken
            only_what_was_named_is_within_reach
            files_of_volumes_are_read
            an_artifact_appears_whole_and_replaces_its_own_kind
            what_is_no_artifact_is_told
            files_are_hashed
            no_right_and_no_hole_is_made_of_a_file
        }
    };
    ($dsn:expr, $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::project_files::$name($dsn);
            }
        )*
    };
}

mod native {
    project_files! { "native" }
}

mod native_with_links {
    project_files! { "native://?mounts=link" }
}

fn git(directory: &Path, args: &[&str]) {
    let status = Command::new("git")
        .args(["-c", "user.name=me", "-c", "user.email=me@example.com", "-C"])
        .arg(directory)
        .args(args)
        .status()
        .unwrap();
    assert!(status.success(), "git {args:?}");
}

/// A project under git with this pipeline in `ci/`, run on a driver.
fn project(dsn: &str, body: &str) -> Ci {
    let source = format!("export const pipeline = async () => {{\n{body}\n}};\n");
    let ci = Ci::new()
        .file("p/ci/pipeline.ts", source)
        .file("p/Makefile", "all:\n")
        .file("p/src/main.c", "int main;\n")
        .file("p/src/deep/er.txt", "deep\n")
        .file("p/.gitignore", "*.o\n/build/\n");
    git(&ci.dir().join("p"), &["init", "--quiet"]);
    git(&ci.dir().join("p"), &["add", "."]);
    git(&ci.dir().join("p"), &["commit", "--quiet", "--message", "first"]);
    ci.file("p/untracked.txt", "new\n")
        .file("p/main.o", "ignored\n")
        .file("p/build/out", "ignored\n")
        .args([
            "run",
            "p/ci/pipeline.ts",
            "--image",
            "debian:12",
            "--output",
            "plain",
            "--driver",
            dsn,
        ])
}

fn text(outcome: &Outcome, path: &str) -> String {
    let path = outcome.dir().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn a_project_is_built_where_it_is(dsn: &str) {
    let body = r#"
        const source = await runtime.source();
        const build = await runtime.run({
            name: "build",
            mounts: { ".": source },
            script: "mkdir -p dist/bin\ncat src/main.c untracked.txt > dist/bin/app\nln -s bin/app dist/link\nchmod 755 dist/bin/app\ntouch -d 2001-02-03 dist/bin/app\ngit status --short 2>/dev/null || true",
        });
        assert.truthy(build.ok);
        const test = await runtime.run({
            name: "test", mounts: { ".": { volume: source, readOnly: false } }, workDir: "dist", command: ["cat", "link"],
        });
        assert.equal(test.stdout, "int main;\nnew\n");
        console.log(await runtime.artifact({ name: "dist", volume: source, path: "dist" }));
        console.log(await runtime.artifact({ name: "app", volume: source, path: "dist/bin/app" }));
    "#;
    let outcome = project(dsn, body).run().exits(0);
    assert_eq!(text(&outcome, "p/ci-artifacts/dist/bin/app"), "int main;\nnew\n");
    assert_eq!(text(&outcome, "p/ci-artifacts/dist/link"), "int main;\nnew\n");
    assert_eq!(text(&outcome, "p/ci-artifacts/app"), "int main;\nnew\n");
    let outcome = outcome.stdout_has("p/ci-artifacts/dist\n").stdout_has("artifact `app`");
    let app = std::fs::metadata(outcome.dir().join("p/ci-artifacts/dist/bin/app")).unwrap();
    let modified = app.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(modified.as_secs() / 86400, 981_158_400 / 86400);
    // Nothing else of the project has changed, and git does not see the artifacts.
    assert!(!outcome.dir().join("p/dist").exists());
    let status = Command::new("git")
        .args(["-C", outcome.dir().join("p").to_str().unwrap(), "status", "--short"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(status.stdout).unwrap(), "?? untracked.txt\n");
    // All that a copy was made of is gone.
    let left: Vec<_> = std::fs::read_dir(outcome.dir().join("p/ci-artifacts")).unwrap().collect();
    assert_eq!(left.len(), 4, "{left:?}");
}

pub fn what_ignore_files_name_is_left_out(dsn: &str) {
    let body = r#"
        const list = async (options) => {
            const source = await runtime.source(options);
            const { stdout } = await runtime.run({ name: "list", mounts: { s: source }, script: "cd s\nfind . -type f ! -path './.git/*' | sort | tr '\n' ' '" });
            console.log(stdout);
            return source;
        };
        const source = await list();
        await runtime.run({ name: "make", mounts: { s: source }, command: ["touch", "s/made"] });
        await runtime.artifact({ name: "kept", volume: source, path: "Makefile" });
        await list();
        await list({ ignored: true, git: false });
    "#;
    let tracked = "./.gitignore ./Makefile ./ci/pipeline.ts";
    let rest = "./src/deep/er.txt ./src/main.c ./untracked.txt ";
    let outcome = project(dsn, body).run().exits(0);
    let usual = format!("{tracked} {rest}\n");
    assert_eq!(outcome.stdout.matches(&usual).count(), 4, "{}", outcome.transcript());
    // What is ignored comes along, but for the artifacts.
    let all = "./.gitignore ./Makefile ./build/out ./ci/pipeline.ts ./main.o";
    outcome.stdout_has(&format!("{all} {rest}\n"));
}

pub fn a_part_of_the_project_is_taken(dsn: &str) {
    let body = r#"
        const list = async (options) => {
            const source = await runtime.source(options);
            const { stdout } = await runtime.run({ name: "list", mounts: { s: source }, script: "cd s\nfind . -type f | sort | tr '\n' ' '" });
            console.log(`<${stdout}>`);
        };
        await list({ path: "src", git: false });
        await list({ include: ["*.c"], git: false });
        await list({ path: "src", exclude: ["*.c"], git: false });
        await list({ input: "shared" });
    "#;
    let ci = project(dsn, body).file("shared/one", "1").file("shared/two", "2");
    let shared = format!("shared={}", ci.dir().join("shared").display());
    ci.args(["--input", &shared])
        .run()
        .exits(0)
        .stdout_has("<./deep/er.txt ./main.c >")
        .stdout_has("<./src/main.c >")
        .stdout_has("<./deep/er.txt >")
        .stdout_has("<./one ./two >");
}

pub fn only_what_was_named_is_within_reach(dsn: &str) {
    let body = r#"
        for (const options of [{ path: "../secret" }, { path: "/etc" }, { path: "link" }, { path: "link/hosts" }, { path: "nothing" }, { input: "other" }, { include: ["["] }]) {
            await runtime.source(options).then(() => console.log("TOOK", options), (error) => console.log(error.message));
        }
        const source = await runtime.source();
        await runtime.run({ name: "link", mounts: { s: source }, script: "ln -s /etc s/etc\nln -s ../.. s/up\nmkdir s/bad\nln -s ../src/main.c s/bad/link" });
        for (const path of ["../x", "etc/hosts", "up/x", "/etc/hosts"]) {
            await runtime.readFile(source, path).then(() => console.log("READ", path), (error) => console.log(error.message));
            await runtime.artifact({ name: "x", volume: source, path }).then(() => console.log("PUBLISHED", path), (error) => console.log(error.message));
        }
        await runtime.artifact({ name: "bad", volume: source, path: "bad" }).then(() => console.log("PUBLISHED bad"), (error) => console.log(error.message));
    "#;
    let ci = project(dsn, body).file("secret/file", "secret");
    std::os::unix::fs::symlink("/etc", ci.dir().join("p/link")).unwrap();
    let outcome = ci.run().exits(0);
    for part in ["TOOK", "READ", "PUBLISHED", "localhost"] {
        assert!(!outcome.stdout.contains(part), "{}", outcome.transcript());
    }
    assert!(!outcome.dir().join("p/ci-artifacts/bad").exists());
    let outside = outcome.stdout.matches("leads out of").count();
    assert!(outside >= 10, "{outside}: {}", outcome.transcript());
    outcome.stdout_has("there is no input `other` (none is given)").stdout_has("glob `[`");
}

pub fn files_of_volumes_are_read(dsn: &str) {
    let body = r#"
        const volume = await runtime.createVolume();
        await runtime.run({ name: "write", mounts: { v: volume }, script: "mkdir v/deep\nprintf 'caf\\303\\251\\n\\377' > v/deep/text\nln -s deep/text v/link\nhead -c 16777216 /dev/zero > v/most\nhead -c 16777217 /dev/zero > v/more\nmkfifo v/fifo" });
        console.log(JSON.stringify(await runtime.readFile(volume, "deep/text")), JSON.stringify(await runtime.readFile(volume, "./link")));
        console.log([...await runtime.readFile(volume, "deep/text", { bytes: true })].join());
        console.log((await runtime.readFile(volume, "most", { bytes: true })).length);
        for (const path of ["more", "deep", "deep/nothing", "fifo"]) {
            await runtime.readFile(volume, path).catch((error) => console.log(error.message));
        }
    "#;
    project(dsn, body)
        .run()
        .exits(0)
        .stdout_has("\"café\\n\u{fffd}\" \"café\\n\u{fffd}\"")
        .stdout_has("99,97,102,195,169,10,255\n16777216\n")
        .stdout_has("it has 16.0 MiB, the most that is read is 16 MiB")
        .stdout_has("it is a directory")
        .stdout_has("there is no such file, `deep` has `text`")
        .stdout_has("it is not a regular file");
}

pub fn an_artifact_appears_whole_and_replaces_its_own_kind(dsn: &str) {
    let body = r#"
        const volume = await runtime.createVolume();
        const write = (script) => runtime.run({ name: "write", mounts: { v: volume }, script: `cd v\n${script}` });
        await write("mkdir out; echo 1 > out/one");
        await runtime.artifact({ name: "out", volume, path: "out" });
        await write("rm out/one; echo 2 > out/two");
        await runtime.artifact({ name: "out", volume, path: "out" });
        await write("echo file > out/file");
        await Promise.all(["out", "out", "b", "c"].map((name) => runtime.artifact({ name, volume, path: "out/file" })));
        await runtime.artifact({ name: "mine", volume }).catch((error) => console.log(error.message));
        await runtime.artifact({ name: "all", volume });
    "#;
    let ci = project(dsn, body).file("p/ci-artifacts/mine/thesis", "mine");
    let outcome = ci.run().exits(0).stdout_has("p/ci-artifacts/mine` is there already");
    assert_eq!(text(&outcome, "p/ci-artifacts/mine/thesis"), "mine");
    for name in ["out", "b", "c", "all/out/file"] {
        assert_eq!(text(&outcome, &format!("p/ci-artifacts/{name}")), "file\n", "{name}");
    }
    assert_eq!(text(&outcome, "p/ci-artifacts/all/out/two"), "2\n");
}

pub fn what_is_no_artifact_is_told(dsn: &str) {
    let body = r#"
        const volume = await runtime.createVolume();
        await runtime.run({ name: "write", mounts: { v: volume }, script: "mkdir v/there" });
        for (const name of ["a/b", "..", ".hidden", "x".repeat(201)]) {
            await runtime.artifact({ name, volume }).catch((error) => console.log("wrong name:", error.message));
        }
        await runtime.artifact({ name: "x", volume, path: "dist" }).catch((error) => console.log(error.message));
        await runtime.artifact({ name: "x", volume: { name: "unknown", path: "" } }).catch((error) => console.log(error.message));
    "#;
    let outcome = project(dsn, body).run().exits(0);
    assert_eq!(
        outcome.stdout.matches("wrong name: artifact `").count(),
        4,
        "{}",
        outcome.transcript()
    );
    outcome
        .stdout_has("there is nothing, the volume has `there`")
        .stdout_has("there is no volume `unknown`");
}

pub fn files_are_hashed(dsn: &str) {
    let body = r#"
        const one = await runtime.hashFiles(["Makefile", "src/**/*.txt"]);
        console.log("hash", one, one === await runtime.hashFiles(["src/**/*.txt", "Makefile"]), one === await runtime.hashFiles(["Makefile"]));
        await runtime.hashFiles(["no-lock.json"]).catch((error) => console.log(error.message));
        await runtime.hashFiles([]).catch((error) => console.log(error.message));
    "#;
    let outcome =
        project(dsn, body).run().exits(0).stdout_has(" true false\n").stdout_has("no-lock.json");
    outcome.stdout_has(
        "runtime.hashFiles: patterns: expected at least one path or glob, got an empty array",
    );
}

pub fn no_right_and_no_hole_is_made_of_a_file(dsn: &str) {
    let body = r#"
        const volume = await runtime.createVolume();
        await runtime.run({ name: "write", mounts: { v: volume }, script: "echo x > v/file\nchmod 6755 v/file\ntruncate -s 3G v/sparse\nmkdir v/d\ncp -p v/file v/d/" });
        await runtime.artifact({ name: "file", volume, path: "file" });
        await runtime.artifact({ name: "sparse", volume, path: "sparse" });
        await runtime.artifact({ name: "d", volume, path: "d" });
    "#;
    use std::os::unix::fs::MetadataExt as _;
    let outcome = project(dsn, body).run().exits(0);
    let found =
        |name: &str| std::fs::metadata(outcome.dir().join("p/ci-artifacts").join(name)).unwrap();
    assert_eq!(found("file").mode() & 0o7777, 0o755);
    assert_eq!(found("d/file").mode() & 0o7777, 0o755);
    assert_eq!(found("sparse").len(), 3 << 30);
    assert!(found("sparse").blocks() < 1 << 20);
}

/// What came with the project must not lead an artifact elsewhere.
#[test]
fn a_directory_for_artifacts_that_is_a_link_is_refused() {
    let body = r#"
        const source = await runtime.source({ path: "src" });
        await runtime.artifact({ name: "x", volume: source });
    "#;
    let ci = project("native", body).file("victim/file", "precious");
    std::os::unix::fs::symlink("../victim", ci.dir().join("p/ci-artifacts")).unwrap();
    let outcome =
        ci.run().exits(1).stderr_has("name the directory for artifacts with `--artifacts`");
    assert_eq!(std::fs::read_dir(outcome.dir().join("victim")).unwrap().count(), 1);

    let ci = project("native", body).file("precious", "precious").file("p/ci-artifacts/.keep", "");
    std::os::unix::fs::symlink("../../precious", ci.dir().join("p/ci-artifacts/.ci-artifacts"))
        .unwrap();
    let outcome = ci.run();
    assert_eq!(text(&outcome, "precious"), "precious");
}

/// The record of what is ours survives other runs, and is not taken for more than it says.
#[test]
fn only_what_was_published_is_replaced() {
    let body = r#"
        const source = await runtime.source({ path: "src" });
        const names = Array.from({ length: 20 }, (_, i) => `a${i}`);
        await Promise.all(names.map((name) => runtime.artifact({ name, volume: source, path: "main.c" })));
    "#;
    let ci = project("native", body);
    let runs: Vec<_> = (0..2).map(|_| ci.spawn()).collect();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    // Both runs again, and then a file of the user's own.
    assert!(ci.spawn().wait().unwrap().success());
    let own = ci.dir().join("p/ci-artifacts/a3");
    std::fs::remove_file(&own).unwrap();
    for number in 0..50 {
        // One of these gets the inode of what was removed.
        std::fs::write(ci.dir().join(format!("p/ci-artifacts/own-{number}")), "mine").unwrap();
    }
    std::fs::rename(ci.dir().join("p/ci-artifacts/own-0"), &own).unwrap();
    let outcome = ci.run().exits(1).stderr_has("a3` is there already and is none of `ci`");
    assert_eq!(text(&outcome, "p/ci-artifacts/a3"), "mine");
    let left = std::fs::read_dir(outcome.dir().join("p/ci-artifacts")).unwrap();
    let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !names.iter().any(|name| name.to_string_lossy().starts_with(".ci-scratch")),
        "{names:?}"
    );
}

/// What a killed run has left is removed by the next one.
#[test]
fn what_a_killed_run_left_of_an_artifact_is_removed() {
    let body = r#"
        const source = await runtime.source({ path: "src" });
        await runtime.artifact({ name: "x", volume: source });
    "#;
    let id = "7d6e0f2a-0000-4000-8000-000000000000";
    let ci = project("native", body)
        .file(&format!("p/ci-artifacts/.ci-scratch-{id}/lock"), "")
        .file(&format!("p/ci-artifacts/.ci-scratch-{id}/content/half"), "half")
        .file("p/ci-artifacts/.ci-scratch-mine/content", "mine");
    let outcome = ci.run().exits(0);
    let artifacts = outcome.dir().join("p/ci-artifacts");
    assert!(!artifacts.join(format!(".ci-scratch-{id}")).exists());
    assert!(artifacts.join(".ci-scratch-mine/content").exists());
}

/// The log of a run may lie in the project, which is copied while it grows.
#[test]
fn a_log_in_the_project_is_no_part_of_it() {
    let body = r#"
        const chatty = runtime.run({ name: "chatty", script: "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done" });
        const source = await runtime.source();
        await chatty;
        await runtime.readFile(source, "events.jsonl").catch((error) => console.log(error.message));
    "#;
    let ci = project("native", body);
    let log = ci.dir().join("p/events.jsonl");
    ci.args(["--events", log.to_str().unwrap()]).run().exits(0).stdout_has("there is no such file");
}

/// The logs of a task that took too long are what its user wants most.
#[test]
fn an_artifact_in_a_finally_is_written_when_the_run_has_to_end() {
    let body = r#"
        const logs = await runtime.createVolume();
        try {
            await runtime.run({ name: "slow", script: "echo log > logs/file; sleep 1000", mounts: { logs } });
        } finally {
            await runtime.artifact({ name: "logs", volume: logs });
        }
    "#;
    let outcome = Ci::pipeline(body).args(["--timeout", "1s"]).run().exits(124);
    let text = std::fs::read_to_string(outcome.dir().join("ci-artifacts/logs/file")).unwrap();
    assert_eq!(text, "log\n");
}
