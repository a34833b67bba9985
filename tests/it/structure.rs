//! What the packages of the workspace may depend on.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The names of all packages that building and running `package` takes.
fn dependencies(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--prefix", "none", "--format", "{p}"])
        .args(["--edges", "normal,build", "--package", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

/// The packages in `crates/`.
fn crates() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/crates");
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn no_crate_links_v8_or_a_compiler() {
    let crates = crates();
    assert!(!crates.is_empty());
    for name in &crates {
        let found = dependencies(name);
        assert!(found.contains(name), "{name}: {found:?}");
        let heavy = |name: &&String| {
            ["ci", "v8", "serde_v8"].contains(&name.as_str())
                || name.starts_with("deno_")
                || name.starts_with("swc_")
        };
        assert_eq!(
            found.iter().filter(heavy).collect::<Vec<_>>(),
            <[&String; 0]>::default(),
            "{name}"
        );
    }
}

#[test]
fn the_program_is_made_of_all_crates_but_the_tests_own() {
    let found = dependencies("ci");
    let missing: Vec<_> = crates().into_iter().filter(|name| !found.contains(name)).collect();
    assert_eq!(missing, ["testkit"]);
}

/// Files that move take their names in the documentation with them.
#[test]
fn the_documentation_names_files_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let prefixes = ["src/", "crates/", "js/", "tests/", "docs/", "typings/"];
    let paths: Vec<&str> = page
        .split('`')
        .filter(|text| {
            prefixes.iter().any(|prefix| text.starts_with(prefix)) && !text.contains(' ')
        })
        .collect();
    assert!(paths.len() > 30, "{paths:?}");
    let missing: Vec<_> = paths.into_iter().filter(|path| !root.join(path).exists()).collect();
    assert_eq!(missing, <[&str; 0]>::default());
}

/// Packages and their features that building the program takes, without the places of our own.
fn features(root: &Path) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--prefix", "none", "--format", "{p} {f}", "--no-dedupe"])
        .args(["--edges", "normal,build", "--package", "ci"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let place = format!(" ({})", root.display());
    let below = format!(" ({}/", root.display());
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| match line.split_once(&below) {
            Some((package, _)) => package.to_owned(),
            None => line.replace(&place, ""),
        })
        .collect()
}

/// The first version of cargo's resolver turns on what dev-dependencies ask for. The same program without
/// any has to have the same features.
#[test]
fn dependencies_of_tests_shape_nothing_that_is_shipped() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = tempfile::tempdir().unwrap();
    let copy = copy.path().canonicalize().unwrap();
    let write = |path: &Path, text: &str| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let mut manifests = vec!["Cargo.toml".to_owned()];
    manifests.extend(crates().iter().map(|name| format!("crates/{name}/Cargo.toml")));
    for manifest in &manifests {
        let text = std::fs::read_to_string(root.join(manifest)).unwrap();
        let mut is_kept = true;
        let kept: Vec<&str> = text
            .lines()
            .filter(|line| {
                if line.starts_with('[') {
                    is_kept = *line != "[dev-dependencies]";
                }
                is_kept
            })
            .collect();
        write(&copy.join(manifest), &kept.join("\n"));
        write(&copy.join(manifest).with_file_name("src").join("lib.rs"), "");
    }
    for file in ["src/main.rs", "build.rs", "tests/it/main.rs"] {
        write(&copy.join(file), "fn main() {}");
    }
    std::fs::copy(root.join("Cargo.lock"), copy.join("Cargo.lock")).unwrap();
    assert_eq!(features(root), features(&copy));
}
