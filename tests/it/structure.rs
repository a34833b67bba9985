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

/// The build script makes the snapshot with V8's bindings, deno_core and swc, as the program uses them. Where
/// their features differ, cargo compiles them once for each. `[build-dependencies]` levels the features.
#[test]
fn nothing_is_compiled_twice_for_the_build_script() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--prefix", "none", "--format", "{p}"])
        .args(["--edges", "normal,build", "--package", "ci", "--duplicates", "--depth", "0"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let mut seen = BTreeSet::new();
    let packages = lines.lines().filter(|line| !line.is_empty());
    let twice: Vec<&str> = packages.filter(|package| !seen.insert(*package)).collect();
    assert_eq!(twice, <[&str; 0]>::default());
}
