//! `--cache` and `CI_CACHE`: the cache on a laptop, without a server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use testkit::S3;

use crate::cache::{BUILD, file_cache};
use crate::secrets::LOOK;
use crate::support::Ci;

/// A user's cache directory.
pub struct Home(pub TempDir);

impl Home {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A new project of this user, with `ci run` of this pipeline.
    pub fn project(&self, body: &str) -> Ci {
        // Each is another project.
        let name = format!("project-{}", &uuid::Uuid::new_v4().to_string()[..8]);
        let source = format!("export const pipeline = async () => {{\n{body}\n}};\n");
        let project = Ci::named(&name).file("pipeline.ts", source);
        project
            .args(["run", "pipeline.ts", "--output", "plain"])
            .env("XDG_CACHE_HOME", self.0.path())
    }

    /// The store of all projects.
    pub fn store(&self) -> PathBuf {
        self.0.path().join("ci/volumes")
    }

    /// The names of all archives, without the directories of their projects.
    pub fn archives(&self) -> Vec<String> {
        let mut names: Vec<String> = files(&self.store())
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .filter(|name| !name.starts_with(".ci-"))
            .collect();
        names.sort();
        names
    }

    pub fn cache(&self, args: &[&str]) -> String {
        let ci = Ci::new().env("XDG_CACHE_HOME", self.0.path());
        run(&ci, &[&["cache"], args].concat(), 0)
    }
}

pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

/// Runs it once more with these arguments as well, and returns all that was printed.
#[track_caller]
pub fn run(ci: &Ci, args: &[&str], code: i32) -> String {
    let output = ci.command().args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    text
}

#[track_caller]
pub fn has(text: &str, part: &str) {
    assert!(text.contains(part), "no `{part}` in\n{text}");
}

#[track_caller]
pub fn lacks(text: &str, part: &str) {
    assert!(!text.contains(part), "`{part}` in\n{text}");
}

#[test]
fn the_second_run_on_a_laptop_has_what_the_first_one_made() {
    let home = Home::new();
    let project = home.project(BUILD);
    has(&run(&project, &["--cache", "--cache-strict"], 0), r#"volume: "building\nmade\ndeep\n""#);
    let warm = run(&project, &["--cache", "--cache-strict"], 0);
    has(&warm, "hit ");
    has(&warm, r#"volume: "made\ndeep\n""#);
    // Without the option, a name keeps nothing.
    has(&run(&project, &[], 0), "building");

    let other = home.project(BUILD);
    has(&run(&other, &["--cache", "--cache-strict"], 0), "building");
    has(&run(&project, &["--cache"], 0), r#"volume: "made\ndeep\n""#);
    assert_eq!(home.archives(), ["modules.tar.zst", "modules.tar.zst"]);
    assert_eq!(home.store().metadata().unwrap().permissions().mode() & 0o7777, 0o700);

    let listed: Value = serde_json::from_str(&home.cache(&["ls", "--json"])).unwrap();
    let names: Vec<&str> =
        listed.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    let project = project.dir().file_name().unwrap().to_str().unwrap().trim_start_matches('.');
    assert!(names.iter().any(|name| name.starts_with(project)), "{project} in {names:?}");
    assert!(names.iter().all(|name| name.ends_with("/modules")), "{names:?}");
    has(&home.cache(&["stat", names[0]]), "project   ");
    has(&home.cache(&["verify"]), "ok");
    has(&home.cache(&["ls", "--cache"]), "modules.tar.zst");
}

#[test]
fn a_store_that_nobody_has_used_is_empty() {
    let home = Home::new();
    has(&home.cache(&["ls", "--json"]), "[]");
    has(&home.cache(&["prune", "--older-than", "0s"]), "nothing is older than");
}

#[test]
fn the_variable_says_the_same_and_the_option_wins() {
    let elsewhere = tempfile::tempdir().unwrap();
    let url = file_cache(elsewhere.path());
    let table: [(Option<&str>, &[&str], bool); 16] = [
        (Some("1"), &[], true),
        (Some("true"), &[], true),
        (Some("local"), &[], true),
        (Some("ON"), &[], true),
        (Some(""), &[], false),
        (Some("0"), &[], false),
        (Some("false"), &[], false),
        (Some("off"), &[], false),
        (None, &[], false),
        (Some("off"), &["--cache"], true),
        (Some("wrong"), &["--cache"], true),
        (Some("1"), &["--no-cache"], false),
        (Some("1"), &["--cache=off"], false),
        (None, &["--cache=local"], true),
        (Some(""), &["--cache"], true),
        (Some(&url), &["--cache"], true),
    ];
    for (variable, args, is_local) in table {
        let home = Home::new();
        let ci = home.project(BUILD);
        let ci = match variable {
            Some(value) => ci.env("CI_CACHE", value),
            None => ci,
        };
        let text = run(&ci, args, 0);
        assert_eq!(text.contains("cache miss"), is_local, "{variable:?} {args:?}: {text}");
        assert_eq!(home.archives().len(), usize::from(is_local), "{variable:?} {args:?}");
    }
    let home = Home::new();
    let ci = home.project(BUILD).env("CI_CACHE", &url);
    run(&ci, &[], 0);
    assert!(elsewhere.path().join("modules.tar.zst").is_file());
    assert!(!home.store().exists());
    let listed = Ci::new().args(["cache", "ls"]).env("CI_CACHE", &url);
    has(&run(&listed, &[], 0), "modules.tar.zst");

    let text = run(&home.project(BUILD).env("CI_CACHE", "maybe"), &[], 2);
    has(&text, "invalid value `maybe` for `CI_CACHE`, expected `s3://bucket/prefix`");
}

#[test]
fn an_address_may_follow_the_option_and_a_file_is_never_taken_for_one() {
    let elsewhere = tempfile::tempdir().unwrap();
    let url = file_cache(elsewhere.path());
    let joined = format!("--cache={url}");
    let table: [(&[&str], bool); 6] = [
        (&["run", "--cache", "pipeline.ts"], true),
        (&["run", "pipeline.ts", "--cache"], true),
        (&["run", "pipeline.ts", "--cache", "--", "s3://bucket"], true),
        (&["run", "--cache", &url, "pipeline.ts"], false),
        (&["run", "pipeline.ts", "--cache", &url], false),
        (&["run", &joined, "pipeline.ts"], false),
    ];
    for (args, is_local) in table {
        let home = Home::new();
        let source = format!("export const pipeline = async () => {{{BUILD}}};");
        let ci = Ci::new().file("pipeline.ts", source).env("XDG_CACHE_HOME", home.0.path());
        run(&ci, args, 0);
        let there = elsewhere.path().join("modules.tar.zst");
        assert_eq!((home.archives().len(), there.exists()), (usize::from(is_local), !is_local));
        _ = fs::remove_file(there);
    }
}

#[test]
fn two_ways_to_say_it_at_once_are_a_mistake() {
    let home = Home::new();
    let dsn = "native://?cache=file:///nowhere";
    let run_with = |variables: &[(&str, &str)], args: &[&str], code| {
        let ci = variables.iter().fold(home.project(""), |ci, (name, value)| ci.env(name, value));
        run(&ci, args, code)
    };
    for text in [
        run_with(&[], &["--cache", "--driver", dsn], 2),
        run_with(&[("CI_DRIVER", dsn)], &["--cache=s3://bucket"], 2),
        run_with(&[("CI_DRIVER", dsn), ("CI_CACHE", "off")], &["--cache"], 2),
    ] {
        has(&text, "both `--cache` and `cache=` in the driver's DSN say where the cache is");
        has(&text, "keep one of them");
    }
    for value in ["1", "s3://bucket"] {
        let text = run_with(&[("CI_CACHE", value)], &["--driver", dsn], 2);
        has(&text, "both `CI_CACHE` and `cache=` in the driver's DSN");
        has(&text, "unset `CI_CACHE`");
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let of_dsn = format!("native://?cache={}", file_cache(elsewhere.path()));
    // What says that there is none says nothing of another one.
    for value in ["", "0", "off"] {
        run_with(&[("CI_CACHE", value)], &["--driver", &of_dsn], 0);
    }
    run_with(&[("CI_CACHE", "1")], &["--driver", dsn, "--no-cache"], 0);
    has(&run_with(&[], &["--cache", "--no-cache"], 2), "cannot be used with");

    let ci = Ci::new().args(["cache", "ls"]).env("CI_DRIVER", dsn).env("CI_CACHE", "1");
    has(&run(&ci, &[], 2), "both `CI_CACHE` and `cache=`");
    has(&run(&ci, &["--store", "file:///nowhere"], 3), "there is no directory");
    has(
        &run(&ci, &["--store", "file:///nowhere", "--cache"], 2),
        "both `--cache` and `--store` say",
    );
}

#[test]
fn settings_are_options_too() {
    let home = Home::new();
    let project = home.project(BUILD);
    let prefix = ["--cache", "--cache-prefix", "pr-1%2F", "--cache-compression", "gzip"];
    run(&project, &prefix, 0);
    assert_eq!(home.archives(), ["modules.tar.gzip"]);
    let found = files(&home.store());
    assert!(found[0].parent().unwrap().ends_with("pr-1%2F"), "{found:?}");
    let other = [
        "--cache",
        "--cache-prefix=pr-2",
        "--cache-fallback=main",
        "--cache-fallback=pr-1%2F",
        "--cache-compression=gzip",
        "--cache-policy=pull",
    ];
    has(&run(&project, &other, 0), r#"volume: "made\ndeep\n""#);
    assert_eq!(home.archives(), ["modules.tar.gzip"]);
    // The same at an address that has settings too.
    let elsewhere = tempfile::tempdir().unwrap();
    let url = format!("{}?cache_compression=none", file_cache(elsewhere.path()));
    run(&project, &["--cache", &url, "--cache-prefix", "a%b"], 0);
    assert!(elsewhere.path().join("a%b/modules.tar").is_file());

    let table: [(&[&str], &str); 13] = [
        (&["--cache-ttl", "7d"], "`--cache-ttl` is given without a cache"),
        (&["--cache-size", "1GiB"], "`--cache-size` is given without a cache"),
        (
            &["--cache-prefix", "x", "--driver", "native://?cache=file:///x"],
            "`--cache-prefix` goes with `--cache`, and the DSN has `cache=`",
        ),
        (&["--cache=file:///x", "--cache-size", "1GiB"], "in the user's cache directory"),
        (&["--cache", "--cache-size", "0"], "expected a size above 0"),
        (
            &["--cache", "--cache-ttl", "soon"],
            "invalid value `soon` for `--cache-ttl`, expected a duration above 0",
        ),
        (
            &["--cache", "--cache-policy", "both"],
            "for `--cache-policy`, expected `pull-push`, `pull`, `push` or `none`",
        ),
        (&["--cache", "--cache-prefix", "a//b"], "invalid prefix for `--cache-prefix`: "),
        (&["--cache=file:///x?cache_when=x"], "invalid value `x` for key `cache_when`"),
        (
            &["--cache=file:///x?ttl=1d", "--cache-ttl=2d"],
            "`--cache-ttl` is given, and `ttl` in the address of the cache, keep one",
        ),
        (&["--cache=s3://b"], "invalid value `s3://b` for `--cache`, expected a bucket of 3"),
        (&["--cache=s3://bucket?colour=x"], "invalid `--cache`: unknown key `colour`"),
        (&["--cache=somewhere"], "invalid value `somewhere` for `--cache`, expected `s3://"),
    ];
    for (args, expected) in table {
        has(&run(&home.project("console.log('IT RAN')"), args, 2), expected);
    }
    let help = run(&Ci::new(), &["run", "--help"], 0);
    has(&help, "Cache:\n      --cache[=<URL>]");
}

#[test]
fn a_cache_directory_that_cannot_be_made_is_a_warning() {
    let home = Home::new();
    fs::create_dir_all(home.store().parent().unwrap()).unwrap();
    fs::write(home.store(), "a file").unwrap();
    let project = home.project(BUILD);
    has(&run(&project, &["--cache"], 0), "warning: the cache is not used: cannot use `");
    has(&run(&project, &["--cache", "--cache-strict"], 3), "cannot use `");
    assert_eq!(fs::read_to_string(home.store()).unwrap(), "a file");
}

/// Makes a project a git repository with this remote.
fn with_origin(ci: Ci, url: &str) -> Ci {
    let config = format!("[core]\n\tbare = false\n[remote \"origin\"]\n\turl = {url}\n");
    ci.file(".git/HEAD", "ref: refs/heads/main\n")
        .file(".git/objects/x", "")
        .file(".git/config", config)
}

/// Three copies of a project and another one use the store at `url`.
fn projects_are_told(home: &Home, url: &str) {
    let app = with_origin(home.project(BUILD), "https://me:HIDDEN@git.example/org/app.git");
    let same = with_origin(home.project(BUILD), "git@git.example:org/app.git");
    let other = with_origin(home.project(BUILD), "git@git.example:org/other.git");
    let cold = run(&app, &["--cache", url], 0);
    lacks(&cold, "HIDDEN");
    let warm = run(&same, &["--cache", url], 0);
    has(&warm, "hit ");
    lacks(&warm, "warning:");
    let text = run(&other, &["--cache", url], 0);
    has(&text, "hit ");
    has(
        &text,
        "warning: volume `modules` was restored from an archive of the project \
         `git.example/org/app`, and this is `git.example/org/other`",
    );
    let stat = run(&Ci::new(), &["cache", "stat", "modules", "--store", url], 0);
    has(&stat, "project   git.example/org/app");
    lacks(&stat, "HIDDEN");
}

#[test]
fn an_archive_says_which_project_wrote_it() {
    let home = Home::new();
    let store = tempfile::tempdir().unwrap();
    projects_are_told(&home, &file_cache(store.path()));
    // One of an earlier version says nothing.
    let beside = files(store.path())
        .into_iter()
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(".ci-meta-"))
        .unwrap();
    let mut sidecar: Value = serde_json::from_str(&fs::read_to_string(&beside).unwrap()).unwrap();
    let pairs = sidecar["pairs"].as_array_mut().unwrap();
    let all = pairs.len();
    pairs.retain(|pair| pair[0] != "project");
    assert_eq!(pairs.len(), all - 1);
    fs::write(&beside, sidecar.to_string()).unwrap();
    let text = run(&home.project(BUILD), &["--cache", &file_cache(store.path())], 0);
    has(&text, "hit ");
    lacks(&text, "warning:");
}

#[test]
fn an_archive_says_which_project_wrote_it_on_s3() {
    projects_are_told(&Home::new(), &S3::from_environment().url("projects"));
}

#[test]
fn credentials_of_an_address_are_shown_nowhere() {
    let url = "s3://http://KEY-ID:HIDDEN-1@127.0.0.1:1/bucket?region=us-east-1&cache_policy=none";
    let joined = format!("--cache={url}");
    let table: [(&[&str], Option<&str>); 4] = [
        (&["--cache", url], None),
        (&[&joined], None),
        (&["--cache", url], Some(url)),
        (&[], Some(url)),
    ];
    for (args, variable) in table {
        let ci = Ci::pipeline(LOOK).env("OTHER", "seen");
        let ci = match variable {
            Some(url) => ci.env("CI_CACHE", url),
            None => ci,
        };
        let text = run(&ci, args, 0);
        lacks(&text, "HIDDEN");
        lacks(&text, "KEY-ID");
        has(&text, "look at ci-supervisor");
        has(&text, "OTHER=seen");
    }
    for wrong in [
        "s3://KEY-ID:HIDDEN@host/",
        "s3://KEY-ID:HIDDEN@host/bucket&ttl=soon",
        "s3://KEY-ID:HIDDEN@host/bucket?ttl=soon",
        "https://KEY-ID:HIDDEN@host/bucket",
        "KEY-ID:HIDDEN@host/bucket",
    ] {
        for text in [
            run(&Ci::pipeline(""), &[&format!("--cache={wrong}")], 2),
            run(&Ci::pipeline("").env("CI_CACHE", wrong), &[], 2),
            run(&Ci::new(), &["cache", "ls", &format!("--cache={wrong}")], 2),
        ] {
            lacks(&text, "HIDDEN");
        }
        if wrong.contains("://") {
            lacks(&run(&Ci::pipeline(""), &["--cache", wrong], 2), "HIDDEN");
            let mistaken = run(&Ci::new(), &["pipeline.ts", "--cache", wrong], 2);
            has(&mistaken, "did you mean `ci run pipeline.ts --cache");
            lacks(&mistaken, "HIDDEN");
        }
    }
    let help = run(&Ci::new().env("CI_CACHE", url), &["run", "--help"], 0);
    lacks(&help, "HIDDEN");
}
