//! Every example runs, and prints what it says.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use crate::support::Ci;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");

fn run(driver: &str, example: &str, args: &[&str]) -> (Output, String) {
    let ci = Ci::new()
        .args(["run", "--output", "plain", &format!("{EXAMPLES}/{example}")])
        .args(args)
        .env("CI_DRIVER", driver);
    let output = ci.command().output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output, text)
}

fn drivers() -> [String; 2] {
    ["native".to_owned(), format!("docker://examples?host={}", crate::docker::host())]
}

#[track_caller]
fn succeeds(example: &str, args: &[&str], parts: &[&str]) {
    succeeds_on(&drivers(), example, args, parts);
}

#[track_caller]
fn succeeds_on(drivers: &[String], example: &str, args: &[&str], parts: &[&str]) {
    for driver in drivers {
        let (output, text) = run(driver, example, args);
        assert_eq!(output.status.code(), Some(0), "{driver}: {text}");
        for part in parts {
            assert!(text.contains(part), "{driver}: no `{part}` in\n{text}");
        }
    }
}

#[test]
fn hello_world() {
    for file in ["hello-world.ts", "hello-world.js"] {
        succeeds(file, &[], &["[hello] Hello, World!", "run succeeded"]);
    }
}

#[test]
fn volumes() {
    succeeds("volumes.ts", &[], &["[read] from the first task"]);
}

#[test]
fn parallel() {
    succeeds("parallel.ts", &["--", "5"], &["squares: [ 0, 1, 4, 9, 16 ]", "5 tasks"]);
}

#[test]
fn sandbox() {
    succeeds("sandbox.ts", &[], &["[ask] Hello, World!", "3 tasks"]);
}

#[test]
fn failure() {
    let (output, text) = run("native", "failure.ts", &[]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in [
        "lint ended with 3, which is only a warning here",
        "the build has to succeed",
        "failure.ts:20",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

#[test]
fn c_project() {
    let artifacts = tempfile::tempdir().unwrap();
    let (source, directory) = (format!("{EXAMPLES}/c-project"), artifacts.path().to_str().unwrap());
    // The engine of the tests has no image with a compiler.
    succeeds_on(
        &["native".into()],
        "c-project/pipeline.ts",
        &["--source", &source, "--artifacts", directory],
        &["[test] 0 failures", "[try-release] 2 4 18", "artifact `tally.tar.gz`", "run succeeded"],
    );
    assert!(artifacts.path().join("tally.tar.gz").is_file());
}

/// The content of all files of a directory, by their paths in it.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_file() {
                let name = path.strip_prefix(directory).unwrap().to_str().unwrap();
                found.insert(name.to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn node_service() {
    let source = format!("{EXAMPLES}/node-service");
    let before = files(Path::new(&source));
    for driver in drivers() {
        let (artifacts, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let separator = if driver.contains('?') { "&" } else { "://?" };
        let cached = [format!(
            "{driver}{separator}cache=file://{}&cache_outside_links=keep",
            cache.path().display()
        )];
        let args: [&str; 4] =
            ["--source", &source, "--artifacts", artifacts.path().to_str().unwrap()];
        for install in ["added 1 package", "node_modules is up to date"] {
            let install = format!("[install] {install}");
            let parts: [&str; 3] =
                [&install, "[lint] files: 9, problems: 0", "✔ a note is kept until"];
            succeeds_on(&cached, "node-service/ci/pipeline.ts", &args, &parts);
        }

        let built = files(artifacts.path());
        assert_eq!(built["dist/VERSION"], before["VERSION"]);
        assert!(built.contains_key("dist/node_modules/@example/router/index.js"));
        assert!(built.contains_key("test-report/junit.xml"));
    }
    assert_eq!(files(Path::new(&source)), before, "a run has changed the project");
}

#[test]
fn a_failing_test_of_node_service_fails_the_run() {
    let source = files(Path::new(&format!("{EXAMPLES}/node-service")));
    for driver in drivers() {
        let project = source.iter().fold(Ci::new(), |ci, (name, content)| ci.file(name, content));
        let test = String::from_utf8(source["test/app.test.js"].clone()).unwrap();
        let outcome = project
            .file("test/app.test.js", test.replace("there is no note 7", "it is gone"))
            .args(["run", "ci/pipeline.ts", "--source", ".", "--output", "plain"])
            .args(["--driver", &driver])
            .run()
            .exits(1);
        let name = "mistakes of a client are told as JSON";
        let outcome = outcome.stdout_has(&format!("[test] ✖ {name}"));
        let outcome = outcome.stderr_has("test has to succeed").lacks("artifact `dist`");
        let report = outcome.dir().join("ci-artifacts/test-report/junit.xml");
        let report = std::fs::read_to_string(report).unwrap();
        assert!(report.contains(name) && report.contains("<failure"), "{report}");
    }
}

/// What a newcomer does first: the pipeline of the README, in a project with tests.
#[test]
fn the_pipeline_of_the_readme_tests_a_real_project() {
    let readme = include_str!("../../README.md");
    let (_, pipeline) = readme.split_once("```ts\n").unwrap();
    let (pipeline, after) = pipeline.split_once("```").unwrap();
    let (_, command) = after.split_once("run `ci ").unwrap();
    let (command, _) = command.split_once('`').unwrap();
    let package = r#"{ "name": "app", "version": "1.0.0", "scripts": { "test": "node test.js" } }"#;
    let lock = r#"{ "name": "app", "version": "1.0.0", "lockfileVersion": 3, "packages": { "": { "name": "app", "version": "1.0.0" } } }"#;
    for driver in ["native", "docker"] {
        let project = |test: &str| {
            Ci::new()
                .file("ci/pipeline.ts", pipeline)
                .file("package.json", package)
                .file("package-lock.json", lock)
                .file("lib.js", "exports.sum = (a, b) => a + b;\n")
                .file("test.js", format!("const {{ sum }} = require('./lib.js');\n{test}"))
                .file(".git/HEAD", "ref: refs/heads/main\n")
                .args(command.split_whitespace())
                .args(["--output", "plain", "--driver", driver])
                .env("DOCKER_HOST", crate::docker::host())
        };
        let good = project("if (sum(1, 2) !== 3) process.exit(1); console.log('all good');\n");
        good.run().exits(0).stdout_has("[test] all good").stdout_has("run succeeded");
        let bad = project("throw new Error('broken test');\n").run().exits(1);
        bad.stdout_has("ci: line 2 of the script failed: npm test, with exit code 1");
    }
}

#[test]
fn yaml() {
    succeeds("hello-world.yml", &[], &["[hello] Hello, World!", "run succeeded"]);
    succeeds("caches.yml", &[], &["[install-deps] installed", "[test] left-pad"]);
    succeeds("fan-out.yml", &[], &["[count] 3", "[print] 1 2 3", "[add-10] 13", "[add-20] 21"]);
    succeeds("hooks.yml", &[], &["[report-lint] lint found something", "[clean-up] cleaned up"]);
    succeeds(
        "matrix.yml",
        &["--var", "greeting=Hi"],
        &["[compile-alpine-debug] Hi alpine debug v1", "[upload-2] part 2 of 2"],
    );
}

#[test]
fn every_example_is_tested() {
    let source = include_str!("examples.rs");
    for folder in ["", "c-project", "node-service/ci"] {
        for entry in std::fs::read_dir(Path::new(EXAMPLES).join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let is_pipeline = path
                .extension()
                .is_some_and(|end| ["ts", "js", "yml"].iter().any(|known| end == *known));
            let name = path.strip_prefix(EXAMPLES).unwrap().to_str().unwrap();
            assert!(!is_pipeline || source.contains(&format!("\"{name}\"")), "{name} has no test");
        }
    }
}
